// Alarm: one timer for all deadlines of a conversation.
//
// A timer per ask would cost more than the ask. Deadlines are kept where they belong (by
// the asks and the requests); here is only the earliest known one. It rings at that time
// or up to GRAIN_MS later, and whoever is rung looks through what is open and says when
// it wants to be rung next. Deadlines that were met in time cost nothing.

/** What a conversation needs of a clock: monotonic milliseconds and a timer. */
export interface Clock {
  now(): number
  /** Calls `fn` once, `ms` from now; returns what ends it. */
  after(ms: number, fn: () => void): () => void
}

/** Never rings more often than this: a peer that states tiny deadlines gets no more. */
export const GRAIN_MS = 5

/**
 * A timer this late means that the whole process stood still. What came meanwhile lies
 * unread in the sockets: it is read before anything is judged to be overdue.
 */
export const STOOD_STILL_MS = 250

/** What a timer can be set to; a later deadline rings early, and is asked for again. */
const LONGEST_MS = 2 ** 31 - 1

export class Alarm {
  readonly #clock: Clock
  readonly #ring: (now: number) => number
  #at = Number.POSITIVE_INFINITY
  #notBefore = 0
  #isPostponed = false
  #cancel: (() => void) | undefined

  /** `ring(now)` deals with what is due and returns the next deadline (Infinity: none). */
  constructor(clock: Clock, ring: (now: number) => number) {
    this.#clock = clock
    this.#ring = ring
  }

  /** Something is due at `deadline`. */
  by(deadline: number): void {
    if (deadline >= this.#at) return
    const at = Math.max(deadline, this.#notBefore)
    if (at >= this.#at) return
    this.#cancel?.()
    this.#at = at
    const ms = Math.min(LONGEST_MS, Math.max(0, Math.ceil(at - this.#clock.now())))
    this.#cancel = this.#clock.after(ms, this.#rung)
  }

  stop(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#at = Number.NEGATIVE_INFINITY
  }

  readonly #rung = () => {
    if (this.#at === Number.NEGATIVE_INFINITY) return
    const now = this.#clock.now()
    if (now - this.#at > STOOD_STILL_MS && !this.#isPostponed) {
      this.#isPostponed = true
      this.#cancel = this.#clock.after(GRAIN_MS, this.#rung)
      return
    }
    this.#isPostponed = false
    this.#cancel = undefined
    this.#at = Number.POSITIVE_INFINITY
    this.#notBefore = now + GRAIN_MS
    const next = this.#ring(now)
    if (next !== Number.POSITIVE_INFINITY) this.by(next)
  }
}
