// Due times of tasks: a binary heap in which each task knows its index, so that a task that
// closes leaves at once. (Left in until due, an hour's limit at 10,000 tasks a second would
// hold 36 million of them.)

import type { Task } from './task-record.ts'

export class DueHeap {
  readonly #items: Task[] = []

  get first(): Task | undefined {
    return this.#items[0]
  }

  get size(): number {
    return this.#items.length
  }

  /** Adds a task, or moves it if it is in. */
  set(task: Task, dueMs: number, dueFor: 'retry' | 'deadline' | 'overdue'): void {
    task.dueMs = dueMs
    task.dueFor = dueFor
    if (task.heapIndex < 0) {
      task.heapIndex = this.#items.length
      this.#items.push(task)
    }
    this.#up(task)
    this.#down(task)
  }

  remove(task: Task): void {
    const index = task.heapIndex
    if (index < 0) return
    task.heapIndex = -1
    task.dueFor = 'nothing'
    const last = this.#items.pop()
    if (last === undefined || last === task) return
    this.#put(last, index)
    this.#up(last)
    this.#down(last)
  }

  #up(task: Task): void {
    while (task.heapIndex > 0) {
      const parent = this.#items[(task.heapIndex - 1) >> 1]
      if (parent === undefined || parent.dueMs <= task.dueMs) return
      this.#swap(parent, task)
    }
  }

  #down(task: Task): void {
    for (;;) {
      const left = this.#items[2 * task.heapIndex + 1]
      const right = this.#items[2 * task.heapIndex + 2]
      const least = right && left && right.dueMs < left.dueMs ? right : left
      if (least === undefined || least.dueMs >= task.dueMs) return
      this.#swap(task, least)
    }
  }

  #swap(a: Task, b: Task): void {
    const index = a.heapIndex
    this.#put(a, b.heapIndex)
    this.#put(b, index)
  }

  #put(task: Task, index: number): void {
    this.#items[index] = task
    task.heapIndex = index
  }
}
