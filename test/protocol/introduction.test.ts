// Introduction: who is who comes first, in both directions and in time.

import t from 'tap'
import {
  type ConversationOptions,
  fromBytes,
  type Introduction,
  type Refusal,
  toBytes,
} from '../../protocol/index.ts'
import { carry, endOf, HandClock } from '../support/conversations.ts'

const introduction = (digit: string, more: Partial<Introduction> = {}): Introduction => ({
  node_type: 'worker',
  node_id: digit.repeat(32),
  boot_id: digit.repeat(16),
  host_name: `host-${digit}`,
  minor: 0,
  features: [],
  max_in_flight: 3,
  max_frame: 1000,
  ...more,
})

const introducing = (
  clock: HandClock,
  own: Introduction,
  options: Partial<ConversationOptions> & { accept?: () => true | Refusal } = {},
) => {
  const met: Introduction[] = []
  const refused: unknown[] = []
  const end = endOf(clock, {
    ...options,
    introduction: {
      own: () => own,
      accept: options.accept ?? (() => true),
      onIntroduced: (peer) => void met.push(peer),
      onRefused: (error) => void refused.push(error),
    },
  })
  return Object.assign(end, { met, refused })
}

t.test('both sides meet, then what was asked before goes out', async (t) => {
  const clock = new HandClock()
  const handled: string[] = []
  const a = introducing(clock, introduction('a'))
  const b = introducing(clock, introduction('b'), {
    handle: (kind) => void handled.push(kind),
  })
  a.conversation.ask('NodesList', {}, 1000, () => undefined)
  t.same(a.sent, [], 'nothing goes before the introduction')
  a.conversation.start()
  b.conversation.start()
  t.equal(a.sent.length, 1)
  carry(a, b)
  t.same([a.met, b.met], [[introduction('b')], [introduction('a')]])
  t.same(handled, ['NodesList'], 'introductions do not reach the handler')
  clock.move(10_000)
  t.same([a.closes, b.closes], [[], []])
})

t.test("the peer's limits hold from then on", async (t) => {
  const clock = new HandClock()
  const a = introducing(clock, introduction('a'))
  const b = introducing(clock, introduction('b', { max_in_flight: 2 }))
  a.conversation.start()
  b.conversation.start()
  carry(a, b)
  for (let asked = 0; asked < 3; asked++)
    a.conversation.ask('NodesList', {}, 1000, () => undefined)
  t.same(a.conversation.size, { asked: 2, queued: 1, serving: 0 })
})

t.test('anything else first is not-ready, and ends the connection', async (t) => {
  for (const k of ['ManagerPing', 'NodesList', 'Sing']) {
    const end = introducing(new HandClock(), introduction('a'))
    end.conversation.receive(toBytes({ q: 1, k, b: {}, t: 1000 }))
    t.match(fromBytes(end.sent[0] ?? new Uint8Array()), {
      right: { a: 1, k: 'Error', b: { code: 'not-ready' } },
    })
    t.equal(end.closes[0]?.[0], 4401)
  }
})

t.test('5 s are the limit, whichever half is missing', async (t) => {
  const cases: readonly [string, Uint8Array[]][] = [
    ['silence', []],
    ['no answer', [toBytes({ q: 1, k: 'NodeTypeRequest', b: introduction('b'), t: 1 })]],
    ['no request', [toBytes({ a: 1, k: 'NodeTypeAnswer', b: introduction('b') })]],
  ]
  for (const [name, bytes] of cases) {
    const clock = new HandClock()
    const end = introducing(clock, introduction('a'))
    end.conversation.start()
    for (const frame of bytes) end.conversation.receive(frame)
    clock.move(4999)
    t.same(end.closes, [], name)
    clock.move(2)
    t.equal(end.closes[0]?.[0], 4401, name)
    t.same(end.met, [], name)
    t.equal(clock.pending, 0, name)
  }
})

t.test('a peer that is not accepted is told why, and closed', async (t) => {
  const clock = new HandClock()
  const refusal: Refusal = { code: 'forbidden', closeCode: 4407, reason: 'it is myself' }
  const a = introducing(clock, introduction('a'))
  const b = introducing(clock, introduction('b'), { accept: () => refusal })
  a.conversation.start()
  b.conversation.start()
  carry(a, b)
  t.same(b.closes, [[4407, 'it is myself']])
  t.same(a.refused, [{ code: 'forbidden', message: 'it is myself' }])
  t.same([a.met, b.met], [[], []])
})

t.test('a peer may not become another within a connection', async (t) => {
  const changes: readonly Partial<Introduction>[] = [
    { node_type: 'manager' },
    { node_id: 'c'.repeat(32) },
    { boot_id: 'c'.repeat(16) },
    { host_name: 'other' },
  ]
  for (const change of changes) {
    const end = introducing(new HandClock(), introduction('a'))
    end.conversation.start()
    const peer = introduction('b')
    end.conversation.receive(toBytes({ q: 1, k: 'NodeTypeRequest', b: peer, t: 1000 }))
    end.conversation.receive(toBytes({ a: 1, k: 'NodeTypeAnswer', b: peer }))
    t.same(end.met, [peer])
    end.sent.length = 0
    const changed = { ...peer, ...change }
    end.conversation.receive(toBytes({ q: 2, k: 'NodeTypeRequest', b: changed, t: 1000 }))
    t.match(fromBytes(end.sent[0] ?? new Uint8Array()), {
      right: { k: 'Error', b: { code: 'role-changed' } },
    })
    t.equal(end.closes[0]?.[0], 4401)
  }
})

t.test('an answer that speaks of another node than the request ends it', async (t) => {
  const end = introducing(new HandClock(), introduction('a'))
  end.conversation.start()
  const bytes = toBytes({ q: 1, k: 'NodeTypeRequest', b: introduction('b'), t: 1000 })
  end.conversation.receive(bytes)
  end.conversation.receive(toBytes({ a: 1, k: 'NodeTypeAnswer', b: introduction('c') }))
  t.equal(end.closes[0]?.[0], 4401)
  t.same(end.met, [])
})

t.test('a peer that says the same again is answered again, and met once', async (t) => {
  const end = introducing(new HandClock(), introduction('a'))
  end.conversation.start()
  const peer = introduction('b')
  for (const q of [1, 2])
    end.conversation.receive(toBytes({ q, k: 'NodeTypeRequest', b: peer, t: 1000 }))
  end.conversation.receive(toBytes({ a: 1, k: 'NodeTypeAnswer', b: peer }))
  end.conversation.receive(toBytes({ q: 3, k: 'NodeTypeRequest', b: peer, t: 1000 }))
  t.equal(end.sent.length, 4)
  t.same([end.met, end.closes], [[peer], []])
})
