// Rules between two peers, each at its edge: the last that is forgiven, the first that is not.

import * as E from 'fp-ts/lib/Either.js'
import { pack } from 'msgpackr'
import t from 'tap'
import { fromBytes, toBytes } from '../../protocol/index.ts'
import { endOf, HandClock } from '../support/conversations.ts'

const rel = 'r1'
const malformed = (q: number) =>
  toBytes({ q, k: 'ManagerPing', b: { rel: '!' }, t: 1000 })

t.test('a frame is exactly a request or exactly an answer', async (t) => {
  const request = { q: 1, k: 'ManagerPing', b: {}, t: 1000 }
  const answer = { a: 1, k: 'Ack', b: {} }
  for (const good of [request, answer]) t.ok(E.isRight(fromBytes(pack(good))))
  for (const bad of [
    { ...answer, x: 1 },
    { ...answer, x: 1, y: 1 },
    { ...request, x: 1 },
    { ...request, a: 1 },
    { a: 1, q: 1, k: 'Ack', b: {} },
    { a: 1, k: 'Ack', c: {} },
    { q: 1, k: 'ManagerPing', t: 1000, c: {} },
    { a: 1, b: {} },
    { a: 0, k: 'Ack', b: {} },
    { a: 1, k: 1, b: {} },
    { q: 1.5, k: 'ManagerPing', b: {}, t: 1000 },
    { q: 1, k: 'ManagerPing', b: {}, t: 0 },
  ])
    t.ok(E.isLeft(fromBytes(pack(bad))), JSON.stringify(bad))
})

t.test('two strikes are forgiven, the third is not', async (t) => {
  const end = endOf(new HandClock())
  end.conversation.receive(malformed(1))
  end.conversation.receive(malformed(2))
  t.same([end.counted, end.closes], [['strike', 'strike'], []])
  end.conversation.receive(malformed(3))
  t.match(end.closes, [[4405]])
})

t.test('an ask that timed out gives its place back', async (t) => {
  const clock = new HandClock()
  const end = endOf(clock)
  end.conversation.peerLimits({ maxInFlight: 1, maxFrame: 1024 * 1024 })
  const ask = (timeoutMs: number) =>
    end.conversation.ask('NodesList', {}, timeoutMs, () => undefined)
  ask(1000)
  ask(10_000)
  t.equal(end.sent.length, 1)
  clock.move(1000)
  t.equal(end.sent.length, 2)
  t.same(end.conversation.size, { asked: 1, queued: 0, serving: 0 })
  end.conversation.closed()
})

t.test('a kind that the peer never listed is no reason to close', async (t) => {
  const end = endOf(new HandClock())
  for (let q = 1; q <= 10; q += 1)
    end.conversation.receive(toBytes({ q, k: 'Unheard', b: { rel }, t: 1000 }))
  t.same([end.counted, end.closes, end.sent.length], [[], [], 10])
})

t.test('a frame larger than was stated ends the connection', async (t) => {
  const end = endOf(new HandClock(), { limits: { maxFrame: 64 } })
  const frame = (bytes: number) =>
    toBytes({ q: 1, k: 'ManagerPing', b: { rel: 'r'.repeat(bytes) }, t: 1000 })
  const least = frame(1).length
  end.conversation.receive(frame(64 - least + 1))
  t.same(end.closes, [])
  end.conversation.receive(frame(64 - least + 2))
  t.match(end.closes, [[4400]])
})

t.test('asks that ran out of time in the queue say nothing of the peer', async (t) => {
  const clock = new HandClock()
  let isGivenUp = false
  const onTimeouts = () => {
    isGivenUp = true
  }
  const end = endOf(clock, { onTimeouts })
  end.conversation.peerLimits({ maxInFlight: 1, maxFrame: 1024 * 1024 })
  const failures: unknown[] = []
  const ask = (timeoutMs: number) =>
    end.conversation.ask('NodesList', {}, timeoutMs, (outcome) =>
      failures.push(E.isLeft(outcome) && outcome.left.kind),
    )
  ask(60_000)
  for (let n = 0; n < 5; n += 1) ask(1000)
  clock.move(2000)
  t.same(failures, Array(5).fill('timeout'))
  t.notOk(isGivenUp)
  end.conversation.closed()
})

t.test('what a handler answers after the end is counted and goes nowhere', async (t) => {
  const responds: (() => void)[] = []
  const end = endOf(new HandClock(), {
    handle: (_kind, _body, respond) =>
      void responds.push(() =>
        (respond as unknown as (kind: string, body: object) => void)('NodesListed', {
          nodes: [],
        }),
      ),
  })
  end.conversation.receive(toBytes({ q: 1, k: 'NodesList', b: {}, t: 1000 }))
  end.conversation.closed()
  for (const respond of responds) respond()
  t.same([end.sent.length, end.counted], [0, ['discarded-answer']])
})

t.test('a side whose introduction is refused goes away', async (t) => {
  const end = endOf(new HandClock(), {
    introduction: {
      own: () => ({
        node_type: 'worker',
        node_id: 'a'.repeat(32),
        boot_id: 'b'.repeat(16),
        host_name: 'w',
        minor: 0,
        features: [],
        max_in_flight: 1024,
        max_frame: 1024 * 1024,
      }),
      accept: () => true,
      onIntroduced: () => undefined,
    },
  })
  end.conversation.start()
  t.equal(end.sent.length, 1)
  end.conversation.receive(toBytes({ a: 1, k: 'Error', b: { code: 'forbidden' } }))
  t.match(end.closes, [[4401, /forbidden/]])
})

t.test('bytes that were read outlive the frame that they came in', async (t) => {
  const body = { data: Uint8Array.from([1, 2, 3]) }
  const bytes = Uint8Array.from(toBytes({ a: 1, k: 'BlobData', b: body }))
  const frame = fromBytes(Buffer.from(bytes.buffer))
  bytes.fill(0)
  const read = E.isRight(frame) ? frame.right.b : undefined
  t.same(read, { data: Buffer.from([1, 2, 3]) })
})
