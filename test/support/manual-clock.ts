// A clock that stands still until it is told to move. Timers fire in the order of their
// time, those of the same time in the order of their making.

import type { Clock } from '../../src/ports.ts'

export interface ManualClock extends Clock {
  /** Moves on by `ms`, firing what falls due on the way, in order. */
  advance(ms: number): void
  /** A process that was stopped: `ms` are gone at once, and what fell due fires late. */
  stall(ms: number): void
  /** Timers that are set. */
  readonly pending: number
  /** Called after each timer that fired in `advance`, and at its end. */
  afterTurn: () => void
}

interface Timer {
  readonly atMs: number
  readonly order: number
  readonly fn: () => void
}

/** `wallMs`: what `wall()` says at the beginning. */
export const createManualClock = (wallMs = 1_700_000_000_000): ManualClock => {
  let nowMs = 0
  let order = 0
  const timers = new Set<Timer>()

  const firstUntil = (untilMs: number): Timer | undefined => {
    let first: Timer | undefined
    for (const timer of timers) {
      if (timer.atMs > untilMs) continue
      const isEarlier =
        first === undefined ||
        timer.atMs < first.atMs ||
        (timer.atMs === first.atMs && timer.order < first.order)
      if (isEarlier) first = timer
    }
    return first
  }

  const clock: ManualClock = {
    afterTurn: () => {},
    now: () => nowMs,
    wall: () => wallMs + nowMs,
    after: (ms, fn) => {
      const timer = { atMs: nowMs + Math.max(0, ms), order: order++, fn }
      timers.add(timer)
      return () => void timers.delete(timer)
    },
    advance: (ms) => {
      const untilMs = nowMs + ms
      for (;;) {
        const timer = firstUntil(untilMs)
        if (timer === undefined) break
        timers.delete(timer)
        nowMs = timer.atMs
        timer.fn()
        clock.afterTurn()
      }
      nowMs = untilMs
      clock.afterTurn()
    },
    stall: (ms) => {
      nowMs += ms
      for (;;) {
        const timer = firstUntil(nowMs)
        if (timer === undefined) return
        timers.delete(timer)
        timer.fn()
      }
    },
    get pending() {
      return timers.size
    },
  }
  return clock
}
