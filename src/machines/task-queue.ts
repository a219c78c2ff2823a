// The queue of tasks that wait for a worker: one list per shape.
//
// A shape is all that placement looks at (priority, requirements, kind of job, nodes that
// refused), so that a hundred thousand tasks which nobody can run cost one look, not a
// hundred thousand. Lists are linked through the tasks: adding and leaving cost the same
// anywhere. Among shapes the higher priority goes first, then the older first task.

import type { Need } from './placement.ts'
import type { Task, Worker } from './task-record.ts'

export interface Shape {
  readonly key: string
  readonly priority: number
  readonly need: Need
  readonly excluded: ReadonlyMap<string, string> | undefined
  head: Task | undefined
  tail: Task | undefined
  size: number
  /** Since when its first task fits some worker but finds no room. */
  blockedSinceMs: number | undefined
  /** A worker that is kept free for it. */
  reserved: Worker | undefined
}

export class TaskQueue {
  readonly #byKey = new Map<string, Shape>()
  #ordered: Shape[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Shapes in the order in which they are served. Empty ones are dropped here. */
  shapes(): readonly Shape[] {
    if (this.#ordered.some((shape) => shape.size === 0)) {
      for (const shape of this.#ordered)
        if (shape.size === 0) this.#byKey.delete(shape.key)
      this.#ordered = this.#ordered.filter((shape) => shape.size > 0)
    }
    // Nearly sorted from last time, for which the engine's sort is linear.
    return this.#ordered.length > 1 ? this.#ordered.sort(servedFirst) : this.#ordered
  }

  /** At the end, in order of submission. */
  push(task: Task): void {
    const shape = this.#enter(task)
    task.previous = shape.tail
    if (shape.tail === undefined) shape.head = task
    else shape.tail.next = task
    shape.tail = task
  }

  /** At the front: it has waited its turn before. */
  pushFront(task: Task): void {
    const shape = this.#enter(task)
    task.next = shape.head
    if (shape.head === undefined) shape.tail = task
    else shape.head.previous = task
    shape.head = task
  }

  remove(task: Task): void {
    const { shape } = task
    if (shape === undefined) return
    if (task.previous === undefined) shape.head = task.next
    else task.previous.next = task.next
    if (task.next === undefined) shape.tail = task.previous
    else task.next.previous = task.previous
    task.previous = undefined
    task.next = undefined
    task.shape = undefined
    shape.size -= 1
    this.#size -= 1
  }

  #enter(task: Task): Shape {
    const key = shapeKey(task)
    let shape = this.#byKey.get(key)
    if (shape === undefined) {
      shape = {
        key,
        priority: task.request.priority ?? 0,
        need: task.need,
        excluded: task.excluded,
        head: undefined,
        tail: undefined,
        size: 0,
        blockedSinceMs: undefined,
        reserved: undefined,
      }
      this.#byKey.set(key, shape)
      this.#ordered.push(shape)
    }
    task.shape = shape
    shape.size += 1
    this.#size += 1
    return shape
  }
}

const servedFirst = (a: Shape, b: Shape): number =>
  b.priority - a.priority || (a.head?.seq ?? 0) - (b.head?.seq ?? 0)

const shapeKey = ({ request, need, excluded }: Task): string => {
  const plain = `${request.priority ?? 0} ${need.kind}`
  const { requires = {}, user = '' } = request
  if (request.requires === undefined && user === '' && excluded === undefined)
    return plain
  const refusedBy = excluded === undefined ? '' : [...excluded.keys()].sort().join()
  return `${plain} ${JSON.stringify(requires)} ${user} ${refusedBy}`
}
