// A raw peer: one connection to the implementation, with every frame at hand. It keeps no
// rule by itself but what a case leaves to it (it introduces itself, and answers what has a
// handler), and it watches every frame that comes for what no implementation may do.

import { randomBytes } from 'node:crypto'
import type { WebSocket } from 'ws'
import { type Frame, pack, unpack } from './bytes.ts'
import { enter } from './door.ts'
import { newNodeId } from './members.ts'
import { type Body, facts } from './protocol.ts'
import type { Target } from './target.ts'
import type { Watch } from './watch.ts'

/** Who a raw peer says it is. */
export interface Identity {
  readonly node_type: string
  readonly node_id: string
  readonly boot_id: string
  readonly host_name: string
  readonly minor: number
  readonly features: readonly string[]
  readonly max_in_flight: number
  readonly max_frame: number
  readonly ledger_id?: string
  readonly listen_port?: number
}

export const identity = (node_type: string, more: Partial<Identity> = {}): Identity => ({
  node_type,
  node_id: newNodeId(),
  boot_id: randomBytes(8).toString('hex'),
  host_name: `kit-${randomBytes(4).toString('hex')}`,
  minor: facts.minor,
  features: [],
  max_in_flight: facts.limits.max_in_flight,
  max_frame: facts.limits.max_frame,
  ...more,
})

export interface Closing {
  readonly code: number
  readonly reason: string
}

/** An answer: its kind and body; undefined: none is given now. */
export type Handler = (frame: Frame) => readonly [string, unknown] | undefined

interface Waiter {
  readonly take: (frame: Frame) => boolean
}

export interface PeerOptions {
  readonly target: Target
  readonly self: Identity
  readonly patienceMs: number
  readonly watch: Watch
}

export class Peer {
  readonly self: Identity
  /** Every frame that came, in order. */
  readonly frames: Frame[] = []
  readonly handlers = new Map<string, Handler>()
  readonly closed: Promise<Closing>
  readonly ws: WebSocket
  readonly #options: PeerOptions
  readonly #waiters = new Set<Waiter>()
  /** Requests of this side that have no answer yet: their kinds, by id. */
  readonly #asked = new Map<number, string>()
  #isClosed = false
  #lastId = 0
  #corked: Uint8Array[] | undefined

  private constructor(ws: WebSocket, options: PeerOptions) {
    this.ws = ws
    this.#options = options
    this.self = options.self
    this.handlers.set('NodeTypeRequest', () => ['NodeTypeAnswer', this.self])
    ws.on('error', () => undefined)
    this.closed = new Promise((resolve) =>
      ws.on('close', (code, reason) => {
        this.#isClosed = true
        resolve({ code, reason: reason.toString() })
      }),
    )
    ws.on('message', (bytes, isBinary) => this.#received(bytes as Buffer, isBinary))
    ws.resume()
  }

  /** Proves itself, and says nothing yet. */
  static async enter(options: PeerOptions): Promise<Peer> {
    const { target, self } = options
    const { node_type: role, node_id: nodeId, host_name: hostName } = self
    return new Peer(await enter(target, { role, nodeId, hostName }), options)
  }

  /** Proves and introduces itself, both ways. */
  static async open(options: PeerOptions, prepare?: (peer: Peer) => void): Promise<Peer> {
    const peer = await Peer.enter(options)
    prepare?.(peer)
    await peer.introduce()
    return peer
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** What the far end said of itself. */
  get far(): Body {
    const frame = this.frames.find(({ k }) => k === 'NodeTypeRequest')
    return frame?.b ?? {}
  }

  async introduce(): Promise<Frame> {
    const answer = await this.ask('NodeTypeRequest', this.self)
    if (answer.k !== 'NodeTypeAnswer')
      throw new Error(`introduced: it answered ${describe(answer)}`)
    await this.request('NodeTypeRequest', () => true, 0)
    return answer
  }

  /** Sends a request and gives its answer, whatever that is. */
  ask(k: string, b: unknown, t = 30_000, q = this.#lastId + 1): Promise<Frame> {
    this.send({ q, k, b, t })
    return this.answerTo(q, k)
  }

  /** The answer to a request of this side. */
  answerTo(q: number, k = 'a request'): Promise<Frame> {
    return this.wait(`an answer to ${k}`, (frame) => frame.a === q)
  }

  /** A request of the far end of this kind, among those from `since` on. */
  request(
    k: string,
    is: (body: Body) => boolean = () => true,
    since = 0,
  ): Promise<Frame> {
    return this.wait(
      k,
      (frame) => frame.q !== undefined && frame.k === k && is(frame.b),
      since,
    )
  }

  /** The first frame, from the `since`th on, that is meant; also one that has come already. */
  wait(what: string, is: (frame: Frame) => boolean, since = 0): Promise<Frame> {
    const there = this.frames.slice(since).find(is)
    if (there !== undefined) return Promise.resolve(there)
    return this.within(
      what,
      new Promise<Frame>((resolve, reject) => {
        const waiter = {
          take: (frame: Frame) => {
            if (!is(frame)) return false
            resolve(frame)
            return true
          },
        }
        this.#waiters.add(waiter)
        void this.closed.then(({ code, reason }) =>
          reject(
            new Error(`waited for ${what}: it closed with ${code} ${reason}`.trim()),
          ),
        )
      }),
    )
  }

  /** The close code, or why there is none. */
  async closeCode(patienceMs?: number): Promise<number> {
    return (await this.within('the close of the connection', this.closed, patienceMs))
      .code
  }

  /** Fails when it takes longer than things may that come at once. */
  within<A>(
    what: string,
    promise: Promise<A>,
    patienceMs = this.#options.patienceMs,
  ): Promise<A> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`waited ${patienceMs} ms for ${what}`)),
        patienceMs,
      )
      promise.then(resolve, reject).finally(() => clearTimeout(timer))
    })
  }

  /** Answers a request of the far end. */
  answer(frame: Frame, k: string, b: unknown): void {
    this.send({ a: frame.q, k, b })
  }

  send(frame: {
    readonly q?: number | undefined
    readonly a?: number | undefined
    readonly k: string
    readonly b: unknown
    readonly t?: number
  }): void {
    if (frame.q !== undefined) {
      this.#lastId = Math.max(this.#lastId, frame.q)
      this.#asked.set(frame.q, frame.k)
    }
    this.sendBytes(pack(frame))
  }

  sendBytes(bytes: Uint8Array): void {
    if (this.#corked === undefined) this.ws.send(bytes)
    else this.#corked.push(bytes)
  }

  /** Everything sent meanwhile leaves in one TCP segment. */
  together(send: () => void): void {
    this.#corked = []
    send()
    const frames = this.#corked
    this.#corked = undefined
    // The socket below gathers what is written until it is uncorked.
    const { _socket: raw } = this.ws as unknown as { _socket: import('node:net').Socket }
    raw.cork()
    for (const bytes of frames) this.ws.send(bytes)
    raw.uncork()
  }

  /** For who sends by hand: that this id was asked. */
  expectAnswer(q: number, k: string): void {
    this.#lastId = Math.max(this.#lastId, q)
    this.#asked.set(q, k)
  }

  /** The next id, for who sends by hand. */
  nextId(): number {
    return this.#lastId + 1
  }

  /** Answers what the far end asks from now on; what has come already too. */
  handle(k: string, handler: Handler): void {
    this.handlers.set(k, handler)
  }

  /** The far end is alive and has dealt with all that was sent before. */
  async sync(): Promise<void> {
    await this.ask('ManagerPing', { rel: 'no-such-rel' })
  }

  /** Ends the connection without a word. */
  cut(): Promise<Closing> {
    this.ws.terminate()
    return this.closed
  }

  close(): Promise<Closing> {
    this.ws.close(1001)
    return this.closed
  }

  #received(bytes: Buffer, isBinary: boolean): void {
    const { watch } = this.#options
    if (!isBinary) {
      watch.broken('frames', 'a text frame')
      return
    }
    const frame = watch.read(() => unpack(bytes))
    if (frame === undefined) return
    watch.frame(this, frame, this.#asked)
    if (frame.a !== undefined) this.#asked.delete(frame.a)
    this.frames.push(frame)
    for (const waiter of this.#waiters)
      if (waiter.take(frame)) this.#waiters.delete(waiter)
    if (frame.q === undefined) return
    const answer = this.handlers.get(frame.k)?.(frame)
    if (answer !== undefined) this.answer(frame, ...answer)
  }
}

/** A frame in a few words, for a report. */
export const describe = ({ k, b }: Frame): string => {
  const text = JSON.stringify(b, (_, value) =>
    value instanceof Uint8Array ? `${value.length} bytes` : value,
  )
  return `${k} ${text.length > 200 ? `${text.slice(0, 200)}…` : text}`
}
