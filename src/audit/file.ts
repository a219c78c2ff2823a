// The audit log of one writer: a chained line for each thing that is recorded, written soon
// after and synced within a second. It never holds up or fails whoever records: on a disk
// that takes nothing, what does not fit the buffer is counted, and the count recorded when
// it takes something again.

import { Buffer } from 'node:buffer'
import {
  closeSync,
  existsSync,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncate,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  write,
} from 'node:fs'
import type { Audit, AuditFields, Cancel, Clock, Log } from '../ports.ts'
import { BEGINNING, type Head, nextLine, readLine } from './chain.ts'
import { currentPart, earlierPart, logsIn } from './logs.ts'

export interface AuditFileOptions {
  readonly directory: string
  /** Of the log: its one writer. */
  readonly name: string
  readonly clock: Clock
  readonly log: Log
  /** A part that has so many bytes is put aside; default 16 MiB. */
  readonly partBytes?: number
  /** So many earlier parts are kept; default 8. */
  readonly partsKept?: number
  /** Default: the system's. */
  readonly write?: typeof write
}

const PART_BYTES = 16 * 1024 * 1024
const PARTS_KEPT = 8
/** What anybody can cause: so many of each are told in one period, the rest is counted. */
const LIMITED = ['refused', 'denied', 'busy']
const LIMIT = 100
const PERIOD_MS = 10_000
/** Lines that wait for the disk; beyond, they are counted. */
const BUFFER_BYTES = 1024 * 1024
/** Then it is on the disk. */
const SYNC_MS = 1000
/** No line is longer; the last one stands in so much of the end. */
const LINE_BYTES = 64 * 1024

export class AuditFile implements Audit {
  readonly #options: AuditFileOptions
  readonly #write: typeof write
  #head: Head
  #fd: number
  #size: number
  #firstSeq: number
  #waiting: string[] = []
  #waitingBytes = 0
  #lost = 0
  /** How often each of LIMITED came in this period. */
  readonly #limited = new Map(LIMITED.map((event) => [event, 0]))
  #periodMs = Number.NEGATIVE_INFINITY
  #isWriting = false
  #isDue = false
  #isDirty = false
  #timer: Cancel | undefined
  #closing: (() => void) | undefined

  /** Opens the log or begins it. Throws what the system says of a disk that cannot be read or written. */
  constructor(options: AuditFileOptions) {
    this.#options = options
    this.#write = options.write ?? write
    const { directory, name } = options
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const path = currentPart(directory, name)
    const end = existsSync(path) ? endOf(path) : undefined
    if (end?.kind === 'broken') putAside(directory, name, options.clock.wall())
    const isWhole = end?.kind === 'whole'
    this.#head = isWhole ? end.head : endOfEarlier(directory, name)
    this.#fd = openSync(path, 'a+', 0o600)
    this.#size = fstatSync(this.#fd).size
    this.#firstSeq = isWhole ? firstSeqOf(path) : this.#head.seq + 1
    if (isWhole && end.cutBytes > 0) {
      this.#size -= end.cutBytes
      ftruncateSync(this.#fd, this.#size)
      this.record('audit-end-cut', { bytes: end.cutBytes })
    }
    if (end?.kind === 'broken') this.record('audit-broken', {})
  }

  get head(): Head {
    return this.#head
  }

  record(event: string, fields: AuditFields = {}): void {
    if (this.#isTooOften(event)) return
    if (this.#waitingBytes > BUFFER_BYTES) {
      this.#lost += 1
      return
    }
    this.#tellLost()
    this.#add(event, fields)
  }

  /** Writes what waits, and syncs it. What the disk does not take is lost. */
  close(): Promise<void> {
    this.#tellUntold()
    return new Promise((resolve) => {
      this.#closing = resolve
      this.#pump()
    })
  }

  /** Counts it. */
  #isTooOften(event: string): boolean {
    if (!this.#limited.has(event)) return false
    const nowMs = this.#options.clock.now()
    if (nowMs - this.#periodMs >= PERIOD_MS) {
      this.#periodMs = nowMs
      this.#tellUntold()
    }
    const count = (this.#limited.get(event) ?? 0) + 1
    this.#limited.set(event, count)
    return count > LIMIT
  }

  /** How many were too many in the period that ends. */
  #tellUntold(): void {
    for (const [of, count] of this.#limited) {
      this.#limited.set(of, 0)
      if (count > LIMIT) this.record('untold', { of, count: count - LIMIT })
    }
  }

  #tellLost(): void {
    if (this.#lost === 0) return
    const count = this.#lost
    this.#lost = 0
    this.#add('audit-lost', { count })
  }

  #add(event: string, fields: AuditFields): void {
    const at = new Date(this.#options.clock.wall()).toISOString()
    const { line, head } = nextLine(this.#head, { at, event, ...fields })
    this.#head = head
    this.#waiting.push(line)
    this.#waitingBytes += line.length + 1
    if (this.#isDue || this.#isWriting) return
    this.#isDue = true
    setImmediate(() => {
      this.#isDue = false
      this.#pump()
    })
  }

  /** One write at a time; what gathers meanwhile goes into the next. */
  #pump(): void {
    if (this.#isWriting || this.#fd < 0) return
    if (this.#waiting.length === 0) {
      if (this.#closing !== undefined) this.#end()
      return
    }
    if (this.#size >= (this.#options.partBytes ?? PART_BYTES)) this.#turn()
    const lines = this.#waiting
    const bytes = Buffer.from(`${lines.join('\n')}\n`)
    this.#waiting = []
    this.#isWriting = true
    this.#write(this.#fd, bytes, 0, bytes.length, this.#size, (error, count) => {
      this.#isWriting = false
      if (error === null && count === bytes.length) this.#written(bytes.length)
      else this.#notWritten(lines, error?.message ?? 'the disk is full')
    })
  }

  #written(bytes: number): void {
    this.#size += bytes
    this.#waitingBytes = this.#waiting.reduce((sum, line) => sum + line.length + 1, 0)
    this.#tellLost()
    this.#isDirty = true
    this.#later()
    this.#pump()
  }

  #notWritten(lines: readonly string[], reason: string): void {
    this.#options.log.error('audit-not-written', { reason })
    this.#waiting = [...lines, ...this.#waiting]
    ftruncate(this.#fd, this.#size, () => {
      if (this.#closing !== undefined) this.#end()
      else this.#later()
    })
  }

  #later(): void {
    this.#timer ??= this.#options.clock.after(SYNC_MS, () => {
      this.#timer = undefined
      this.#pump()
      if (!this.#isDirty) return
      this.#isDirty = false
      fdatasync(this.#fd, (error) => {
        if (error !== null && this.#closing === undefined)
          this.#options.log.error('audit-not-synced', { reason: error.message })
      })
    })
  }

  /** Puts the part aside and begins the next; the chain goes on. */
  #turn(): void {
    const { directory, name, partsKept = PARTS_KEPT } = this.#options
    fsyncSync(this.#fd)
    closeSync(this.#fd)
    const path = currentPart(directory, name)
    renameSync(path, earlierPart(directory, name, this.#firstSeq))
    this.#fd = openSync(path, 'a+', 0o600)
    this.#size = 0
    this.#firstSeq = this.#head.seq - this.#waiting.length + 1
    const [own] = logsIn(directory).filter((log) => log.name === name)
    for (const old of own?.parts.slice(0, -1 - partsKept) ?? []) rmSync(old)
  }

  #end(): void {
    this.#timer?.()
    const fd = this.#fd
    if (fd < 0) return
    this.#fd = -1
    fdatasync(fd, () => {
      closeSync(fd)
      this.#closing?.()
    })
  }
}

type End =
  | { readonly kind: 'whole'; readonly head: Head; readonly cutBytes: number }
  | { readonly kind: 'empty' }
  | { readonly kind: 'broken' }

/** How a part ends. A line that is not whole is what a dying machine left of it. */
const endOf = (path: string): End => {
  const tail = tailOf(path)
  const end = tail.lastIndexOf('\n')
  const cutBytes = tail.length - end - 1
  if (end < 0) return tail.length === 0 ? { kind: 'empty' } : { kind: 'broken' }
  const line = tail.subarray(tail.lastIndexOf('\n', end - 1) + 1, end).toString()
  const link = readLine(line)
  if (typeof link === 'string') return { kind: 'broken' }
  return { kind: 'whole', head: link, cutBytes }
}

const tailOf = (path: string): Buffer => {
  const fd = openSync(path, 'r')
  try {
    const { size } = fstatSync(fd)
    const bytes = Buffer.alloc(Math.min(size, 2 * LINE_BYTES))
    readSync(fd, bytes, 0, bytes.length, size - bytes.length)
    return bytes
  } finally {
    closeSync(fd)
  }
}

const firstSeqOf = (path: string): number => {
  const fd = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(LINE_BYTES)
    const count = readSync(fd, bytes, 0, bytes.length, 0)
    const link = readLine(bytes.subarray(0, count).toString().split('\n')[0] ?? '')
    return typeof link === 'string' ? 1 : link.seq
  } finally {
    closeSync(fd)
  }
}

/** Where the chain stands by its earlier parts, when there is nothing in the current one. */
const endOfEarlier = (directory: string, name: string): Head => {
  const [own] = logsIn(directory).filter((log) => log.name === name)
  const last = own?.parts.filter((path) => path !== currentPart(directory, name)).at(-1)
  const end = last === undefined ? undefined : endOf(last)
  return end?.kind === 'whole' ? end.head : BEGINNING
}

/** It cannot be gone on with: kept as it is, under a name by which `verify` finds it. */
const putAside = (directory: string, name: string, nowMs: number): void => {
  const path = currentPart(directory, name)
  renameSync(path, currentPart(directory, `${name}-broken-${nowMs}`))
}
