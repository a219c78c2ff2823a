// Revocations: signed, watched, and never read wrongly.

import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { replaceFile } from '../../src/files.ts'
import { claimName, listMembers } from '../../src/identity/names.ts'
import { readRevoked, revoke, watchRevoked } from '../../src/identity/revocations.ts'
import { takeSlot } from '../../src/identity/slots.ts'
import { type MeshState, openState } from '../../src/identity/state.ts'
import { keptLog, watched } from '../mesh/support.ts'
import { createManualClock } from '../support/manual-clock.ts'

const stateOf = async (t: Test, name = 'a'): Promise<MeshState> => {
  const place = name === 'a' ? t.testdir({}) : t.testdirName
  const state = await openState(join(place, name), 'boss')
  if (E.isLeft(state)) throw new Error(state.left.reason)
  return state.right
}

const claim = ({ directory }: MeshState, hostName: string, beside?: string) => {
  const nodeId = Buffer.from(hostName).toString('hex').padEnd(32, '0')
  const role = beside === undefined ? 'worker' : 'client'
  const party = { role, hostName, nodeId } as const
  claimName({ directory, party, ...(beside !== undefined && { beside }) })
  return nodeId
}

t.test(
  'a member goes with the command line that came with it; the name is free',
  async (t) => {
    const state = await stateOf(t)
    const ids = [claim(state, 'pi'), claim(state, 'pi-client', 'pi')]
    claim(state, 'other')
    const out = await revoke(state, 'PI')
    t.match(out, E.right([{ hostName: 'pi' }, { hostName: 'pi-client' }]))
    const listed = readRevoked(state.directory, state.trust)
    t.match(listed, E.right({ revoked: ids.map((node_id) => ({ node_id })) }))
    t.same(
      listMembers(state.directory).map(({ hostName }) => hostName),
      ['boss-client', 'other'],
    )
    t.same(await revoke(state, 'nobody'), E.right([]))
    t.same(readRevoked(state.directory, state.trust), listed)
  },
)

t.test('a slot here whose member was revoked gets another one', async (t) => {
  const state = await stateOf(t)
  const request = { state, role: 'worker', name: 'arm', baseName: 'pi' } as const
  const first = await takeSlot(request)
  if (E.isLeft(first)) throw new Error(first.left.reason)
  first.right.release()
  await revoke(state, 'arm')
  t.notOk(existsSync(join(first.right.directory, 'identity')))
  const second = await takeSlot(request)
  if (E.isLeft(second)) throw new Error(second.left.reason)
  t.not(second.right.nodeId, first.right.nodeId)
})

t.test('a list that the authority did not sign is a failure', async (t) => {
  const state = await stateOf(t)
  claim(state, 'pi')
  await revoke(state, 'pi')
  const path = join(state.directory, 'revoked.bin')
  const file = readFileSync(path)
  const changed = Buffer.from(file.toString('latin1').replace('"pi"', '"po"'), 'latin1')
  const other = await stateOf(t, 'b')
  claim(other, 'pi')
  await revoke(other, 'pi')
  const foreign = readFileSync(join(other.directory, 'revoked.bin'))
  for (const wrong of ['', 'nonsense', changed, file.subarray(0, 70), foreign]) {
    writeFileSync(path, wrong)
    const read = readRevoked(state.directory, state.trust)
    t.match(read, E.left({ kind: 'damaged', path }))
  }
})

t.test(
  'who watches hears of it once, and keeps what it knew when a list is bad',
  async (t) => {
    const state = await stateOf(t)
    const { directory, trust } = state
    const timers: (() => void)[] = []
    const clock = {
      ...{ now: () => 0, wall: () => 0 },
      after: (_ms: number, fn: () => void) => {
        timers.push(fn)
        return () => undefined
      },
    }
    const changes = watched<true>()
    const { log, lines } = keptLog()
    const onChange = () => changes.add(true)
    const watching = watchRevoked({ directory, trust, clock, log, onChange })
    if (E.isLeft(watching)) throw new Error(watching.left.reason)
    const look = () => timers.splice(0).forEach((fire) => void fire())
    const id = claim(state, 'pi')
    look()
    t.equal(watching.right.isRevoked(id), false)
    await revoke(state, 'pi')
    look()
    look()
    t.equal(watching.right.isRevoked(id), true)
    t.equal(changes.items.length, 1)
    writeFileSync(join(directory, 'revoked.bin'), 'nonsense')
    look()
    t.equal(watching.right.isRevoked(id), true)
    t.match(lines.items, [{ event: 'revocations' }])
    watching.right.close()
  },
)

/** What there is of a mesh on a machine that joined it. */
const joinedOf = (t: Test, state: MeshState) => {
  const directory = join(t.testdirName, 'joined')
  mkdirSync(directory)
  const { log, lines } = keptLog()
  const clock = createManualClock()
  const changes = watched<true>()
  const onChange = () => changes.add(true)
  const { trust } = state
  const watching = watchRevoked({ directory, trust, clock, log, onChange })
  if (E.isLeft(watching)) throw new Error(watching.left.reason)
  t.teardown(() => watching.right.close())
  return { directory, clock, lines, changes, revocations: watching.right }
}

const listOf = async (state: MeshState, ...names: readonly string[]) => {
  for (const name of names) {
    claim(state, name)
    await revoke(state, name)
  }
  return readFileSync(join(state.directory, 'revoked.bin'))
}

t.test('a list from elsewhere is kept if it is newer and signed, else not', async (t) => {
  const state = await stateOf(t)
  const { directory, revocations, changes } = joinedOf(t, state)
  const first = await listOf(state, 'pi')
  const second = await listOf(state, 'po')
  const path = join(directory, 'revoked.bin')
  t.equal(revocations.adopt(Buffer.from('nonsense')), 'not-signed')
  t.equal(revocations.adopt(Buffer.concat([second, Buffer.from(' ')])), 'not-signed')
  t.equal(revocations.adopt(second), 'kept')
  t.same(readFileSync(path), second)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.equal(revocations.adopt(first), 'not-newer')
  t.equal(revocations.adopt(second), 'not-newer')
  t.same(readFileSync(path), second)
  t.equal(changes.items.length, 1)
  t.match(revocations.list.revoked, [{ host_name: 'pi' }, { host_name: 'po' }])
})

t.test('an older list that another process wrote is put right again', async (t) => {
  const state = await stateOf(t)
  const { directory, revocations, clock, changes } = joinedOf(t, state)
  const older = await listOf(state, 'pi')
  const newer = await listOf(state, 'po')
  const path = join(directory, 'revoked.bin')
  revocations.adopt(newer)
  replaceFile(path, older, 'test')
  clock.advance(1000)
  t.same(readFileSync(path), newer)
  t.equal(changes.items.length, 1)
})

t.test('a list that cannot be written counts, and is written later', async (t) => {
  const state = await stateOf(t)
  const { directory, revocations, clock, lines } = joinedOf(t, state)
  const list = await listOf(state, 'pi')
  renameSync(directory, `${directory}-away`)
  t.equal(revocations.adopt(list), 'kept')
  t.equal(revocations.list.revoked.length, 1)
  clock.advance(3000)
  t.match(lines.items, [{ level: 'error', fields: { reason: /cannot write.*ENOENT/ } }])
  renameSync(`${directory}-away`, directory)
  clock.advance(1000)
  t.same(readFileSync(join(directory, 'revoked.bin')), list)
})

t.test('numbers grow, also after an old copy was put back; old entries go', async (t) => {
  const state = await stateOf(t)
  const day = 86_400_000
  const number = () => {
    const read = readRevoked(state.directory, state.trust)
    if (E.isLeft(read)) throw new Error(read.left.reason)
    return read.right
  }
  claim(state, 'a')
  await revoke(state, 'a', 100 * day)
  const { number: first } = number()
  rmSync(join(state.directory, 'revoked.bin'))
  claim(state, 'b')
  await revoke(state, 'b', 101 * day)
  t.ok(number().number > first)
  claim(state, 'c')
  await revoke(state, 'c', 100 * day) // a clock that was set back
  t.equal(number().number, 101 * day + 1)
  claim(state, 'd')
  await revoke(state, 'd', 191 * day + 1)
  t.match(number().revoked, [{ host_name: 'b' }, { host_name: 'd' }])
})

t.test('of two that revoke at once none is forgotten', async (t) => {
  const state = await stateOf(t)
  const names = ['a', 'b', 'c', 'd']
  for (const name of names) claim(state, name)
  const out = await Promise.all(names.map((name) => revoke(state, name)))
  const done = names.filter((_, at) => E.isRight(out[at] ?? E.right([])))
  const read = readRevoked(state.directory, state.trust)
  t.match(read, E.right({ revoked: { length: done.length } }))
  for (const one of out)
    if (E.isLeft(one)) t.match(one.left.reason, /another manyhands revoke .* try again/)
})
