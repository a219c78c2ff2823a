// Which of two connections stays: the decision as a table, then on real sockets.

import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { systemClock } from '../../src/clock.ts'
import { dialMesh } from '../../src/mesh/dial.ts'
import { knock } from '../../src/mesh/knock.ts'
import { Link } from '../../src/mesh/link.ts'
import { judgePair, type PairedLink } from '../../src/mesh/pairs.ts'
import { type Member, memberOf } from './members.ts'
import { keptLog, openNode } from './support.ts'

const self = { nodeId: 'b'.repeat(32), bootId: '1'.repeat(16), role: 'worker' } as const
const smaller = {
  nodeId: 'a'.repeat(32),
  bootId: '2'.repeat(16),
  role: 'worker',
} as const
const larger = { nodeId: 'c'.repeat(32), bootId: '2'.repeat(16), role: 'worker' } as const
const reborn = { ...larger, bootId: '3'.repeat(16) }

const link = (peer: PairedLink['peer'], isOurs: boolean, openedAtMs = 0): PairedLink => ({
  peer,
  isOurs,
  openedAtMs,
})

const table: readonly [string, PairedLink | undefined, PairedLink, string][] = [
  ['the first one', undefined, link(larger, true), 'admit'],
  ['to ourselves', undefined, link(self, true), 'oneself'],
  [
    'to a copy of ourselves',
    undefined,
    link({ ...self, bootId: '9'.repeat(16) }, false),
    'copied',
  ],
  [
    'crossing, the smaller id (we) opened the new',
    link(larger, false),
    link(larger, true),
    'replace',
  ],
  [
    'crossing, the larger id opened the new',
    link(larger, true),
    link(larger, false),
    'refuse',
  ],
  [
    'crossing, the smaller id (they) opened the new',
    link(smaller, true),
    link(smaller, false),
    'replace',
  ],
  [
    'crossing, the larger id (we) opened the new',
    link(smaller, false),
    link(smaller, true),
    'refuse',
  ],
  ['the other way, much later', link(larger, true), link(larger, false, 5000), 'probe'],
  [
    'dialled again by the same side',
    link(larger, false),
    link(larger, false, 10),
    'probe',
  ],
  [
    'both opened here: two finders had the address',
    link(larger, true),
    link(larger, true, 10),
    'refuse',
  ],
  [
    'the same life in another role',
    link(larger, false),
    link({ ...larger, role: 'manager' }, false),
    'role-changed',
  ],
  [
    'another life of it, in another role',
    link(larger, false),
    link({ ...reborn, role: 'manager' }, false),
    'probe-copied',
  ],
  ['another life of it', link(larger, false), link(reborn, false), 'probe-copied'],
]

for (const [name, current, newcomer, verdict] of table)
  t.test(`two connections: ${name}`, async (t) => {
    t.equal(judgePair(self, current, newcomer), verdict)
  })

t.test('both ends judge a crossing alike', async (t) => {
  const [a, b] = [smaller, larger]
  const atA = judgePair(a, link(b, true), link(b, false))
  const atB = judgePair(b, link(a, true), link(a, false))
  t.equal(atA, 'refuse', 'a keeps the one that it opened')
  t.equal(atB, 'replace', 'b takes the one that a opened')
})

t.test('when both dial at once, one connection is left and works', async (t) => {
  const manager = await openNode({ self: { node_type: 'manager' } })
  t.teardown(() => manager.mesh.close())
  const worker = await openNode()
  t.teardown(() => worker.mesh.close())
  worker.mesh.offer({ url: manager.url })
  manager.mesh.offer({ url: worker.url })
  await worker.when('up')
  await manager.when('up')
  const outcome = await new Promise((resolve) =>
    worker.mesh.ask(manager.self.node_id, 'ManagerPing', { rel: 'r' }, 2000, resolve),
  )
  t.ok(outcome)
  t.equal(worker.mesh.peers.length, 1)
  t.equal(manager.mesh.peers.length, 1)
})

t.test('dialled twice at once by the same side, one is left, and at once', async (t) => {
  const worker = await openNode()
  t.teardown(() => worker.mesh.close())
  for (let round = 0; round < 5; round += 1) {
    const manager = await openNode({ self: { node_type: 'manager' } })
    for (let n = 0; n < 3; n += 1) manager.mesh.dial(worker.url)
    manager.mesh.offer({ url: worker.url })
    await manager.when('up')
    const ask = () =>
      new Promise<unknown>((resolve) =>
        manager.mesh.ask(worker.self.node_id, 'ManagerPing', { rel: 'r' }, 900, resolve),
      )
    // Whatever is refused or replaced meanwhile, no end waits for a probe of the other's.
    for (let n = 0; n < 20; n += 1)
      t.match(await ask(), { _tag: 'Right' }, `round ${round}, ask ${n}`)
    t.equal(manager.mesh.peers.length, 1)
    t.equal(manager.heard.length, 1, 'it was never lost')
    await manager.mesh.close()
  }
})

const dialAs = (url: string, { self, transport }: Member) =>
  dialMesh({ url, transport, self, clock: systemClock })

t.test(
  'a second life of a node that still answers is refused and told why',
  async (t) => {
    const manager = await openNode({ self: { node_type: 'manager' } })
    t.teardown(() => manager.mesh.close())
    const worker = await openNode()
    t.teardown(() => worker.mesh.close())
    worker.mesh.offer({ url: manager.url })
    await manager.when('up')
    const copy = await openNode({ self: { ...worker.self, boot_id: '9'.repeat(16) } })
    t.teardown(() => copy.mesh.close())
    copy.mesh.offer({ url: manager.url })
    const reason = await copy.fatal.when(() => true)
    t.match(reason, /state directory was copied/)
    t.equal(manager.mesh.isConnected(worker.self.node_id), true, 'the living one stays')
    t.equal(manager.mesh.peers[0]?.bootId, worker.self.boot_id)
    t.same(manager.fatal.items, [])
  },
)

t.test('a copy that dials the original is told so by it', async (t) => {
  const original = await openNode({ self: { node_type: 'manager' } })
  t.teardown(() => original.mesh.close())
  const copy = await openNode({ self: { ...original.self, boot_id: '9'.repeat(16) } })
  t.teardown(() => copy.mesh.close())
  copy.mesh.offer({ url: original.url })
  t.match(await copy.fatal.when(() => true), /copied/)
  t.same(original.fatal.items, [])
})

t.test(
  'a second connection of one life is refused while the first answers',
  async (t) => {
    const manager = await openNode({ self: { node_type: 'manager' } })
    t.teardown(() => manager.mesh.close())
    const member = await memberOf()
    const first = await dialAs(manager.url, member)
    if (E.isLeft(first)) throw new Error(first.left.reason)
    t.teardown(() => first.right.close())
    const second = await dialAs(manager.url, member)
    // It was introduced before the manager judged: then it is closed.
    if (E.isRight(second))
      await new Promise<void>((resolve) => second.right.onClosed(() => resolve()))
    t.equal(manager.heard.length, 1, 'the role heard of one')
    t.equal(manager.mesh.peers.length, 1)
  },
)

t.test('one life in two roles has neither connection', async (t) => {
  const manager = await openNode({ self: { node_type: 'manager' } })
  t.teardown(() => manager.mesh.close())
  const member = await memberOf()
  const first = await dialAs(manager.url, member)
  if (E.isLeft(first)) throw new Error(first.left.reason)
  t.teardown(() => first.right.close())
  const ended = new Promise<string>((resolve) => first.right.onClosed(resolve))
  const other = await memberOf({ ...member.self, node_type: 'client' })
  const second = await dialAs(manager.url, other)
  if (E.isRight(second)) t.teardown(() => second.right.close())
  t.match(await ended, /another role/)
  await manager.when('down')
  t.equal(manager.heard.length, 2, 'the role heard of the first alone')
  t.same(manager.mesh.peers, [])
})

t.test('a half-open connection is replaced by a new one', async (t) => {
  const manager = await openNode({ self: { node_type: 'manager' } })
  t.teardown(() => manager.mesh.close())
  const member = await memberOf()
  const deaf = await dialDeaf(manager.url, member)
  t.teardown(() => deaf.terminate('the test is over'))
  await manager.when('up')
  // It no longer reads, as a machine that fell off the network.
  deaf.pause()
  const second = await dialAs(manager.url, member)
  if (E.isLeft(second)) throw new Error(second.left.reason)
  t.teardown(() => second.right.close())
  const lost = await manager.when('down')
  t.equal(lost.clean, false)
  const back = await manager.when('up', 2)
  t.not(back.peer, lost.peer)
})

/** A connection whose pausing can be forced from outside. */
const dialDeaf = async (url: string, { self, transport }: Member) => {
  const socket = await knock({ url, transport, maxFrameBytes: 65_536 })
  if (E.isLeft(socket)) throw new Error(socket.left.reason)
  const { log } = keptLog()
  return new Promise<Link>((resolve) => {
    new Link({
      socket: socket.right,
      self,
      clock: systemClock,
      log,
      events: { introduced: resolve, request: () => undefined, ended: () => undefined },
    })
  })
}
