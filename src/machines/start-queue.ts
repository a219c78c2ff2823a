// Start queue: task ids in the order in which they may start. Taking from the front costs
// nothing however long it is. It may hold ids that wait no longer; who takes them checks.

import type { TaskId } from '../../protocol/index.ts'

export class StartQueue {
  #ids: TaskId[] = []
  #head = 0

  push(taskId: TaskId): void {
    this.#ids.push(taskId)
  }

  /** The first one, still in its place; undefined if there is none. */
  get first(): TaskId | undefined {
    return this.#ids[this.#head]
  }

  /** Takes the first one away. */
  shift(): void {
    this.#head += 1
    if (this.#head < 1024 && this.#head < this.#ids.length) return
    this.#ids = this.#ids.slice(this.#head)
    this.#head = 0
  }
}
