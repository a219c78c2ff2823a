// Asks: this side's requests, from the moment they are asked until they are settled.
//
// An ask takes one of the places that the peer has, or waits in a queue for one; its id is
// given when it is written, so ids grow in the order of the wire. Each is settled exactly
// once: by its answer, by its deadline, or because the connection ended.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import { decodeAnswer } from './codec.ts'
import type { AnswerEnvelope } from './envelope.ts'
import type { AnswerOf, Kind } from './exchanges/index.ts'
import type { AskFailure } from './failure.ts'
import type { Flow } from './flow.ts'
import { asksWithData, type Limits, type Place, placeOf, placesOf } from './limits.ts'
import { Queue } from './queue.ts'
import { toBytes } from './wire.ts'

/** What became of a frame that says it is an answer. */
export type AnswerVerdict =
  | 'settled'
  | 'late'
  | 'duplicate'
  | 'never-issued'
  | 'wrong-kind'
  | 'malformed'

/** What asks need of their conversation. */
export interface AsksPort {
  readonly limits: Limits
  now(): number
  send(bytes: Uint8Array): void
  bufferedBytes(): number
  /** Bytes that have come from the peer so far; always the same where that is not known. */
  receivedBytes(): number
  readonly flow: Flow
  /** Something is due then. */
  by(deadline: number): void
  /** A settle function threw: a bug of its owner. */
  bug(error: unknown): void
}

/** How an ask ends; whoever asked gave a function for answers of that kind. */
export type Outcome = Either<AskFailure, AnswerOf<Kind>>

interface Ask {
  readonly kind: Kind
  readonly body: unknown
  readonly place: Place
  readonly lane: Lane
  readonly deadline: number
  readonly afterMs: number
  readonly settle: (outcome: Outcome) => void
}

/** How long until a socket that took nothing is looked at again. */
const SLOW_RETRY_MS = 50
/** Ids of timed-out asks that are remembered, to tell a late answer from a second one. */
const REMEMBERED = 16_384

/** Where an ask waits: data apart, so that nothing waits behind it. */
type Lane = Place | 'data'

const BY_URGENCY: readonly Lane[] = ['priority', 'aborts', 'ordinary', 'waits', 'data']

const laneOf = (kind: Kind): Lane => (asksWithData(kind) ? 'data' : placeOf(kind))

export class Asks {
  readonly #port: AsksPort
  /** The only ask that may be written before the first exchange is over. */
  #only: Kind | undefined
  #places: Readonly<Record<Place, number>>
  #peerFrameBytes: number
  #nextId = 1
  readonly #open = new Map<number, Ask>()
  readonly #taken: Record<Place, number> = {
    ordinary: 0,
    priority: 0,
    waits: 0,
    aborts: 0,
  }
  readonly #queues: Readonly<Record<Lane, Queue<Ask>>> = {
    ordinary: new Queue(),
    priority: new Queue(),
    waits: new Queue(),
    aborts: new Queue(),
    data: new Queue(),
  }
  #queued = 0
  readonly #refused: [Ask, AskFailure][] = []
  readonly #timedOut = new Set<number>()
  /** Asks without an answer since the last sign of life. */
  timeoutsInARow = 0
  /** What had come when that was looked at last. */
  #heardBytes = 0

  constructor(port: AsksPort, only: Kind | undefined) {
    this.#port = port
    this.#only = only
    this.#places = placesOf(port.limits)
    this.#peerFrameBytes = port.limits.maxFrame
  }

  /** Number of asks that wait for an answer, and of those that wait for a place. */
  get size(): { readonly open: number; readonly queued: number } {
    return { open: this.#open.size, queued: this.#queued }
  }

  /** Takes an ask whose body is clean. */
  add(
    kind: Kind,
    body: unknown,
    timeoutMs: number,
    settle: (outcome: Outcome) => void,
  ): void {
    const now = this.#port.now()
    const place = placeOf(kind)
    const lane = laneOf(kind)
    const deadline = now + timeoutMs
    const ask: Ask = { kind, body, place, lane, deadline, afterMs: timeoutMs, settle }
    if (this.#mayWrite(ask) && this.#queues[lane].length === 0) {
      this.#write(ask, now)
    } else {
      this.#enqueue(ask, now)
    }
    this.#port.by(deadline)
  }

  #enqueue(ask: Ask, now: number): void {
    if (this.#queued >= this.#port.limits.maxQueued) {
      this.#refuse(ask, { kind: 'unreachable', exchange: ask.kind }, now)
      return
    }
    this.#queues[ask.lane].push(ask)
    this.#queued++
    this.#lookAgain(now)
  }

  /** Deals with an answer; when it returns, the ask is settled. */
  answered(envelope: AnswerEnvelope): AnswerVerdict {
    const ask = this.#open.get(envelope.a)
    if (ask === undefined) return this.#unexpected(envelope.a)
    this.#open.delete(envelope.a)
    this.#taken[ask.place]--
    this.timeoutsInARow = 0
    const answer = decodeAnswer(ask.kind, envelope.k, envelope.b)
    if (E.isRight(answer)) {
      this.#settle(ask, answer)
      if (this.#queued > 0) this.pump()
      return 'settled'
    }
    const isUnknown = answer.left.code === 'unknown-kind'
    const detail =
      answer.left.code === 'malformed'
        ? `malformed answer: ${answer.left.path}`
        : 'an answer of another exchange'
    this.#settle(ask, E.left({ kind: 'protocol', exchange: ask.kind, detail }))
    if (this.#queued > 0) this.pump()
    return isUnknown ? 'wrong-kind' : 'malformed'
  }

  /** Settles what is overdue; returns the next deadline. */
  due(now: number): number {
    if (this.#refused.length > 0) this.#settleRefused()
    this.#listen()
    let next = Number.POSITIVE_INFINITY
    for (const [id, ask] of this.#open) {
      if (ask.deadline > now) {
        next = Math.min(next, ask.deadline)
        continue
      }
      this.#open.delete(id)
      this.#taken[ask.place]--
      this.#remember(id)
      this.timeoutsInARow++
      this.#settle(ask, timeout(ask))
    }
    if (this.#queued === 0) return next
    next = Math.min(next, this.#dueInQueues(now))
    this.pump()
    return next
  }

  /** A frame that takes long to come keeps answers waiting, but shows that the peer lives. */
  #listen(): void {
    const heardBytes = this.#port.receivedBytes()
    if (heardBytes === this.#heardBytes) return
    this.#heardBytes = heardBytes
    this.timeoutsInARow = 0
  }

  /** What the peer stated: applies to what is written from now on. */
  peerLimits(limits: { readonly maxInFlight: number; readonly maxFrame: number }): void {
    const ordinary = Math.min(limits.maxInFlight, this.#port.limits.maxQueued)
    this.#places = { ...this.#places, ordinary }
    this.#peerFrameBytes = limits.maxFrame
    this.pump()
  }

  /** The first exchange is over: anything may be asked. */
  release(): void {
    this.#only = undefined
    this.pump()
  }

  /** Writes what waited, as far as there are places. */
  pump(): void {
    const now = this.#port.now()
    for (const lane of BY_URGENCY) {
      const queue = this.#queues[lane]
      for (let ask = queue.peek(); ask !== undefined; ask = queue.peek()) {
        if (!this.#mayWrite(ask)) break
        queue.shift()
        this.#queued--
        this.#write(ask, now)
      }
    }
    if (this.#queued > 0) this.#lookAgain(now)
  }

  /** A socket that took nothing says so itself (`drained`), or is asked a little later. */
  #lookAgain(now: number): void {
    if (this.#isSlow()) this.#port.by(now + SLOW_RETRY_MS)
  }

  /** The connection is gone: everything open is settled, the queued ones as never sent. */
  close(): void {
    this.#settleRefused()
    const open = [...this.#open.values()]
    const queued = BY_URGENCY.flatMap((lane) => this.#queues[lane].take(() => true))
    this.#open.clear()
    this.#queued = 0
    for (const ask of open)
      this.#settle(ask, E.left({ kind: 'disconnected', exchange: ask.kind }))
    for (const ask of queued)
      this.#settle(ask, E.left({ kind: 'unreachable', exchange: ask.kind }))
  }

  #isSlow(): boolean {
    return this.#port.bufferedBytes() > this.#port.limits.slowBytes
  }

  #mayWrite({ kind, place, lane, body }: Ask): boolean {
    if (this.#only !== undefined && kind !== this.#only) return false
    if (this.#taken[place] >= this.#places[place]) return false
    if (place === 'priority' || place === 'aborts') return true
    if (lane === 'data' && !this.#port.flow.takes(dataBytes(body))) return false
    return !this.#isSlow()
  }

  #write(ask: Ask, now: number): void {
    const t = Math.max(1, Math.ceil(ask.deadline - now))
    const bytes = toBytes({ q: this.#nextId, k: ask.kind, b: ask.body, t })
    if (bytes.length > this.#peerFrameBytes) {
      const detail = `${bytes.length} bytes, the peer takes ${this.#peerFrameBytes}`
      this.#refuse(ask, { kind: 'protocol', exchange: ask.kind, detail }, now)
      return
    }
    if (this.#open.size === 0) this.#heardBytes = this.#port.receivedBytes()
    this.#open.set(this.#nextId++, ask)
    this.#taken[ask.place]++
    this.#port.send(bytes)
    if (ask.lane === 'data') this.#port.flow.wrote(bytes.length)
  }

  /** Not now but at the next ring: nothing is settled while it is asked. */
  #refuse(ask: Ask, failure: AskFailure, now: number): void {
    this.#refused.push([ask, failure])
    this.#port.by(now)
  }

  #settleRefused(): void {
    for (const [ask, failure] of this.#refused.splice(0))
      this.#settle(ask, E.left(failure))
  }

  #settle(ask: Ask, outcome: Outcome): void {
    try {
      ask.settle(outcome)
    } catch (error) {
      this.#port.bug(error)
    }
  }

  #unexpected(id: number): AnswerVerdict {
    if (id >= this.#nextId) return 'never-issued'
    if (!this.#timedOut.delete(id)) return 'duplicate'
    // The peer is slow, not gone.
    this.timeoutsInARow = 0
    return 'late'
  }

  #remember(id: number): void {
    this.#timedOut.add(id)
    if (this.#timedOut.size <= REMEMBERED) return
    // A set is in the order of insertion: the first is the oldest.
    for (const oldest of this.#timedOut) {
      this.#timedOut.delete(oldest)
      return
    }
  }

  /** Settles the overdue ones of the queues; returns the next deadline among the rest. */
  #dueInQueues(now: number): number {
    let next = Number.POSITIVE_INFINITY
    const overdue: Ask[] = []
    for (const lane of BY_URGENCY) {
      const queue = this.#queues[lane]
      overdue.push(...queue.take((ask) => ask.deadline <= now))
      for (const ask of queue) next = Math.min(next, ask.deadline)
    }
    this.#queued -= overdue.length
    for (const ask of overdue) this.#settle(ask, timeout(ask))
    return next
  }
}

/** The bytes that a data request carries. */
const dataBytes = (body: unknown): number =>
  (body as { readonly data: Uint8Array }).data.byteLength // its row says `data: 'request'`

const timeout = ({ kind, afterMs }: Ask): Outcome =>
  E.left({ kind: 'timeout', exchange: kind, afterMs })
