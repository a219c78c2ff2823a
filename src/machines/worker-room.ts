// Room: the workers that could take something now, the least loaded first; those with a
// core to give, and those that take tasks without one.
//
// A mesh has a thousand workers, and a turn for every few messages: nobody can be looked at
// in vain. Nearly always the first of a heap is the one that is taken, and a worker that is
// full stands in none. (Who a task does not fit is found out by looking at the others.)

import type { ManagerConfig } from './manager-config.ts'
import type { Worker } from './task-record.ts'

/** A worker's place in the heaps; -1: in none. */
export interface RoomPlace {
  /** Part of its cores in use, then the number of tasks. */
  load: number
  /** Of workers that are loaded alike, the one that came first goes first. */
  readonly order: number
  withCores: number
  coreless: number
}

export const noPlace = (order: number): RoomPlace => ({
  load: 0,
  order,
  withCores: -1,
  coreless: -1,
})

export class Room {
  readonly withCores = new LoadHeap('withCores')
  readonly coreless = new LoadHeap('coreless')
  readonly #config: ManagerConfig

  constructor(config: ManagerConfig) {
    this.#config = config
  }

  get isNone(): boolean {
    return this.withCores.size === 0 && this.coreless.size === 0
  }

  /** To be called whenever its state, its tasks or what they take have changed. */
  changed(worker: Worker): void {
    const { status, usedCores, cores, room } = worker
    const isManaged = status === 'managing'
    const depth = mayPrefetch(worker, this.#config) ? 2 : 1
    room.load = (usedCores / Math.max(1, cores)) * 1e6 + worker.tasks.size
    this.withCores.put(worker, isManaged && usedCores < depth * cores)
    this.coreless.put(worker, isManaged && worker.coreless < this.#config.coreless)
  }
}

/** Its tasks are so short that the next ones should wait there. */
export const mayPrefetch = (worker: Worker, config: ManagerConfig): boolean =>
  worker.meanRunMs !== undefined && worker.meanRunMs < config.prefetchBelowMs

export const isLessLoaded = ({ room: a }: Worker, { room: b }: Worker): boolean =>
  a.load < b.load || (a.load === b.load && a.order < b.order)

/** A binary heap in which each worker knows its index. */
export class LoadHeap {
  readonly #items: Worker[] = []
  readonly #index: 'withCores' | 'coreless'

  constructor(index: 'withCores' | 'coreless') {
    this.#index = index
  }

  get size(): number {
    return this.#items.length
  }

  get first(): Worker | undefined {
    return this.#items[0]
  }

  /** In no order. */
  values(): IterableIterator<Worker> {
    return this.#items.values()
  }

  /** In, out, or, its load being another, at another place. */
  put(worker: Worker, isIn: boolean): void {
    const index = worker.room[this.#index]
    if (!isIn) {
      if (index >= 0) this.#remove(worker, index)
      return
    }
    if (index < 0) this.#place(worker, this.#items.length)
    this.#up(worker)
    this.#down(worker)
  }

  #remove(worker: Worker, index: number): void {
    worker.room[this.#index] = -1
    const last = this.#items.pop()
    if (last === undefined || last === worker) return
    this.#place(last, index)
    this.#up(last)
    this.#down(last)
  }

  #up(worker: Worker): void {
    for (let at = worker.room[this.#index]; at > 0; at = (at - 1) >> 1) {
      const parent = this.#items[(at - 1) >> 1]
      if (parent === undefined || !isLessLoaded(worker, parent)) return
      this.#place(parent, at)
      this.#place(worker, (at - 1) >> 1)
    }
  }

  #down(worker: Worker): void {
    for (;;) {
      const at = worker.room[this.#index]
      const left = this.#items[2 * at + 1]
      const right = this.#items[2 * at + 2]
      const least = left && right && isLessLoaded(right, left) ? right : left
      if (least === undefined || !isLessLoaded(least, worker)) return
      const below = least.room[this.#index]
      this.#place(least, at)
      this.#place(worker, below)
    }
  }

  #place(worker: Worker, index: number): void {
    this.#items[index] = worker
    worker.room[this.#index] = index
  }
}
