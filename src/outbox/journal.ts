// Journal: a small table of values by name, kept in a file that only grows, and is written
// anew when most of it is out of date. What is in it outlives its process at once: a write
// is told done when the system has it. A second later it outlives the machine as well;
// of what was not so old a power cut takes the end, whole records of it.
//
// A record is its length and its CRC-32 (4 bytes each, little endian), then a name and its
// value, or a name alone, which removes it, as msgpack. Reading ends at the first record
// that is not whole: what a dying machine or a full disk left of it. The first record names
// the format and the boot of the machine in which the file was last begun.

import { Buffer } from 'node:buffer'
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  ftruncate,
  openSync,
  read,
  readFileSync,
  renameSync,
  rmSync,
  write,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'
import { Packr } from 'msgpackr'
import { syncDirectory } from '../files.ts'
import type { Cancel, Clock, Log } from '../ports.ts'

const FORMAT = 1
const HEAD_BYTES = 8
/** Then it survives the machine too. */
const SYNC_MS = 1000
/** Written anew from this size on, when three quarters are out of date. */
const REWRITE_BYTES = 16 * 1024 * 1024
/** Writes that nobody waits for are not held back beyond this. */
const HELD_BYTES = 1024 * 1024
/**
 * So much is written at once, in the turn that asks for it: that costs some 10 us where
 * another thread would cost a tenth of a millisecond, for every step of every task. A disk
 * that takes longer than this has its writes made by another thread for a while.
 */
const AT_ONCE_BYTES = 64 * 1024
const SLOW_MS = 5
const SLOW_FOR_MS = 10_000

// Copied: a value that is kept does not keep the whole file.
const packr = new Packr({
  useRecords: false,
  int64AsType: 'number',
  useToJSON: false,
  copyBuffers: true,
})

export interface JournalOptions {
  readonly path: string
  /** Which start of the machine this is; a file of another one is said to be so. */
  readonly machineBoot: string
  readonly clock: Clock
  readonly log: Log
  /** Default: the system's. */
  readonly write?: typeof write
  readonly writeSync?: typeof writeSync
}

/** Where a value's record lies in the file. */
interface Place {
  readonly offset: number
  readonly bytes: number
}

interface Written {
  readonly name: string
  /** Undefined: removed. */
  readonly record: Buffer
  readonly isRemoval: boolean
}

/** A file of a newer program, or none of ours: nothing of it is touched. */
export class ForeignJournalError extends Error {
  override readonly name = 'ForeignJournalError'
}

export class Journal {
  readonly #path: string
  readonly #machineBoot: string
  readonly #clock: Clock
  readonly #log: Log
  readonly #write: typeof write
  readonly #writeSync: typeof writeSync
  readonly #places = new Map<string, Place>()
  #liveBytes = 0
  #fd = -1
  #size = 0
  #queue: Written[] = []
  #queuedBytes = 0
  #waiters: ((isDone: boolean) => void)[] = []
  #isBusy = false
  /** The end of the turn will write what has gathered. */
  #isDue = false
  #slowUntilMs = 0
  #isDirty = false
  #rewriteAt = REWRITE_BYTES
  /** The system has lost some of it. */
  #isLossy = false
  #timer: Cancel | undefined
  #closed: (() => void) | undefined

  private constructor(options: JournalOptions) {
    const { path, machineBoot, clock, log } = options
    this.#write = options.write ?? write
    this.#writeSync = options.writeSync ?? writeSync
    this.#path = path
    this.#machineBoot = machineBoot
    this.#clock = clock
    this.#log = log
  }

  /**
   * Opens the file, or begins one; gives what is in it by name. `isSameBoot`: the machine
   * has not been down since it was last open. Throws ForeignJournalError, and what the
   * system says of a disk that cannot be read or written.
   */
  static open(options: JournalOptions): {
    readonly journal: Journal
    readonly values: ReadonlyMap<string, unknown>
    readonly isSameBoot: boolean
  } {
    const found = readRecords(options.path)
    const { values, boot, cutBytes } = found
    if (cutBytes > 0)
      options.log.warn('journal-end-lost', { path: options.path, bytes: cutBytes })
    const journal = new Journal(options)
    // Begun anew at each start: the end of it is whole, and says which boot this is.
    journal.#begin(values)
    return { journal, values, isSameBoot: boot === options.machineBoot }
  }

  put(name: string, value: unknown): void {
    this.#enqueue({ name, record: recordOf([name, value]), isRemoval: false })
  }

  remove(name: string): void {
    this.#enqueue({ name, record: recordOf([name]), isRemoval: true })
  }

  /** Calls `done` when all that was put and removed before is written; false: it is not, and is forgotten, but for removals. */
  sync(done: (isDone: boolean) => void): void {
    this.#waiters.push(done)
    this.#soon()
  }

  /** Writes what is left, durably. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#closed = resolve
      this.#pump()
    })
  }

  #enqueue(written: Written): void {
    this.#queue.push(written)
    this.#queuedBytes += written.record.length
    if (this.#queuedBytes > HELD_BYTES) this.#pump()
    else this.#later()
  }

  #later(): void {
    this.#timer ??= this.#clock.after(SYNC_MS, () => {
      this.#timer = undefined
      this.#pump()
      this.#makeDurable()
    })
  }

  /** At the end of the turn: all that a turn asks for goes into one write. */
  #soon(): void {
    if (this.#isDue || this.#isBusy) return
    this.#isDue = true
    queueMicrotask(() => {
      this.#isDue = false
      this.#pump()
    })
  }

  /** One write at a time; what gathers meanwhile goes into the next one. */
  #pump(): void {
    if (this.#isBusy) return
    if (this.#isToRewrite) {
      void this.#rewrite()
      return
    }
    const queue = this.#queue
    const waiters = this.#waiters
    if (queue.length === 0) {
      this.#waiters = []
      for (const done of waiters) done(true)
      if (this.#closed !== undefined && this.#waiters.length === 0) this.#end()
      return
    }
    this.#queue = []
    this.#waiters = []
    this.#queuedBytes = 0
    this.#isBusy = true
    const [only] = queue
    const bytes =
      queue.length === 1 && only !== undefined
        ? only.record
        : Buffer.concat(queue.map(({ record }) => record))
    const settle = (error: Error | null, count: number): void => {
      if (error === null && count === bytes.length) this.#written(queue, waiters)
      else this.#notWritten(queue, waiters, error?.message ?? 'the disk is full')
    }
    if (bytes.length > AT_ONCE_BYTES || this.#clock.now() < this.#slowUntilMs)
      this.#write(this.#fd, bytes, 0, bytes.length, this.#size, settle)
    else this.#writeAtOnce(bytes, settle)
  }

  #writeAtOnce(bytes: Buffer, settle: (error: Error | null, count: number) => void) {
    const beganMs = this.#clock.now()
    let count = 0
    let failure: Error | null = null
    try {
      count = this.#writeSync(this.#fd, bytes, 0, bytes.length, this.#size)
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error))
    }
    const nowMs = this.#clock.now()
    if (nowMs - beganMs > SLOW_MS) this.#slowUntilMs = nowMs + SLOW_FOR_MS
    settle(failure, count)
  }

  #written(queue: readonly Written[], waiters: readonly ((isDone: boolean) => void)[]) {
    for (const one of queue) this.#place(one)
    this.#isDirty = true
    this.#later()
    this.#isBusy = false
    for (const done of waiters) done(true)
    this.#soon()
  }

  get #isToRewrite(): boolean {
    if (this.#isLossy) return true
    return this.#size > this.#rewriteAt && this.#liveBytes < this.#size / 4
  }

  #place({ name, record, isRemoval }: Written): void {
    this.#liveBytes -= this.#places.get(name)?.bytes ?? 0
    if (isRemoval) this.#places.delete(name)
    else {
      this.#places.set(name, { offset: this.#size, bytes: record.length })
      this.#liveBytes += record.length
    }
    this.#size += record.length
  }

  /** Nothing of it is in the file; what came before is as it was. */
  #notWritten(
    queue: readonly Written[],
    waiters: readonly ((isDone: boolean) => void)[],
    reason: string,
  ): void {
    this.#log.error('journal-not-written', { path: this.#path, reason })
    ftruncate(this.#fd, this.#size, () => {
      // A removal that is forgotten would bring something back: it goes with the next write.
      const removals = queue.filter(({ isRemoval }) => isRemoval)
      this.#queue = [...removals, ...this.#queue]
      this.#isBusy = false
      for (const done of waiters) done(false)
      if (this.#closed !== undefined) this.#end()
      else this.#later()
    })
  }

  #makeDurable(): void {
    if (!this.#isDirty || this.#isBusy) return
    this.#isDirty = false
    fdatasync(this.#fd, (error) => {
      if (error === null || this.#closed !== undefined) return
      this.#log.error('journal-not-synced', { path: this.#path, reason: error.message })
      // What the system has dropped it does not write again: a new file has all of it.
      this.#isLossy = true
      this.#pump()
    })
  }

  #begin(values: ReadonlyMap<string, unknown>): void {
    const temporary = `${this.#path}.new`
    const fd = openSync(temporary, 'w+', 0o600)
    try {
      const records = [...values].map(([name, value]): Written => {
        return { name, record: recordOf([name, value]), isRemoval: false }
      })
      const head = headerOf(this.#machineBoot)
      writeAll(fd, Buffer.concat([head, ...records.map(({ record }) => record)]))
      fdatasyncSync(fd)
      renameSync(temporary, this.#path)
      syncDirectory(dirname(this.#path))
      this.#fd = fd
      this.#size = head.length
      for (const one of records) this.#place(one)
    } catch (error) {
      closeSync(fd)
      rmSync(temporary, { force: true })
      throw error
    }
  }

  /** A new file with what is not out of date, while writes wait. */
  async #rewrite(): Promise<void> {
    this.#isBusy = true
    this.#isLossy = false
    const temporary = `${this.#path}.new`
    let fd = -1
    try {
      fd = openSync(temporary, 'w+', 0o600)
      const head = headerOf(this.#machineBoot)
      const places = new Map<string, Place>()
      let size = head.length
      await writeFully(fd, head, 0)
      for (const [name, { offset, bytes }] of this.#places) {
        const record = Buffer.allocUnsafe(bytes)
        const { bytesRead } = await readAt(this.#fd, record, 0, bytes, offset)
        if (bytesRead !== bytes) throw new Error(`cannot read ${name} back`)
        await writeFully(fd, record, size)
        places.set(name, { offset: size, bytes })
        size += bytes
      }
      await promisify(fdatasync)(fd)
      renameSync(temporary, this.#path)
      closeSync(this.#fd)
      this.#fd = fd
      this.#size = size
      for (const [name, place] of places) this.#places.set(name, place)
      this.#rewriteAt = REWRITE_BYTES
    } catch (error) {
      if (fd >= 0) closeSync(fd)
      rmSync(temporary, { force: true })
      // The old one serves on; it may grow to twice its size before the next try.
      this.#rewriteAt = this.#size * 2
      this.#log.error('journal-not-rewritten', {
        path: this.#path,
        reason: error instanceof Error ? error.message : String(error),
      })
    }
    this.#isBusy = false
    this.#pump()
  }

  #end(): void {
    if (this.#fd < 0) return
    this.#timer?.()
    const fd = this.#fd
    this.#fd = -1
    fdatasync(fd, () => {
      closeSync(fd)
      this.#closed?.()
    })
  }
}

const readAt = promisify(read)
const writeAt = promisify(write)

const writeFully = async (fd: number, bytes: Buffer, offset: number): Promise<void> => {
  const { bytesWritten } = await writeAt(fd, bytes, 0, bytes.length, offset)
  if (bytesWritten !== bytes.length) throw new Error('the disk is full')
}

const writeAll = (fd: number, bytes: Buffer): void => {
  for (let at = 0; at < bytes.length; )
    at += writeSync(fd, bytes, at, bytes.length - at, at)
}

const recordOf = (content: readonly unknown[]): Buffer => {
  const body = packr.pack(content)
  const record = Buffer.allocUnsafe(HEAD_BYTES + body.length)
  record.writeUInt32LE(body.length, 0)
  record.writeUInt32LE(crc32(body), 4)
  body.copy(record, HEAD_BYTES)
  return record
}

const headerOf = (machineBoot: string): Buffer =>
  recordOf([{ format: FORMAT, machine_boot: machineBoot }])

interface Found {
  readonly values: Map<string, unknown>
  readonly boot: string | undefined
  /** What was not whole at the end. */
  readonly cutBytes: number
}

const readRecords = (path: string): Found => {
  const bytes = readOrNothing(path)
  const values = new Map<string, unknown>()
  let boot: string | undefined
  let at = 0
  for (let body = bodyAt(bytes, at); body !== undefined; body = bodyAt(bytes, at)) {
    const content = packr.unpack(body) as readonly unknown[]
    if (at === 0) boot = bootOf(content, path)
    else {
      const [name, value] = content
      if (content.length === 1) values.delete(String(name))
      else values.set(String(name), value)
    }
    at += HEAD_BYTES + body.length
  }
  if (at === 0 && bytes.length > 0) throw foreign(path)
  return { values, boot, cutBytes: bytes.length - at }
}

/** The record that begins there, if all of it is there as it was written. */
const bodyAt = (bytes: Buffer, at: number): Buffer | undefined => {
  if (at + HEAD_BYTES > bytes.length) return undefined
  const body = bytes.subarray(at + HEAD_BYTES, at + HEAD_BYTES + bytes.readUInt32LE(at))
  const isWhole =
    body.length > 0 &&
    body.length === bytes.readUInt32LE(at) &&
    crc32(body) === bytes.readUInt32LE(at + 4)
  return isWhole ? body : undefined
}

const bootOf = (content: readonly unknown[], path: string): string => {
  const [head] = content
  const { format, machine_boot: boot } = (head ?? {}) as Record<string, unknown>
  if (format !== FORMAT) throw foreign(path)
  return String(boot)
}

const foreign = (path: string): ForeignJournalError =>
  new ForeignJournalError(
    `${path} was not written by this version, or is damaged from its beginning; start the version that wrote it, or move the file away: outcomes in it that no manager has yet are lost, and their tasks run again`,
  )

const readOrNothing = (path: string): Buffer => {
  try {
    return readFileSync(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return Buffer.alloc(0)
    throw error
  }
}
