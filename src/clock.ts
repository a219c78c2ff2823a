// The system's clock and random values behind the ports. Decisions take `Clock` and
// `Random`; only the composition root and the edges name these two.

import { randomBytes } from 'node:crypto'
import type { Clock, Random } from './ports.ts'

/** The longest delay that setTimeout takes; above it Node.js would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1

/**
 * Monotonic time from the process's start, wall time, and timers that keep nothing alive.
 * Whole milliseconds: spans that are reckoned from them go on the wire, which has integers.
 */
export const systemClock: Clock = {
  now: () => Math.floor(performance.now()),
  wall: () => Date.now(),
  after: (ms, fn) => {
    const timer = setTimeout(fn, Math.min(Math.max(ms, 0), MAX_DELAY_MS))
    timer.unref()
    return () => clearTimeout(timer)
  },
}

/** Random values: fractions for jitter, hex ids from the system's secure source. */
export const systemRandom: Random = {
  fraction: Math.random,
  hex: (bytes) => randomBytes(bytes).toString('hex'),
}
