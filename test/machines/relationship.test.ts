// The worker's side of a relationship: the table, then random lists of events.

import fc from 'fast-check'
import t from 'tap'
import { isFromManager, relationship, step } from '../../src/machines/relationship.ts'
import type {
  Facts,
  Grant,
  Manager,
  Relationship,
  RelationshipEffect,
  RelationshipEvent,
} from '../../src/machines/relationship-state.ts'

const A: Manager = { connection: 1, nodeId: 'a', bootId: 'a1', ledgerId: 'ledger-a' }
const A2: Manager = { ...A, connection: 2 }
const A_BOOT2: Manager = { ...A, connection: 3, bootId: 'a2' }
const A_LEDGER2: Manager = { ...A, connection: 4, ledgerId: 'ledger-x' }
const B: Manager = { connection: 5, nodeId: 'b', bootId: 'b1', ledgerId: 'ledger-b' }

const grant: Grant = { rel: 'r1', epoch: 3, pingMs: 5000, leaseMs: 15_000, drop: [] }
const idle: Facts = { nowMs: 1000, fraction: 0, hasWork: () => false }
const busy: Facts = { ...idle, hasWork: () => true }
const at = (facts: Facts, nowMs: number): Facts => ({ ...facts, nowMs })

const accepted = (from: Manager, serial: number, more = {}): RelationshipEvent => ({
  kind: 'accepted',
  from,
  serial,
  sentAtMs: 900,
  grant: { ...grant, ...more },
})

/** The state after events, each with the facts (default: at 1,000 ms, with work). */
const after = (
  ...events: (RelationshipEvent | [RelationshipEvent, Facts])[]
): Relationship => {
  let [state] = relationship()
  for (const one of events) {
    const [event, facts] = Array.isArray(one) ? one : [one, busy]
    state = step(state, event, facts)[0]
  }
  return state
}
const connectA: RelationshipEvent = { kind: 'connected', manager: A }
const requesting = after(connectA)
const managed = after(connectA, accepted(A, 1))
const suspect = after(connectA, accepted(A, 1), { kind: 'lost', connection: 1 })
const lateManaged = after(connectA, [accepted(A, 1), idle])
const leaseDue: RelationshipEvent = { kind: 'timer', name: 'lease' }
const over = at(busy, 15_900)

interface Row {
  readonly says: string
  readonly from: Relationship
  readonly event: RelationshipEvent
  readonly facts?: Facts
  readonly phase: string
  readonly effects: readonly Partial<RelationshipEffect>[]
}

const rows: readonly Row[] = [
  {
    says: 'detached, a manager connects: asked',
    from: after(),
    event: connectA,
    phase: 'requesting',
    effects: [
      { kind: 'untimer', name: 'retry' },
      { kind: 'request', to: A, serial: 1, rel: undefined },
    ],
  },
  {
    says: 'requesting, accepted: drops, lease from the send time, pings, flush',
    from: requesting,
    event: accepted(A, 1),
    phase: 'managed',
    effects: [
      { kind: 'drop', tasks: [] },
      { kind: 'lease', untilMs: 15_900 },
      { kind: 'untimer', name: 'retry' },
      { kind: 'untimer', name: 'release' },
      { kind: 'timer', name: 'lease', afterMs: 14_900 },
      { kind: 'timer', name: 'ping', afterMs: 5000 },
      { kind: 'flush', ledgerId: 'ledger-a' },
    ],
  },
  {
    says: 'detached, a newcomer is asked before one that has refused',
    from: after({ kind: 'connected', manager: B }, [
      { kind: 'refused', serial: 1, retryAfterMs: 0 },
      idle,
    ]),
    event: connectA,
    phase: 'requesting',
    effects: [
      { kind: 'untimer', name: 'retry' },
      { kind: 'request', to: A, serial: 2, rel: undefined },
    ],
  },
  {
    says: 'detached after a refusal, the next manager is asked',
    from: after(connectA, { kind: 'connected', manager: B }, [
      { kind: 'refused', serial: 1, retryAfterMs: 0 },
      idle,
    ]),
    event: { kind: 'timer', name: 'retry' },
    phase: 'requesting',
    effects: [
      { kind: 'untimer', name: 'retry' },
      { kind: 'request', to: B, serial: 2, rel: undefined },
    ],
  },
  {
    says: 'requesting, an earlier request is refused: nothing',
    from: requesting,
    event: { kind: 'refused', serial: 99, retryAfterMs: 0 },
    phase: 'requesting',
    effects: [],
  },
  {
    says: 'requesting, refused for hours: a minute at most',
    from: requesting,
    event: { kind: 'refused', serial: 1, retryAfterMs: 1e9 },
    facts: idle,
    phase: 'detached',
    effects: [
      { kind: 'timer', name: 'retry', afterMs: 60_000 },
      { kind: 'untimer', name: 'lease' },
      { kind: 'untimer', name: 'release' },
    ],
  },
  {
    says: 'requesting for the owner of work that has ended, refused: detached',
    from: step(suspect, { kind: 'connected', manager: A2 }, busy)[0],
    event: { kind: 'refused', serial: 2, retryAfterMs: 0 },
    facts: idle,
    phase: 'detached',
    effects: [
      { kind: 'timer', name: 'retry', afterMs: 250 },
      { kind: 'untimer', name: 'lease' },
      { kind: 'untimer', name: 'release' },
    ],
  },
  {
    says: 'requesting from detached, refused: back-off, detached',
    from: requesting,
    event: { kind: 'refused', serial: 1, retryAfterMs: 0 },
    phase: 'detached',
    effects: [
      { kind: 'timer', name: 'retry', afterMs: 250 },
      { kind: 'untimer', name: 'lease' },
      { kind: 'untimer', name: 'release' },
    ],
  },
  {
    says: 'requesting for the owner of work, refused: as long as it says, suspect',
    from: step(suspect, { kind: 'connected', manager: A2 }, busy)[0],
    event: { kind: 'refused', serial: 2, retryAfterMs: 3000 },
    phase: 'suspect',
    effects: [{ kind: 'timer', name: 'retry', afterMs: 3000 }],
  },
  {
    says: 'requesting, the socket is lost: back-off',
    from: requesting,
    event: { kind: 'lost', connection: 1 },
    phase: 'detached',
    effects: [
      { kind: 'timer', name: 'retry', afterMs: 250 },
      { kind: 'untimer', name: 'lease' },
      { kind: 'untimer', name: 'release' },
    ],
  },
  {
    says: 'requesting, an answer to an earlier request: bye',
    from: requesting,
    event: accepted(B, 99),
    phase: 'requesting',
    effects: [{ kind: 'bye', to: B, rel: 'r1', reason: 'too late' }],
  },
  {
    says: 'requesting, accepted by a fenced manager: bye, back-off',
    from: step(
      step(suspect, { kind: 'connected', manager: A2 }, busy)[0],
      connectA,
      busy,
    )[0],
    event: accepted(A2, 2, { epoch: 2 }),
    phase: 'suspect',
    effects: [
      { kind: 'bye', to: A2, rel: 'r1', reason: 'fenced: a later epoch was seen' },
      { kind: 'timer', name: 'retry', afterMs: 250 },
    ],
  },
  {
    says: 'managed, another manager connects: not asked',
    from: managed,
    event: { kind: 'connected', manager: B },
    phase: 'managed',
    effects: [],
  },
  {
    says: 'managed, accepted late by another manager: bye to that one',
    from: managed,
    event: accepted(B, 0),
    phase: 'managed',
    effects: [{ kind: 'bye', to: B, rel: 'r1', reason: 'too late' }],
  },
  {
    says: 'managed, accepted again by the same: not considered',
    from: managed,
    event: accepted(A, 0),
    phase: 'managed',
    effects: [],
  },
  {
    says: 'managed, the socket is lost: redial',
    from: managed,
    event: { kind: 'lost', connection: 1 },
    phase: 'suspect',
    effects: [
      { kind: 'untimer', name: 'ping' },
      { kind: 'redial', nodeId: 'a' },
    ],
  },
  {
    says: 'managed, another socket is lost: nothing',
    from: managed,
    event: { kind: 'lost', connection: 77 },
    phase: 'managed',
    effects: [],
  },
  {
    says: 'managed, a third ping without an answer: the socket ends, redial',
    from: after(
      connectA,
      accepted(A, 1),
      { kind: 'ping-timeout', rel: 'r1' },
      { kind: 'ping-timeout', rel: 'r1' },
    ),
    event: { kind: 'ping-timeout', rel: 'r1' },
    phase: 'suspect',
    effects: [
      { kind: 'untimer', name: 'ping' },
      { kind: 'terminate', nodeId: 'a', why: 'three pings without an answer' },
      { kind: 'redial', nodeId: 'a' },
    ],
  },
  {
    says: 'managed, a third ping in all without an answer, not in a row: nothing',
    from: after(
      connectA,
      accepted(A, 1),
      { kind: 'ping-timeout', rel: 'r1' },
      { kind: 'ping-timeout', rel: 'r1' },
      { kind: 'pong', rel: 'r1', sentAtMs: 900 },
    ),
    event: { kind: 'ping-timeout', rel: 'r1' },
    phase: 'managed',
    effects: [],
  },
  {
    says: 'managed, pings of an old rel without an answer: nothing',
    from: after(
      connectA,
      accepted(A, 1),
      { kind: 'ping-timeout', rel: 'r0' },
      { kind: 'ping-timeout', rel: 'r0' },
    ),
    event: { kind: 'ping-timeout', rel: 'r0' },
    phase: 'managed',
    effects: [],
  },
  {
    says: 'managed, its manager comes by another socket: asked there, with the rel',
    from: managed,
    event: { kind: 'connected', manager: A2 },
    phase: 'requesting',
    effects: [
      { kind: 'untimer', name: 'ping' },
      { kind: 'untimer', name: 'retry' },
      { kind: 'request', to: A2, serial: 2, rel: 'r1' },
    ],
  },
  {
    says: 'managed, a ping is due',
    from: managed,
    event: { kind: 'timer', name: 'ping' },
    phase: 'managed',
    effects: [
      { kind: 'ping', to: A, rel: 'r1', t: 5000 },
      { kind: 'timer', name: 'ping', afterMs: 5000 },
    ],
  },
  {
    says: 'managed, a pong renews the lease from the send time',
    from: managed,
    event: { kind: 'pong', rel: 'r1', sentAtMs: 6000 },
    facts: at(busy, 6100),
    phase: 'managed',
    effects: [
      { kind: 'lease', untilMs: 21_000 },
      { kind: 'timer', name: 'lease', afterMs: 14_900 },
    ],
  },
  {
    says: 'managed, a pong that was overtaken: the lease does not go back',
    from: step(managed, { kind: 'pong', rel: 'r1', sentAtMs: 6000 }, at(busy, 6100))[0],
    event: { kind: 'pong', rel: 'r1', sentAtMs: 5500 },
    facts: at(busy, 6100),
    phase: 'managed',
    effects: [
      { kind: 'lease', untilMs: 21_000 },
      { kind: 'timer', name: 'lease', afterMs: 14_900 },
    ],
  },
  {
    says: 'managed, a pong with an old rel: nothing',
    from: managed,
    event: { kind: 'pong', rel: 'r0', sentAtMs: 6000 },
    facts: at(busy, 6100),
    phase: 'managed',
    effects: [],
  },
  {
    says: 'managed, NotMine: asked anew, without the rel',
    from: lateManaged,
    event: { kind: 'not-mine', rel: 'r1' },
    facts: at(busy, 5000),
    phase: 'requesting',
    effects: [
      { kind: 'untimer', name: 'ping' },
      { kind: 'request', to: A, serial: 2, rel: undefined },
    ],
  },
  {
    says: 'managed, NotMine right after the acceptance: asked after a pause',
    from: managed,
    event: { kind: 'not-mine', rel: 'r1' },
    phase: 'suspect',
    effects: [
      { kind: 'untimer', name: 'ping' },
      { kind: 'timer', name: 'retry', afterMs: 500 },
    ],
  },
  {
    says: 'managed, NotMine with an old rel: nothing',
    from: managed,
    event: { kind: 'not-mine', rel: 'r0' },
    phase: 'managed',
    effects: [],
  },
  {
    says: 'managed, bye from the manager: its work is forgotten',
    from: managed,
    event: { kind: 'bye', connection: 1, rel: 'r1' },
    phase: 'detached',
    effects: [
      { kind: 'forget', ledgerId: 'ledger-a' },
      { kind: 'untimer', name: 'ping' },
      { kind: 'untimer', name: 'lease' },
      { kind: 'untimer', name: 'release' },
      { kind: 'timer', name: 'retry', afterMs: 250 },
      { kind: 'untimer', name: 'lease' },
      { kind: 'untimer', name: 'release' },
    ],
  },
  {
    says: 'managed, bye with an old rel: nothing',
    from: managed,
    event: { kind: 'bye', connection: 1, rel: 'r0' },
    phase: 'managed',
    effects: [],
  },
  {
    says: 'requesting anew, bye with the last rel: its work is forgotten, the ask goes on',
    from: step(suspect, { kind: 'connected', manager: A2 }, busy)[0],
    event: { kind: 'bye', connection: 2, rel: 'r1' },
    phase: 'requesting',
    effects: [
      { kind: 'forget', ledgerId: 'ledger-a' },
      { kind: 'untimer', name: 'ping' },
      { kind: 'untimer', name: 'lease' },
      { kind: 'untimer', name: 'release' },
    ],
  },
  {
    says: 'managed, bye from a stranger: nothing',
    from: managed,
    event: { kind: 'bye', connection: 5, rel: 'r1' },
    phase: 'managed',
    effects: [],
  },
  {
    says: 'managed, the lease is over: socket, orphans, suspect',
    from: managed,
    event: leaseDue,
    facts: over,
    phase: 'suspect',
    effects: [
      { kind: 'orphan', ledgerId: 'ledger-a' },
      { kind: 'timer', name: 'release', afterMs: 135_000 },
      { kind: 'untimer', name: 'ping' },
      { kind: 'terminate', nodeId: 'a', why: 'the lease is over' },
      { kind: 'redial', nodeId: 'a' },
    ],
  },
  {
    says: 'managed without work, the lease is over: free for another',
    from: managed,
    event: leaseDue,
    facts: at(idle, 15_900),
    phase: 'detached',
    effects: [
      { kind: 'orphan', ledgerId: 'ledger-a' },
      { kind: 'timer', name: 'release', afterMs: 135_000 },
      { kind: 'untimer', name: 'release' },
      { kind: 'untimer', name: 'ping' },
      { kind: 'terminate', nodeId: 'a', why: 'the lease is over' },
      { kind: 'redial', nodeId: 'a' },
    ],
  },
  {
    says: 'managed, the lease was renewed meanwhile: later',
    from: managed,
    event: leaseDue,
    facts: at(busy, 15_000),
    phase: 'managed',
    effects: [{ kind: 'timer', name: 'lease', afterMs: 900 }],
  },
  {
    says: 'suspect, the same boot is back: asked with the rel',
    from: suspect,
    event: { kind: 'connected', manager: A2 },
    phase: 'requesting',
    effects: [
      { kind: 'untimer', name: 'retry' },
      { kind: 'request', to: A2, serial: 2, rel: 'r1' },
    ],
  },
  {
    says: 'suspect, another boot with the ledger is back: asked without',
    from: suspect,
    event: { kind: 'connected', manager: A_BOOT2 },
    phase: 'requesting',
    effects: [
      { kind: 'untimer', name: 'retry' },
      { kind: 'request', to: A_BOOT2, serial: 2, rel: undefined },
    ],
  },
  {
    says: 'suspect, it is back with another ledger: the old work is nobodys',
    from: suspect,
    event: { kind: 'connected', manager: A_LEDGER2 },
    phase: 'requesting',
    effects: [
      { kind: 'forget', ledgerId: 'ledger-a' },
      { kind: 'untimer', name: 'lease' },
      { kind: 'untimer', name: 'release' },
      { kind: 'untimer', name: 'retry' },
      { kind: 'request', to: A_LEDGER2, serial: 2, rel: undefined },
    ],
  },
  {
    says: 'requesting for the owner of work, it is back with another ledger: free of it',
    from: after(connectA, accepted(A, 1), { kind: 'not-mine', rel: 'r1' }, [
      { kind: 'timer', name: 'retry' },
      busy,
    ]),
    event: { kind: 'connected', manager: A_LEDGER2 },
    phase: 'requesting',
    effects: [
      { kind: 'forget', ledgerId: 'ledger-a' },
      { kind: 'untimer', name: 'lease' },
      { kind: 'untimer', name: 'release' },
    ],
  },
  {
    says: 'managed, an earlier manager is back with another ledger: the lease goes on',
    from: after(
      connectA,
      accepted(A, 1),
      { kind: 'bye', connection: 1, rel: 'r1' },
      { kind: 'lost', connection: 1 },
      { kind: 'connected', manager: B },
      accepted(B, 2),
    ),
    event: { kind: 'connected', manager: A_LEDGER2 },
    phase: 'managed',
    effects: [
      { kind: 'forget', ledgerId: 'ledger-a' },
      { kind: 'lease', untilMs: 15_900 },
    ],
  },
  {
    says: 'suspect, a manager of another ledger: not asked',
    from: suspect,
    event: { kind: 'connected', manager: B },
    phase: 'suspect',
    effects: [],
  },
  {
    says: 'suspect, the lease is over: orphans',
    from: suspect,
    event: leaseDue,
    facts: over,
    phase: 'suspect',
    effects: [
      { kind: 'orphan', ledgerId: 'ledger-a' },
      { kind: 'timer', name: 'release', afterMs: 135_000 },
      { kind: 'untimer', name: 'ping' },
    ],
  },
  {
    says: 'suspect, the lease is over a second time: nothing',
    from: step(suspect, leaseDue, over)[0],
    event: leaseDue,
    facts: at(busy, 40_000),
    phase: 'suspect',
    effects: [],
  },
  {
    says: 'requesting on a new socket, the lease is over: orphans, the ask goes on',
    from: step(suspect, { kind: 'connected', manager: A2 }, busy)[0],
    event: leaseDue,
    facts: over,
    phase: 'requesting',
    effects: [
      { kind: 'orphan', ledgerId: 'ledger-a' },
      { kind: 'timer', name: 'release', afterMs: 135_000 },
    ],
  },
  {
    says: 'requesting on the socket of the bond, the lease is over: socket ends',
    from: step(lateManaged, { kind: 'not-mine', rel: 'r1' }, at(busy, 5000))[0],
    event: leaseDue,
    facts: over,
    phase: 'suspect',
    effects: [
      { kind: 'orphan', ledgerId: 'ledger-a' },
      { kind: 'timer', name: 'release', afterMs: 135_000 },
      { kind: 'untimer', name: 'ping' },
      { kind: 'terminate', nodeId: 'a', why: 'the lease is over' },
      { kind: 'redial', nodeId: 'a' },
    ],
  },
  {
    says: 'suspect, ten leases over: released, another is asked',
    from: step(suspect, { kind: 'connected', manager: B }, busy)[0],
    event: { kind: 'timer', name: 'release' },
    facts: at(busy, 150_900),
    phase: 'requesting',
    effects: [
      { kind: 'release', ledgerId: 'ledger-a' },
      { kind: 'untimer', name: 'retry' },
      { kind: 'request', to: B, serial: 2, rel: undefined },
    ],
  },
  {
    says: 'requesting for the owner of work, ten leases over: its answer decides',
    from: step(suspect, { kind: 'connected', manager: A2 }, busy)[0],
    event: { kind: 'timer', name: 'release' },
    facts: at(busy, 150_900),
    phase: 'requesting',
    effects: [{ kind: 'timer', name: 'release', afterMs: 10_000 }],
  },
  {
    says: 'left, its manager is back with another ledger: nothing',
    from: step(managed, { kind: 'leave' }, busy)[0],
    event: { kind: 'connected', manager: A_LEDGER2 },
    phase: 'left',
    effects: [],
  },
  {
    says: 'managed, leaving: bye',
    from: managed,
    event: { kind: 'leave' },
    phase: 'left',
    effects: [
      { kind: 'untimer', name: 'retry' },
      { kind: 'untimer', name: 'ping' },
      { kind: 'untimer', name: 'lease' },
      { kind: 'untimer', name: 'release' },
      { kind: 'bye', to: A, rel: 'r1', reason: 'the worker is leaving' },
    ],
  },
  {
    says: 'left, whatever connects: nothing',
    from: step(managed, { kind: 'leave' }, busy)[0],
    event: { kind: 'connected', manager: B },
    phase: 'left',
    effects: [],
  },
]

for (const { says, from, event, facts, phase, effects } of rows) {
  t.test(says, async (t) => {
    const [state, done] = step(from, event, facts ?? busy)
    t.equal(state.phase.kind, phase)
    t.same(done, effects)
  })
}

t.test('work that was forgotten binds nobody when the request fails', async (t) => {
  const asking = after(connectA, accepted(A, 1), { kind: 'not-mine', rel: 'r1' }, [
    { kind: 'timer', name: 'retry' },
    busy,
  ])
  const [free] = step(asking, { kind: 'connected', manager: A_LEDGER2 }, busy)
  const [lost] = step(free, { kind: 'lost', connection: A.connection }, busy)
  t.equal(lost.phase.kind, 'detached', 'although its processes are still ending')
})

t.test('the back-off doubles up to ten seconds', async (t) => {
  let state = requesting
  const waits: number[] = []
  for (let serial = 1; serial <= 7; serial += 1) {
    const facts = { ...idle, fraction: 0.999_999 }
    const [next, effects] = step(
      state,
      { kind: 'refused', serial, retryAfterMs: 0 },
      facts,
    )
    for (const one of effects)
      if (one.kind === 'timer') waits.push(Math.round(one.afterMs))
    state = step(next, { kind: 'timer', name: 'retry' }, facts)[0]
  }
  t.same(waits, [500, 1000, 2000, 4000, 8000, 10_000, 10_000])
})

t.test('an acceptance ends the doubling', async (t) => {
  const refused = (serial: number) =>
    [{ kind: 'refused', serial, retryAfterMs: 0 } as const, idle] as [
      RelationshipEvent,
      Facts,
    ]
  const retry: RelationshipEvent = { kind: 'timer', name: 'retry' }
  const asking = after(
    connectA,
    refused(1),
    retry,
    refused(2),
    retry,
    accepted(A, 3),
    { kind: 'lost', connection: 1 },
    { kind: 'connected', manager: A2 },
  )
  const [, effects] = step(asking, { kind: 'refused', serial: 4, retryAfterMs: 0 }, idle)
  t.match(effects, [{ kind: 'timer', name: 'retry', afterMs: 250 }])
})

t.test('of managers that come and go, the last 64 are remembered', async (t) => {
  let state = after()
  for (let n = 1; n <= 70; n += 1) {
    const manager: Manager = {
      connection: n,
      nodeId: `n${n}`,
      bootId: 'b',
      ledgerId: `ledger-${n}`,
    }
    state = step(state, { kind: 'connected', manager }, idle)[0]
    const serial = state.serial
    state = step(state, accepted(manager, serial), idle)[0]
    state = step(state, { kind: 'bye', connection: n, rel: 'r1' }, idle)[0]
    state = step(state, { kind: 'lost', connection: n }, idle)[0]
  }
  for (const known of [state.epochs, state.ledgers]) {
    t.equal(known.size, 64)
    const [oldest] = known.keys()
    t.match(oldest, /-?7$/)
  }
})

t.test('unstarted work found on disk binds the worker to its ledger', async (t) => {
  const [state, effects] = relationship('ledger-a')
  t.same(effects, [{ kind: 'timer', name: 'release', afterMs: 150_000 }])
  t.equal(step(state, { kind: 'connected', manager: B }, busy)[0].phase.kind, 'suspect')
  t.equal(step(state, connectA, busy)[0].phase.kind, 'requesting')
})

const manager = fc.constantFrom(A, A2, A_BOOT2, A_LEDGER2, B)
const anyEvent: fc.Arbitrary<RelationshipEvent> = fc.oneof(
  manager.map((manager) => ({ kind: 'connected', manager }) as const),
  fc
    .integer({ min: 1, max: 5 })
    .map((connection) => ({ kind: 'lost', connection }) as const),
  fc
    .tuple(manager, fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 4 }))
    .map(([from, serial, epoch]) => accepted(from, serial, { rel: `r${serial}`, epoch })),
  fc
    .integer({ min: 1, max: 9 })
    .map((serial) => ({ kind: 'refused', serial, retryAfterMs: 0 }) as const),
  fc
    .integer({ min: 1, max: 9 })
    .chain((n) =>
      fc.constantFrom<RelationshipEvent>(
        { kind: 'pong', rel: `r${n}`, sentAtMs: 900 },
        { kind: 'ping-timeout', rel: `r${n}` },
        { kind: 'not-mine', rel: `r${n}` },
        { kind: 'bye', connection: Math.min(n, 5), rel: `r${n}` },
      ),
    ),
  fc
    .constantFrom('retry', 'ping', 'lease', 'release')
    .map((name) => ({ kind: 'timer', name }) as RelationshipEvent),
)

t.test('whatever happens, the invariants hold', async (t) => {
  const check = fc.check(
    fc.property(
      fc.array(fc.tuple(anyEvent, fc.integer({ min: 0, max: 9000 }), fc.boolean()), {
        maxLength: 60,
      }),
      (story) => {
        let [state] = relationship()
        let nowMs = 1000
        const orphaned = new Map<string, number>()
        for (const [event, passMs, hasWork] of story) {
          nowMs += passMs
          const before = state
          const facts = { nowMs, fraction: 0.5, hasWork: () => hasWork }
          const [next, effects] = step(state, event, facts)
          state = next
          for (const effect of effects) {
            if (effect.kind === 'request' && next.phase.kind !== 'requesting') {
              throw new Error('a request that nobody waits for')
            }
            if (effect.kind === 'ping' && before.phase.kind !== 'managed') {
              throw new Error('a ping without a relationship')
            }
            if (effect.kind === 'orphan') {
              const bond = 'bond' in before.phase ? before.phase.bond : undefined
              const key = `${bond?.manager.connection} ${bond?.untilMs}`
              if (orphaned.has(key) && bond?.isOver) throw new Error('orphaned twice')
              orphaned.set(key, nowMs)
              if (bond === undefined || nowMs < bond.untilMs) throw new Error('too early')
            }
            if (effect.kind === 'bye' && effect.to === undefined) throw new Error('bye')
          }
          if (next.phase.kind === 'managed') {
            const { manager, bond, rel } = next.phase
            if (!isFromManager(next, manager.connection, rel)) throw new Error('deaf')
            const highest = next.epochs.get(manager.ledgerId) ?? 0
            if (bond.epoch < highest) throw new Error('a fenced manager is served')
          }
        }
      },
    ),
    { numRuns: 300 },
  )
  t.equal(check.failed ? fc.defaultReportMessage(check) : 'holds', 'holds')
})
