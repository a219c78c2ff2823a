// The checker's book: what a history has told so far of tasks, runs and lives. It judges
// nothing; the rules read it.

import type { LedgerId, TaskId } from '../../protocol/index.ts'
import type { HistoryEvent } from './history.ts'

export type EventOf<K extends HistoryEvent['kind']> = Extract<HistoryEvent, { kind: K }>
export type Assigned = EventOf<'assigned'>
export type Requeued = EventOf<'requeued'>
export type Closed = EventOf<'closed'>

/** A program that was started. */
export interface RunBook {
  readonly task: TaskBook
  readonly started: EventOf<'started'>
  readonly life: LifeBook
  exited: EventOf<'exited'> | undefined
  /** When its worker began to end it. */
  signalled: EventOf<'signalled'> | undefined
  /** When its worker had heard that its task is over. */
  toldMs: number | undefined
  /** Per descriptor: what it wrote. */
  readonly wrote: { 1: string; 2: string }
  /** What it read of its stdin, and whether to the end. */
  took: string
  tookEnd: boolean
}

export interface TaskBook {
  readonly id: TaskId
  acknowledged: EventOf<'acknowledged'> | undefined
  isExclusive: boolean
  closed: Closed | undefined
  /** When (in the history's order) it was closed. */
  closedAt: number
  readonly assigned: Assigned[]
  readonly requeued: Requeued[]
  readonly runs: RunBook[]
  /** Attempts that a worker reported as failed, or was asked about as overdue. */
  readonly doubted: Set<number>
  /** Reports of success: by whom, under which attempt. */
  readonly succeeded: { readonly node: string; readonly attempt: number }[]
  /** When (in the history's order) its attempt was last raised. */
  raisedAt: number
  losses: number
}

export interface LifeBook {
  readonly node: string
  readonly boot: string
  booted: EventOf<'booted'> | undefined
  ended: EventOf<'ended-life'> | undefined
  /** As granted last, and until when (by the history's clock); undefined: never. */
  leaseMs: number
  leaseUntilMs: number | undefined
  /** When (in the history's order) each manager last answered its ManagerRequest. */
  readonly reconciled: Map<string, number>
  /** When each manager last answered it, and the longest that it did not. */
  readonly contact: Map<string, { lastMs: number; longestMs: number }>
  /**
   * For each manager: the newest question of this life (by its place in the history) that
   * was answered within the relationship, so that what was sent before the answer came too.
   */
  readonly heard: Map<string, number>
  /** What runs. */
  readonly running: Set<RunBook>
  /** Found on its disk: the attempt by the task. */
  readonly carried: Map<TaskId, number>
  /** The highest attempts that it reported as over, and that it acknowledged an abort of. */
  readonly reported: Map<TaskId, number>
  readonly aborted: Map<TaskId, number>
  /** The highest attempt that it started. */
  readonly startedUpTo: Map<TaskId, number>
}

export class Book {
  readonly tasks = new Map<TaskId, TaskBook>()
  readonly runs = new Map<number, RunBook>()
  readonly lives = new Map<string, LifeBook>()
  readonly lostLedgers = new Set<LedgerId>()
  /** How many events there were. */
  at = 0
  healed: EventOf<'healed'> | undefined
  rested: EventOf<'rested'> | undefined
  /** Does this history tell of leases at all? */
  hasLeases = false

  task(id: TaskId): TaskBook {
    let task = this.tasks.get(id)
    if (task === undefined) {
      task = {
        id,
        acknowledged: undefined,
        isExclusive: false,
        closed: undefined,
        closedAt: -1,
        assigned: [],
        requeued: [],
        runs: [],
        doubted: new Set(),
        succeeded: [],
        raisedAt: -1,
        losses: 0,
      }
      this.tasks.set(id, task)
    }
    return task
  }

  life({ node, boot }: { readonly node: string; readonly boot: string }): LifeBook {
    const key = `${node} ${boot}`
    let life = this.lives.get(key)
    if (life === undefined) {
      life = {
        node,
        boot,
        booted: undefined,
        ended: undefined,
        leaseMs: 0,
        leaseUntilMs: undefined,
        reconciled: new Map(),
        contact: new Map(),
        heard: new Map(),
        running: new Set(),
        carried: new Map(),
        reported: new Map(),
        aborted: new Map(),
        startedUpTo: new Map(),
      }
      this.lives.set(key, life)
    }
    return life
  }

  /** Was its ledger lost, so that nothing is promised of it any more? */
  isForgiven(id: TaskId): boolean {
    return this.lostLedgers.size > 0 && this.lostLedgers.has(id.slice(0, 10))
  }
}

/** Notes the highest attempt of a task. */
export const raise = (
  map: Map<TaskId, number>,
  { taskId, attempt }: { readonly taskId: TaskId; readonly attempt: number },
): void => {
  if (attempt > (map.get(taskId) ?? 0)) map.set(taskId, attempt)
}
