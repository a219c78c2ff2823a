// Crowd: one member takes no more of a node than its share.

import { once } from 'node:events'
import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { systemClock } from '../../src/clock.ts'
import { CROWD_LIMITS, Crowd, Rate } from '../../src/mesh/crowd.ts'
import { dialMesh } from '../../src/mesh/dial.ts'
import { knock } from '../../src/mesh/knock.ts'
import type { Audit } from '../../src/ports.ts'
import { memberOf } from './members.ts'
import { askOn, openNode } from './support.ts'

const rel = 'r1'
const retryAfter = (answer: unknown): number =>
  (answer as { right: { body: { retry_after_ms: number } } }).right.body.retry_after_ms

t.test(
  'a rate lets through what a second brings, and says when there is more',
  async (t) => {
    const rate = new Rate(10)
    t.same(
      Array.from({ length: 11 }, () => rate.take(0)),
      [...Array(10).fill(0), 100],
    )
    t.ok(rate.take(99) <= 2, 'a refusal takes nothing')
    t.equal(rate.take(100), 0)
    t.equal(rate.take(100), 100)
    t.equal(rate.take(50), 100, 'time that goes back brings nothing')
    t.same(
      Array.from({ length: 11 }, () => rate.take(100_000)),
      [...Array(10).fill(0), 100],
    )
  },
)

t.test('however it is asked, never more than its rate gets through', async (t) => {
  const steps = fc.array(fc.nat(500), { minLength: 1, maxLength: 300 })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1000 }), steps, (perSecond, pauses) => {
      const rate = new Rate(perSecond)
      let nowMs = 0
      let taken = 0
      for (const pause of pauses) {
        nowMs += pause
        if (rate.take(nowMs) === 0) taken += 1
      }
      return taken <= perSecond + (nowMs * perSecond) / 1000
    }),
  )
  t.pass('it holds')
})

t.test('connections are counted by member, and forgotten when they end', async (t) => {
  const crowd = new Crowd({ ...CROWD_LIMITS, connections: 3, ofOneMember: 2 })
  const member = (nodeId: string) => ({ nodeId, role: 'client' as const })
  const rate = crowd.enter(member('a'))
  t.equal(crowd.enter(member('a')), rate, 'they share a rate')
  t.match(crowd.objection('a'), /this member has 2 connections/)
  t.equal(crowd.objection('b'), undefined)
  crowd.enter(member('b'))
  t.match(crowd.objection('c'), /3 connections are open here/)
  crowd.leave('a')
  t.equal(crowd.objection('a'), undefined)
  crowd.leave('a')
  t.not(crowd.enter(member('a')), rate, 'with the last one all is forgotten')
})

const REQUESTS = { ...CROWD_LIMITS.requestsPerSecond, worker: 3 }
const crowd = { ...CROWD_LIMITS, ofOneMember: 2, requestsPerSecond: REQUESTS }

t.test(
  'more requests than its share are answered busy, and when to come again',
  async (t) => {
    const recorded: object[] = []
    const audit: Audit = {
      record: (event, fields) => recorded.push({ event, ...fields }),
    }
    const node = await openNode({ self: { node_type: 'manager' }, crowd, audit })
    t.teardown(() => node.mesh.close())
    const member = await memberOf({ node_type: 'worker' })
    const dialled = await dialMesh({ url: node.url, clock: systemClock, ...member })
    if (E.isLeft(dialled)) throw new Error(dialled.left.reason)
    const connection = dialled.right
    t.teardown(() => connection.close())
    const asks = Array.from({ length: 5 }, () =>
      askOn(connection, 'ManagerPing', { rel }),
    )
    const answers = await Promise.all(asks)
    const kinds = answers.map((answer) => E.isRight(answer) && answer.right.kind)
    t.same(kinds, ['ManagerPong', 'ManagerPong', 'ManagerPong', 'Error', 'Error'])
    const busy = { code: 'busy', message: /more requests a second/ }
    t.match(answers[3], E.right({ body: busy }))
    t.ok(E.isRight(answers[3] ?? E.left(0)) && retryAfter(answers[3]) <= 334)
    const busyOne = { event: 'busy', kind: 'ManagerPing', role: 'worker' }
    t.match(recorded, [busyOne, busyOne])
    t.equal(recorded.length, 2)
  },
)

t.test('the connection too many is ended with 1013 and the reason', async (t) => {
  const node = await openNode({ self: { node_type: 'manager' }, crowd })
  t.teardown(() => node.mesh.close())
  const { transport } = await memberOf({ node_type: 'worker' })
  const open = async () => {
    const knocked = await knock({ url: node.url, transport, maxFrameBytes: 1024 })
    if (E.isLeft(knocked)) throw new Error(knocked.left.reason)
    const { ws } = knocked.right
    t.teardown(() => ws.terminate())
    const closed = once(ws, 'close')
    ws.resume()
    return { ws, closed }
  }
  const [first] = [await open(), await open()]
  const [code, reason] = await (await open()).closed
  t.equal(code, 1013)
  t.match(String(reason), /this member has 2 connections open here/)
  first.ws.terminate()
  await node.lines.when(({ event }) => event === 'one connection too many')
  // Its place is free once the node has heard of it.
  for (;;) {
    const { ws, closed } = await open()
    const isOpen = await Promise.race([
      closed.then(() => false),
      once(ws, 'message').then(() => true),
    ])
    if (isOpen) break
  }
  t.pass('another one has its place')
})
