// Introduction: the first exchange of a connection, in both directions.
//
// NodeTypeRequest is the first request of each side. Until both have been answered, this
// side asks nothing else and answers anything else with Error{not-ready}; the whole must be
// over in 5 s. Who may come in is the owner's judgement (`accept`); that a peer does not
// change who it is within a connection is checked here.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { AnswerOf, ErrorAnswer, ErrorCode, Respond } from './exchanges/index.ts'
import type { Introduction } from './exchanges/relationship.ts'
import type { AskFailure } from './failure.ts'
import { CLOSE } from './limits.ts'

/** Why a peer is sent away: what it is told, and how the connection is closed. */
export interface Refusal {
  readonly code: ErrorCode
  readonly closeCode: number
  readonly reason: string
}

export interface IntroductionOptions {
  /** What this side says of itself. */
  own(): Introduction
  /**
   * Judges what the peer says of itself: does it agree with what is known from below (its
   * certificate, the address dialled)? Called once per connection.
   */
  accept(peer: Introduction): true | Refusal
  /** Both directions are done: from now on anything may be asked and comes in. */
  onIntroduced(peer: Introduction): void
  /** The peer answered our introduction with Error, and will close. */
  onRefused?(error: ErrorAnswer): void
  /** Default 5,000. */
  readonly timeoutMs?: number
}

/** What the first exchange needs of its conversation. */
export interface IntroductionPort {
  /** Both directions are done; called before the owner hears of it. */
  introduced(peer: Introduction): void
  end(code: number, reason: string): void
}

export const INTRODUCTION_MS = 5000

export class FirstExchange {
  readonly #options: IntroductionOptions
  readonly #port: IntroductionPort
  #peer: Introduction | undefined
  #isAsked = false
  #isAnswered = false

  constructor(options: IntroductionOptions, port: IntroductionPort) {
    this.#options = options
    this.#port = port
  }

  get own(): Introduction {
    return this.#options.own()
  }

  get timeoutMs(): number {
    return this.#options.timeoutMs ?? INTRODUCTION_MS
  }

  /** May anything else than NodeTypeRequest be asked? */
  get isOver(): boolean {
    return this.#isAsked && this.#isAnswered
  }

  /** The peer's NodeTypeRequest. */
  asked(peer: Introduction, respond: Respond<'NodeTypeRequest'>): void {
    const verdict = this.#judge(peer)
    if (verdict !== true) {
      respond('Error', { code: verdict.code, message: verdict.reason.slice(0, 1024) })
      this.#port.end(verdict.closeCode, verdict.reason)
      return
    }
    const wasOver = this.isOver
    this.#isAsked = true
    respond('NodeTypeAnswer', this.#options.own())
    if (!wasOver) this.#onward()
  }

  /** What came of our own NodeTypeRequest. */
  answered(outcome: Either<AskFailure, AnswerOf<'NodeTypeRequest'>>): void {
    if (E.isLeft(outcome)) {
      if (outcome.left.kind === 'timeout')
        this.#port.end(CLOSE.notIntroduced, 'no introduction in time')
      return
    }
    const answer = outcome.right
    if (answer.kind === 'Error') {
      this.#options.onRefused?.(answer.body)
      this.#port.end(CLOSE.notIntroduced, `introduction refused: ${answer.body.code}`)
      return
    }
    const verdict = this.#judge(answer.body)
    if (verdict !== true) {
      this.#port.end(verdict.closeCode, verdict.reason)
      return
    }
    this.#isAnswered = true
    this.#onward()
  }

  #onward(): void {
    if (!this.isOver || this.#peer === undefined) return
    this.#port.introduced(this.#peer)
    this.#options.onIntroduced(this.#peer)
  }

  #judge(peer: Introduction): true | Refusal {
    if (this.#peer !== undefined) return isSame(this.#peer, peer) ? true : changed
    const verdict = this.#options.accept(peer)
    if (verdict === true) this.#peer = peer
    return verdict
  }
}

const changed: Refusal = {
  code: 'role-changed',
  closeCode: CLOSE.notIntroduced,
  reason: 'another node than before',
}

/** The identity of a boot does not change; what it offers (features, limits) may. */
const isSame = (before: Introduction, now: Introduction): boolean =>
  before.node_id === now.node_id &&
  before.boot_id === now.boot_id &&
  before.node_type === now.node_type &&
  before.host_name === now.host_name
