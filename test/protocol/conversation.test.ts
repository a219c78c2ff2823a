// Conversation: every rule between two peers, over frames made by hand and by the other end.

import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import {
  Conversation,
  type Envelope,
  fromBytes,
  type Handle,
  type Kind,
  type Respond,
  serve,
  toBytes,
} from '../../protocol/index.ts'
import { carry, type End, endOf, HandClock } from '../support/conversations.ts'

const rel = 'r1'
const ping = (q: number, t = 1000) => toBytes({ q, k: 'ManagerPing', b: { rel }, t })
const list = (q: number, t = 1000) => toBytes({ q, k: 'NodesList', b: {}, t })
const pong = (a: number) => toBytes({ a, k: 'ManagerPong', b: { rel } })
const frames = (end: End): Envelope[] =>
  end.sent.splice(0).flatMap((bytes) => {
    const frame = fromBytes(bytes)
    return E.isRight(frame) ? [frame.right] : []
  })

/** A handler that keeps the responders. */
const keeping = () => {
  const kept: { kind: Kind; body: unknown; respond: Respond<Kind> }[] = []
  const handle: Handle = (kind, body, respond) =>
    void kept.push({ kind, body, respond: respond as unknown as Respond<Kind> })
  return { kept, handle }
}
type Loose = (kind: string, body: unknown) => void
const answering: Handle = (kind, _body, respond) => {
  const answer = respond as unknown as Loose
  if (kind === 'ManagerPing') answer('ManagerPong', { rel })
  else if (kind === 'NodesList') answer('NodesListed', { nodes: [] })
  else answer('Ack', {})
}

t.test('a request is answered by the other end', async (t) => {
  const clock = new HandClock()
  const a = endOf(clock)
  const b = endOf(clock, { handle: answering })
  const outcomes: unknown[] = []
  a.conversation.ask('ManagerPing', { rel }, 1000, (outcome) => outcomes.push(outcome))
  t.same(outcomes, [], 'not inside ask')
  t.same(a.conversation.size, { asked: 1, queued: 0, serving: 0 })
  carry(a, b)
  t.same(outcomes, [E.right({ kind: 'ManagerPong', body: { rel } })])
  t.same(a.conversation.size, { asked: 0, queued: 0, serving: 0 })
  t.same(b.conversation.size, { asked: 0, queued: 0, serving: 0 })
  clock.move(100_000)
  t.equal(outcomes.length, 1)
  t.equal(clock.pending, 0, 'no timer is left')
})

t.test('what ends a connection, and with which code', async (t) => {
  const cases: readonly [string, number, Uint8Array[]][] = [
    ['no frame', 4400, [Uint8Array.of(1, 2, 3)]],
    ['neither q nor a', 4400, [toBytes({ k: 'Ack', b: {} } as unknown as Envelope)]],
    ['both q and a', 4400, [toBytes({ q: 1, a: 1, k: 'Ack', b: {} } as Envelope)]],
    ['a frame over the stated size', 4400, [new Uint8Array(1024 * 1024 + 1)]],
    ['an answer of another row', 4402, [toBytes({ a: 1, k: 'Ack', b: {} })]],
    ['an answer to an id never issued', 4403, [pong(2)]],
    ['a request id that came before', 4404, [ping(1), ping(1)]],
    ['a smaller request id', 4404, [ping(5), ping(4)]],
    [
      'three malformed bodies',
      4405,
      [1, 2, 3].map((q) => toBytes({ q, k: 'ManagerPing', b: {}, t: 1 })),
    ],
    ['three answers too many', 4405, [pong(1), pong(1), pong(1), pong(1)]],
  ]
  for (const [name, code, bytes] of cases) {
    const clock = new HandClock()
    const end = endOf(clock, { handle: answering })
    const outcomes: unknown[] = []
    end.conversation.ask('ManagerPing', { rel }, 1000, (outcome) =>
      outcomes.push(outcome),
    )
    for (const frame of bytes) end.conversation.receive(frame)
    t.equal(end.closes.length, 1, name)
    t.equal(end.closes[0]?.[0], code, name)
    t.equal(outcomes.length, 1, `${name}: the open ask is settled once`)
    end.sent.length = 0
    end.conversation.receive(ping(100))
    end.conversation.closed()
    t.same([end.sent, outcomes.length, clock.pending], [[], 1, 0], `${name}: it is over`)
  }
})

t.test('a text frame ends the connection', async (t) => {
  const end = endOf(new HandClock())
  end.conversation.receiveText()
  t.equal(end.closes[0]?.[0], 4400)
})

t.test('an answer of another row is a protocol failure', async (t) => {
  const end = endOf(new HandClock())
  const outcomes: unknown[] = []
  end.conversation.ask('ManagerPing', { rel }, 1000, (outcome) => outcomes.push(outcome))
  end.conversation.receive(toBytes({ a: 1, k: 'Ack', b: {} }))
  t.match(outcomes, [{ left: { kind: 'protocol', exchange: 'ManagerPing' } }])
})

t.test('a malformed answer is a protocol failure and a strike', async (t) => {
  const end = endOf(new HandClock())
  const outcomes: unknown[] = []
  end.conversation.ask('ManagerPing', { rel }, 1000, (outcome) => outcomes.push(outcome))
  end.conversation.receive(toBytes({ a: 1, k: 'ManagerPong', b: { rel: 5 } }))
  t.match(outcomes, [{ left: { kind: 'protocol', detail: 'malformed answer: rel' } }])
  t.same([end.counted, end.closes], [['strike'], []])
})

t.test('what it answers itself, the connection staying', async (t) => {
  const { kept, handle } = keeping()
  const end = endOf(new HandClock(), { handle })
  end.conversation.receive(toBytes({ q: 1, k: 'Sing', b: {}, t: 1 }))
  end.conversation.receive(toBytes({ q: 2, k: 'ManagerPing', b: { rel: 7 }, t: 1 }))
  end.conversation.receive(toBytes({ q: 3, k: 'constructor', b: {}, t: 1 }))
  t.same(frames(end), [
    { a: 1, k: 'Error', b: { code: 'unknown-kind' } },
    { a: 2, k: 'Error', b: { code: 'malformed', path: 'rel' } },
    { a: 3, k: 'Error', b: { code: 'unknown-kind' } },
  ])
  t.same([kept, end.closes, end.counted], [[], [], ['strike']])
})

t.test('a handler that throws has answered Error{internal}', async (t) => {
  const broken = new Error('broken')
  const end = endOf(new HandClock(), {
    handle: () => {
      throw broken
    },
  })
  end.conversation.receive(ping(1))
  t.same(frames(end), [{ a: 1, k: 'Error', b: { code: 'internal' } }])
  t.same([end.bugs, end.closes], [[broken], []])
})

t.test('answering twice throws; the first answer stands', async (t) => {
  const { kept, handle } = keeping()
  const end = endOf(new HandClock(), { handle })
  end.conversation.receive(ping(1))
  kept[0]?.respond('Error', { code: 'busy' })
  t.throws(() => kept[0]?.respond('Error', { code: 'busy' }), /one answer/)
  t.equal(end.sent.length, 1)
})

t.test(
  'an answer that its row does not allow throws, and is Error{internal}',
  async (t) => {
    const { kept, handle } = keeping()
    const end = endOf(new HandClock(), { handle })
    for (const q of [1, 2, 3]) end.conversation.receive(ping(q))
    const answer = (index: number, kind: string, body: unknown) =>
      (kept[index]?.respond as unknown as Loose | undefined)?.(kind, body)
    t.throws(() => answer(0, 'Ack', {}), TypeError)
    t.throws(() => answer(1, 'ManagerPong', { rel: '' }), /`rel`/)
    end.conversation.peerLimits({ maxInFlight: 1, maxFrame: 30 })
    t.throws(() => answer(2, 'ManagerPong', { rel: 'r'.repeat(30) }), RangeError)
    t.same(
      frames(end).map((frame) => frame.b),
      [{ code: 'internal' }, { code: 'internal' }, { code: 'internal' }],
    )
  },
)

t.test('a handler that is not done in time has answered Error{deadline}', async (t) => {
  const { kept, handle } = keeping()
  const clock = new HandClock()
  const end = endOf(clock, { handle })
  end.conversation.receive(ping(1, 1000))
  end.conversation.receive(ping(2, 20_000))
  clock.move(899)
  t.same(frames(end), [])
  clock.move(1)
  t.same(frames(end), [{ a: 1, k: 'Error', b: { code: 'deadline' } }])
  kept[0]?.respond('Error', { code: 'busy' })
  t.same([frames(end), end.counted], [[], ['deadline', 'discarded-answer']])
  clock.move(18_599)
  t.same(frames(end), [])
  clock.move(1)
  t.same(frames(end), [{ a: 2, k: 'Error', b: { code: 'deadline' } }])
})

t.test(
  'an ask without an answer is a timeout; a late answer is only counted',
  async (t) => {
    const clock = new HandClock()
    const end = endOf(clock)
    const outcomes: unknown[] = []
    end.conversation.ask('ManagerPing', { rel }, 1000, (outcome) =>
      outcomes.push(outcome),
    )
    clock.move(999)
    t.same(outcomes, [])
    clock.move(1)
    t.same(outcomes, [
      E.left({ kind: 'timeout', exchange: 'ManagerPing', afterMs: 1000 }),
    ])
    end.conversation.receive(pong(1))
    t.same([end.counted, end.closes], [['late-answer'], []])
    end.conversation.receive(pong(1))
    t.same(end.counted, ['late-answer', 'strike'], 'a second one is a strike')
  },
)

t.test('a process that stood still reads what came before it judges', async (t) => {
  const timers: (() => void)[] = []
  let now = 0
  const clock = new HandClock()
  clock.now = () => now
  clock.after = (_ms, fn) => {
    timers.push(fn)
    return () => void timers.splice(timers.indexOf(fn), 1)
  }
  const end = endOf(clock)
  const outcomes: unknown[] = []
  for (let asked = 0; asked < 2; asked++)
    end.conversation.ask('ManagerPing', { rel }, 1000, (outcome) =>
      outcomes.push(outcome),
    )
  now = 20_000
  timers.shift()?.()
  t.same(outcomes, [])
  end.conversation.receive(pong(1))
  t.match(outcomes, [{ right: { kind: 'ManagerPong' } }])
  timers.shift()?.()
  t.match(outcomes, [{}, { left: { kind: 'timeout' } }])
})

t.test('a long queue is served in its order', async (t) => {
  const end = endOf(new HandClock(), { limits: { maxInFlight: 1 } })
  const order: number[] = []
  for (let asked = 0; asked < 1000; asked++)
    end.conversation.ask('NodesList', {}, 1000, () => order.push(asked))
  for (let a = 1; a <= 1000; a++)
    end.conversation.receive(toBytes({ a, k: 'NodesListed', b: { nodes: [] } }))
  t.same(
    order,
    Array.from({ length: 1000 }, (_, index) => index),
  )
  t.same(end.conversation.size, { asked: 0, queued: 0, serving: 0 })
})

t.test('three timeouts in a row give the socket up', async (t) => {
  for (const withAnswer of [false, true]) {
    const clock = new HandClock()
    let gaveUp = 0
    const end = endOf(clock, { onTimeouts: () => gaveUp++ })
    const ask = () => end.conversation.ask('ManagerPing', { rel }, 100, () => undefined)
    ask()
    ask()
    clock.move(100)
    ask()
    if (withAnswer) end.conversation.receive(pong(3))
    ask()
    clock.move(100)
    t.equal(gaveUp, withAnswer ? 0 : 1)
  }
  {
    const clock = new HandClock()
    let gaveUp = 0
    const end = endOf(clock, { onTimeouts: () => gaveUp++ })
    const ask = () => end.conversation.ask('ManagerPing', { rel }, 100, () => undefined)
    for (let late = 1; late <= 4; late++) {
      ask()
      clock.move(100)
      end.conversation.receive(pong(late))
    }
    t.equal(gaveUp, 0, 'answers that come late are signs of life')
  }
  const clock = new HandClock()
  const end = endOf(clock)
  for (let asked = 0; asked < 3; asked++)
    end.conversation.ask('ManagerPing', { rel }, 100, () => undefined)
  clock.move(100)
  t.equal(end.closes[0]?.[0], 4408, 'without onTimeouts it closes')
})

t.test(
  'when the socket is gone every ask is settled once, never inside ask',
  async (t) => {
    const clock = new HandClock()
    const end = endOf(clock, { limits: { maxInFlight: 1 } })
    const outcomes: unknown[] = []
    const ask = () =>
      end.conversation.ask('NodesList', {}, 100, (outcome) =>
        outcomes.push(E.isLeft(outcome) && outcome.left.kind),
      )
    ask()
    ask()
    end.conversation.closed()
    end.conversation.closed()
    t.same(outcomes, ['disconnected', 'unreachable'], 'written, and never written')
    ask()
    t.equal(outcomes.length, 2)
    clock.move(1000)
    t.same(outcomes, ['disconnected', 'unreachable', 'unreachable'])
    t.equal(clock.pending, 0)
  },
)

t.test('a caller that asks wrongly is told at once', async (t) => {
  const { conversation, sent } = endOf(new HandClock())
  t.throws(
    () => conversation.ask('ManagerPing', { rel: '' }, 10, () => undefined),
    /`rel`/,
  )
  for (const timeoutMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    t.throws(
      () => conversation.ask('ManagerPing', { rel }, timeoutMs, () => undefined),
      /timeoutMs/,
    )
  t.same(sent, [])
})

t.test(
  'above the places of the peer asks wait, and ids are given when written',
  async (t) => {
    const clock = new HandClock()
    const end = endOf(clock)
    end.conversation.peerLimits({ maxInFlight: 2, maxFrame: 1000 })
    const outcomes: unknown[] = []
    for (let asked = 0; asked < 4; asked++)
      end.conversation.ask('NodesList', {}, 1000, (outcome) => outcomes.push(outcome))
    end.conversation.ask('ManagerPing', { rel }, 1000, (outcome) =>
      outcomes.push(outcome),
    )
    t.same(
      frames(end).map((frame) => ('q' in frame ? [frame.q, frame.k] : [])),
      [
        [1, 'NodesList'],
        [2, 'NodesList'],
        [3, 'ManagerPing'],
      ],
    )
    clock.move(400)
    end.conversation.receive(toBytes({ a: 2, k: 'Error', b: { code: 'busy' } }))
    t.same(frames(end), [{ q: 4, k: 'NodesList', b: {}, t: 600 }], 'with the time left')
    clock.move(600)
    t.equal(outcomes.length, 5, 'the one that still waited is a timeout as well')
    t.same(end.conversation.size, { asked: 0, queued: 0, serving: 0 })
  },
)

t.test(
  'a peer above our places is told busy; places of one class are its own',
  async (t) => {
    const { kept, handle } = keeping()
    const limits = { maxInFlight: 2, priorityPlaces: 1, waitsPlaces: 1 }
    const end = endOf(new HandClock(), { handle, limits })
    const wait = { after: 0, wait_ms: 10 }
    const abort = { rel, tasks: [] }
    const requests: readonly [string, object][] = [
      ['NodesList', {}],
      ['NodesList', {}],
      ['NodesList', {}],
      ['ManagerPing', { rel }],
      ['ManagerPing', { rel }],
      ['TasksWait', wait],
      ['TasksWait', wait],
      ['TasksAbord', abort],
      ['TasksAbord', abort],
    ]
    requests.forEach(([k, b], index) => {
      end.conversation.receive(toBytes({ q: index + 1, k, b, t: 1000 }))
    })
    const busy = { code: 'busy', retry_after_ms: 100 }
    t.same(
      frames(end),
      [3, 5, 7, 9].map((a) => ({ a, k: 'Error', b: busy })),
    )
    t.equal(kept.length, 5)
    kept[0]?.respond('Error', { code: 'internal' })
    end.sent.length = 0
    end.conversation.receive(list(10))
    t.equal(kept.length, 6, 'an answer frees its place')
  },
)

t.test('a peer that does not read gets no more, then is given up', async (t) => {
  const clock = new HandClock()
  let stalled = 0
  const { kept, handle } = keeping()
  const end = endOf(clock, {
    handle,
    limits: { slowBytes: 100, terminateBytes: 1000 },
    onStalled: () => stalled++,
  })
  const outcomes: unknown[] = []
  const settle = (outcome: unknown) => outcomes.push(outcome)
  end.buffered = 101
  end.conversation.ask('NodesList', {}, 10_000, settle)
  end.conversation.ask('ManagerPing', { rel }, 10_000, settle)
  t.same(
    frames(end).map(({ k }) => k),
    ['ManagerPing'],
    'only what keeps the mesh alive',
  )
  const read = { ref: 'x', offset: 0, max: 1 }
  end.conversation.receive(toBytes({ q: 1, k: 'BlobRead', b: read, t: 1000 }))
  t.match(frames(end), [{ b: { code: 'busy' } }], 'no data is read for it')
  end.conversation.receive(list(2))
  t.equal(kept.length, 1)
  end.buffered = 0
  clock.move(60)
  t.match(frames(end), [{ k: 'NodesList' }], 'sent when the socket took the rest')
  end.buffered = 1001
  end.conversation.ask('ManagerPing', { rel }, 1000, settle)
  t.same([stalled, outcomes.length], [0, 0], 'nothing is settled inside ask')
  clock.move(10)
  t.same([stalled, outcomes.length], [1, 3])
})

t.test('drained lets go at once', async (t) => {
  const end = endOf(new HandClock(), { limits: { slowBytes: 10 } })
  end.buffered = 11
  end.conversation.ask('NodesList', {}, 1000, () => undefined)
  t.equal(end.sent.length, 0)
  end.buffered = 0
  end.conversation.drained()
  t.equal(end.sent.length, 1)
})

t.test('what waited for a place goes on when the socket is free again', async (t) => {
  const clock = new HandClock()
  const end = endOf(clock, { limits: { maxInFlight: 1, slowBytes: 10 } })
  end.conversation.ask('NodesList', {}, 60_000, () => undefined)
  end.conversation.ask('NodesList', {}, 60_000, () => undefined)
  end.buffered = 11
  end.conversation.receive(toBytes({ a: 1, k: 'NodesListed', b: { nodes: [] } }))
  t.equal(end.sent.length, 1)
  end.buffered = 0
  clock.move(60)
  t.equal(end.sent.length, 2)
})

t.test(
  'a table of handlers serves what it has; the rest is the wrong role',
  async (t) => {
    const clock = new HandClock()
    const asked: string[] = []
    const end = endOf(clock, {
      handle: serve<string>(
        {
          ManagerPing: (body, respond, from) => {
            asked.push(from)
            respond('ManagerPong', { rel: body.rel })
          },
        },
        'peer-1',
      ),
    })
    end.conversation.receive(ping(1))
    end.conversation.receive(list(2))
    t.same(frames(end), [
      { a: 1, k: 'ManagerPong', b: { rel } },
      { a: 2, k: 'Error', b: { code: 'wrong-role' } },
    ])
    t.same(asked, ['peer-1'])
  },
)

t.test('without onBug a bug is thrown on by the clock', async (t) => {
  const clock = new HandClock()
  const sent: Uint8Array[] = []
  const conversation = new Conversation({
    send: (bytes) => void sent.push(bytes),
    close: () => undefined,
    bufferedBytes: () => 0,
    clock,
    handle: () => {
      throw new Error('broken')
    },
  })
  conversation.receive(ping(1))
  t.equal(sent.length, 1)
  t.throws(() => clock.move(0), /broken/)
})

t.test('an ask too big for the peer is not sent', async (t) => {
  const clock = new HandClock()
  const end = endOf(clock)
  end.conversation.peerLimits({ maxInFlight: 10, maxFrame: 64 })
  const outcomes: unknown[] = []
  const reason = 'r'.repeat(100)
  end.conversation.ask('ManagerBye', { rel, reason }, 1000, (outcome) =>
    outcomes.push(outcome),
  )
  t.same(outcomes, [])
  clock.move(1)
  t.match(outcomes, [{ left: { kind: 'protocol', exchange: 'ManagerBye' } }])
  end.conversation.ask('ManagerPing', { rel }, 1000, () => undefined)
  t.match(frames(end), [{ q: 1 }], 'and takes no id')
})

t.test('the queue has an end', async (t) => {
  const clock = new HandClock()
  const end = endOf(clock, { limits: { maxInFlight: 1, maxQueued: 1 } })
  const outcomes: unknown[] = []
  for (let asked = 0; asked < 3; asked++)
    end.conversation.ask('NodesList', {}, 1000, (outcome) => outcomes.push(outcome))
  clock.move(1)
  t.same(outcomes, [E.left({ kind: 'unreachable', exchange: 'NodesList' })])
})

t.test('a settle function that throws disturbs no other', async (t) => {
  const end = endOf(new HandClock())
  const broken = new Error('broken')
  const outcomes: unknown[] = []
  end.conversation.ask('ManagerPing', { rel }, 1000, () => {
    throw broken
  })
  end.conversation.ask('ManagerPing', { rel }, 1000, (outcome) => outcomes.push(outcome))
  end.conversation.receive(pong(1))
  end.conversation.receive(pong(2))
  t.same([end.bugs, outcomes.length, end.closes], [[broken], 1, []])
})

t.test('a send that delivers at once is a mistake that is named', async (t) => {
  const clock = new HandClock()
  const end = endOf(clock, { send: () => end.conversation.receive(pong(1)) })
  t.throws(
    () => end.conversation.ask('ManagerPing', { rel }, 1000, () => undefined),
    /deliver/,
  )
})

t.test('a socket that fails while it is written to settles later', async (t) => {
  const clock = new HandClock()
  const outcomes: unknown[] = []
  const end = endOf(clock, { send: () => end.conversation.closed() })
  end.conversation.ask('ManagerPing', { rel }, 1000, (outcome) => outcomes.push(outcome))
  t.same(outcomes, [])
  clock.move(0)
  t.same(outcomes, [E.left({ kind: 'disconnected', exchange: 'ManagerPing' })])
})

t.test('an answer is settled before the next frame is looked at', async (t) => {
  const order: string[] = []
  const end = endOf(new HandClock(), { handle: (kind) => void order.push(kind) })
  end.conversation.ask('ManagerPing', { rel }, 1000, () => order.push('settled'))
  end.conversation.receive(pong(1))
  end.conversation.receive(list(1))
  t.same(order, ['settled', 'NodesList'])
})

t.test(
  'a peer that states tiny deadlines does not make it ring without end',
  async (t) => {
    const clock = new HandClock()
    let rings = 0
    const after = clock.after.bind(clock)
    clock.after = (ms, fn) => {
      return after(ms, () => {
        rings++
        fn()
      })
    }
    const end = endOf(clock, { handle: keeping().handle })
    for (let q = 1; q <= 1000; q++) {
      end.conversation.receive(list(q, 1))
      clock.move(0.1)
    }
    clock.move(1000)
    t.ok(rings <= 25, `${rings} rings in 100 ms`)
    t.equal(end.conversation.size.serving, 0)
  },
)

t.test('whatever comes, nothing throws and every ask ends once', async (t) => {
  const act = fc.oneof(
    fc.record({
      do: fc.constant('ask'),
      kind: fc.nat(2),
      ms: fc.integer({ min: 1, max: 50 }),
    }),
    fc.record({ do: fc.constant('frame'), bytes: fc.uint8Array({ maxLength: 20 }) }),
    fc.record({ do: fc.constant('answer'), id: fc.nat(6), kind: fc.nat(3) }),
    fc.record({ do: fc.constant('request'), id: fc.nat(20), kind: fc.nat(4) }),
    fc.record({ do: fc.constant('respond'), index: fc.nat(5) }),
    fc.record({ do: fc.constant('move'), ms: fc.nat(30) }),
  )
  type Act = Partial<{
    kind: number
    ms: number
    bytes: Uint8Array
    id: number
    index: number
  }> & {
    do: string
  }
  const perform =
    (
      end: End,
      kept: ReturnType<typeof keeping>['kept'],
      clock: HandClock,
      asked: number[],
    ) =>
    (act: Act) => {
      const { conversation } = end
      const kinds = ['NodesList', 'ManagerPing', 'TasksPing'] as const
      switch (act.do) {
        case 'ask': {
          const index = asked.push(0) - 1
          const settle = () => {
            asked[index] = (asked[index] ?? 0) + 1
          }
          const kind = kinds[act.kind ?? 0] ?? 'NodesList'
          const body = {
            NodesList: {},
            ManagerPing: { rel },
            TasksPing: { rel, tasks: [] },
          }[kind]
          conversation.ask(kind, body as never, act.ms ?? 1, settle)
          break
        }
        case 'frame':
          conversation.receive(act.bytes ?? new Uint8Array())
          break
        case 'answer': {
          const [k, b] = [
            ['ManagerPong', { rel }],
            ['NodesListed', { nodes: [] }],
            ['Error', { code: 'busy' }],
            ['Ack', {}],
          ][act.kind ?? 0] as [string, object]
          conversation.receive(toBytes({ a: act.id ?? 0, k, b }))
          break
        }
        case 'request': {
          const k =
            ['NodesList', 'ManagerPing', 'TasksWait', 'Sing', 'TasksAbord'][
              act.kind ?? 0
            ] ?? ''
          conversation.receive(
            toBytes({ q: act.id ?? 0, k, b: { rel, tasks: [] }, t: 20 }),
          )
          break
        }
        case 'respond':
          kept.splice(act.index ?? 0, 1)[0]?.respond('Error', { code: 'internal' })
          break
        case 'move':
          clock.move(act.ms ?? 0)
      }
    }
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
      const clock = new HandClock()
      const { kept, handle } = keeping()
      const end = endOf(clock, { handle, limits: { maxInFlight: 2, maxQueued: 3 } })
      const asked: number[] = []
      acts.forEach(perform(end, kept, clock, asked))
      end.conversation.closed()
      clock.move(1000)
      return (
        asked.every((times) => times === 1) &&
        end.closes.length <= 1 &&
        end.bugs.length === 0 &&
        clock.pending === 0
      )
    }),
    { numRuns: 500 },
  )
  t.pass()
})
