// Capture store: output kept under a cap for whoever asks later. The first half of the
// cap and the last half are kept, the middle is dropped and counted. Up to 64 KiB stay
// in memory, more goes to a file that has no name (unlinked once open), so nothing is
// left behind whatever happens.
//
// The file: [0, headCap) the first bytes, [headCap, cap) a ring of the last ones.

import { createHash, type Hash, randomBytes } from 'node:crypto'
import { closeSync, openSync, read, readSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { KeptOutput } from '../ports.ts'
import { Blocks } from './blocks.ts'
import { NOTHING, type Store, type Stretch } from './store.ts'

const MEMORY_BYTES = 64 * 1024
const HASH_STEP_BYTES = 256 * 1024

export interface CaptureOptions {
  readonly capBytes: number
  /** For the file. */
  readonly directory: string
  /** Offset of the first byte that is kept, if a stream was before it. */
  readonly start?: number
  /** Fed with all before `start`. */
  readonly hash?: Hash
}

export class CaptureStore implements Store {
  readonly isFull = false
  readonly #memory: Blocks
  readonly #memoryCap: number
  readonly #headCap: number
  readonly #tailCap: number
  readonly #directory: string
  readonly #start: number
  #hash: Hash | undefined
  #fd: number | undefined
  #written: number
  /** The disk refused: nothing after this offset is kept. */
  #brokenAt: number | undefined
  #isClosed = false

  constructor(options: CaptureOptions) {
    this.#start = options.start ?? 0
    this.#written = this.#start
    this.#memory = new Blocks(this.#start)
    this.#memoryCap = Math.min(MEMORY_BYTES, options.capBytes)
    this.#headCap = Math.ceil(options.capBytes / 2)
    this.#tailCap = options.capBytes - this.#headCap
    this.#directory = options.directory
    this.#hash = options.hash
  }

  get written(): number {
    return this.#written
  }

  get #headEnd(): number {
    return Math.min(this.#written, this.#start + this.#headCap, this.#kept)
  }

  /** Offset up to which bytes reached the disk. */
  get #kept(): number {
    return this.#brokenAt ?? this.#written
  }

  /** Offset of the first byte that the ring still holds. */
  get #tailStart(): number {
    const ring = this.#start + this.#headCap
    return Math.min(
      Math.max(ring, this.#kept - this.#tailCap),
      Math.max(this.#kept, ring),
    )
  }

  get #lost(): number {
    if (this.#fd === undefined && this.#brokenAt === undefined) return 0
    const tail = Math.max(0, this.#kept - this.#tailStart)
    return this.#written - this.#start - (this.#headEnd - this.#start) - tail
  }

  push(bytes: Uint8Array): void {
    if (this.#isClosed) {
      this.#written += bytes.length
      return
    }
    if (this.#fd === undefined && this.#memory.length + bytes.length <= this.#memoryCap) {
      this.#memory.push(bytes)
      this.#written += bytes.length
      return
    }
    this.#spill()
    this.#append(bytes)
  }

  /** Moves what is in memory to a new file. */
  #spill(): void {
    if (this.#fd !== undefined || this.#brokenAt !== undefined) return
    const { start, end } = this.#memory
    const path = join(this.#directory, `spool-${randomBytes(8).toString('hex')}`)
    try {
      this.#fd = openSync(path, 'wx+', 0o600)
      unlinkSync(path)
    } catch {
      // No disk: what is in memory stays, and is all that is kept.
      this.#brokenAt = end
      return
    }
    if (end === start) return
    this.#written = start
    this.#append(this.#memory.read(start, end - start))
    this.#memory.drop(end)
  }

  #append(bytes: Uint8Array): void {
    const at = this.#written
    this.#written += bytes.length
    if (this.#fd === undefined || this.#brokenAt !== undefined) return
    try {
      const room = Math.max(0, this.#start + this.#headCap - at)
      if (room > 0) this.#writeHead(bytes.subarray(0, room), at)
      if (bytes.length > room) this.#writeTail(bytes.subarray(room), at + room)
    } catch {
      this.#brokenAt = at
    }
  }

  #writeHead(bytes: Uint8Array, at: number): void {
    this.#hash ??= createHash('sha256')
    this.#writeFully(bytes, at - this.#start)
    this.#hash.update(bytes)
  }

  #writeTail(bytes: Uint8Array, at: number): void {
    if (this.#tailCap === 0) return
    const skip = Math.max(0, bytes.length - this.#tailCap)
    const last = bytes.subarray(skip)
    const position = this.#ringPosition(at + skip)
    const first = last.subarray(0, this.#headCap + this.#tailCap - position)
    this.#writeFully(first, position)
    if (first.length < last.length)
      this.#writeFully(last.subarray(first.length), this.#headCap)
  }

  #ringPosition(offset: number): number {
    return this.#headCap + ((offset - this.#start - this.#headCap) % this.#tailCap)
  }

  #writeFully(bytes: Uint8Array, position: number): void {
    if (this.#fd === undefined) return
    for (let done = 0; done < bytes.length; )
      done += writeSync(this.#fd, bytes, done, bytes.length - done, position + done)
  }

  read(offset: number, max: number): Stretch {
    const asked = Math.max(offset, this.#start)
    // What the stream before it had given away is missing for who asks for it now.
    const gone = asked - offset
    if (this.#fd === undefined) {
      const { start, end } = this.#memory
      const from = Math.min(Math.max(asked, start), this.#written)
      const data = from < end ? this.#memory.read(from, max) : Buffer.alloc(0)
      const at = data.length === 0 && from >= end ? this.#written : from
      return { offset: at, data, lost: gone + (at > end ? at - end : 0) }
    }
    const place = this.#place(asked)
    const data = this.#readFile(place.position, Math.min(max, place.length))
    if (data === undefined) return this.#unreadable(place.offset, gone)
    // The end is reached when nothing is left to read, even if the disk took less.
    const at = place.length === 0 ? this.#written : place.offset
    return { offset: at, data, lost: gone + (at >= this.#headEnd + 1 ? this.#lost : 0) }
  }

  /** Where in the file the first kept byte at or after `asked` is, and how many follow it there. */
  #place(asked: number): { offset: number; position: number; length: number } {
    const headEnd = this.#headEnd
    if (asked < headEnd)
      return { offset: asked, position: asked - this.#start, length: headEnd - asked }
    const offset = Math.max(asked, this.#tailStart)
    if (offset >= this.#kept) return { offset, position: 0, length: 0 }
    const position = this.#ringPosition(offset)
    const untilWrap = this.#headCap + this.#tailCap - position
    return { offset, position, length: Math.min(untilWrap, this.#kept - offset) }
  }

  /** Undefined: the disk does not give it back. */
  #readFile(position: number, length: number): Buffer | undefined {
    if (this.#fd === undefined || length === 0) return Buffer.alloc(0)
    const data = Buffer.allocUnsafe(length)
    try {
      const size = readSync(this.#fd, data, 0, length, position)
      return size === 0 ? undefined : data.subarray(0, size)
    } catch {
      return undefined
    }
  }

  /** All that is kept from `offset` on counts as lost: it must not pass for an empty output. */
  #unreadable(offset: number, gone: number): Stretch {
    const lost = gone + this.#lost + this.#keptFrom(offset)
    return { offset: this.#written, data: Buffer.alloc(0), lost }
  }

  #keptFrom(offset: number): number {
    const head = Math.max(0, this.#headEnd - offset)
    const tailFrom = Math.max(offset, this.#tailStart)
    return head + Math.max(0, this.#kept - tailFrom)
  }

  finish(settle: (kept: KeptOutput) => void): void {
    if (this.#written === 0) {
      settle(NOTHING)
      return
    }
    const hash = this.#hash ?? createHash('sha256')
    if (this.#fd !== undefined) {
      this.#hashTail(hash, this.#tailStart, settle)
      return
    }
    const { start, length } = this.#memory
    if (length > 0) hash.update(this.#memory.read(start, length))
    settle(this.#account(hash))
  }

  #account(hash: Hash): KeptOutput {
    return { size: this.#written, lost: this.#lost, sha256: hash.digest('hex') }
  }

  /** In steps, for the ring may be large and the node has other work. */
  #hashTail(hash: Hash, offset: number, settle: (kept: KeptOutput) => void): void {
    const place = this.#place(offset)
    if (place.length === 0 || this.#fd === undefined) {
      settle(this.#account(hash))
      return
    }
    const length = Math.min(place.length, HASH_STEP_BYTES)
    const bytes = Buffer.allocUnsafe(length)
    read(this.#fd, bytes, 0, length, place.position, (error, size) => {
      if (error !== null || size === 0) {
        const { lost, ...rest } = this.#account(hash)
        return settle({ ...rest, lost: lost + this.#keptFrom(place.offset) })
      }
      hash.update(bytes.subarray(0, size))
      this.#hashTail(hash, place.offset + size, settle)
    })
  }

  close(): void {
    this.#isClosed = true
    this.#memory.drop(this.#memory.end)
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }
}
