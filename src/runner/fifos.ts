// FIFOs: the pipes between programs and the node. A launcher opens the writing end by
// path and gives it to the program, the node holds the reading end: no process stands in
// between, a program that writes too much waits, and `/dev/stderr` can be opened (it
// cannot when Node makes the pipe, which is a socket pair).
//
// Making one costs more than a start, so they are made in batches and used again: only
// after end-of-file, when nobody can hold the writing end any more.

import { closeSync, constants, openSync, unlink } from 'node:fs'
import { join } from 'node:path'

/** A FIFO, with the descriptor of its reading end. */
export interface Fifo {
  readonly path: string
  readonly fd: number
}

const BATCH = 16
const LARGEST_BATCH = 64
/** The launcher may die over it; that often in a row is no accident. */
const MOST_FAILURES = 3
/** Idle FIFOs above this are removed: each costs a descriptor. */
const MOST_IDLE = 256

export type MakeFifos = (
  paths: readonly string[],
  settle: (fault: string | undefined) => void,
) => void

type Take = (fifos: readonly Fifo[] | string) => void

export class FifoPool {
  readonly #directory: string
  readonly #make: MakeFifos
  readonly #idle: Fifo[] = []
  readonly #waiting: { readonly count: number; readonly take: Take }[] = []
  #made = 0
  /** In a row. */
  #failures = 0
  #isMaking = false
  #isClosed = false
  #onSettled: (() => void) | undefined

  constructor(directory: string, make: MakeFifos) {
    this.#directory = directory
    this.#make = make
  }

  /** Calls back with so many FIFOs, at once when they are there; with a reason if they cannot be made. */
  take(count: number, take: Take): void {
    if (this.#waiting.length === 0 && this.#idle.length >= count) {
      take(this.#idle.splice(this.#idle.length - count, count))
      return
    }
    this.#waiting.push({ count, take })
    this.fill()
  }

  /** Makes a batch, unless one is being made. */
  fill(): void {
    if (this.#isMaking || this.#isClosed) return
    this.#isMaking = true
    const wanted = this.#waiting.reduce((sum, { count }) => sum + count, 0)
    const size = Math.min(Math.max(BATCH, wanted - this.#idle.length), LARGEST_BATCH)
    const paths = Array.from({ length: size }, () => this.#nextPath())
    this.#make(paths, (fault) => this.#onMade(paths, fault))
  }

  #nextPath(): string {
    this.#made += 1
    return join(this.#directory, `fifo-${this.#made}`)
  }

  #onMade(paths: readonly string[], fault: string | undefined): void {
    this.#isMaking = false
    this.#onSettled?.()
    if (this.#isClosed) return
    const why = fault ?? this.#open(paths)
    this.#failures = why === undefined ? 0 : this.#failures + 1
    if (why !== undefined && this.#failures >= MOST_FAILURES) {
      this.#failures = 0
      for (const { take } of this.#waiting.splice(0)) take(why)
      return
    }
    this.#serve()
    if (this.#waiting.length > 0) this.fill()
  }

  #open(paths: readonly string[]): string | undefined {
    try {
      for (const path of paths) this.#idle.push({ path, fd: openReader(path) })
      return undefined
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#idle.length < next.count) return
      this.#waiting.shift()
      next.take(this.#idle.splice(this.#idle.length - next.count, next.count))
    }
  }

  /** Takes back a FIFO that nobody writes to. `isOpen`: its descriptor is still good. */
  give(fifo: Fifo, { isOpen }: { isOpen: boolean }): void {
    if (this.#isClosed || this.#idle.length >= MOST_IDLE) {
      if (isOpen) closeSync(fifo.fd)
      this.discard(fifo)
      return
    }
    try {
      this.#idle.push(isOpen ? fifo : { path: fifo.path, fd: openReader(fifo.path) })
    } catch {
      this.discard(fifo)
    }
    this.#serve()
  }

  /** Somebody may still hold the writing end: never to be used again. */
  discard(fifo: Fifo): void {
    unlink(fifo.path, () => {})
  }

  /**
   * Those that wait are told; idle ones are closed. Resolves when no more are being made:
   * then the directory is the owner's to remove.
   */
  close(): Promise<void> {
    this.#isClosed = true
    for (const { fd } of this.#idle.splice(0)) closeSync(fd)
    for (const { take } of this.#waiting.splice(0)) take('the runner is closing')
    return new Promise((resolve) => {
      if (this.#isMaking) this.#onSettled = resolve
      else resolve()
    })
  }
}

const openReader = (path: string): number =>
  openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
