// The two ways in which a simulated connection carries requests and answers. `wire` is the
// protocol's own conversation with its codecs, over bytes. `object` hands the bodies over
// as they are, with the same promises: one answer each, in the order of arrival, timeouts
// at `t` (three in a row end the connection), the reserve before a deadline. It is the
// fast one; the other proves that it leaves nothing out.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import { Alarm } from '../../protocol/alarm.ts'
import {
  type AnswerOf,
  Conversation,
  DEFAULT_LIMITS,
  type Introduction,
  type Kind,
  type RequestOf,
  type Respond,
} from '../../protocol/index.ts'
import type { AskFailure } from '../failures.ts'
import type { Settle } from '../ports.ts'
import type { End, Frame, Talk } from './connection.ts'

/** What a talk needs of the node at its end. */
export interface TalkOptions {
  readonly end: End
  readonly own: Introduction
  /** A request came: `ask` is its number in the history. */
  dispatch(end: End, kind: Kind, body: unknown, respond: Respond<Kind>, ask: number): void
}

/** Until both know each other. */
const INTRODUCTION_MS = 5000

type AnySettle = (outcome: Either<AskFailure, AnswerOf<Kind>>) => void

interface Asked {
  readonly kind: Kind
  readonly settle: AnySettle
  readonly deadline: number
  readonly afterMs: number
}
interface Inbound {
  readonly id: number
  readonly kind: Kind
  readonly deadline: number
  state: 'open' | 'answered' | 'over'
}

const frameOf = (
  kind: Frame['kind'],
  id: number,
  name: string,
  body: unknown,
  timeoutMs: number,
  ask: number,
): Frame => ({ kind, atMs: 0, id, name, body, timeoutMs, ask })

export class ObjectTalk implements Talk {
  readonly #options: TalkOptions
  readonly #asked = new Map<number, Asked>()
  readonly #inbound = new Set<Inbound>()
  readonly #alarm: Alarm
  #nextId = 1
  #timeoutsInARow = 0
  #peer: Introduction | undefined
  #isKnown = false
  #introduceBy = 0

  constructor(options: TalkOptions) {
    this.#options = options
    this.#alarm = new Alarm(options.end.life.clock, (now) => this.#due(now))
  }

  start(): void {
    const { end, own } = this.#options
    end.send(frameOf('hello', 0, '', own, 0, 0))
    this.#introduceBy = end.life.clock.now() + INTRODUCTION_MS
    this.#alarm.by(this.#introduceBy)
  }

  ask<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    settle: Settle<K>,
    ask: number,
  ): void {
    const { end } = this.#options
    // Asked as it ends, by who heard that another request came to nothing.
    if (end.state === 'ended') {
      const gone = E.left({ kind: 'unreachable', exchange: kind } as const)
      end.life.clock.after(0, () => settle(gone))
      return
    }
    const deadline = end.life.clock.now() + timeoutMs
    const id = this.#nextId++
    // The answer is of the row of `kind`, so it is one that `settle` takes.
    const asked = { kind, settle: settle as AnySettle, deadline, afterMs: timeoutMs }
    this.#asked.set(id, asked)
    end.send(frameOf('request', id, kind, body, Math.ceil(timeoutMs), ask))
    this.#alarm.by(deadline)
  }

  receive(frame: Frame): void {
    switch (frame.kind) {
      case 'request':
        this.#request(frame)
        return
      case 'answer': {
        const asked = this.#asked.get(frame.id)
        this.#timeoutsInARow = 0
        if (asked === undefined) return // late
        this.#asked.delete(frame.id)
        asked.settle(E.right({ kind: frame.name, body: frame.body } as AnswerOf<Kind>))
        return
      }
      case 'hello':
        this.#peer = frame.body as Introduction
        this.#options.end.send(frameOf('known', 0, '', undefined, 0, 0))
        this.#introduce()
        return
      case 'known':
        this.#isKnown = true
        this.#introduce()
        return
      default:
        throw new Error(`a ${frame.kind} frame on an object connection`)
    }
  }

  #introduce(): void {
    if (this.#peer !== undefined && this.#isKnown)
      this.#options.end.introduced(this.#peer)
  }

  #request(frame: Frame): void {
    const { end } = this.#options
    const reserveMs = Math.min(frame.timeoutMs / 10, 500)
    const inbound: Inbound = {
      id: frame.id,
      kind: frame.name as Kind, // a request frame is made in `ask`
      deadline: end.life.clock.now() + frame.timeoutMs - reserveMs,
      state: 'open',
    }
    const respond = (name: string, body: unknown): void => {
      if (inbound.state === 'answered')
        throw new Error(`Expected one answer to ${inbound.kind}, got \`${name}\` too`)
      const wasOpen = inbound.state === 'open'
      inbound.state = 'answered'
      this.#inbound.delete(inbound)
      if (wasOpen && end.state !== 'ended')
        end.send(frameOf('answer', inbound.id, name, body, 0, 0))
    }
    this.#options.dispatch(end, inbound.kind, frame.body, respond, frame.ask)
    if (inbound.state !== 'open') return
    this.#inbound.add(inbound)
    this.#alarm.by(inbound.deadline)
  }

  #due(now: number): number {
    const { end } = this.#options
    let next = Number.POSITIVE_INFINITY
    for (const inbound of this.#inbound) {
      if (inbound.deadline > now) {
        next = Math.min(next, inbound.deadline)
        continue
      }
      inbound.state = 'over'
      this.#inbound.delete(inbound)
      end.send(frameOf('answer', inbound.id, 'Error', { code: 'deadline' }, 0, 0))
    }
    for (const [id, asked] of this.#asked) {
      if (asked.deadline > now) {
        next = Math.min(next, asked.deadline)
        continue
      }
      this.#asked.delete(id)
      this.#timeoutsInARow += 1
      const { kind, afterMs } = asked
      asked.settle(E.left({ kind: 'timeout', exchange: kind, afterMs }))
    }
    if (end.state === 'introducing') {
      if (now >= this.#introduceBy) end.finish({ clean: false, isTold: false })
      else next = Math.min(next, this.#introduceBy)
    }
    if (this.#timeoutsInARow >= DEFAULT_LIMITS.timeoutsInARow)
      end.finish({ clean: false, isTold: false })
    return end.state === 'ended' ? Number.POSITIVE_INFINITY : next
  }

  closed(): void {
    this.#alarm.stop()
    for (const inbound of this.#inbound) inbound.state = 'over'
    this.#inbound.clear()
    const open = [...this.#asked.values()]
    this.#asked.clear()
    for (const { kind, settle } of open)
      settle(E.left({ kind: 'disconnected', exchange: kind }))
  }
}

export class WireTalk implements Talk {
  readonly #conversation: Conversation
  /** The number, in the history, of the ask that is written, and of the one that came in. */
  #asking = 0
  #arrived = 0

  constructor(options: TalkOptions) {
    const { end, own, dispatch } = options
    this.#conversation = new Conversation({
      send: (bytes) => end.send(frameOf('bytes', 0, '', bytes, 0, this.#asking)),
      close: () => end.finish({ clean: false, isTold: false }),
      bufferedBytes: () => 0,
      clock: end.life.clock,
      handle: (kind, body, respond) =>
        // Its own row's answers alone can be given; the compiler cannot carry that over.
        dispatch(end, kind, body, respond as Respond<Kind>, this.#arrived),
      introduction: {
        own: () => own,
        accept: () => true,
        onIntroduced: (peer) => end.introduced(peer),
      },
      onTimeouts: () => end.finish({ clean: false, isTold: false }),
      onBug: (error) => {
        throw error
      },
    })
  }

  start(): void {
    this.#conversation.start()
  }

  ask<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    settle: Settle<K>,
    ask: number,
  ): void {
    this.#asking = ask
    try {
      this.#conversation.ask(kind, body, timeoutMs, settle)
    } finally {
      this.#asking = 0
    }
  }

  receive(frame: Frame): void {
    this.#arrived = frame.ask
    this.#conversation.receive(frame.body as Uint8Array) // a wire's frames are bytes
    this.#arrived = 0
  }

  closed(): void {
    this.#conversation.closed()
  }
}
