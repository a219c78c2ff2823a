// Slots: names and ids that nodes take at their start and find again.

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { readAuthority } from '../../src/identity/issue.ts'
import { baseNameOf } from '../../src/identity/names.ts'
import { type SlotRequest, takeSlot } from '../../src/identity/slots.ts'
import { listAddresses, type MeshState, openState } from '../../src/identity/state.ts'
import { certify, publicKeyOf } from '../../src/identity/x509.ts'

const stateOf = async (directory: string): Promise<MeshState> => {
  const state = await openState(join(directory, 'state'), 'pi')
  if (E.isLeft(state)) throw new Error(state.left.reason)
  return state.right
}

const request = (state: MeshState, given: Partial<SlotRequest> = {}): SlotRequest => ({
  state,
  role: 'worker',
  name: undefined,
  baseName: 'pi',
  ...given,
})

const take = async (asked: SlotRequest) => {
  const slot = await takeSlot(asked)
  if (E.isLeft(slot)) throw new Error(slot.left.reason)
  return slot.right
}

t.test('the base name is the host id, else the machine, made valid', async (t) => {
  t.equal(baseNameOf({ B0_HOST_ID: 'robot.arm-1' }, 'vm'), 'robot.arm-1')
  t.equal(baseNameOf({ B0_HOST_ID: 'no spaces' }, 'vm'), 'vm')
  t.equal(baseNameOf({}, 'My Mac.local'), 'My-Mac.local')
  t.equal(baseNameOf({}, '-_-'), 'node')
  t.equal(baseNameOf({}, ''), 'node')
})

t.test('unnamed nodes take the first free name, and get it back', async (t) => {
  const state = await stateOf(t.testdir({}))
  const first = await take(request(state))
  const second = await take(request(state))
  const manager = await take(request(state, { role: 'manager' }))
  t.equal(first.hostName, 'pi')
  t.equal(second.hostName, 'pi-2')
  t.equal(manager.hostName, 'pi-manager')
  t.not(first.nodeId, second.nodeId)
  first.release()
  const again = await take(request(state))
  t.equal(again.hostName, 'pi')
  t.equal(again.nodeId, first.nodeId)
})

t.test('a name in use is refused with who holds it, whatever its role', async (t) => {
  const state = await stateOf(t.testdir({}))
  await take(request(state, { name: 'arm' }))
  const again = await takeSlot(request(state, { name: 'ARM' }))
  t.match(again, E.left({ kind: 'name-in-use', reason: `pid ${process.pid}` }))
  const other = await takeSlot(request(state, { name: 'arm', role: 'manager' }))
  t.match(other, E.left({ kind: 'name-in-use', reason: /living worker/ }))
  const free = await take(request(state, { name: 'leg', role: 'manager' }))
  t.equal(free.hostName, 'leg')
})

t.test('an address is there while its node is, and the port is remembered', async (t) => {
  const state = await stateOf(t.testdir({}))
  const slot = await take(request(state))
  t.equal(slot.lastPort, undefined)
  const address = {
    node_id: slot.nodeId,
    boot_id: 'b'.repeat(16),
    role: 'worker' as const,
    host_name: slot.hostName,
    pid: process.pid,
    url: 'wss://127.0.0.1:4711',
  }
  slot.announce(address, 4711)
  t.same(listAddresses(state.directory), [address])
  slot.release()
  t.same(listAddresses(state.directory), [])
  t.equal(existsSync(join(slot.directory, 'address.json')), false)
  const again = await take(request(state))
  t.equal(again.lastPort, 4711)
})

t.test('a name is of one role for good, and of the member that has it', async (t) => {
  const state = await stateOf(t.testdir({}))
  const arm = await take(request(state, { name: 'arm' }))
  arm.release()
  const other = await takeSlot(request(state, { name: 'arm', role: 'manager' }))
  t.match(other, E.left({ kind: 'name-in-use', reason: /belongs to another member/ }))
  const again = await take(request(state, { name: 'ARM' }))
  t.equal(again.nodeId, arm.nodeId)
  t.equal(again.hostName, 'arm', 'as the certificate has it')
})

t.test('a start killed between the name and the key takes its name back', async (t) => {
  const state = await stateOf(t.testdir({}))
  const first = await take(request(state))
  first.release()
  rmSync(join(first.directory, 'identity'), { recursive: true })
  mkdirSync(join(first.directory, '.new-left'))
  const again = await take(request(state))
  t.equal(again.hostName, 'pi')
  t.not(again.nodeId, first.nodeId)
  t.notOk(existsSync(join(first.directory, '.new-left')))
})

t.test('a damaged identity is named and not replaced', async (t) => {
  const state = await stateOf(t.testdir({}))
  const first = await take(request(state))
  first.release()
  writeFileSync(join(first.directory, 'identity', 'cert.pem'), 'nonsense')
  const again = await takeSlot(request(state))
  t.match(again, E.left({ kind: 'damaged', path: /cert.pem/ }))
})

t.test('a certificate past two thirds of its life is renewed at a start', async (t) => {
  const state = await stateOf(t.testdir({}))
  const first = await take(request(state))
  first.release()
  const authority = await readAuthority(state)
  if (E.isLeft(authority)) throw new Error(authority.left.reason)
  const { keyPem, party } = first.credentials
  const oldMs = Date.now() - 70 * 86_400_000
  const old = await certify(authority.right, party, publicKeyOf(keyPem), {
    nowMs: oldMs,
  })
  writeFileSync(join(first.directory, 'identity', 'cert.pem'), old)
  const again = await take(request(state))
  t.equal(again.nodeId, first.nodeId)
  t.ok(again.credentials.notAfterMs > Date.now() + 80 * 86_400_000)
})

t.test('without the authority, slots that were joined are what there is', async (t) => {
  const state = await stateOf(t.testdir({}))
  const joined = await take(request(state, { name: 'joined' }))
  joined.release()
  rmSync(join(state.directory, 'mesh', 'ca.key'))
  const taken = await take(request(state))
  t.equal(taken.hostName, 'joined')
  t.match(await takeSlot(request(state)), E.left({ kind: 'name-in-use' }))
  const manager = await takeSlot(request(state, { role: 'manager' }))
  t.match(manager, E.left({ kind: 'no-authority', reason: /manyhands invite/ }))
})
