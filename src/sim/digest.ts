// The digest of a history: two 32-bit hashes that run along with its events, so that two
// histories can be compared without being kept.

import type { HistoryEvent } from './history.ts'

export class Digest {
  #a = 0x811c9dc5
  #b = 0x1b873593
  count = 0

  add(event: HistoryEvent): void {
    this.count += 1
    this.#value(event)
  }

  /** 16 hex digits. */
  get text(): string {
    return [this.#a, this.#b]
      .map((half) => (half >>> 0).toString(16).padStart(8, '0'))
      .join('')
  }

  #value(value: unknown): void {
    if (typeof value === 'string') this.#string(value)
    else if (typeof value === 'number') this.#number(value)
    else if (typeof value === 'object' && value !== null) {
      for (const key in value) {
        this.#word(key.length)
        // Own fields of plain data, and the items of lists.
        this.#value((value as Record<string, unknown>)[key])
      }
    } else this.#word(value === true ? 1 : 2)
  }

  #string(text: string): void {
    for (let i = 0; i < text.length; i++) this.#word(text.charCodeAt(i))
    this.#word(0x10000)
  }

  #number(value: number): void {
    this.#word(value | 0)
    if (!Number.isInteger(value)) this.#word(Math.floor((value % 1) * 2 ** 32) | 0)
    else if (value > 2 ** 31) this.#word(Math.floor(value / 2 ** 32))
  }

  #word(word: number): void {
    this.#a = Math.imul(this.#a ^ word, 0x01000193)
    this.#b = Math.imul(this.#b + word, 0x5bd1e995)
    this.#b ^= this.#b >>> 15
  }
}
