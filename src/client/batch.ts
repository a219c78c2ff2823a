// Many tasks as one batch: handed in page by page while their outcomes are read from the
// batch's log. Submission stays a bounded number of tasks ahead of the outcomes, so a
// million tasks need the memory of a few thousand, here and at the manager.
//
// A log may hold more than ours: of other submissions under the same label, or of an
// earlier one with the same key, whose outcomes come before we know the ids. What is not
// known is passed over, never waited for; tasks recorded after that are asked for by id.

import type { TaskDone, TaskRequest } from '../../protocol/index.ts'
import { ClientError } from './failures.ts'
import type { Link } from './link.ts'
import type { Tasks } from './pages.ts'
import { CANCEL_MS } from './run.ts'
import { keyOf, type SubmitOptions, submitAll } from './submit.ts'
import { askClosed, askDone, type DonePage, joinReads } from './wait.ts'

export interface RunAllOptions extends SubmitOptions {
  /** Most tasks that are submitted and not yet closed; default 4,096. */
  readonly maxOpen?: number
}

export interface BatchProgress {
  /** Submitted and recorded so far. */
  readonly submitted: number
  /** Is this all? */
  readonly isComplete: boolean
  readonly done: number
  /** Of those done: not completed. */
  readonly failed: number
  readonly running: number
  /** Why the mesh ended the batch (`maxFails`); undefined: it did not. */
  readonly stopped: string | undefined
}

/** A task's outcome with its place in the input, from 0. */
export interface IndexedDone {
  readonly index: number
  readonly done: TaskDone
}

/** Tasks under way; iterate it once for the outcomes in the order in which they come. */
export interface BatchRun extends AsyncIterable<IndexedDone> {
  readonly batch: string
  progress(): BatchProgress
  /** Submits no more and aborts what is open; resolves when the processes are gone. */
  cancel(): Promise<void>
}

export const runAll = (link: Link, tasks: Tasks, options: RunAllOptions = {}): BatchRun =>
  new Batch(link, tasks, options)

/** A page that was under way may be recorded after the first abort: so again until none. */
const CANCEL_ROUNDS = 3

class Batch implements BatchRun {
  readonly batch: string
  readonly #link: Link
  readonly #maxOpen: number
  /** Ends everything: the caller's signal, leaving the iteration, a failure. */
  readonly #end = new AbortController()
  /** Ends the submission alone: a cancelled batch is still read to its end. */
  readonly #stop = new AbortController()
  readonly #indexes = new Map<string, number>()
  #submitted = 0
  #done = 0
  #failed = 0
  #running = 0
  #stopped: string | undefined
  /** Handed to pagesOf, counted before their page is recorded. */
  #taken = 0
  #isComplete = false
  /** Outcomes of unknown tasks were read; they may have been of ours. */
  #hasPassed = false
  /** Recorded since then: their outcomes may have been passed over. */
  #late: string[] = []
  #onLate: () => void = () => undefined
  #failure: { readonly error: unknown } | undefined
  readonly #submission: Promise<unknown>

  constructor(link: Link, tasks: Tasks, options: RunAllOptions) {
    const its = keyOf(options)
    this.batch = its.batch
    this.#link = link
    this.#maxOpen = options.maxOpen ?? 4096
    const { signal } = options
    this.#end.signal.addEventListener('abort', () => {
      this.#stop.abort()
      this.#stir()
    })
    if (signal?.aborted) this.#end.abort()
    signal?.addEventListener('abort', () => this.#end.abort(), {
      signal: this.#end.signal,
    })
    this.#submission = submitAll(
      link,
      this.#counted(tasks),
      {
        ...its,
        signal: this.#stop.signal,
        gate: () => this.#room(),
        onFailure: (error) => this.#fail(error),
      },
      (page) => {
        for (const [at, id] of page.taskIds.entries())
          this.#indexes.set(id, page.first + at)
        this.#submitted += page.taskIds.length
        if (this.#hasPassed) this.#late.push(...page.taskIds)
        this.#onLate()
        this.#stir()
      },
    ).finally(() => {
      this.#isComplete = true
      this.#stir()
    })
    this.#submission.catch(() => undefined) // thrown by the iterator
  }

  progress(): BatchProgress {
    return {
      submitted: this.#submitted,
      isComplete: this.#isComplete,
      done: this.#done,
      failed: this.#failed,
      running: this.#running,
      stopped: this.#stopped,
    }
  }

  #fail(error: unknown): void {
    // Too many had failed: what was handed in before is told of to its end.
    const its = error instanceof ClientError ? error.failure : undefined
    if (its?.kind === 'rejected' && its.code === 'stopped' && this.#submitted > 0) {
      this.#stopped ??= its.message
      this.#stop.abort()
      this.#stir()
    }
    // A page that a cancellation cut short is no failure.
    if (this.#stop.signal.aborted) return
    this.#failure = { error }
    this.#end.abort()
  }

  async cancel(): Promise<void> {
    this.#stop.abort()
    // A source that is silent would hold the end of the submission back for ever.
    this.#isComplete = true
    this.#stir()
    for (let round = 0; round < CANCEL_ROUNDS; round++) {
      const ask = { batch: this.batch }
      const answer = await this.#link.ask('TasksCancel', ask, { timeoutMs: CANCEL_MS })
      if (answer.body.aborted === 0) return
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<IndexedDone> {
    try {
      await this.#stirred(() => this.#submitted > 0 || this.#isComplete)
      yield* this.#outcomes()
      if (!this.#stop.signal.aborted || this.#end.signal.aborted) await this.#submission
    } catch (error) {
      // The first cause, not the ending that followed from it.
      throw this.#failure === undefined ? error : this.#failure.error
    } finally {
      this.#end.abort()
    }
  }

  async *#outcomes(): AsyncGenerator<IndexedDone> {
    // Nothing of a page is known before its record, so the log is asked only after it.
    let cursor = 0
    let reading: Promise<DonePage | undefined> | undefined
    while (!this.#isComplete || this.#done < this.#submitted) {
      yield* this.#asked(this.#late.splice(0))
      reading ??= askDone(this.#link, this.batch, cursor, this.#end.signal)
      if (this.#hasPassed && !(await this.#isFirst(reading))) continue
      const page = await reading
      reading = undefined
      if (page === undefined) throw this.#gone()
      cursor = page.cursor
      this.#running = page.running
      yield* this.#indexed(page.done)
      if (page.open > 0) await joinReads(page, this.#end.signal)
      // The log is at its end: what it does not tell of, it has forgotten.
      else if (page.done.length === 0) yield* this.#asked([...this.#indexes.keys()])
      if (page.open === 0)
        await this.#stirred(() => this.#isComplete || this.#done < this.#submitted)
    }
  }

  /** Did the read settle before tasks came that have to be asked for? */
  #isFirst(reading: Promise<unknown>): Promise<boolean> {
    return new Promise((resolve) => {
      this.#onLate = () => {
        if (this.#late.length > 0) resolve(false)
      }
      this.#onLate()
      const settled = () => resolve(true)
      reading.then(settled, settled)
    })
  }

  /** Those of the tasks that have closed and were not told of. */
  async *#asked(ids: readonly string[]): AsyncGenerator<IndexedDone> {
    const open = ids.filter((id) => this.#indexes.has(id))
    for await (const done of askClosed(this.#link, open, this.#end.signal))
      yield* this.#indexed(done)
  }

  #indexed(done: readonly TaskDone[]): IndexedDone[] {
    const all: IndexedDone[] = []
    for (const one of done) {
      const index = this.#indexes.get(one.task_id)
      if (index === undefined) {
        this.#hasPassed = true
        continue
      }
      this.#indexes.delete(one.task_id)
      this.#done++
      if (one.state !== 'completed') this.#failed++
      if (one.error?.kind === 'Aborted') this.#stopped ??= one.error.reason
      all.push({ index, done: one })
    }
    this.#stir()
    return all
  }

  #gone(): ClientError {
    return new ClientError({ kind: 'not-found', what: `batch ${this.batch}` })
  }

  async *#counted(tasks: Tasks): AsyncGenerator<TaskRequest> {
    for await (const task of tasks) {
      if (this.#stop.signal.aborted) return
      this.#taken++
      yield task
    }
  }

  #room(): Promise<void> | undefined {
    const hasRoom = () =>
      this.#stop.signal.aborted || this.#taken - this.#done <= this.#maxOpen
    return hasRoom() ? undefined : this.#stirred(hasRoom)
  }

  /** Resolves when `condition` holds; it is looked at whenever something changed. */
  async #stirred(condition: () => boolean): Promise<void> {
    while (!condition() && !this.#end.signal.aborted)
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
      })
  }
  readonly #waiting: (() => void)[] = []

  #stir(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
