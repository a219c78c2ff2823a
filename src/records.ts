// Records: what a manager's ledger is asked to remember, and what it gives back. Declared
// beside the ports, since both the table that decides (machines/tasks.ts) and the engine
// that keeps (ports.ts, Ledger) speak of them, and neither knows the other.
//
// A transition of the task table makes a change; the change is durable before anything of
// it is answered, sent or shown. TaskStarted, pings and progress make none: a restart
// learns them from the workers' inventories.

import type { Outcome, TaskRequest } from '../protocol/index.ts'

/** One TasksSubmit: its tasks have the sequences `first` to `first + tasks.length - 1`. */
export interface Submission {
  readonly first: number
  readonly key: string
  readonly batch: string
  readonly tasks: readonly TaskRequest[]
  /** The manager's wall clock. */
  readonly atMs: number
  /** More failed tasks of the batch than this end it. */
  readonly maxFails?: number
  /** The sequences of the tasks that these repeat, in the same order. */
  readonly retryOf?: readonly number[]
}

export interface Submitted {
  readonly kind: 'submitted'
  readonly submission: Submission
}

/** A task was given to a node; it leaves when this is durable. */
export interface Assigned {
  readonly kind: 'assigned'
  readonly seq: number
  readonly attempt: number
  readonly nodeId: string
  readonly bootId: string
  readonly hostName: string
  /** Where the node listens, to be dialled after a restart; it may only dial itself. */
  readonly address?: string
  readonly atMs: number
}

/** How a hand-out went, as far as it is known: wall clock, and why it was over. */
export interface Ran {
  readonly startedMs?: number
  readonly pid?: number
  readonly endedMs?: number
  readonly ended?: string
}

/** Of a node's hand-out of an attempt. */
export interface RanAs extends Ran {
  readonly attempt: number
  readonly nodeId: string
}

/** A task waits again, under a new attempt. `notBeforeMs`: Unix milliseconds, 0 = now. */
export interface Requeued {
  readonly kind: 'requeued'
  readonly seq: number
  readonly attempt: number
  readonly failures: number
  readonly losses: number
  readonly notBeforeMs: number
  /** Hand-outs of which something new is known. */
  readonly ran?: readonly RanAs[]
}

/** The one outcome of a task. */
export interface Closed {
  readonly kind: 'closed'
  readonly seq: number
  readonly attempt: number
  readonly state: 'completed' | 'failed' | 'aborted'
  readonly outcome: Outcome
  readonly failures: number
  readonly losses: number
  readonly endedMs: number
  readonly ran?: readonly RanAs[]
}

export type Change = Submitted | Assigned | Requeued | Closed

/** A hand-out as a ledger remembers it. */
export interface Recalled extends Assigned {
  readonly ran?: Ran
}

/** What is no longer known of a batch one by one: closed tasks, and how many of them had failed. */
export interface Forgotten {
  readonly closed: number
  readonly failed: number
}

/** A task as a ledger remembers it: the body, and the last of each change. */
export interface RecordedTask {
  readonly seq: number
  readonly submission: Submission
  readonly request: TaskRequest
  readonly attempt: number
  readonly failures: number
  readonly losses: number
  /** Of the last requeue, if it was not assigned since; else 0. */
  readonly notBeforeMs: number
  /** The last hand-outs of an open task, oldest first; an engine may drop a closed one's. */
  readonly assigned: readonly Recalled[]
  readonly closed?: Closed
}

/** A user of this machine. */
export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
}
