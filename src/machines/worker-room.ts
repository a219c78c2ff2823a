// Room: the workers that could take something now, the least loaded first; those with a
// core to give, and those that take tasks without one.
//
// A mesh has a thousand workers, and a turn for every few messages: nobody can be looked at
// in vain. Nearly always the first of a heap is the one that is taken, and a worker that is
// full stands in none. (Who a task does not fit is found out by looking at the others.)
// Changes are taken in when a heap is looked at: several of one turn count once, and a mesh
// without tasks of a kind pays nothing for it.

import type { ManagerConfig } from './manager-config.ts'
import type { Worker } from './task-record.ts'

/** A worker's place in one of the heaps. */
interface Place {
  /** -1: it is not in. */
  index: number
  /** By which it stands there: its load when it was last looked at. */
  load: number
  /** It has changed since. */
  isLate: boolean
}

export interface RoomPlaces {
  /** Of workers that are loaded alike, the one that came first goes first. */
  readonly order: number
  readonly withCores: Place
  readonly coreless: Place
}

/** Changes that may wait to be taken in. */
const LATE_MOST = 4_096

const noPlace = (): Place => ({ index: -1, load: 0, isLate: false })

export const noPlaces = (order: number): RoomPlaces => ({
  order,
  withCores: noPlace(),
  coreless: noPlace(),
})

export class Room {
  readonly #withCores: LoadHeap
  readonly #coreless: LoadHeap

  constructor(config: ManagerConfig) {
    this.#withCores = new LoadHeap('withCores', (worker) => {
      return worker.usedCores < depthOf(worker, config) * worker.cores
    })
    const hasPlaces = ({ coreless }: Worker): boolean => coreless < config.coreless
    this.#coreless = new LoadHeap('coreless', hasPlaces)
  }

  /** Those that may have room for a task that needs so many cores. */
  heapFor(cores: number): LoadHeap {
    const heap = cores > 0 ? this.#withCores : this.#coreless
    heap.settle()
    return heap
  }

  /** To be called whenever its state, its tasks or what they take have changed. */
  changed(worker: Worker): void {
    this.#withCores.changed(worker)
    this.#coreless.changed(worker)
  }
}

/** Work for so long waits at a worker: what a record on disk and the way there may take. */
const COVER_MS = 40
const MOST_WAITING = 12

/**
 * How often over its cores may be taken: once where tasks are long, twice where they are
 * short, and more often where they are over before the next one can be there.
 */
export const depthOf = ({ meanRunMs }: Worker, config: ManagerConfig): number => {
  if (meanRunMs === undefined || meanRunMs >= config.prefetchBelowMs) return 1
  return 1 + Math.min(MOST_WAITING, Math.ceil(COVER_MS / Math.max(1, meanRunMs)))
}

/** Part of its cores in use, then the number of tasks. */
const loadOf = ({ usedCores, cores, tasks }: Worker): number =>
  (usedCores / Math.max(1, cores)) * 1e6 + tasks.size

export const isLessLoaded = (one: Worker, other: Worker): boolean => {
  const difference = loadOf(one) - loadOf(other)
  return difference < 0 || (difference === 0 && one.room.order < other.room.order)
}

/** A binary heap in which each worker knows its index. */
class LoadHeap {
  readonly #name: 'withCores' | 'coreless'
  readonly #hasRoom: (worker: Worker) => boolean
  readonly #items: Worker[] = []
  readonly #late: Worker[] = []

  constructor(name: 'withCores' | 'coreless', hasRoom: (worker: Worker) => boolean) {
    this.#name = name
    this.#hasRoom = hasRoom
  }

  get first(): Worker | undefined {
    return this.#items[0]
  }

  /** In no order. */
  values(): IterableIterator<Worker> {
    return this.#items.values()
  }

  changed(worker: Worker): void {
    const place = worker.room[this.#name]
    if (place.isLate) return
    place.isLate = true
    this.#late.push(worker)
    // Nobody looks at it: those that are gone must not stay in it for ever.
    if (this.#late.length >= LATE_MOST) this.settle()
  }

  /** Takes in what has changed; the others are in order meanwhile, by what they stand by. */
  settle(): void {
    for (const worker of this.#late) {
      const place = worker.room[this.#name]
      place.isLate = false
      const isIn = worker.status === 'managing' && this.#hasRoom(worker)
      if (!isIn && place.index >= 0) this.#remove(worker, place.index)
      if (!isIn) continue
      place.load = loadOf(worker)
      if (place.index < 0) this.#put(worker, this.#items.length)
      this.#up(worker)
      this.#down(worker)
    }
    this.#late.length = 0
  }

  #isBefore(one: Worker, other: Worker): boolean {
    const { load } = one.room[this.#name]
    const { load: than } = other.room[this.#name]
    return load < than || (load === than && one.room.order < other.room.order)
  }

  #remove(worker: Worker, index: number): void {
    worker.room[this.#name].index = -1
    const last = this.#items.pop()
    if (last === undefined || last === worker) return
    this.#put(last, index)
    this.#up(last)
    this.#down(last)
  }

  #up(worker: Worker): void {
    for (let at = worker.room[this.#name].index; at > 0; at = (at - 1) >> 1) {
      const parent = this.#items[(at - 1) >> 1]
      if (parent === undefined || !this.#isBefore(worker, parent)) return
      this.#put(parent, at)
      this.#put(worker, (at - 1) >> 1)
    }
  }

  #down(worker: Worker): void {
    for (;;) {
      const at = worker.room[this.#name].index
      const left = this.#items[2 * at + 1]
      const right = this.#items[2 * at + 2]
      const first = left && right && this.#isBefore(right, left) ? right : left
      if (first === undefined || !this.#isBefore(first, worker)) return
      const below = first.room[this.#name].index
      this.#put(first, at)
      this.#put(worker, below)
    }
  }

  #put(worker: Worker, index: number): void {
    this.#items[index] = worker
    worker.room[this.#name].index = index
  }
}
