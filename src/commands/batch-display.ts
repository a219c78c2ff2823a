// What a running batch shows on stderr: a bar that is drawn over on a terminal, plain lines
// now and then elsewhere, failures as they come, and at the end what each host did.

import type { TaskDone } from '../../protocol/index.ts'
import type { BatchProgress } from '../client/batch.ts'
import type { Sink } from './io.ts'
import { describeError, lossesOf } from './outcome.ts'
import { type HostTally, type Progress, progressBar, progressLine } from './progress.ts'
import { table } from './table.ts'
import { formatDuration, oneLine } from './values.ts'

const BAR_MS = 100
/** Elsewhere than on a terminal a line is for good. */
const LINE_MS = 5_000
/** Further failures are counted, not told: a batch that fails wholly says so once. */
const FAILURES_TOLD = 20
const CLEAR = '\r\u001b[K'

export interface DisplayOptions {
  readonly total: number | undefined
  readonly progress: () => BatchProgress
  readonly isQuiet: boolean
}

export class BatchDisplay {
  readonly #stderr: Sink
  readonly #options: DisplayOptions
  readonly #begin = performance.now()
  readonly #hosts = new Map<string, HostTally>()
  readonly #timer: NodeJS.Timeout | undefined
  #failuresTold = 0
  #cancelled = 0
  #isBarShown = false

  constructor(stderr: Sink, options: DisplayOptions) {
    this.#stderr = stderr
    this.#options = options
    if (options.isQuiet) return
    const everyMs = stderr.isTerminal ? BAR_MS : LINE_MS
    this.#timer = setInterval(() => this.#draw(), everyMs)
  }

  /** Counts an outcome for the summary. */
  count(done: TaskDone): void {
    if (done.state === 'aborted') this.#cancelled++
    const host = done.host_name ?? 'not started'
    let tally = this.#hosts.get(host)
    if (tally === undefined) {
      tally = { tasks: 0, failed: 0, runMs: 0 }
      this.#hosts.set(host, tally)
    }
    tally.tasks++
    if (done.state !== 'completed') tally.failed++
    tally.runMs += done.result?.run_ms ?? 0
  }

  /** Output that is missing is said even to who wants no progress. */
  async lost(item: string, done: TaskDone): Promise<void> {
    for (const loss of lossesOf(done)) await this.say(`'${oneLine(item, 60)}': ${loss}`)
  }

  async failed(item: string, done: TaskDone): Promise<void> {
    // Who cancelled a thousand tasks knows it.
    if (this.#options.isQuiet || done.error === undefined) return
    if (done.error.kind === 'Aborted') return
    this.#failuresTold++
    if (this.#failuresTold > FAILURES_TOLD + 1) return
    if (this.#failuresTold === FAILURES_TOLD + 1)
      return void (await this.say('further failures are counted only'))
    const where = done.host_name === undefined ? '' : ` on ${done.host_name}`
    await this.say(`'${oneLine(item, 60)}'${where} ${describeError(done.error)}`)
  }

  /** The mesh ended it: said even to who wants no progress. */
  async stopped(why: string, submitted: number): Promise<void> {
    const { total = submitted } = this.#options
    const left = total - submitted
    const rest = left > 0 ? `; ${left} items were not handed in` : ''
    await this.say(`stopped: ${why}${rest}`)
  }

  async say(text: string): Promise<void> {
    await this.clear()
    await this.#stderr.line(`manyhands: ${text}`)
  }

  /** A program's own stderr. */
  async pass(data: Uint8Array): Promise<void> {
    await this.clear()
    await this.#stderr.write(data)
  }

  /** Takes the bar away before something else is written (to `sink`, if it shares the screen). */
  async clear(sink: Sink = this.#stderr): Promise<void> {
    if (!this.#isBarShown || !sink.isTerminal) return
    this.#isBarShown = false
    await this.#stderr.write(CLEAR)
  }

  /** The summary, once everything has ended. */
  async end(): Promise<void> {
    this.stop()
    await this.clear()
    if (this.#options.isQuiet) return
    const { done, failed } = this.#options.progress()
    const time = formatDuration(performance.now() - this.#begin)
    await this.#stderr.line(
      `manyhands: ${done} ${done === 1 ? 'task' : 'tasks'} in ${time}: ${[
        `${done - failed} succeeded`,
        `${failed - this.#cancelled} failed`,
        ...(this.#cancelled > 0 ? [`${this.#cancelled} cancelled`] : []),
      ].join(', ')}`,
    )
    if (done > 0) await this.#stderr.line(this.#summary())
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #summary(): string {
    const rows = [...this.#hosts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([host, { tasks, failed, runMs }]) => [
        host,
        tasks,
        failed,
        formatDuration(runMs),
        formatDuration(runMs / tasks),
      ])
    return table(['HOST', 'TASKS', 'FAILED', 'RUN TIME', 'PER TASK'], rows)
  }

  #draw(): void {
    const { done, failed, running, isComplete, submitted } = this.#options.progress()
    const progress: Progress = {
      total: this.#options.total ?? (isComplete ? submitted : undefined),
      done,
      failed,
      running,
      elapsedMs: performance.now() - this.#begin,
    }
    if (!this.#stderr.isTerminal) {
      void this.#stderr.line(`manyhands: ${progressLine(progress)}`)
      return
    }
    this.#isBarShown = true
    void this.#stderr.write(`${CLEAR}${progressBar(progress, this.#stderr.columns)}`)
  }
}
