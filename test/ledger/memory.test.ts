// The memory ledger keeps the port's promise: later, in order, all or nothing.

import t from 'tap'
import { createMemoryLedger } from '../../src/ledger/memory.ts'
import type { CommitResult } from '../../src/ports.ts'
import type { Change, RecordedTask, Submission } from '../../src/records.ts'
import { noop } from '../support/manager-world.ts'

const submission = (first: number, count: number, key = `k${first}`): Submission => ({
  first,
  key,
  batch: key,
  tasks: Array.from({ length: count }, () => noop()),
  atMs: 1,
})
const submitted = (one: Submission): Change => ({ kind: 'submitted', submission: one })
const assigned = (seq: number, attempt = 1): Change => ({
  kind: 'assigned',
  seq,
  attempt,
  nodeId: 'n1',
  bootId: 'b1',
  hostName: 'w1',
  atMs: 2,
})
const closed = (seq: number, state: 'completed' | 'failed' = 'completed'): Change => ({
  kind: 'closed',
  seq,
  attempt: 1,
  state,
  outcome: { kind: 'Completed', result: { run_ms: 1 } },
  failures: 0,
  losses: 0,
  endedMs: 3,
})

/** A ledger whose commits settle when the test says so. */
const stepped = () => {
  const turns: (() => void)[] = []
  const ledger = createMemoryLedger({ id: 'abcdefghij', later: (fn) => turns.push(fn) })
  const results: CommitResult['kind'][] = []
  return {
    ledger,
    results,
    commit: (...changes: Change[]) =>
      ledger.commit(changes, ({ kind }) => results.push(kind)),
    turn: () => {
      for (const fn of turns.splice(0)) fn()
    },
  }
}

const replayed = async (ledger: { replay(): AsyncIterable<RecordedTask> }) => {
  const tasks: RecordedTask[] = []
  for await (const task of ledger.replay()) tasks.push(task)
  return tasks
}

t.test('nothing can be read before its commit has settled', async (t) => {
  const { ledger, commit, turn, results } = stepped()
  commit(submitted(submission(1, 2)))
  t.equal(ledger.task(1), undefined)
  t.equal(ledger.byKey('k1'), undefined)
  t.same(results, [])
  turn()
  t.same(results, ['durable'])
  t.match(ledger.task(2), { seq: 2, attempt: 1, assigned: [] })
  t.equal(ledger.byKey('k1')?.first, 1)
  t.equal(ledger.nextSequence(), 3)
})

t.test('replay gives the open tasks with the last of what is known', async (t) => {
  const { ledger, commit, turn } = stepped()
  commit(submitted(submission(1, 3)), assigned(1), assigned(2))
  commit(
    { kind: 'requeued', seq: 2, attempt: 2, failures: 1, losses: 0, notBeforeMs: 7 },
    closed(1),
  )
  turn()
  t.match(await replayed(ledger), [
    { seq: 2, attempt: 2, failures: 1, notBeforeMs: 7, assigned: [{ attempt: 1 }] },
    { seq: 3, attempt: 1, assigned: [] },
  ])
  t.same(ledger.stats(), { open: 2, closed: 1 })
})

t.test('the first outcome stays', async (t) => {
  const { ledger, commit, turn } = stepped()
  commit(submitted(submission(1, 1)), closed(1), closed(1, 'failed'), assigned(1, 2))
  turn()
  t.match(ledger.task(1), { attempt: 1, closed: { state: 'completed' } })
  t.same(ledger.stats(), { open: 0, closed: 1 })
})

t.test('full applies nothing and may be tried again', async (t) => {
  const { ledger, commit, turn, results } = stepped()
  ledger.spoil({ kind: 'full' })
  commit(submitted(submission(1, 1)))
  turn()
  t.equal(ledger.task(1), undefined)
  ledger.spoil(undefined)
  commit(submitted(submission(1, 1)))
  turn()
  t.same(results, ['full', 'durable'])
})

t.test('fenced and failed are for good', async (t) => {
  for (const bad of [{ kind: 'fenced' }, { kind: 'failed', reason: 'disk' }] as const) {
    const { ledger, commit, turn, results } = stepped()
    ledger.spoil(bad)
    commit(submitted(submission(1, 1)))
    turn()
    ledger.spoil(undefined)
    commit(submitted(submission(2, 1)))
    turn()
    t.same(results, [bad.kind, bad.kind])
    t.equal(ledger.task(2), undefined)
  }
})

t.test('what has not settled can be forgotten, as by a power cut', async (t) => {
  const { ledger, commit, turn, results } = stepped()
  commit(submitted(submission(1, 1)))
  ledger.forgetUnsettled()
  turn()
  t.same(results, [])
  t.equal(ledger.task(1), undefined)
})

t.test('retire drops closed tasks only, and their key with the last', async (t) => {
  const { ledger, commit, turn } = stepped()
  commit(submitted(submission(1, 2)), closed(1))
  turn()
  ledger.retire([1, 2])
  t.equal(ledger.task(1), undefined)
  t.ok(ledger.task(2))
  t.ok(ledger.byKey('k1'))
  commit(closed(2))
  turn()
  ledger.retire([2])
  t.equal(ledger.byKey('k1'), undefined)
  t.same(ledger.stats(), { open: 0, closed: 0 })
})

t.test('lists are newest first, a page at a time', async (t) => {
  const { ledger, commit, turn } = stepped()
  commit(submitted(submission(1, 5)))
  turn()
  const seqs = (before: number) => ledger.list(before, 2).map(({ seq }) => seq)
  t.same(seqs(Number.POSITIVE_INFINITY), [5, 4])
  t.same(seqs(4), [3, 2])
  t.same(seqs(2), [1])
})

t.test('close waits for commits under way, and later ones fail', async (t) => {
  const ledger = createMemoryLedger({ id: 'abcdefghij' })
  const results: string[] = []
  ledger.commit([submitted(submission(1, 1))], ({ kind }) => results.push(kind))
  await ledger.close()
  t.same(results, ['durable'])
  const late = new Promise((settle) => ledger.commit([closed(1)], settle))
  t.match(await late, { kind: 'failed' })
  await ledger.close()
})
