// Pipe reader: takes bytes from a FIFO's reading end. Two ways, one after the other: by
// hand (`drain`), which is all that a short program ever needs, or by the event loop
// (`attach`), which costs more to set up than a small program's whole output.

import { closeSync, readSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Fifo } from './fifos.ts'

/** Every reader reads into this and the taker copies: nothing is read but in one turn. */
const scratch = Buffer.allocUnsafeSlow(64 * 1024)
/** By hand at most this much in one turn. */
const DRAIN_BYTES = 256 * 1024

export interface PipeTaker {
  /** Copies the bytes. False: no more for now, until `resume`. */
  take(bytes: Buffer): boolean
  end(): void
}

export class PipeReader {
  readonly #fifo: Fifo
  readonly #taker: PipeTaker
  #socket: Socket | undefined
  #isDone = false

  constructor(fifo: Fifo, taker: PipeTaker) {
    this.#fifo = fifo
    this.#taker = taker
  }

  get isAttached(): boolean {
    return this.#socket !== undefined
  }

  /** Reads what is there. Must not be called before a writer exists: its absence is the end. */
  drain(): void {
    if (this.#isDone || this.#socket !== undefined) return
    for (let done = 0; done < DRAIN_BYTES; ) {
      const size = this.#readSome()
      if (size === undefined) return
      if (size === 0) {
        this.#end()
        return
      }
      done += size
      if (!this.#taker.take(scratch.subarray(0, size))) return
    }
  }

  /** Bytes read; 0 at the end; undefined when there is nothing now. */
  #readSome(): number | undefined {
    try {
      return readSync(this.#fifo.fd, scratch, 0, scratch.length, null)
    } catch {
      return undefined
    }
  }

  /** From here on the event loop reads. */
  attach(): void {
    if (this.#isDone || this.#socket !== undefined) return
    const options = {
      fd: this.#fifo.fd,
      readable: true,
      writable: false,
      // `onread` is documented for connect alone, but the constructor is where it works.
      onread: {
        buffer: scratch,
        callback: (size: number) => this.#taker.take(scratch.subarray(0, size)),
      },
    }
    const socket = new Socket(options)
    socket.on('end', () => this.#end())
    socket.on('error', () => this.#end())
    socket.resume()
    this.#socket = socket
  }

  /** The taker has room again. */
  resume(): void {
    if (this.#socket === undefined) this.attach()
    else this.#socket.resume()
  }

  #end(): void {
    if (this.#isDone) return
    this.#isDone = true
    this.#socket?.destroy()
    this.#taker.end()
  }

  /** Reads no more, whoever still writes. */
  close(): void {
    if (this.#isDone) return
    this.#isDone = true
    if (this.#socket === undefined) closeSync(this.#fifo.fd)
    else this.#socket.destroy()
  }
}
