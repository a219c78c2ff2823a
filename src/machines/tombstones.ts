// Tombstones: the tasks that a worker is done with. A tombstone blocks attempts up to its
// own number, never later ones. Bounded by age and by count; the oldest go first.

import type { TaskId } from '../../protocol/index.ts'
import { Fifo } from './fifo.ts'

/** How long, and how many at most, are remembered. */
export const TOMBSTONES = { ageMs: 600_000, count: 10_000 }

export interface Tombstone {
  readonly attempt: number
  /** Put up by an abort: that attempt must not run (any more). Else its outcome was delivered. */
  readonly isFence: boolean
  readonly untilMs: number
}

export class Tombstones {
  readonly #stones = new Map<TaskId, Tombstone>()
  /** In the order in which they end: every one lives equally long. Replaced ones stay in it. */
  readonly #order = new Fifo<readonly [TaskId, Tombstone]>()
  readonly #limits: typeof TOMBSTONES

  constructor(limits = TOMBSTONES) {
    this.#limits = limits
  }

  get size(): number {
    return this.#stones.size
  }

  get(taskId: TaskId, nowMs: number): Tombstone | undefined {
    const stone = this.#stones.get(taskId)
    return stone !== undefined && stone.untilMs > nowMs ? stone : undefined
  }

  /** Puts one up; a task's tombstone never goes back to a lower attempt. */
  put(taskId: TaskId, attempt: number, isFence: boolean, nowMs: number): void {
    const before = this.#stones.get(taskId)
    if (before !== undefined && before.attempt > attempt) return
    const stone = { attempt, isFence, untilMs: nowMs + this.#limits.ageMs }
    this.#stones.set(taskId, stone)
    this.#order.push([taskId, stone])
    this.#trim(nowMs)
  }

  #trim(nowMs: number): void {
    for (let oldest = this.#order.first; oldest; oldest = this.#order.first) {
      const [taskId, stone] = oldest
      if (this.#order.length <= this.#limits.count && stone.untilMs > nowMs) return
      this.#order.shift()
      if (this.#stones.get(taskId) === stone) this.#stones.delete(taskId)
    }
  }
}
