// Conversation: one connection's requests and answers, without the connection.
//
// It is given frames and a way to send them, and keeps every rule between two peers:
// growing ids, one answer each, answers of the right row, places, deadlines, strikes, the
// first exchange. It knows no socket and no timer of its own, so it runs over anything
// that carries bytes in order, and in tests over nothing at all.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import { Alarm, type Clock } from './alarm.ts'
import { type AnswerVerdict, Asks, type Outcome } from './asks.ts'
import { encodeRequest } from './codec.ts'
import { type AnswerEnvelope, isRequest, type RequestEnvelope } from './envelope.ts'
import type { AnswerOf, Kind, RequestOf, Respond } from './exchanges/index.ts'
import type { AskFailure } from './failure.ts'
import { Flow } from './flow.ts'
import { FirstExchange, type IntroductionOptions } from './introduction.ts'
import { CLOSE, DEFAULT_LIMITS, type Limits } from './limits.ts'
import { type Handle, Requests } from './requests.ts'
import { fromBytes } from './wire.ts'

/** Things that are counted because they are normal now and then, and telling in number. */
export type Counted = 'late-answer' | 'strike' | 'busy' | 'deadline' | 'discarded-answer'

export interface ConversationOptions {
  /**
   * Hands a frame to the socket. Must not deliver anything to this conversation before it
   * returns; the bytes stay as they are.
   */
  send(bytes: Uint8Array): void
  /** Closes the socket with a code of CLOSE. Frames that still come are ignored. */
  close(code: number, reason: string): void
  /** Bytes handed to `send` that the socket has not taken yet. */
  bufferedBytes(): number
  /** Bytes that have come from the peer so far, those of unfinished frames included. */
  receivedBytes?(): number
  /**
   * Sends a WebSocket ping, and calls `arrived` when it is answered, in a later turn: so it
   * is measured how fast data gets to the peer. Default: how fast the socket takes it,
   * which does not see what the system's own buffers hold.
   */
  probe?(arrived: () => void): void
  readonly clock: Clock
  /** Serves the peer's requests. */
  readonly handle: Handle
  readonly limits?: Partial<Limits>
  /** With it, nothing else is said before both sides have introduced themselves. */
  readonly introduction?: IntroductionOptions
  onCounted?(what: Counted): void
  /** The socket takes nothing any more: terminate it. Default: close(4408). */
  onStalled?(): void
  /** Asks in a row had no answer: terminate it. Default: close(4408). */
  onTimeouts?(): void
  /** A handler or a settle function threw. Default: thrown on, by the clock. */
  onBug?(error: unknown): void
}

/** How an ask ends. */
export type Settled<K extends Kind> = (outcome: Either<AskFailure, AnswerOf<K>>) => void

/** How long until a socket that was given data is looked at. */
const LOOK_MS = 10

export class Conversation {
  readonly #options: ConversationOptions
  readonly #limits: Limits
  readonly #alarm: Alarm
  readonly #asks: Asks
  readonly #requests: Requests
  readonly #first: FirstExchange | undefined
  readonly #flow: Flow
  #introduceBy = Number.POSITIVE_INFINITY
  #strikes = 0
  #isEnded = false
  #isSending = false
  #isStalled = false

  constructor(options: ConversationOptions) {
    this.#options = options
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#alarm = new Alarm(options.clock, (now) => this.#due(now))
    this.#flow = new Flow({
      now: () => options.clock.now(),
      probe: () => this.#probe(),
    })
    const port = {
      flow: this.#flow,
      limits: this.#limits,
      handle: this.#handle,
      now: () => options.clock.now(),
      send: (bytes: Uint8Array) => this.#send(bytes),
      bufferedBytes: () => options.bufferedBytes(),
      receivedBytes: () => options.receivedBytes?.() ?? 0,
      by: (deadline: number) => this.#alarm.by(deadline),
      count: (what: Counted) => options.onCounted?.(what),
      bug: (error: unknown) => this.#bug(error),
    }
    this.#first =
      options.introduction &&
      new FirstExchange(options.introduction, {
        end: (code, reason) => this.#end(code, reason),
        introduced: (peer) => {
          this.peerLimits({ maxInFlight: peer.max_in_flight, maxFrame: peer.max_frame })
          this.#asks.release()
        },
      })
    this.#asks = new Asks(port, this.#first && 'NodeTypeRequest')
    this.#requests = new Requests(port)
  }

  /** The socket is open: introduces this side, if there is an introduction to make. */
  start(): void {
    const first = this.#first
    if (first === undefined) return
    this.#introduceBy = this.#options.clock.now() + first.timeoutMs
    this.#alarm.by(this.#introduceBy)
    this.ask('NodeTypeRequest', first.own, first.timeoutMs, (outcome) =>
      first.answered(outcome),
    )
  }

  /**
   * Sends a request, or queues it until the peer has a place for it. `settle` is called
   * exactly once, never before `ask` returns, and for an answer before the next frame is
   * looked at. Throws a TypeError on a body that its row does not allow.
   */
  ask<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    settle: Settled<K>,
  ): void {
    if (!(timeoutMs > 0 && timeoutMs <= Number.MAX_SAFE_INTEGER))
      throw new TypeError(`Expected \`timeoutMs\` to be positive, got \`${timeoutMs}\``)
    const clean = encodeRequest(kind, body)
    if (this.#isEnded) {
      this.#options.clock.after(0, () =>
        settle(E.left({ kind: 'unreachable', exchange: kind })),
      )
      return
    }
    // The answer is decoded by the row of `kind`, so it is one that `settle` takes.
    this.#asks.add(kind, clean, timeoutMs, settle as (outcome: Outcome) => void)
  }

  /** One binary frame. An answer is settled, and a request handed over, before it returns. */
  receive(bytes: Uint8Array): void {
    if (this.#isEnded) return
    if (this.#isSending) throw new Error('Expected `send` not to deliver frames itself')
    if (bytes.length > this.#limits.maxFrame) {
      this.#end(CLOSE.notAFrame, 'frame too large')
      return
    }
    const frame = fromBytes(bytes)
    if (E.isLeft(frame)) {
      this.#end(CLOSE.notAFrame, 'not a frame')
      return
    }
    if (isRequest(frame.right)) this.#request(frame.right)
    else this.#answer(frame.right)
  }

  /** A text frame came: there are none in this protocol. */
  receiveText(): void {
    this.#end(CLOSE.notAFrame, 'text frame')
  }

  /** What the peer stated in the first exchange; done here if `introduction` is given. */
  peerLimits(limits: { readonly maxInFlight: number; readonly maxFrame: number }): void {
    this.#requests.peerLimits(limits)
    this.#asks.peerLimits(limits)
  }

  /** The socket has taken what it held: what was kept back may go. */
  drained(): void {
    if (this.#isEnded) return
    this.#lookAtProbe()
    this.#asks.pump()
  }

  /** The socket is gone: every open ask settles as disconnected. May be called twice. */
  closed(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#alarm.stop()
    this.#requests.close()
    // A socket may fail while it is written to, which is while something is asked.
    if (this.#isSending) this.#options.clock.after(0, () => this.#asks.close())
    else this.#asks.close()
  }

  /** How many asks are open and queued, and how many requests of the peer are open. */
  get size(): {
    readonly asked: number
    readonly queued: number
    readonly serving: number
  } {
    const { open, queued } = this.#asks.size
    return { asked: open, queued, serving: this.#requests.size }
  }

  #request(envelope: RequestEnvelope): void {
    if (!this.#requests.isNew(envelope)) {
      this.#end(CLOSE.oldRequestId, 'request id not greater than the last')
      return
    }
    if (this.#first?.isOver === false && envelope.k !== 'NodeTypeRequest') {
      this.#requests.refuse(envelope, { code: 'not-ready' })
      this.#end(CLOSE.notIntroduced, 'not introduced')
      return
    }
    if (!this.#requests.received(envelope)) this.#strike()
  }

  #answer(envelope: AnswerEnvelope): void {
    const verdict = this.#asks.answered(envelope)
    if (verdict !== 'settled') this.#judge(verdict)
  }

  #judge(verdict: Exclude<AnswerVerdict, 'settled'>): void {
    switch (verdict) {
      case 'late':
        this.#options.onCounted?.('late-answer')
        break
      case 'duplicate':
      case 'malformed':
        this.#strike()
        break
      case 'never-issued':
        this.#end(CLOSE.unknownId, 'answer to an id never issued')
        break
      case 'wrong-kind':
        this.#end(CLOSE.wrongAnswer, 'answer of another exchange')
    }
  }

  readonly #handle: Handle = (kind, body, respond) => {
    if (this.#first === undefined || kind !== 'NodeTypeRequest') {
      this.#options.handle(kind, body, respond)
      return
    }
    // `kind` is NodeTypeRequest here, which the compiler cannot carry over to K.
    this.#first.asked(
      body as RequestOf<'NodeTypeRequest'>,
      respond as unknown as Respond<'NodeTypeRequest'>,
    )
  }

  #send(bytes: Uint8Array): void {
    if (this.#isEnded) return
    this.#isSending = true
    try {
      this.#options.send(bytes)
    } finally {
      this.#isSending = false
    }
    if (this.#options.bufferedBytes() <= this.#limits.terminateBytes) return
    // Given up at the next ring: nothing is settled while it is asked.
    this.#isStalled = true
    this.#alarm.by(this.#options.clock.now())
  }

  #probe(): void {
    const { probe, clock } = this.#options
    if (probe === undefined) this.#alarm.by(clock.now() + LOOK_MS)
    else probe.call(this.#options, this.#arrived)
  }

  readonly #arrived = () => {
    if (this.#isEnded) return
    this.#flow.arrived()
    this.#requests.pump()
    if (this.#asks.size.queued > 0) this.#asks.pump()
  }

  /** Without probes: has the socket taken what one would stand behind? */
  #lookAtProbe(): void {
    if (this.#options.probe !== undefined || !this.#flow.isProbing) return
    if (this.#options.bufferedBytes() <= this.#flow.behindBytes) this.#arrived()
    else this.#alarm.by(this.#options.clock.now() + LOOK_MS)
  }

  #due(now: number): number {
    this.#lookAtProbe()
    const nextRequest = this.#requests.due(now)
    const nextAsk = this.#asks.due(now)
    if (this.#isStalled) this.#giveUp(this.#options.onStalled, 'the peer takes nothing')
    if (this.#asks.timeoutsInARow >= this.#limits.timeoutsInARow)
      this.#giveUp(this.#options.onTimeouts, 'asks without an answer')
    return Math.min(nextRequest, nextAsk, this.#introductionDue(now))
  }

  #introductionDue(now: number): number {
    if (this.#first === undefined || this.#first.isOver) return Number.POSITIVE_INFINITY
    if (now >= this.#introduceBy)
      this.#end(CLOSE.notIntroduced, 'no introduction in time')
    return this.#introduceBy
  }

  #strike(): void {
    this.#options.onCounted?.('strike')
    if (++this.#strikes >= this.#limits.strikes) this.#end(CLOSE.strikes, 'strikes')
  }

  #bug(error: unknown): void {
    if (this.#options.onBug) {
      this.#options.onBug(error)
      return
    }
    // Not here: the other asks are still to be settled.
    this.#options.clock.after(0, () => {
      throw error
    })
  }

  #giveUp(terminate: (() => void) | undefined, reason: string): void {
    if (this.#isEnded) return
    if (terminate === undefined) {
      this.#end(CLOSE.stalled, reason)
      return
    }
    terminate.call(this.#options)
    this.closed()
  }

  /** Closes; the open asks are settled at once, for nothing of the peer counts any more. */
  #end(code: number, reason: string): void {
    if (this.#isEnded) return
    this.#options.close(code, reason)
    this.closed()
  }
}
