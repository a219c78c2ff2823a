// Changes for tests of ledgers, and what a ledger says.

import type { CommitResult, Ledger } from '../../src/ports.ts'
import type { Change, RecordedTask, Submission } from '../../src/records.ts'
import { noop } from '../support/manager-world.ts'

export const submission = (
  first: number,
  count: number,
  key = `k${first}`,
): Submission => ({
  first,
  key,
  batch: key,
  tasks: Array.from({ length: count }, () => noop()),
  atMs: 1,
})
export const submitted = (one: Submission): Change => ({
  kind: 'submitted',
  submission: one,
})
export const assigned = (seq: number, attempt = 1): Change => ({
  kind: 'assigned',
  ...{ seq, attempt, nodeId: 'n1', bootId: 'b1', hostName: 'w1', atMs: 2 },
})
export const requeued = (seq: number, attempt = 2): Change => ({
  kind: 'requeued',
  ...{ seq, attempt, failures: attempt - 1, losses: 0, notBeforeMs: 7 },
})
export const closed = (
  seq: number,
  state: 'completed' | 'failed' = 'completed',
): Change => ({
  kind: 'closed',
  ...{ seq, attempt: 1, state, failures: 0, losses: 0, endedMs: 3 },
  outcome:
    state === 'completed'
      ? { kind: 'Completed', result: { run_ms: 1, exit_code: 0 } }
      : { kind: 'Error', error: { kind: 'TimedOut' } },
})

export const committed = (ledger: Ledger, ...changes: Change[]): Promise<CommitResult> =>
  new Promise((settle) => ledger.commit(changes, settle))

export const replayed = async (ledger: Pick<Ledger, 'replay'>) => {
  const tasks: RecordedTask[] = []
  for await (const task of ledger.replay()) tasks.push(task)
  return tasks
}
