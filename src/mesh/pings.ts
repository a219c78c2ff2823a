// Pings: WebSocket pings of one socket, each answered once. They are numbered, for a far
// end may leave out the pongs of earlier pings (RFC 6455, section 5.5.3): a pong answers
// its own ping and all before it.

import type { WebSocket } from 'ws'

interface Ping {
  readonly number: number
  readonly answered: () => void
}

export class Pings {
  readonly #ws: Pick<WebSocket, 'readyState' | 'OPEN' | 'ping' | 'on'>
  #last = 0
  /** Those under way; they go with the socket. */
  #open: Ping[] = []

  constructor(ws: Pick<WebSocket, 'readyState' | 'OPEN' | 'ping' | 'on'>) {
    this.#ws = ws
    ws.on('pong', (payload) => this.#pong(payload))
  }

  /** `answered` is called once, or never if the socket ends before. */
  send(answered: () => void): void {
    const { readyState, OPEN } = this.#ws
    if (readyState !== OPEN) return
    this.#last = (this.#last + 1) % 2 ** 32
    this.#open.push({ number: this.#last, answered })
    const payload = Buffer.allocUnsafe(4)
    payload.writeUInt32BE(this.#last)
    this.#ws.ping(payload)
  }

  #pong(payload: Buffer): void {
    if (payload.length !== 4) return
    const number = payload.readUInt32BE()
    const at = this.#open.findIndex((ping) => ping.number === number)
    for (const { answered } of this.#open.splice(0, at + 1)) answered()
  }
}
