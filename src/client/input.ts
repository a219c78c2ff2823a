// Input: the stdin of a task, written by offset. Each write resolves when there is room for
// more, so a writer that awaits is held back by the program; a write that was sent twice
// (the answer was lost) is taken once, by its offset.
//
// A task may run again: its worker died, or it failed and has retries. Every attempt needs
// the whole input, and nobody but this client has it: what was written is kept, up to a
// bound, and given to each attempt from the first byte, until the task is over.

import { DATA_BYTES, type RequestOf } from '../../protocol/index.ts'
import { isClientError } from './failures.ts'
import type { Asks } from './link.ts'
import { pause } from './pause.ts'

export interface TaskStdin {
  /**
   * Resolves when there is room for more; false: the task is over, or will read no more.
   * While its program reads no more but may run again, it waits.
   */
  write(data: Uint8Array): Promise<boolean>
  /** Closes the stdin. */
  end(): Promise<void>
}

export interface StdinOptions {
  readonly signal?: AbortSignal | undefined
  /** The task runs again and needs input that is kept no more: it is cancelled. */
  readonly onLost?: (() => void) | undefined
  /** How much is kept for another attempt. */
  readonly keptBytes?: number
}

/** Kept of an input, if not said otherwise. A longer one is given to one attempt alone. */
export const KEPT_BYTES = 64 * 1024 * 1024
/** An input that is refused for the moment (the task moves) is offered again after this. */
const MOVING_MS = 100
/**
 * Other messages stand behind a piece on its way: over slow links pieces become smaller,
 * until one is taken in about as long as those may wait.
 */
const FIRST_BYTES = 16 * 1024
const LEAST_BYTES = 1024
const SLOW_MS = 1_000
const FAST_MS = SLOW_MS / 4

const nextSize = (size: number, tookMs: number): number => {
  if (tookMs > SLOW_MS) return Math.max(LEAST_BYTES, size / 2)
  return tookMs < FAST_MS ? Math.min(DATA_BYTES, size * 2) : size
}

/** A program that reads nothing holds an answer back; then the same is asked again. */
const TIMEOUT_MS = 60_000
const CANCEL_MS = 60_000

type Taken = 'Ack' | 'NotFound' | 'NotMine' | 'Full'

const BLOCK_BYTES = 64 * 1024
const nothing = new Uint8Array(0)

export const taskStdin = (
  link: Asks,
  taskId: string,
  options: StdinOptions = {},
): TaskStdin => {
  const input = new Input(link, taskId, options)
  return {
    write: (data) => input.write(data),
    end: () => input.end(),
  }
}

class Input {
  readonly #link: Asks
  readonly #taskId: string
  readonly #options: StdinOptions
  readonly #written: Written
  #attempt = 1
  /** Of what was written, what this attempt has taken; and whether it has the end too. */
  #taken = 0
  #hasEnd = false
  #isEnding = false
  #isOver = false
  #size = FIRST_BYTES
  /** Writes go one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(link: Asks, taskId: string, options: StdinOptions) {
    this.#link = link
    this.#taskId = taskId
    this.#options = options
    this.#written = new Written(options.keptBytes ?? KEPT_BYTES)
  }

  write(data: Uint8Array): Promise<boolean> {
    if (this.#isEnding) return Promise.resolve(false)
    this.#written.push(data)
    return this.#next(() => this.#push())
  }

  async end(): Promise<void> {
    if (this.#isEnding) return
    this.#isEnding = true
    const isOpen = await this.#next(() => this.#push())
    // Nobody waits for it: another attempt gets it all again, until the task is over.
    if (isOpen) this.#next(() => this.#again()).catch(() => undefined)
  }

  #next<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#last.then(act, act)
    this.#last = done.catch(() => undefined)
    return done
  }

  /** Gives the attempt that runs all that it has not taken; false: the task is over. */
  async #push(): Promise<boolean> {
    while (!this.#isOver) {
      const isAll = this.#taken === this.#written.end
      if (isAll && (!this.#isEnding || this.#hasEnd)) {
        this.#written.forget(this.#taken)
        return true
      }
      await this.#give(this.#written.from(this.#taken, this.#size))
    }
    return false
  }

  async #give(data: Uint8Array): Promise<void> {
    const offset = this.#taken
    const eof = this.#isEnding && offset + data.byteLength === this.#written.end
    const startMs = performance.now()
    const taken = await this.#offer({ attempt: this.#attempt, offset, data, eof })
    this.#size = nextSize(this.#size, performance.now() - startMs)
    if (taken === 'Ack') {
      this.#taken += data.byteLength
      this.#hasEnd = eof
    } else if (taken === 'NotMine') await this.#begin(this.#attempt + 1)
    else if (taken === 'NotFound') await this.#awaitNext()
  }

  /** After the end: gives it to every further attempt, as long as there are any. */
  async #again(): Promise<void> {
    while (!this.#isOver) {
      await this.#awaitNext()
      await this.#push()
    }
  }

  /** Until another attempt runs, or the task is over. */
  async #awaitNext(): Promise<void> {
    const attempt = this.#attempt + 1
    for (;;) {
      const first = { attempt, offset: 0, data: nothing, eof: false }
      const taken = await this.#offer(first)
      if (taken === 'Ack' || taken === 'NotMine') return this.#begin(attempt)
      if (taken === 'NotFound' && (await this.#isPast(attempt))) return
      if (taken === 'NotFound') await pause(MOVING_MS, this.#options.signal)
    }
  }

  /** Is the task over, or that attempt? Then there is nothing to wait for. */
  async #isPast(attempt: number): Promise<boolean> {
    const asked = { task_id: this.#taskId }
    const { signal } = this.#options
    const answer = await this.#link.ask('TaskShow', asked, { signal })
    const { summary } = answer.kind === 'TaskRecord' ? answer.body : {}
    this.#isOver =
      summary === undefined ||
      summary.state === 'completed' ||
      summary.state === 'failed' ||
      summary.state === 'aborted'
    if (this.#isOver) return true
    if (summary === undefined || summary.attempt < attempt) return false
    this.#attempt = attempt // it reads nothing either
    return true
  }

  /** From the first byte; without it the attempt would take half an input for a whole one. */
  async #begin(attempt: number): Promise<void> {
    this.#attempt = attempt
    this.#taken = 0
    this.#hasEnd = false
    if (this.#written.isWhole) return
    this.#isOver = true
    this.#options.onLost?.()
    const tasks = { task_ids: [this.#taskId] }
    await this.#link.ask('TasksCancel', tasks, { timeoutMs: CANCEL_MS })
  }

  #offer(body: Omit<RequestOf<'TaskInput'>, 'task_id'>): Promise<Taken> {
    const { signal } = this.#options
    const whole = { ...body, task_id: this.#taskId }
    return this.#link.ask('TaskInput', whole, { timeoutMs: TIMEOUT_MS, signal }).then(
      ({ kind }) => kind,
      (error: unknown) => {
        if (isStillFull(error)) return 'Full' as const
        throw error
      },
    )
  }
}

/** What was written, from the first byte as long as that is not too much. */
class Written {
  /** In blocks, so that a place in it is found at once however small the writes are. */
  #blocks: Uint8Array[] = []
  #dropped = 0
  readonly #keptBytes: number
  end = 0

  constructor(keptBytes: number) {
    this.#keptBytes = keptBytes
  }

  get isWhole(): boolean {
    return this.#dropped === 0
  }

  push(data: Uint8Array): void {
    for (let at = 0; at < data.byteLength; ) {
      const within = this.end % BLOCK_BYTES
      if (within === 0) this.#blocks.push(new Uint8Array(BLOCK_BYTES))
      // A copy: it is read again when its writer may use the memory for something else.
      const part = data.subarray(at, at + BLOCK_BYTES - within)
      this.#blocks.at(-1)?.set(part, within)
      this.end += part.byteLength
      at += part.byteLength
    }
  }

  /** The bytes from an offset on, as far as they lie in one block. */
  from(offset: number, most: number): Uint8Array {
    const block = this.#blocks[Math.floor(offset / BLOCK_BYTES) - this.#dropped]
    const within = offset % BLOCK_BYTES
    const length = Math.min(most, this.end - offset, BLOCK_BYTES - within)
    return block?.subarray(within, within + length) ?? nothing
  }

  /** What was taken is kept only as long as all of it is. */
  forget(taken: number): void {
    if (this.isWhole && this.end <= this.#keptBytes) return
    const before = Math.floor(taken / BLOCK_BYTES)
    this.#blocks.splice(0, before - this.#dropped)
    this.#dropped = before
  }
}

/** The program did not read meanwhile; that is its right. */
const isStillFull = (error: unknown): boolean =>
  isClientError(error, 'no-answer') ||
  (isClientError(error, 'rejected') &&
    error.failure.kind === 'rejected' &&
    error.failure.code === 'deadline')
