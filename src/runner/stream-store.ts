// Stream store: output for a reader who follows it. Holds at most about 1 MiB; what the
// reader has acknowledged is forgotten.

import { createHash, type Hash } from 'node:crypto'
import type { KeptOutput } from '../ports.ts'
import { Blocks } from './blocks.ts'
import { CaptureStore } from './capture-store.ts'
import { NOTHING, type Store, type Stretch } from './store.ts'

/** One read of the pipe (64 KiB) may go beyond it. */
const FULL_BYTES = 1024 * 1024

export class StreamStore implements Store {
  readonly #blocks = new Blocks(0)
  /** Of everything before `#blocks.start`; made at the first use. */
  #hash: Hash | undefined
  #isFinished = false

  get written(): number {
    return this.#blocks.end
  }

  get isFull(): boolean {
    return this.#blocks.length >= FULL_BYTES
  }

  push(bytes: Uint8Array): void {
    this.#blocks.push(bytes)
  }

  read(offset: number, max: number): Stretch {
    this.#blocks.drop(offset, this.#isFinished ? undefined : this.#feed)
    const from = Math.max(offset, this.#blocks.start)
    // Asked for again after it was acknowledged: say that it is gone.
    const lost = from - offset
    if (from >= this.#blocks.end) return { offset: from, data: Buffer.alloc(0), lost }
    return { offset: from, data: this.#blocks.read(from, max), lost }
  }

  readonly #feed = (bytes: Buffer): void => {
    this.#hash ??= createHash('sha256')
    this.#hash.update(bytes)
  }

  /** `sha256` is of all that was written: the reader can compare it with what arrived. */
  finish(settle: (kept: KeptOutput) => void): void {
    this.#isFinished = true
    if (this.written === 0) {
      settle(NOTHING)
      return
    }
    const { start, length } = this.#blocks
    if (length > 0) this.#feed(this.#blocks.read(start, length))
    const sha256 = (this.#hash ?? createHash('sha256')).digest('hex')
    settle({ size: this.written, lost: 0, sha256 })
  }

  /** The same output from here on kept under a cap, with nobody to wait for. */
  toCapture(capBytes: number, directory: string): CaptureStore {
    const { start, length } = this.#blocks
    const hash = this.#hash ?? createHash('sha256')
    const capture = new CaptureStore({ capBytes, directory, start, hash })
    if (length > 0) capture.push(this.#blocks.read(start, length))
    return capture
  }

  close(): void {
    this.#blocks.drop(this.#blocks.end)
  }
}
