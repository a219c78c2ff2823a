// The digest of a history: two 32-bit hashes that run along with its events, so that two
// histories can be compared without being kept.

import type { HistoryEvent } from './history.ts'
import { hashText } from './random.ts'

/** Short texts come again and again (names, ids): each is hashed once. */
const REMEMBERED = 64

export class Digest {
  #a = 0x811c9dc5
  #b = 0x1b873593
  count = 0
  readonly #known = new Map<string, number>()

  add(event: HistoryEvent): void {
    this.count += 1
    this.#fields(event)
  }

  /** 16 hex digits. */
  get text(): string {
    return [this.#a, this.#b]
      .map((half) => (half >>> 0).toString(16).padStart(8, '0'))
      .join('')
  }

  #fields(value: object): void {
    for (const key in value) {
      this.#word(key.length)
      // Own fields of plain data, and the items of lists.
      const field = (value as Record<string, unknown>)[key]
      if (typeof field === 'string') this.#string(field)
      else if (typeof field === 'number') this.#number(field)
      else if (typeof field === 'object' && field !== null) this.#fields(field)
      else this.#word(field === true ? 1 : 2)
    }
  }

  #string(text: string): void {
    if (text.length > REMEMBERED) {
      this.#word(hashText(text))
      return
    }
    let hash = this.#known.get(text)
    if (hash === undefined) {
      hash = hashText(text)
      this.#known.set(text, hash)
    }
    this.#word(hash)
  }

  #number(value: number): void {
    const whole = Math.floor(value)
    this.#word(whole | 0)
    if (whole !== value) this.#word(((value - whole) * 2 ** 32) | 0)
    else if (whole > 2 ** 31) this.#word((whole / 2 ** 32) | 0)
  }

  #word(word: number): void {
    this.#a = Math.imul(this.#a ^ word, 0x01000193)
    this.#b = Math.imul((this.#b + word) ^ (this.#b >>> 15), 0x5bd1e995)
  }
}
