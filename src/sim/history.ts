// History: what happened in a mesh, in the order in which it happened, told by those who
// saw it. The simulator writes one, the chaos tests on real processes write one, and the
// checker reads it; none of them knows who else does.
//
// Several nodes write into one history. What one node saw stands in its own order;
// between nodes the order is that of the simulated time, or, for real processes, only as
// good as their clocks: the checker says for each rule which order it needs.

import type { Kind, LedgerId, TaskId } from '../../protocol/index.ts'

/** Which life of which node. */
export interface Life {
  /** The node's host name: unique in a history. */
  readonly node: string
  readonly boot: string
}

/** A task under one number. */
export interface TaskAttempt {
  readonly taskId: TaskId
  readonly attempt: number
}

/** What the user is shown of a task, at the end or before. */
export interface Shown {
  readonly taskId: TaskId
  readonly state: 'waiting' | 'queued' | 'running' | 'completed' | 'failed' | 'aborted'
  /** Of the run that counts. */
  readonly attempt: number
}

export type HistoryEvent =
  // ---- lives
  | ({ readonly kind: 'booted'; readonly atMs: number } & Life)
  /** Crashed, was killed, or ended in good order: nothing of it runs from here on. */
  | ({ readonly kind: 'ended-life'; readonly atMs: number } & Life)
  /** What a worker found on its disk when it booted: accepted by an earlier life, not started. */
  | ({
      readonly kind: 'carried'
      readonly atMs: number
      readonly tasks: readonly TaskAttempt[]
    } & Life)
  /** A ledger is gone for good (a memory ledger whose manager died), and its tasks with it. */
  | { readonly kind: 'ledger-lost'; readonly atMs: number; readonly ledgerId: LedgerId }
  // ---- what a client was told
  /** TasksSubmitted reached the client: these tasks are the mesh's responsibility. */
  | {
      readonly kind: 'acknowledged'
      readonly atMs: number
      readonly client: string
      readonly ledgerId: LedgerId
      readonly taskIds: readonly TaskId[]
      /** Those of them that may not run again while an earlier run may go on. */
      readonly exclusive?: readonly TaskId[]
    }
  /** A client was told how a task ended. */
  | {
      readonly kind: 'shown'
      readonly atMs: number
      readonly client: string
      readonly shown: Shown
    }
  /** A client was told that its cancel is done. */
  | {
      readonly kind: 'cancelled'
      readonly atMs: number
      readonly client: string
      readonly taskIds: readonly TaskId[]
    }
  // ---- what a ledger holds durably
  | ({
      readonly kind: 'assigned'
      readonly atMs: number
      readonly taskId: TaskId
      readonly attempt: number
      /** To whom. */
      readonly worker: string
      readonly workerBoot: string
    } & Life)
  | ({
      readonly kind: 'requeued'
      readonly atMs: number
      readonly taskId: TaskId
      readonly attempt: number
      readonly failures: number
      readonly losses: number
    } & Life)
  | ({
      readonly kind: 'closed'
      readonly atMs: number
      readonly taskId: TaskId
      readonly attempt: number
      readonly state: 'completed' | 'failed' | 'aborted'
      readonly losses: number
    } & Life)
  // ---- programs at a worker
  | ({
      readonly kind: 'started'
      readonly atMs: number
      /** Unique in a history. */
      readonly run: number
      readonly taskId: TaskId
      readonly attempt: number
    } & Life)
  /** Its worker ends it: the first signal, whatever it does then; not told of real processes. */
  | ({ readonly kind: 'signalled'; readonly atMs: number; readonly run: number } & Life)
  | ({
      readonly kind: 'exited'
      readonly atMs: number
      readonly run: number
      /** launcher-lost: what held the process died with it. */
      readonly how: 'exit' | 'signal' | 'spawn-error' | 'launcher-lost'
      readonly exitCode?: number
    } & Life)
  // ---- requests
  | ({
      readonly kind: 'asked'
      readonly atMs: number
      /** Unique in a history. */
      readonly ask: number
      readonly exchange: Kind
      readonly to: string
      /** The tasks that it concerns: of TaskCompleted, TaskError, TasksAbord, TasksExecute, and of a ManagerRequest that settles. */
      readonly tasks?: readonly TaskAttempt[]
    } & Life)
  /** The asker's promise was settled: by an answer of this kind, or by a local failure. */
  | ({
      readonly kind: 'settled'
      readonly atMs: number
      readonly ask: number
      readonly answer?: string
      readonly failure?: string
      /** Of a ManagerAnswer that accepts: for how long, from when it was asked. */
      readonly leaseMs?: number
    } & Life)
  /** The asked node's handler answered; the answer may never arrive. */
  | ({
      readonly kind: 'answered'
      readonly atMs: number
      readonly ask: number
      readonly answer: string
      /** For the tasks that it concerns: an Ack of TasksAbord, NotMine, … */
      readonly tasks?: readonly TaskAttempt[]
    } & Life)
  // ---- streams
  /** A client read output of a task; `text` is what it got, as bytes in Latin-1. */
  | {
      readonly kind: 'read'
      readonly atMs: number
      readonly client: string
      readonly taskId: TaskId
      readonly attempt: number
      readonly fd: 1 | 2
      readonly offset: number
      readonly text: string
      /** Bytes dropped by the cap before `offset`. */
      readonly lost: number
      readonly isEof: boolean
    }
  /** What the program of a run wrote; what it wrote before stands in earlier events. */
  | {
      readonly kind: 'wrote'
      readonly atMs: number
      readonly run: number
      readonly fd: 1 | 2
      readonly text: string
    }
  // ---- input
  /** All that a client writes to the stdin of a task. */
  | {
      readonly kind: 'typed'
      readonly atMs: number
      readonly client: string
      readonly taskId: TaskId
      readonly text: string
    }
  /** What the program of a run read of its stdin since the last time; to its end? */
  | {
      readonly kind: 'took'
      readonly atMs: number
      readonly run: number
      readonly text: string
      readonly isEof: boolean
    }
  // ---- the world
  /** A fault begins or ends; for the reader, and for rules that hold only without it. */
  | { readonly kind: 'fault'; readonly atMs: number; readonly what: string }
  /** Everything is healed; from here on all must come to rest. */
  | { readonly kind: 'healed'; readonly atMs: number }
  /** The end: which runs go on, which acknowledged tasks are open, which asks are overdue. */
  | {
      readonly kind: 'rested'
      readonly atMs: number
      readonly running: readonly number[]
      readonly open: readonly TaskId[]
      /** Unsettled though their time is over; a long poll that may still wait is none. */
      readonly asks: readonly number[]
    }

/** Takes events as they happen. */
export type Historian = (event: HistoryEvent) => void
