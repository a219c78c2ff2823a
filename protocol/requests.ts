// Requests: the peer's requests, from their arrival until they are answered.
//
// Each gets exactly one answer: the handler's, or one of the protocol's own (unknown kind,
// malformed, busy, deadline, internal). Handlers see decoded bodies only.

import * as E from 'fp-ts/lib/Either.js'
import { type DecodeFailure, decodeRequest, encodeAnswer } from './codec.ts'
import type { RequestEnvelope } from './envelope.ts'
import type { ErrorAnswer, Kind, RequestOf, Respond } from './exchanges/index.ts'
import { isKind } from './exchanges/index.ts'
import type { OutputData } from './exchanges/tasks.ts'
import { type Flow, LEAST_PIECE_BYTES } from './flow.ts'
import {
  answersWithData,
  isDataAnswer,
  type Limits,
  type Place,
  placeOf,
  placesOf,
} from './limits.ts'
import { toBytes } from './wire.ts'

/** Called with a decoded request; may answer at once or later, once. */
export type Handle = <K extends Kind>(
  kind: K,
  body: RequestOf<K>,
  respond: Respond<K>,
) => void

/** What requests need of their conversation. */
export interface RequestsPort {
  readonly limits: Limits
  readonly handle: Handle
  now(): number
  send(bytes: Uint8Array): void
  bufferedBytes(): number
  readonly flow: Flow
  by(deadline: number): void
  count(what: 'busy' | 'deadline' | 'discarded-answer'): void
  /** A handler threw, or answered with what its row does not allow. */
  bug(error: unknown): void
}

interface Inbound {
  readonly id: number
  readonly kind: Kind
  readonly place: Place
  readonly deadline: number
  /** held: its handler is done, and its answer waits until the link has room for data. */
  state: 'open' | 'held' | 'answered' | 'over'
}

/** An answer with data that is held back. */
interface Held {
  readonly inbound: Inbound
  readonly answerKind: string
  readonly body: OutputData
}

/** Kept back of the asker's patience, so that its Error{deadline} still arrives in time. */
const reserveOf = (t: number): number => Math.min(t / 10, 500)

export class Requests {
  readonly #port: RequestsPort
  readonly #places: Readonly<Record<Place, number>>
  readonly #taken: Record<Place, number> = {
    ordinary: 0,
    priority: 0,
    waits: 0,
    aborts: 0,
  }
  readonly #open = new Set<Inbound>()
  /** In the order in which they were answered. */
  #held: Held[] = []
  #heldBytes = 0
  #lastId = 0
  #peerFrameBytes: number

  constructor(port: RequestsPort) {
    this.#port = port
    this.#places = placesOf(port.limits)
    this.#peerFrameBytes = port.limits.maxFrame
  }

  get size(): number {
    return this.#open.size
  }

  peerLimits(limits: { readonly maxFrame: number }): void {
    this.#peerFrameBytes = limits.maxFrame
  }

  /** Ids only grow: a request that comes again, or late, is an attack or a broken peer. */
  isNew(envelope: RequestEnvelope): boolean {
    if (envelope.q <= this.#lastId) return false
    this.#lastId = envelope.q
    return true
  }

  /** Answers a request that is not to be handled. */
  refuse(envelope: RequestEnvelope, error: ErrorAnswer): void {
    this.#port.send(toBytes({ a: envelope.q, k: 'Error', b: error }))
  }

  /** Hands a request to its handler, or answers it itself. False: its body was malformed. */
  received(envelope: RequestEnvelope): boolean {
    const kind = envelope.k
    if (!isKind(kind)) {
      this.refuse(envelope, { code: 'unknown-kind' })
      return true
    }
    if (this.#isBusy(kind)) {
      this.#port.count('busy')
      this.refuse(envelope, {
        code: 'busy',
        retry_after_ms: this.#port.limits.retryAfterMs,
      })
      return true
    }
    const request = decodeRequest(kind, envelope.b)
    if (E.isLeft(request)) {
      this.refuse(envelope, errorOf(request.left))
      return request.left.code !== 'malformed'
    }
    this.#start(kind, request.right.body, envelope)
    return true
  }

  /** Answers what is overdue with Error{deadline}; returns the next deadline. */
  due(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const inbound of this.#open) {
      if (inbound.deadline > now) {
        next = Math.min(next, inbound.deadline)
        continue
      }
      this.#port.count('deadline')
      this.#end(inbound, 'over')
      this.#sendError(inbound, { code: 'deadline' })
    }
    if (this.#held.length > 0) this.#sortHeld()
    return next
  }

  /** The connection is gone: what handlers still answer is discarded. */
  close(): void {
    for (const inbound of this.#open) inbound.state = 'over'
    this.#open.clear()
    this.#held = []
    this.#heldBytes = 0
  }

  /** Writes the data that was held back, as far as there is room; each gets its share. */
  pump(): void {
    if (this.#held.length === 0) return
    const { flow } = this.#port
    let written = 0
    for (let room = flow.room(); room > 0; room = flow.room()) {
      const left = this.#held.length - written
      const held = this.#held[written]
      if (held === undefined) break
      written++
      this.#heldBytes -= held.body.data.byteLength
      this.#writeHeld(held, Math.min(room, Math.max(LEAST_PIECE_BYTES, room / left)))
    }
    if (written > 0) this.#held = this.#held.slice(written)
  }

  #writeHeld(held: Held, room: number): void {
    try {
      this.#writeData(held, room)
    } catch (error) {
      this.#fail(held.inbound)
      this.#port.bug(error)
    }
  }

  /** Without those that are over. */
  #sortHeld(): void {
    this.#held = this.#held.filter(({ inbound }) => inbound.state === 'held')
    this.#heldBytes = this.#held.reduce((sum, { body }) => sum + body.data.byteLength, 0)
  }

  #isBusy(kind: Kind): boolean {
    const place = placeOf(kind)
    if (this.#taken[place] >= this.#places[place]) return true
    if (!answersWithData(kind)) return false
    return this.#port.bufferedBytes() + this.#heldBytes > this.#port.limits.slowBytes
  }

  #start(kind: Kind, body: RequestOf<Kind>, { q, t }: RequestEnvelope): void {
    const place = placeOf(kind)
    const deadline = this.#port.now() + t - reserveOf(t)
    const inbound: Inbound = { id: q, kind, place, deadline, state: 'open' }
    this.#open.add(inbound)
    this.#taken[place]++
    this.#port.by(deadline)
    const respond: Respond<Kind> = (answerKind, answer) =>
      this.#respond(inbound, answerKind, answer)
    try {
      this.#port.handle(kind, body, respond)
    } catch (error) {
      if (inbound.state === 'open') this.#fail(inbound)
      this.#port.bug(error)
    }
  }

  #respond(inbound: Inbound, answerKind: string, body: unknown): void {
    if (inbound.state === 'answered' || inbound.state === 'held')
      throw new Error(`Expected one answer to ${inbound.kind}, got \`${answerKind}\` too`)
    if (inbound.state === 'over') {
      inbound.state = 'answered'
      this.#port.count('discarded-answer')
      return
    }
    try {
      const clean = encodeAnswer(inbound.kind, answerKind, body)
      if (isDataAnswer(inbound.kind, answerKind, clean)) {
        this.#offer({ inbound, answerKind, body: clean })
        return
      }
      this.#write(inbound, answerKind, clean)
    } catch (error) {
      if (inbound.state === 'open') this.#fail(inbound)
      throw error
    }
  }

  /** Data goes when the link has room for it, behind the data that waits already. */
  #offer(held: Held): void {
    const room = this.#held.length === 0 ? this.#port.flow.room() : 0
    if (room > 0) {
      this.#writeData(held, room)
      return
    }
    held.inbound.state = 'held'
    this.#held.push(held)
    this.#heldBytes += held.body.data.byteLength
  }

  /** Who reads asks by offset: what is cut off comes with the next read. */
  #writeData({ inbound, answerKind, body }: Held, room: number): void {
    const isWhole = body.data.byteLength <= room
    const part = isWhole
      ? body
      : { ...body, data: body.data.subarray(0, room), eof: false }
    this.#port.flow.wrote(this.#write(inbound, answerKind, part))
  }

  /** Returns the size of the frame. */
  #write(inbound: Inbound, answerKind: string, body: unknown): number {
    const bytes = toBytes({ a: inbound.id, k: answerKind, b: body })
    if (bytes.length > this.#peerFrameBytes)
      throw new RangeError(
        `Expected an answer of at most ${this.#peerFrameBytes} bytes, got ${bytes.length}`,
      )
    this.#end(inbound, 'answered')
    this.#port.send(bytes)
    return bytes.length
  }

  #fail(inbound: Inbound): void {
    this.#end(inbound, 'answered')
    this.#sendError(inbound, { code: 'internal' })
  }

  #sendError(inbound: Inbound, error: ErrorAnswer): void {
    this.#port.send(toBytes({ a: inbound.id, k: 'Error', b: error }))
  }

  #end(inbound: Inbound, state: 'answered' | 'over'): void {
    inbound.state = state
    if (this.#open.delete(inbound)) this.#taken[inbound.place]--
  }
}

const errorOf = (failure: DecodeFailure): ErrorAnswer =>
  failure.code === 'malformed'
    ? { code: 'malformed', path: failure.path }
    : { code: 'unknown-kind' }
