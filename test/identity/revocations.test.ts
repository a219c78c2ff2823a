// Revocations: signed, watched, and never read wrongly.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { claimName, listMembers } from '../../src/identity/names.ts'
import { readRevoked, revoke, watchRevoked } from '../../src/identity/revocations.ts'
import { takeSlot } from '../../src/identity/slots.ts'
import { type MeshState, openState } from '../../src/identity/state.ts'
import { keptLog, watched } from '../mesh/support.ts'

const stateOf = async (t: Test): Promise<MeshState> => {
  const state = await openState(join(t.testdir({}), 'a'), 'boss')
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
    const out = revoke(state, 'PI')
    t.match(out, E.right([{ hostName: 'pi' }, { hostName: 'pi-client' }]))
    const listed = readRevoked(state.directory, state.trust)
    t.match(listed, E.right(ids.map((node_id) => ({ node_id }))))
    t.same(
      listMembers(state.directory).map(({ hostName }) => hostName),
      ['boss-client', 'other'],
    )
    t.same(revoke(state, 'nobody'), E.right([]))
    t.match(readRevoked(state.directory, state.trust), E.right({ length: 2 }))
  },
)

t.test('a slot here whose member was revoked gets another one', async (t) => {
  const state = await stateOf(t)
  const request = { state, role: 'worker', name: 'arm', baseName: 'pi' } as const
  const first = await takeSlot(request)
  if (E.isLeft(first)) throw new Error(first.left.reason)
  first.right.release()
  revoke(state, 'arm')
  t.notOk(existsSync(join(first.right.directory, 'identity')))
  const second = await takeSlot(request)
  if (E.isLeft(second)) throw new Error(second.left.reason)
  t.not(second.right.nodeId, first.right.nodeId)
})

t.test('a list that the authority did not sign is a failure', async (t) => {
  const state = await stateOf(t)
  claim(state, 'pi')
  revoke(state, 'pi')
  const path = join(state.directory, 'revoked.json')
  const file = JSON.parse(readFileSync(path, 'utf8'))
  const list = file.list.replace('"pi"', '"po"')
  for (const wrong of ['nonsense', JSON.stringify({ ...file, list })]) {
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
    revoke(state, 'pi')
    look()
    look()
    t.equal(watching.right.isRevoked(id), true)
    t.equal(changes.items.length, 1)
    writeFileSync(join(directory, 'revoked.json'), 'nonsense')
    look()
    t.equal(watching.right.isRevoked(id), true)
    t.match(lines.items, [{ event: 'revocations' }])
    watching.right.close()
  },
)
