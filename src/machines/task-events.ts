// What can happen to a manager's task table, and what it asks to be done.
//
// Times: `nowMs` is monotonic (deadlines), `wallMs` Unix time (records).

import type {
  Assignment,
  ErrorKind,
  InventoryEntry,
  RefusalReason,
  TaskAttempt,
  TaskRequest,
  TaskResult,
  TaskStatus,
} from '../../protocol/index.ts'
import type {
  Change,
  Forgotten,
  RecordedTask,
  Submission,
  Submitted,
} from '../records.ts'
import type { Batch, CancelTicket, Task, Worker } from './task-record.ts'

interface At {
  readonly nowMs: number
  readonly wallMs: number
}

/** What a worker says of itself. */
export interface WorkerClaims {
  readonly nodeId: string
  readonly hostName: string
  readonly address: string | undefined
  readonly bootId: string
  readonly rel: string
  readonly cores: number
  readonly memory: number
  readonly kinds: readonly string[] | undefined
  readonly labels: Readonly<Record<string, string>> | undefined
  readonly resources: Readonly<Record<string, number>> | undefined
}

export type TaskEvent =
  | ({
      readonly kind: 'restored'
      readonly task: RecordedTask
      /** What the ledger has forgotten of its batch; default: nothing. */
      readonly forgotten?: Forgotten
    } & At)
  /** All was restored. */
  | ({ readonly kind: 'began' } & At)
  | ({
      readonly kind: 'submit'
      readonly key: string
      readonly batch: string
      readonly tasks: readonly TaskRequest[]
      readonly maxFails?: number | undefined
      readonly retryOf?: readonly number[] | undefined
    } & At)
  /** These changes are safe now. */
  | ({ readonly kind: 'durable'; readonly changes: readonly Change[] } & At)
  /** The ledger is full: this submission never was. */
  | { readonly kind: 'not-stored'; readonly change: Submitted }
  | ({ readonly kind: 'place' } & At)
  | ({ readonly kind: 'tick' } & At)
  | ({
      readonly kind: 'reconcile'
      readonly claims: WorkerClaims
      readonly inventory: readonly InventoryEntry[]
      readonly reborn: boolean
    } & At)
  /** A worker that serves another manager hands over outcomes. */
  | ({
      readonly kind: 'settle'
      readonly nodeId: string
      readonly bootId: string
      readonly inventory: readonly InventoryEntry[]
      /** It lists all that is there. */
      readonly isWhole: boolean
    } & At)
  | ({ readonly kind: 'suspect'; readonly worker: Worker } & At)
  /** A lost worker is there again in another boot, at another manager's perhaps. */
  | ({ readonly kind: 'reborn'; readonly worker: Worker; readonly bootId: string } & At)
  /** `cost`: does each task count a loss: at once, later unless this boot returns, or never. */
  | ({
      readonly kind: 'lost'
      readonly worker: Worker
      readonly cost: 'certain' | 'pending' | 'none'
    } & At)
  /** TasksExecute was acknowledged, but for the refused ones. */
  | ({
      readonly kind: 'accepted'
      readonly worker: Worker
      readonly sent: readonly Assignment[]
      readonly refused: readonly Refusal[]
    } & At)
  /** TasksExecute was not taken at all (Error busy and the like): elsewhere. */
  | ({
      readonly kind: 'rejected'
      readonly worker: Worker
      readonly sent: readonly Assignment[]
      readonly retryAfterMs: number | undefined
    } & At)
  /** No word on TasksExecute, though the connection lives: ask what became of it. */
  | {
      readonly kind: 'unanswered'
      readonly worker: Worker
      readonly sent: readonly Assignment[]
    }
  /** TasksPong. */
  | ({
      readonly kind: 'statuses'
      readonly worker: Worker
      readonly statuses: readonly (readonly [string, TaskStatus])[]
    } & At)
  | ({
      readonly kind: 'started'
      readonly worker: Worker
      readonly taskId: string
      readonly attempt: number
      readonly atMs: number
      readonly pid?: number | undefined
    } & At)
  | ({
      readonly kind: 'completed'
      readonly nodeId: string
      readonly taskId: string
      readonly attempt: number
      readonly result: TaskResult
    } & At)
  | ({
      readonly kind: 'error'
      readonly nodeId: string
      readonly taskId: string
      readonly attempt: number
      readonly error: ErrorKind
      readonly result: TaskResult | undefined
    } & At)
  /** TasksWait with a cursor: its reader has what closed before it. */
  | ({ readonly kind: 'read'; readonly batch: Batch; readonly cursor: number } & At)
  | ({
      readonly kind: 'cancel'
      readonly tasks: readonly Task[]
      readonly ticket: CancelTicket
    } & At)
  | {
      readonly kind: 'abort-acked'
      readonly worker: Worker
      readonly tasks: readonly TaskAttempt[]
    }
  | { readonly kind: 'abort-unanswered'; readonly worker: Worker; readonly nowMs: number }

export interface Refusal {
  readonly task_id: string
  readonly reason: RefusalReason
  readonly message?: string
  readonly retry_after_ms?: number
}

export type TaskEffect =
  /** Make it durable, then say so (`durable`). */
  | { readonly kind: 'record'; readonly change: Change }
  /** TasksSubmit has its ids: now if `isDurable`, else at `submitted`. */
  | { readonly kind: 'taken'; readonly change: Submitted; readonly isDurable: boolean }
  | {
      readonly kind: 'refuse'
      readonly reason: 'conflict' | 'busy' | 'stopped'
      readonly message: string
      readonly retryAfterMs?: number
    }
  | { readonly kind: 'submitted'; readonly submission: Submission }
  | { readonly kind: 'execute'; readonly worker: Worker; readonly tasks: readonly Task[] }
  | { readonly kind: 'abort'; readonly worker: Worker; readonly tasks: readonly Task[] }
  /** TasksPing. */
  | { readonly kind: 'ask'; readonly worker: Worker; readonly tasks: readonly Task[] }
  /** Ack the outcome: at once, or after the commit of what is recorded by now. */
  | { readonly kind: 'ack'; readonly when: 'now' | 'durable' }
  /** For ManagerAnswer. */
  | { readonly kind: 'drop'; readonly drops: readonly TaskAttempt[] }
  /** It is closed for good. */
  | { readonly kind: 'closed'; readonly task: Task }
  /** A watched task moved. */
  | { readonly kind: 'moved'; readonly task: Task }
  | { readonly kind: 'cancelled'; readonly ticket: CancelTicket }
  /** Forget these closed tasks; `refs`: what their nodes keep of them. */
  | {
      readonly kind: 'retire'
      readonly seqs: readonly number[]
      readonly refs: ReadonlyMap<string, readonly string[]>
    }
  /** Something that should not be, for the log. */
  | {
      readonly kind: 'note'
      readonly event: string
      readonly taskId: string
      readonly nodeId: string
    }
