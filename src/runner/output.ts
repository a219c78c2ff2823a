// Output: one descriptor of a run, from pipe to reader. Joins the pipe, the store that
// the policy asks for, and those who wait to read.
//
// When it ends (PROTOCOL.md section 6): at end-of-file; or, once the program has exited,
// when its pipe stayed empty for a while although it is being read (something that the
// program left behind holds it open). Time in which a slow reader holds bytes back does
// not count.

import { closeSync } from 'node:fs'
import type { OutputData } from '../../protocol/index.ts'
import type { KeptOutput } from '../ports.ts'
import { CaptureStore } from './capture-store.ts'
import type { Fifo, FifoPool } from './fifos.ts'
import { PipeReader } from './pipe-reader.ts'
import { NOTHING, type Store } from './store.ts'
import { StreamStore } from './stream-store.ts'

/** More readers than this wait for one descriptor: the longest waiting is answered empty. */
const MOST_WAITING = 16

export interface OutputOptions {
  readonly policy: 'capture' | 'stream'
  readonly capBytes: number
  /** For what does not fit in memory. */
  readonly directory: string
  /** How long an empty pipe is waited for after the exit. */
  readonly tailMs: number
  readonly fifos: FifoPool
  /** The FIFO was given to another user, who may keep it open to read: never used again. */
  readonly isOthers: boolean
  /** Called once. `lostTail`: the pipe was given up. */
  ended(kept: KeptOutput, lostTail: boolean): void
}

interface Waiting {
  readonly offset: number
  readonly max: number
  readonly settle: (data: OutputData) => void
  readonly timer: NodeJS.Timeout
}

export class Output {
  readonly #options: OutputOptions
  readonly #fifo: Fifo
  readonly #reader: PipeReader
  #store: Store
  #waiting: Waiting[] = []
  #hasExited = false
  #isPaused = false
  #isAtEnd = false
  #tail: NodeJS.Timeout | undefined

  constructor(fifo: Fifo, options: OutputOptions) {
    this.#options = options
    this.#fifo = fifo
    this.#store = options.policy === 'stream' ? new StreamStore() : this.#newCapture()
    this.#reader = new PipeReader(fifo, {
      take: (bytes) => this.#take(bytes),
      end: () => this.#onEnd(),
    })
  }

  #newCapture(): CaptureStore {
    const { capBytes, directory } = this.#options
    return new CaptureStore({ capBytes, directory })
  }

  get path(): string {
    return this.#fifo.path
  }

  /** The program runs and was not over in a moment: let the event loop read. */
  attach(): void {
    if (!this.#isPaused) this.#reader.attach()
  }

  /** The program has exited: takes what is there and waits for the rest. */
  exited(): void {
    this.#hasExited = true
    this.#reader.drain()
    if (this.#isAtEnd || this.#isPaused) return
    this.#reader.attach()
    this.#armTail()
  }

  /** No program was started. */
  unused(): void {
    this.#isAtEnd = true
    this.#giveBack({ isOpen: true })
    this.#answerWaiting()
    this.#options.ended(NOTHING, false)
  }

  #giveBack({ isOpen }: { isOpen: boolean }): void {
    const { fifos, isOthers } = this.#options
    if (!isOthers) {
      fifos.give(this.#fifo, { isOpen })
      return
    }
    if (isOpen) closeSync(this.#fifo.fd)
    fifos.discard(this.#fifo)
  }

  #take(bytes: Buffer): boolean {
    this.#store.push(bytes)
    this.#answerWaiting()
    this.#isPaused = this.#store.isFull
    if (this.#isPaused) this.#disarmTail()
    else if (this.#hasExited) this.#armTail()
    return !this.#isPaused
  }

  #resume(): void {
    if (!this.#isPaused || this.#store.isFull) return
    this.#isPaused = false
    if (this.#isAtEnd) return
    if (this.#hasExited) this.#armTail()
    this.#reader.resume()
  }

  #armTail(): void {
    if (this.#isAtEnd) return
    if (this.#tail !== undefined) this.#tail.refresh()
    else this.#tail = setTimeout(() => this.#onTail(), this.#options.tailMs)
  }

  #disarmTail(): void {
    clearTimeout(this.#tail)
    this.#tail = undefined
  }

  /** If this process itself was busy all the time, bytes may lie unread: look once more. */
  #onTail(): void {
    const { written } = this.#store
    setImmediate(() => {
      if (this.#store.written === written && this.#tail !== undefined) this.cut()
    })
  }

  /** Gives the pipe up, whoever holds it. */
  cut(): void {
    if (this.#isAtEnd) return
    this.#reader.close()
    this.#options.fifos.discard(this.#fifo)
    this.#finish(true)
  }

  #onEnd(): void {
    this.#giveBack({ isOpen: !this.#reader.isAttached })
    this.#finish(false)
  }

  #finish(lostTail: boolean): void {
    this.#isAtEnd = true
    this.#disarmTail()
    this.#answerWaiting()
    this.#store.finish((kept) => this.#options.ended(kept, lostTail))
  }

  /** Answers at once with what there is at `offset`, else when there is something, the end, or after `waitMs`. */
  read(
    offset: number,
    max: number,
    waitMs: number,
    settle: (data: OutputData) => void,
  ): void {
    const data = this.#read(offset, max)
    this.#resume()
    if (data.data.length > 0 || data.eof || max === 0 || waitMs === 0) {
      settle(data)
      return
    }
    if (this.#waiting.length >= MOST_WAITING) this.#giveUp(this.#waiting[0])
    const timer = setTimeout(() => this.#giveUp(waiting), waitMs)
    const waiting = { offset, max, settle, timer }
    this.#waiting.push(waiting)
  }

  #read(offset: number, max: number): OutputData {
    const { written } = this.#store
    const stretch = this.#store.read(Math.min(offset, written), max)
    const eof = this.#isAtEnd && stretch.offset + stretch.data.length >= written
    return { ...stretch, eof }
  }

  #giveUp(waiting: Waiting | undefined): void {
    if (waiting === undefined) return
    clearTimeout(waiting.timer)
    this.#waiting = this.#waiting.filter((other) => other !== waiting)
    waiting.settle(this.#read(waiting.offset, waiting.max))
  }

  #answerWaiting(): void {
    if (this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const one of waiting) {
      const data = this.#read(one.offset, one.max)
      if (data.data.length === 0 && !data.eof) {
        this.#waiting.push(one)
        continue
      }
      clearTimeout(one.timer)
      one.settle(data)
    }
  }

  /** Nobody follows any more: keep it under the cap from here on. */
  detach(): void {
    const store = this.#store
    if (this.#isAtEnd || !(store instanceof StreamStore)) return
    this.#store = store.toCapture(this.#options.capBytes, this.#options.directory)
    store.close()
    this.#resume()
  }

  /** What was kept is gone; those who wait are told the end. */
  release(): void {
    for (const waiting of this.#waiting.slice()) this.#giveUp(waiting)
    this.#store.close()
  }
}
