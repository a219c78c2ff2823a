// The memory ledger beyond what every ledger promises: how a test spoils it.

import t from 'tap'
import { createMemoryLedger } from '../../src/ledger/memory.ts'
import type { CommitResult } from '../../src/ports.ts'
import type { Change } from '../../src/records.ts'
import { submission, submitted } from './support.ts'

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
