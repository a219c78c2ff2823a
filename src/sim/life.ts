// A life: one process of a node, from its boot to its end, with its own clock. What is to
// happen to it happens in turns: one event, then what it wanted done before anything else
// (`tick`), then what it wanted done when all that came in is dealt with (`soon`).
//
// A frozen life (SIGSTOP, a laptop's lid) misses nothing: its timers and frames pile up
// and run when it wakes, the timers first, as libuv does it. A life that is over hears
// nothing more.

import type { Cancel, Clock } from '../ports.ts'
import type { Owner, Planned, Schedule } from './schedule.ts'

export interface LifeOptions {
  readonly node: string
  readonly bootId: string
  /** Milliseconds of its clock for each of the world's. */
  readonly rate: number
  /** What its monotonic clock shows at boot. */
  readonly clockMs: number
  /** What its wall clock shows more than the world's. */
  readonly wallOffsetMs: number
  /** Measures its turns, if anybody wants to know: milliseconds of a real clock. */
  readonly stopwatch: (() => number) | undefined
  /**
   * What happens to it waits for the next of its moments, so many milliseconds apart: then
   * it deals with all at once, as a busy event loop does. 0: at once, each by itself.
   */
  readonly slotMs: number
  /** Where its moments lie between those of others. */
  readonly phaseMs: number
}

/** The longest delay of a timer, as setTimeout's. */
const MAX_DELAY_MS = 2 ** 31 - 1
/** So that a timer never finds its clock a rounding error short of its time. */
const ROUNDING_MS = 1e-6
/** The world's Unix time at its beginning. */
const EPOCH_MS = 1_700_000_000_000

export class Life implements Owner {
  readonly node: string
  readonly bootId: string
  readonly clock: Clock
  readonly schedule: Schedule
  isOver = false
  isFrozen = false
  /** Real time that its turns took, by the stopwatch. */
  busyMs = 0
  wallOffsetMs: number
  readonly #bornMs: number
  readonly #clockMs: number
  readonly #rate: number
  readonly #slotMs: number
  readonly #phaseMs: number
  readonly #stopwatch: (() => number) | undefined
  readonly #ticks: (() => void)[] = []
  readonly #soons: (() => void)[] = []
  #isTurning = false
  readonly #lateTimers: Planned[] = []
  readonly #lateInput: Planned[] = []

  constructor(schedule: Schedule, options: LifeOptions) {
    this.schedule = schedule
    this.node = options.node
    this.bootId = options.bootId
    this.wallOffsetMs = options.wallOffsetMs
    this.#bornMs = schedule.nowMs
    this.#clockMs = options.clockMs
    this.#rate = options.rate
    this.#stopwatch = options.stopwatch
    this.#slotMs = options.slotMs
    this.#phaseMs = options.phaseMs
    this.clock = {
      now: () => Math.floor(this.#localMs()),
      wall: () => Math.floor(EPOCH_MS + schedule.nowMs + this.wallOffsetMs),
      after: (ms, act) => this.#after(ms, act),
    }
  }

  slotMs(atMs: number): number {
    const { nowMs } = this.schedule
    const from = Math.max(atMs, nowMs)
    if (this.#slotMs === 0) return from
    const slots = Math.ceil((from - this.#phaseMs) / this.#slotMs)
    return Math.max(nowMs, slots * this.#slotMs + this.#phaseMs)
  }

  #localMs(): number {
    return this.#clockMs + (this.schedule.nowMs - this.#bornMs) * this.#rate
  }

  #after(ms: number, act: () => void): Cancel {
    const delayMs = Math.min(Math.max(ms, 1), MAX_DELAY_MS)
    const atMs = this.schedule.nowMs + delayMs / this.#rate + ROUNDING_MS
    const planned = this.schedule.at(atMs, act, this, true)
    return () => this.schedule.cancel(planned)
  }

  /** Something reaches it from outside, `ms` of the world's time from now. */
  input(ms: number, act: () => void): Planned {
    return this.schedule.at(this.schedule.nowMs + ms, act, this)
  }

  /** Something reaches it now. Not to be called in one of its turns. */
  hear(act: () => void): void {
    if (this.isOver) return
    if (this.isFrozen) {
      this.#lateInput.push({ atMs: 0, turn: 0, act, owner: this, isTimer: false })
      return
    }
    this.#turn(act)
  }

  /** Done in this turn, after what runs now and before all that is `soon`. */
  readonly tick = (act: () => void): void => {
    this.#ticks.push(act)
  }

  /** Done at the end of this turn. */
  readonly soon = (act: () => void): void => {
    this.#soons.push(act)
  }

  fire(planned: Planned): void {
    const { act } = planned
    if (act === undefined) return
    if (this.isOver) return
    if (this.isFrozen) {
      const late = planned.isTimer ? this.#lateTimers : this.#lateInput
      late.push(planned)
      return
    }
    planned.act = undefined
    this.#turn(act)
  }

  /** What piled up runs now, in its order; it may freeze again in the midst of it. */
  wake(): void {
    if (!this.isFrozen) return
    this.isFrozen = false
    const late = [...this.#lateTimers.splice(0), ...this.#lateInput.splice(0)]
    for (const planned of late) this.fire(planned)
  }

  /** Nothing of it happens any more. */
  end(): void {
    this.isOver = true
    this.#lateTimers.length = 0
    this.#lateInput.length = 0
  }

  #turn(act: () => void): void {
    if (this.#isTurning) throw new Error(`${this.node} is in the midst of a turn`)
    const stopwatch = this.#stopwatch
    const beganMs = stopwatch === undefined ? 0 : stopwatch()
    this.#isTurning = true
    try {
      act()
      if (this.#ticks.length > 0 || this.#soons.length > 0) this.#endTurn()
    } finally {
      this.#isTurning = false
    }
    if (stopwatch !== undefined) this.busyMs += stopwatch() - beganMs
  }

  #endTurn(): void {
    const ticks = this.#ticks
    const soons = this.#soons
    while (ticks.length > 0 || soons.length > 0) {
      if (this.isOver) {
        ticks.length = 0
        soons.length = 0
        return
      }
      const next = ticks.length > 0 ? ticks.shift() : soons.shift()
      next?.()
    }
  }
}
