// Queue: first in, first out, both ends in constant time.

/** Taken items leave a gap at the front; it is closed when it is most of the list. */
const LEAST_GAP = 64

export class Queue<T> {
  #items: T[] = []
  #first = 0

  get length(): number {
    return this.#items.length - this.#first
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** The one that waits longest. */
  peek(): T | undefined {
    return this.#items[this.#first]
  }

  shift(): T | undefined {
    const item = this.peek()
    if (this.#first < this.#items.length) this.#first++
    if (this.#first >= LEAST_GAP && this.#first * 2 >= this.#items.length) this.#close()
    return item
  }

  /** Takes out, in order, all that `isTaken` says yes to. */
  take(isTaken: (item: T) => boolean): T[] {
    this.#close()
    const taken = this.#items.filter(isTaken)
    if (taken.length > 0) this.#items = this.#items.filter((item) => !isTaken(item))
    return taken
  }

  #close(): void {
    this.#items = this.#items.slice(this.#first)
    this.#first = 0
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#items.slice(this.#first).values()
  }
}
