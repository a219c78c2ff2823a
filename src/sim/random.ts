// Chance of a simulation: a small generator (sfc32) whose values follow from a seed and a
// label alone. Each part of a world has its own, so that taking one fault out of a
// scenario does not change what all the others draw.

import type { Random } from '../ports.ts'

/** A 32-bit hash of a text, to make labels into seeds. */
export const hashText = (text: string, seed = 0x811c9dc5): number => {
  let hash = seed | 0
  for (let i = 0; i < text.length; i++)
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

const HEX = '0123456789abcdef'

export class SimRandom implements Random {
  #a: number
  #b: number
  #c: number
  #d = 1

  constructor(seed: number, label = '') {
    const mixed = hashText(label, (seed ^ 0x9e3779b9) | 0)
    this.#a = seed | 0
    this.#b = Math.floor(seed / 2 ** 32) | 0
    this.#c = mixed | 0
    for (let i = 0; i < 12; i++) this.word()
  }

  /** An integer from 0 to 2^32 - 1. */
  word(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    this.#c |= 0
    return sum >>> 0
  }

  fraction(): number {
    return this.word() / 2 ** 32
  }

  hex(bytes: number): string {
    let text = ''
    for (let left = 2 * bytes; left > 0; left -= 8) {
      let word = this.word()
      for (let i = Math.min(8, left); i > 0; i--) {
        text += HEX[word & 15]
        word >>>= 4
      }
    }
    return text
  }

  /** An integer from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.fraction() * (high - low + 1))
  }

  /** A number from `low` up to `high`. */
  between(low: number, high: number): number {
    return low + this.fraction() * (high - low)
  }

  /** Between them, the small ones as likely as the large: for spans of time. */
  spread(low: number, high: number): number {
    return Math.round(low * (high / low) ** this.fraction())
  }

  chance(probability: number): boolean {
    return this.fraction() < probability
  }

  pick<T>(list: readonly T[]): T {
    const item = list[this.int(0, list.length - 1)]
    if (item === undefined) throw new RangeError('Expected a list that is not empty')
    return item
  }
}
