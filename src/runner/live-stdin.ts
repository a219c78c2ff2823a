// Live stdin: what somebody types or streams to a running program, through a FIFO. Bytes
// are addressed by offset, so that a piece sent twice is written once.

import { closeSync, constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Fifo } from './fifos.ts'

type Settle = (open: boolean) => void

export class LiveStdin {
  readonly fifo: Fifo
  /** A writer from before the start: a program that saw none would read an end. */
  readonly #writer: number
  #socket: Socket | undefined
  #isOpen = true
  #hasEnded = false
  /** Bytes taken. */
  #offset = 0
  #early: (() => void)[] = []

  constructor(fifo: Fifo) {
    this.fifo = fifo
    this.#writer = openSync(fifo.path, constants.O_WRONLY | constants.O_NONBLOCK)
  }

  /** The program has its end. Ours is closed, so that a write says when it is gone. */
  started(): void {
    closeSync(this.fifo.fd)
    const socket = new Socket({ fd: this.#writer, readable: false, writable: true })
    socket.on('error', () => this.#onGone())
    socket.on('close', () => this.#onGone())
    this.#socket = socket
    for (const write of this.#early.splice(0)) write()
  }

  write(offset: number, bytes: Uint8Array, eof: boolean, settle: Settle): void {
    if (this.#socket === undefined && this.#isOpen) {
      this.#early.push(() => this.write(offset, bytes, eof, settle))
      return
    }
    if (!this.#isOpen || this.#socket === undefined) {
      settle(false)
      return
    }
    // After the end, and beyond what has arrived, there is nothing to write.
    if (this.#hasEnded || offset > this.#offset) {
      settle(true)
      return
    }
    const fresh = bytes.subarray(this.#offset - offset)
    this.#offset += fresh.length
    if (fresh.length === 0) settle(true)
    else this.#socket.write(fresh, (error) => settle(error == null && this.#isOpen))
    if (!eof) return
    this.#hasEnded = true
    this.#socket.end()
  }

  #onGone(): void {
    this.#isOpen = this.#isOpen && this.#hasEnded
    if (!this.#hasEnded) this.#socket?.destroy()
  }

  /** The program has exited, or was never started. */
  close(): void {
    this.#isOpen = false
    if (this.#socket !== undefined) {
      this.#socket.destroy()
      return
    }
    closeSync(this.fifo.fd)
    closeSync(this.#writer)
    for (const write of this.#early.splice(0)) write()
  }
}
