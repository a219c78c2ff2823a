// Process held: what a node holds of one process besides its state: its program, its last
// runs with their output, its timers, and who waits for something to change.

import type { Respond } from '../../protocol/index.ts'
import type { Cancel, Clock, PreparedJob, Run } from '../ports.ts'

export interface NumberedRun {
  readonly number: number
  readonly run: Run
}

const nothing = (): void => undefined

export class HeldProcess {
  readonly job: PreparedJob
  readonly #clock: Clock
  /** The last one, and the one before: who follows that one may read it to its end. */
  #runs: readonly NumberedRun[] = []
  #cancelTimer: Cancel = nothing
  #cancelWatch: Cancel = nothing
  readonly #waiting = new Set<() => void>()
  #starters: Respond<'ProcessStart'>[] = []

  constructor(job: PreparedJob, clock: Clock) {
    this.job = job
    this.#clock = clock
  }

  get last(): NumberedRun | undefined {
    return this.#runs.at(-1)
  }

  /** The run of that number, or the first after it that is held. */
  runFrom(number: number): NumberedRun | undefined {
    return this.#runs.find((one) => one.number >= number)
  }

  began(run: NumberedRun): void {
    const { last } = this
    for (const old of this.#runs) if (old !== last) old.run.release()
    this.#runs = last === undefined ? [run] : [last, run]
  }

  /** Somebody who waits to hear whether it could be started. */
  addStarter(respond: Respond<'ProcessStart'>): void {
    this.#starters.push(respond)
  }

  /** Answers them, once. */
  answerStarters(answer: (respond: Respond<'ProcessStart'>) => void): void {
    for (const respond of this.#starters.splice(0)) answer(respond)
  }

  /** One timer; a new one replaces it. */
  timer(afterMs: number, fn: () => void): void {
    this.#cancelTimer()
    this.#cancelTimer = this.#clock.after(afterMs, fn)
  }

  /** What watches its run; a new one replaces it. */
  watch(cancel: Cancel): void {
    this.#cancelWatch()
    this.#cancelWatch = cancel
  }

  unwatch(): void {
    this.watch(nothing)
  }

  /** Calls `then` once: now if it is so, else when a change has made it so, or after `waitMs`. */
  when(isSo: () => boolean, waitMs: number, then: () => void): void {
    if (waitMs === 0 || isSo()) {
      then()
      return
    }
    const leave = (): void => {
      cancel()
      this.#waiting.delete(look)
      then()
    }
    const look = (): void => {
      if (isSo()) leave()
    }
    const cancel = this.#clock.after(waitMs, leave)
    this.#waiting.add(look)
  }

  /** Its state is another one: whoever waits looks again. */
  changed(): void {
    for (const look of [...this.#waiting]) look()
  }

  cancelTimers(): void {
    this.#cancelTimer()
    this.unwatch()
  }

  /** Its output is no longer needed. */
  release(): void {
    this.cancelTimers()
    for (const { run } of this.#runs) run.release()
    this.#runs = []
  }
}
