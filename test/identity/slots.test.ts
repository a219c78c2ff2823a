// Slots: names and ids that nodes take at their start and find again.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { baseNameOf, type SlotRequest, takeSlot } from '../../src/identity/slots.ts'
import { listAddresses } from '../../src/identity/state.ts'

const request = (directory: string, given: Partial<SlotRequest> = {}): SlotRequest => ({
  directory,
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
  const directory = t.testdir({})
  const first = await take(request(directory))
  const second = await take(request(directory))
  const manager = await take(request(directory, { role: 'manager' }))
  t.equal(first.hostName, 'pi')
  t.equal(second.hostName, 'pi-2')
  t.equal(manager.hostName, 'pi-manager')
  t.not(first.nodeId, second.nodeId)
  first.release()
  const again = await take(request(directory))
  t.equal(again.hostName, 'pi')
  t.equal(again.nodeId, first.nodeId)
})

t.test('a name in use is refused with who holds it, whatever its role', async (t) => {
  const directory = t.testdir({})
  await take(request(directory, { name: 'arm' }))
  const again = await takeSlot(request(directory, { name: 'ARM' }))
  t.match(again, E.left({ kind: 'name-in-use', reason: `pid ${process.pid}` }))
  const other = await takeSlot(request(directory, { name: 'arm', role: 'manager' }))
  t.match(other, E.left({ kind: 'name-in-use', reason: /living worker/ }))
  const free = await take(request(directory, { name: 'leg', role: 'manager' }))
  t.equal(free.hostName, 'leg')
})

t.test('an address is there while its node is, and the port is remembered', async (t) => {
  const directory = t.testdir({})
  const slot = await take(request(directory))
  t.equal(slot.lastPort, undefined)
  const address = {
    node_id: slot.nodeId,
    boot_id: 'b'.repeat(16),
    role: 'worker' as const,
    host_name: slot.hostName,
    pid: process.pid,
    url: 'ws://127.0.0.1:4711',
  }
  slot.announce(address, 4711)
  t.same(listAddresses(directory), [address])
  slot.release()
  t.same(listAddresses(directory), [])
  t.equal(existsSync(join(slot.directory, 'address.json')), false)
  const again = await take(request(directory))
  t.equal(again.lastPort, 4711)
})
