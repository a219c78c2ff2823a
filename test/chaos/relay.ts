// Relay: a plain TCP relay between a worker and its manager, which passes bytes on as they
// come and breaks what passes through it. Mutual TLS proves who is at the ends, not which
// address was dialled, so that neither end notices it.

import { once } from 'node:events'
import {
  type AddressInfo,
  connect,
  createServer,
  type Server,
  type Socket,
} from 'node:net'

/** One connection through it: the dialler's socket, and the one that goes on. */
interface Pair {
  readonly near: Socket
  readonly far: Socket
}

/**
 * cut: both ends hear that the connection is reset, and may dial again.
 * stall: nothing passes, in connections that are there and in those that are made.
 * half: the manager's end alone hears of the cut; what the worker sends goes nowhere.
 */
export type Break = 'cut' | 'stall' | 'half'

export class Relay {
  readonly #server: Server
  readonly #port: number
  readonly #pairs = new Set<Pair>()
  #isStalled = false

  private constructor(server: Server, port: number) {
    this.#server = server
    this.#port = port
  }

  /** To a port of this machine. */
  static async to(port: number): Promise<Relay> {
    const server = createServer()
    const relay = new Relay(server, port)
    server.on('connection', (near) => relay.#join(near))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return relay
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port // it listens on TCP
  }

  #join(near: Socket): void {
    const far = connect(this.#port, '127.0.0.1')
    const pair = { near, far }
    this.#pairs.add(pair)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.setNoDelay(true)
      one.on('error', () => undefined) // its close follows
      one.on('close', () => {
        this.#pairs.delete(pair)
        other.destroy()
      })
      if (!this.#isStalled) one.pipe(other)
    }
  }

  /** Breaks what goes through it; what is given back mends it. */
  break(how: Break): () => void {
    const pairs = [...this.#pairs]
    if (how === 'cut') {
      for (const { near, far } of pairs) {
        near.resetAndDestroy()
        far.resetAndDestroy()
      }
      return () => undefined
    }
    if (how === 'half') return this.#halve(pairs)
    this.#isStalled = true
    for (const { near, far } of pairs) {
      near.unpipe(far)
      far.unpipe(near)
    }
    return () => {
      this.#isStalled = false
      for (const { near, far } of this.#pairs) {
        near.pipe(far)
        far.pipe(near)
      }
    }
  }

  /** The worker's ends stay open: it must find out by itself that nobody is there. */
  #halve(pairs: readonly Pair[]): () => void {
    for (const pair of pairs) {
      const { near, far } = pair
      this.#pairs.delete(pair)
      near.unpipe()
      far.removeAllListeners('close')
      far.resetAndDestroy()
      near.resume() // read and thrown away
    }
    return () => {
      for (const { near } of pairs) near.destroy()
    }
  }

  close(): void {
    for (const { near, far } of this.#pairs) {
      near.destroy()
      far.destroy()
    }
    this.#server.close()
  }
}
