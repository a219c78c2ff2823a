// The rules that a history must keep: the promise of the mesh, rule by rule, each under a
// name that a failing seed prints. What a rule needs to be judged stands beside it:
//
// own     each node's own order is enough: it holds for real processes too
// across  the order between nodes must be the true one, as simulated time is
// end     judged when the history is over, whatever the order

import type { HistoryEvent } from './history.ts'

const rule = (needs: 'own' | 'across' | 'end', says: string) => ({ needs, says })

export const rules = {
  'one-outcome': rule('own', 'a task is closed once'),
  'nothing-after-outcome': rule(
    'own',
    'a ledger neither assigns nor requeues a task that it has closed',
  ),
  'no-task-lost': rule('end', 'every acknowledged task has an outcome in the end'),
  'outcome-earned': rule(
    'across',
    'a task is completed by a run of it that ended with 0 where it had been assigned',
  ),
  'shown-as-recorded': rule(
    'across',
    'an outcome or an attempt is shown after it was recorded, an outcome as it was recorded',
  ),
  'shown-once': rule('own', 'what a client was shown never goes back or changes'),
  'cancel-closes': rule('across', 'a cancel is answered when its tasks are closed'),

  'start-assigned': rule(
    'across',
    'a start has a record that gave that attempt to that life, or to an earlier one that left it on disk, and no newer record gives it elsewhere',
  ),
  'start-once': rule(
    'own',
    'no attempt of a task starts twice, nor after a later one at the same worker',
  ),
  'one-copy': rule('own', 'a worker never runs two copies of a task at a time'),
  'exclusive-alone': rule(
    'across',
    'an exclusive task does not start while an earlier run of it goes on',
  ),
  'start-alive': rule('own', 'nothing starts in a life that has not begun or is over'),
  'no-start-after-report': rule(
    'own',
    'a worker that reported an outcome starts neither that attempt nor an earlier one',
  ),
  'no-start-after-abort': rule(
    'own',
    'a worker that acknowledged an abort starts neither that attempt nor an earlier one',
  ),
  'no-start-without-lease': rule('own', 'a worker starts nothing after its lease'),
  'no-start-after-requeue': rule(
    'across',
    'an attempt given up by its manager starts no more, unless its worker came back and was reconciled since',
  ),
  'no-start-after-outcome': rule(
    'across',
    'a worker that heard of its manager since a task was closed does not start it',
  ),
  'no-run-after-outcome': rule(
    'across',
    'a worker that heard of its manager since a task was closed stops it in the time of an abort',
  ),

  'reruns-shown': rule(
    'own',
    'every requeue raises the attempt by one, and an outcome stands under the last',
  ),
  'reruns-counted': rule('end', 'no more attempts start than the user is shown'),
  'failure-own': rule(
    'across',
    'a worker does not tell the end of a run under an attempt that was assigned after it began to end that run',
  ),
  'losses-real': rule(
    'across',
    'a loss is counted once for a life that held the task and is over',
  ),
  'failures-real': rule(
    'across',
    'a failure is counted for an attempt that its worker told, or did not answer for',
  ),

  'one-settlement': rule(
    'own',
    'every request is settled once, by an answer or by a failure',
  ),
  'one-answer': rule('own', 'a request is answered at most once, by whom it was sent to'),
  'answer-allowed': rule(
    'own',
    'an answer stands in the row of its request, a failure is one of ours',
  ),
  'answer-given': rule('across', 'an answer that arrives was given, and is the same'),

  'stream-in-order': rule(
    'own',
    'a reader gets no byte twice, and misses none but those counted as lost',
  ),
  'stream-true': rule('end', 'a reader gets what the program wrote, to its end'),
  'input-whole': rule(
    'end',
    'a program reads what was written to its task, from the first byte, and an end only behind all of it',
  ),

  'comes-to-rest': rule('end', 'once all is healed, the mesh comes to rest'),
  'rests-empty': rule('end', 'at rest nothing runs, is open, or waits for an answer'),
} as const

export type RuleName = keyof typeof rules

/** A rule that a history breaks. */
export interface Violation {
  readonly rule: RuleName
  /** What happened, with its values. */
  readonly says: string
  /** The events concerned, the one that broke it last. */
  readonly events: readonly HistoryEvent[]
}

export interface CheckOptions {
  /**
   * across: the history's order is true between nodes too (simulated time). own: only each
   * node's own order is; rules that need more are left out, or judged at the end where
   * that says less but says something. Default: across.
   */
  readonly order?: 'across' | 'own'
  /** Rules that are not held. */
  readonly except?: readonly RuleName[]
  /** How far a worker's clock may run slow, as a fraction: its lease lasts longer by that. */
  readonly drift?: number
  /** The longest from the decision to start a program until its start is told. */
  readonly startMs?: number
  /** How long an outcome may take to stop a copy that its worker hears of. Default: no limit. */
  readonly abortMs?: number
  /** How long until its worker begins to end it, where that is told. Default: no limit. */
  readonly signalMs?: number
  /** The manager's lease: a worker that is away for ten of them counts as lost. */
  readonly managerLeaseMs?: number
}

/** Takes what breaks a rule. */
export type Report = (
  rule: RuleName,
  says: string,
  ...events: readonly HistoryEvent[]
) => void
