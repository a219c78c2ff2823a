// Fifo: things in the order of their coming. Taking from the front costs nothing however
// long it is (a Map or Set, emptied from its front, looks through what it has deleted).

export class Fifo<T> {
  #items: T[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** The first one, still in its place; undefined if there is none. */
  get first(): T | undefined {
    return this.#items[this.#head]
  }

  /** Takes the first one away. */
  shift(): void {
    if (this.#head === this.#items.length) return
    this.#head += 1
    if (this.#head < 1024 && this.#head < this.#items.length) return
    if (this.#head * 2 < this.#items.length) return
    this.#items = this.#items.slice(this.#head)
    this.#head = 0
  }
}
