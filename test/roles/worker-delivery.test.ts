// Delivery alone: when outcomes are sent, again or not at all.

import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { memoryOutbox } from '../../src/outbox/memory.ts'
import type { Ask, Settle } from '../../src/ports.ts'
import { WorkerDelivery } from '../../src/roles/worker-delivery.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { assignment, LEDGER, OTHER_LEDGER, quiet } from '../support/worker-world.ts'

const outcome = { kind: 'Completed', result: { run_ms: 1, exit_code: 0 } } as const
const taskOf = (ledgerId: string, n: number) => ({
  ...assignment(1),
  task_id: `${ledgerId}-${n}`,
})

/** A delivery, what it asked, and a manager for the ledgers in `served`. */
const made = () => {
  const clock = createManualClock()
  const sent: {
    readonly id: string
    readonly atMs: number
    settle: Settle<'TaskCompleted'>
  }[] = []
  const served = new Set<string>()
  const logged: string[] = []
  const foreign: string[] = []
  const acked: string[] = []
  const records: ((isDurable: boolean) => void)[] = []
  const state = { isSlow: false }
  const ask: Ask = (_to, _kind, body, _timeoutMs, settle) => {
    // Delivery asks with outcomes alone.
    const { task_id: id } = body as { task_id: string }
    sent.push({
      id,
      atMs: clock.now(),
      settle: settle as unknown as Settle<'TaskCompleted'>,
    })
  }
  const delivery = new WorkerDelivery({
    clock,
    ask,
    outbox: {
      ...memoryOutbox(),
      sync: (done) => (state.isSlow ? void records.push(done) : done(true)),
    },
    log: { ...quiet, error: (event) => void logged.push(event) },
    target: (ledgerId) => (served.has(ledgerId) ? { nodeId: 'm', rel: 'r' } : undefined),
    acked: (taskId) => void acked.push(taskId),
    notMine: () => undefined,
    foreign: (ledgerId) => void foreign.push(ledgerId),
  })
  const answer = (body: object, kind = 'Error') => {
    const last = sent.at(-1)
    // As the wire would give it.
    last?.settle(E.right({ kind, body }) as Parameters<Settle<'TaskCompleted'>>[0])
  }
  return { delivery, clock, sent, served, logged, foreign, acked, records, state, answer }
}

t.test('an outcome is sent again after 1 s doubling to 30 s', async (t) => {
  const { delivery, clock, sent, served, answer } = made()
  served.add(LEDGER)
  delivery.put(assignment(1), outcome)
  const waits: number[] = []
  for (let n = 0; n < 7; n += 1) {
    answer({ code: 'internal' })
    const before = sent.length
    let ms = 0
    for (; sent.length === before; ms += 500) clock.advance(500)
    waits.push(ms)
  }
  t.same(waits, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
  delivery.close()
})

t.test('a new relationship brings the outcomes of its ledger alone, once', async (t) => {
  const { delivery, sent, served, foreign } = made()
  delivery.put(taskOf(LEDGER, 1), outcome)
  delivery.put(taskOf(OTHER_LEDGER, 1), outcome)
  t.same(foreign, [LEDGER, OTHER_LEDGER])
  served.add(LEDGER).add(OTHER_LEDGER)
  delivery.flush(LEDGER)
  delivery.flush(LEDGER)
  delivery.resend(`${LEDGER}-1`)
  t.same(
    sent.map(({ id }) => id),
    [`${LEDGER}-1`],
    'what is under way is not sent twice',
  )
  t.same(foreign, [LEDGER, OTHER_LEDGER], 'nor offered to others')
  delivery.close()
})

t.test('what the manager asks for again is sent at once', async (t) => {
  const { delivery, sent, served, answer } = made()
  served.add(LEDGER)
  delivery.put(assignment(1), outcome)
  answer({ code: 'busy' })
  delivery.resend(`${LEDGER}-1`)
  t.equal(sent.length, 2)
  delivery.close()
})

t.test(
  'an outcome that is malformed is logged, shown, and given to nobody',
  async (t) => {
    const { delivery, clock, sent, served, logged, answer } = made()
    served.add(LEDGER)
    delivery.put(assignment(1), outcome)
    answer({ code: 'malformed', path: 'result' })
    t.same(logged, ['outcome-malformed'])
    t.equal(delivery.parked, 1)
    t.same(delivery.outcomesOf(LEDGER), [])
    delivery.flush(LEDGER)
    clock.advance(100_000)
    t.equal(sent.length, 1)
    t.ok(delivery.isEmpty, 'nothing is left that could be delivered')
    delivery.close()
  },
)

t.test('an outcome that is not recorded yet is nobodys', async (t) => {
  const { delivery, sent, served, records, state } = made()
  served.add(LEDGER)
  state.isSlow = true
  delivery.put(assignment(1), outcome)
  delivery.flush(LEDGER)
  t.same(delivery.outcomesOf(LEDGER), [])
  t.equal(sent.length, 0)
  for (const done of records) done(true)
  t.equal(sent.length, 1)
  t.equal(delivery.outcomesOf(LEDGER).length, 1)
  delivery.close()
})

t.test('no more than 512 outcomes are under way', async (t) => {
  const { delivery, sent, served, acked, answer } = made()
  served.add(LEDGER)
  for (let n = 1; n <= 600; n += 1) delivery.put(taskOf(LEDGER, n), outcome)
  t.equal(sent.length, 512)
  answer({}, 'Ack')
  t.equal(acked.length, 1)
  t.equal(sent.length, 513)
  delivery.close()
})
