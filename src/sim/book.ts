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
  readonly started: EventOf<'started'>
  readonly life: LifeBook
  exited: EventOf<'exited'> | undefined
  /** Per descriptor: what it wrote. */
  readonly wrote: { 1: string; 2: string }
}

export interface TaskBook {
  readonly id: TaskId
  acknowledged: EventOf<'acknowledged'> | undefined
  closed: Closed | undefined
  readonly assigned: Assigned[]
  readonly requeued: Requeued[]
  readonly runs: RunBook[]
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
  /** When its manager last answered its ManagerRequest: by the order, by the clock. */
  reconciledAt: number
  reconciledAtMs: number
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
        closed: undefined,
        assigned: [],
        requeued: [],
        runs: [],
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
        reconciledAt: -1,
        reconciledAtMs: Number.NEGATIVE_INFINITY,
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

  /** Unix or simulated ms since which both hold: it is closed, and all is healed. */
  quietSinceMs(task: TaskBook): number | undefined {
    if (task.closed === undefined || this.healed === undefined) return undefined
    return Math.max(task.closed.atMs, this.healed.atMs)
  }
}

/** Notes the highest attempt of a task. */
export const raise = (
  map: Map<TaskId, number>,
  { taskId, attempt }: { readonly taskId: TaskId; readonly attempt: number },
): void => {
  if (attempt > (map.get(taskId) ?? 0)) map.set(taskId, attempt)
}
