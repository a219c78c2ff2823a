// Requests: the peer's requests, from their arrival until they are answered.
//
// Each gets exactly one answer: the handler's, or one of the protocol's own (unknown kind,
// malformed, busy, deadline, internal). Handlers see decoded bodies only.

import * as E from 'fp-ts/lib/Either.js'
import { type DecodeFailure, decodeRequest, encodeAnswer } from './codec.ts'
import type { RequestEnvelope } from './envelope.ts'
import type { ErrorAnswer, Kind, RequestOf, Respond } from './exchanges/index.ts'
import { isKind } from './exchanges/index.ts'
import { carriesData, type Limits, type Place, placeOf, placesOf } from './limits.ts'
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
  state: 'open' | 'answered' | 'over'
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
    return next
  }

  /** The connection is gone: what handlers still answer is discarded. */
  close(): void {
    for (const inbound of this.#open) inbound.state = 'over'
    this.#open.clear()
  }

  #isBusy(kind: Kind): boolean {
    const place = placeOf(kind)
    if (this.#taken[place] >= this.#places[place]) return true
    return carriesData(kind) && this.#port.bufferedBytes() > this.#port.limits.slowBytes
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
    if (inbound.state === 'answered')
      throw new Error(`Expected one answer to ${inbound.kind}, got \`${answerKind}\` too`)
    if (inbound.state === 'over') {
      inbound.state = 'answered'
      this.#port.count('discarded-answer')
      return
    }
    try {
      const clean = encodeAnswer(inbound.kind, answerKind, body)
      const bytes = toBytes({ a: inbound.id, k: answerKind, b: clean })
      if (bytes.length > this.#peerFrameBytes)
        throw new RangeError(
          `Expected an answer of at most ${this.#peerFrameBytes} bytes, got ${bytes.length}`,
        )
      this.#end(inbound, 'answered')
      this.#port.send(bytes)
    } catch (error) {
      if (inbound.state === 'open') this.#fail(inbound)
      throw error
    }
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
