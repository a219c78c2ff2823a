// Paths: what lies between two nodes, one object for each direction: how long a frame
// takes, and whether anything passes at all. What is held back by a block is not lost:
// TCP sends it again, so it arrives, in order, once the way is free.

import type { SimRandom } from './random.ts'

/** How long a frame takes on a path. */
export interface Delays {
  readonly leastMs: number
  /** Beyond that, any time up to this. */
  readonly spreadMs: number
  /** How likely a frame takes ten times as long. */
  readonly spikes: number
}

/** Faults add up, but a frame that takes hours proves nothing. */
const MOST_TIMES = 400
/** After a block, a sender tries again within this. */
const RESEND_MS = 400

export class Path {
  readonly #random: SimRandom
  readonly #delays: Delays
  /** Blocks in force; several faults may block the same path. */
  #blocks = 0
  /** How many times longer everything takes. */
  slowness = 1
  readonly #waiting: (() => void)[] = []

  constructor(random: SimRandom, delays: Delays) {
    this.#random = random
    this.#delays = delays
  }

  get isBlocked(): boolean {
    return this.#blocks > 0
  }

  /** How long the next frame takes. */
  delayMs(): number {
    const { leastMs, spreadMs, spikes } = this.#delays
    const random = this.#random
    const times = Math.min(this.slowness, MOST_TIMES)
    const full = (leastMs + random.fraction() * spreadMs) * times
    return spikes > 0 && random.chance(spikes) ? full * 10 : full
  }

  /** How long after a block what was held back is sent again. */
  resendMs(): number {
    return this.delayMs() + this.#random.fraction() * RESEND_MS
  }

  block(): void {
    this.#blocks += 1
  }

  unblock(): void {
    this.#blocks -= 1
    if (this.#blocks > 0) return
    for (const go of this.#waiting.splice(0)) go()
  }

  /** Calls `go` when nothing blocks any more. */
  whenFree(go: () => void): void {
    this.#waiting.push(go)
  }
}

export class Paths {
  readonly #paths = new Map<string, Path>()
  readonly #make: (label: string) => Path

  constructor(make: (label: string) => Path) {
    this.#make = make
  }

  get(from: string, to: string): Path {
    const label = `${from}>${to}`
    let path = this.#paths.get(label)
    if (path === undefined) {
      path = this.#make(label)
      this.#paths.set(label, path)
    }
    return path
  }
}
