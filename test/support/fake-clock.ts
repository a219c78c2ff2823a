// Fake clock: time that moves only when a test says so. Timers fire in order of their
// time, those of the same time in order of their making.

import type { Cancel, Clock } from '../../src/ports.ts'

interface Timer {
  readonly atMs: number
  readonly fn: () => void
}

export class FakeClock implements Clock {
  #nowMs = 1000
  readonly #timers = new Set<Timer>()
  /** Called after each timer, and once at the end of `advance`. */
  afterTurn: () => void = () => undefined

  now(): number {
    return this.#nowMs
  }
  wall(): number {
    return 1_700_000_000_000 + this.#nowMs
  }
  after(ms: number, fn: () => void): Cancel {
    const timer = { atMs: this.#nowMs + ms, fn }
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }
  /** How many timers are set. */
  get pending(): number {
    return this.#timers.size
  }

  /** Moves on by `ms`, firing what falls due on the way. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms
    for (let due = this.#next(endMs); due; due = this.#next(endMs)) {
      this.#timers.delete(due)
      this.#nowMs = Math.max(this.#nowMs, due.atMs)
      due.fn()
      this.afterTurn()
    }
    this.#nowMs = endMs
    this.afterTurn()
  }

  #next(endMs: number): Timer | undefined {
    let first: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.atMs <= endMs && (!first || timer.atMs < first.atMs)) first = timer
    }
    return first
  }
}
