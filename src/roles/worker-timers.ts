// Worker timers: the one-off waits of a worker that nothing else owns, ended together.

import type { Cancel, Clock } from '../ports.ts'

export class WorkerTimers {
  readonly #clock: Clock
  readonly #timers = new Set<Cancel>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  after(ms: number, fn: () => void): Cancel {
    const cancel = this.#clock.after(ms, () => {
      this.#timers.delete(cancel)
      fn()
    })
    this.#timers.add(cancel)
    return () => {
      this.#timers.delete(cancel)
      cancel()
    }
  }

  close(): void {
    for (const cancel of this.#timers) cancel()
    this.#timers.clear()
  }
}
