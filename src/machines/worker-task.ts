// One task as its worker sees it: the states, and the events and effects of the table
// (worker-tasks.ts). Types and small readings only.

import type {
  Assignment,
  ErrorKind,
  InventoryEntry,
  LedgerId,
  Outcome,
  RefusalReason,
  TaskId,
  TaskResult,
  TaskStatus,
} from '../../protocol/index.ts'

/** Why a running task is being ended. The first cause stays. */
export type Cause =
  | { readonly kind: 'TimedOut' }
  | { readonly kind: 'Aborted'; readonly reason: string }

/**
 * `run` numbers the starts of this worker: what a callback says of another run is old.
 * pending: accepted; `isReady` once its record is durable.
 * preparing: has its slot; the program is fetched, then the start is recorded.
 * running: the program was asked for; `startedAtMs` (wall) once the system confirmed it.
 * ending: its process group is being killed; `isSilent`: nobody wants to hear of it;
 *   `next`: a higher attempt, which waits until the group is gone.
 * finished: the outcome waits for its Ack.
 */
export type Entry =
  | { readonly kind: 'pending'; readonly task: Assignment; readonly isReady: boolean }
  | { readonly kind: 'preparing'; readonly task: Assignment; readonly run: number }
  | {
      readonly kind: 'running'
      readonly task: Assignment
      readonly run: number
      readonly startedAtMs: number | undefined
      readonly pid: number | undefined
      /** Monotonic; undefined = no limit, or not started. */
      readonly limitAtMs: number | undefined
    }
  | {
      readonly kind: 'ending'
      readonly task: Assignment
      readonly run: number
      readonly startedAtMs: number | undefined
      readonly cause: Cause
      readonly isSilent: boolean
      readonly killAtMs: number
      readonly next: Assignment | undefined
      /** The record of `next` is durable. */
      readonly isNextReady: boolean
    }
  | { readonly kind: 'finished'; readonly task: Assignment; readonly outcome: Outcome }

export type EntryOf<K extends Entry['kind']> = Entry & { readonly kind: K }

/** How a run ended, as the role saw it. */
export interface Ended {
  readonly exitCode?: number
  readonly signal?: string
  readonly spawnError?: { readonly code: string; readonly reason: string }
}

export type TaskEvent =
  | { readonly kind: 'execute'; readonly task: Assignment; readonly nowMs: number }
  | {
      readonly kind: 'persisted'
      readonly tasks: readonly Assignment[]
      readonly nowMs: number
    }
  | { readonly kind: 'unpersisted'; readonly tasks: readonly Assignment[] }
  | Of<'prepared'>
  | Of<'go'>
  | (Of<'unprepared'> & { readonly error: ErrorKind })
  | (Of<'started'> & { readonly atMs: number; readonly pid: number | undefined })
  | (Of<'exited'> & { readonly end: Ended; readonly result: TaskResult })
  /** The timer set for that run. */
  | Of<'timer'>
  /** `attempt` undefined: every attempt so far. */
  | {
      readonly kind: 'abort'
      readonly taskId: TaskId
      readonly attempt: number | undefined
      readonly nowMs: number
    }
  | {
      readonly kind: 'acked'
      readonly taskId: TaskId
      readonly attempt: number
      /** Not its outcome was taken: its manager has no more use for it, as far as it knows. */
      readonly isDrop: boolean
      readonly nowMs: number
    }
  | { readonly kind: 'lease'; readonly untilMs: number; readonly nowMs: number }
  | OfLedger<'orphan'>
  | OfLedger<'forget'>
  | OfLedger<'release'>
  /** No new work is taken or started. */
  | { readonly kind: 'drain' }
  /** What still runs is ended. */
  | { readonly kind: 'end-all'; readonly nowMs: number }

export type EventOf<K extends TaskEvent['kind']> = TaskEvent & { readonly kind: K }

interface Of<K extends string> {
  readonly kind: K
  readonly taskId: TaskId
  readonly run: number
  readonly nowMs: number
}

interface OfLedger<K extends string> {
  readonly kind: K
  readonly ledgerId: LedgerId
  readonly nowMs: number
}

export type TaskEffect =
  | { readonly kind: 'refuse'; readonly taskId: TaskId; readonly reason: RefusalReason }
  /** Record it; then `persisted` or `unpersisted`. */
  | { readonly kind: 'pend'; readonly task: Assignment }
  /** Its record as pending is no longer true. */
  | { readonly kind: 'unpend'; readonly taskId: TaskId }
  /** Get the program ready; then `prepared` or `unprepared`. */
  | { readonly kind: 'prepare'; readonly task: Assignment; readonly run: number }
  /** Record that it is no longer pending; then `go`. */
  | { readonly kind: 'start'; readonly task: Assignment; readonly run: number }
  /** Start the program; then `started` at most once and `exited` once. */
  | { readonly kind: 'spawn'; readonly task: Assignment; readonly run: number }
  | {
      readonly kind: 'report-started'
      readonly taskId: TaskId
      readonly attempt: number
      readonly atMs: number
      readonly pid: number | undefined
    }
  | {
      readonly kind: 'signal'
      readonly taskId: TaskId
      readonly run: number
      readonly signal: 'SIGTERM' | 'SIGKILL'
    }
  /** Replaces the run's timer. */
  | {
      readonly kind: 'timer'
      readonly taskId: TaskId
      readonly run: number
      readonly afterMs: number
    }
  /** Record the outcome, then send it. Recorded: replaces what was recorded before. */
  | {
      readonly kind: 'outcome'
      readonly task: Assignment
      readonly outcome: Outcome
    }
  /** Send the outcome again now. */
  | { readonly kind: 'resend'; readonly taskId: TaskId }
  /** The outcome leaves the outbox. `isDelivered`: acknowledged; else nobody wants it. */
  | { readonly kind: 'discard'; readonly taskId: TaskId; readonly isDelivered: boolean }
  /** The run's slot is free: its process group is gone, or it never had one. */
  | {
      readonly kind: 'gone'
      readonly taskId: TaskId
      readonly run: number
      /** Its output is of interest to nobody. */
      readonly isSilent: boolean
    }
  /** Accepted, not started, and never will be. */
  | { readonly kind: 'dropped'; readonly taskId: TaskId }

/** No effect at all. */
export const none: readonly TaskEffect[] = []

/** The ledger of a task, by its id. */
export const ledgerOf = (taskId: TaskId): LedgerId => taskId.slice(0, 10)

/** What TasksPong says of a task. */
export const statusOf = (entry: Entry | undefined): TaskStatus => {
  switch (entry?.kind) {
    case 'pending':
    case 'preparing':
      return { kind: 'Pending' }
    case 'running':
      return entry.startedAtMs === undefined
        ? { kind: 'Pending' }
        : { kind: 'Started', at_ms: entry.startedAtMs }
    case 'ending':
      if (entry.next !== undefined) return { kind: 'Pending' }
      return entry.isSilent || entry.startedAtMs === undefined
        ? { kind: 'Unknown' }
        : { kind: 'Started', at_ms: entry.startedAtMs }
    case 'finished':
      return statusOfOutcome(entry.outcome)
    case undefined:
      return { kind: 'Unknown' }
  }
}

/** Without output bytes: 1,000 of them must fit a frame. The outcome itself brings them. */
const statusOfOutcome = (outcome: Outcome): TaskStatus => {
  if (outcome.kind === 'Completed') {
    return { kind: 'Completed', result: withoutBytes(outcome.result) }
  }
  return outcome.result === undefined
    ? outcome
    : { ...outcome, result: withoutBytes(outcome.result) }
}

const withoutBytes = ({ stdout, stderr, ...rest }: TaskResult): TaskResult => ({
  ...rest,
  ...(stdout === undefined ? {} : { stdout: withoutInline(stdout) }),
  ...(stderr === undefined ? {} : { stderr: withoutInline(stderr) }),
})

const withoutInline = ({
  inline: _,
  ...rest
}: NonNullable<TaskResult['stdout']>): NonNullable<TaskResult['stdout']> => rest

/** Is the record of what was accepted not durable yet? Then it may still be refused. */
export const isUnrecorded = (entry: Entry): boolean =>
  (entry.kind === 'pending' && !entry.isReady) ||
  (entry.kind === 'ending' && entry.next !== undefined && !entry.isNextReady)

/** The line of an inventory; undefined: not to be spoken of. */
export const inventoryLine = (entry: Entry): InventoryEntry | undefined => {
  if (isUnrecorded(entry)) return undefined
  const { task_id, attempt } = entry.task
  switch (entry.kind) {
    case 'pending':
    case 'preparing':
      return { task_id, attempt, status: 'Pending' }
    case 'running':
      return entry.startedAtMs === undefined
        ? { task_id, attempt, status: 'Pending' }
        : { task_id, attempt, status: 'Started', at_ms: entry.startedAtMs }
    case 'ending':
      if (entry.next !== undefined) {
        return { task_id, attempt: entry.next.attempt, status: 'Pending' }
      }
      return entry.isSilent ? undefined : { task_id, attempt, status: 'Ending' }
    case 'finished':
      return { task_id, attempt, status: entry.outcome.kind }
  }
}

/** What stands for the signal where the helper that held the process died (RunEnd). */
const LAUNCHER_LOST = 'launcher-lost'

/** The outcome that an end makes of a run that was left alone. */
export const outcomeOf = (end: Ended, result: TaskResult): Outcome => {
  if (end.spawnError !== undefined) {
    const { code, reason } = end.spawnError
    return { kind: 'Error', error: spawnError(code, reason), result }
  }
  // Not the program failed but what held it: the manager counts a loss, and not for ever.
  if (end.signal === LAUNCHER_LOST)
    return { kind: 'Error', error: { kind: 'WorkerLost' }, result }
  if (end.exitCode === 0) return { kind: 'Completed', result }
  const error: ErrorKind = {
    kind: 'RunningError',
    ...(end.exitCode === undefined ? {} : { exit_code: end.exitCode }),
    ...(end.signal === undefined ? {} : { signal: end.signal.slice(0, 32) }),
  }
  return { kind: 'Error', error, result }
}

/** A SpawnError within the limits of its codec. */
export const spawnError = (code: string, reason: string): ErrorKind => ({
  kind: 'SpawnError',
  code: code.slice(0, 64),
  reason: reason.slice(0, 1024),
})
