// Link: a client's one connection to its manager, kept alive. An ask is sent in the turn
// in which it is made; when the connection breaks, it is dialled again with back-off and
// every open ask is sent anew. That is right only because each exchange of a client may
// be repeated: submissions have keys, waits a cursor, output and input offsets.

import type { Either } from 'fp-ts/lib/Either.js'
import type { AnswerOf, ErrorAnswer, Kind, RequestOf } from '../../protocol/index.ts'
import type { AskFailure } from '../failures.ts'
import type { Settle } from '../ports.ts'
import { ClientError, type ClientFailure, rejectedBy } from './failures.ts'
import { pause } from './pause.ts'

/** What a link needs of a connection to a node. */
export interface LinkConnection {
  readonly peer: {
    readonly hostName: string
    readonly role?: string
    readonly introduction?: { readonly ledger_id?: string | undefined }
  }
  ask<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    settle: Settle<K>,
  ): void
  close(): unknown
  onClosed(fn: () => void): void
}

/** Connects once; the Left says why not. */
export type DialOnce = (
  signal: AbortSignal,
) => Promise<Either<ClientFailure, LinkConnection>>

/** An answer that is not an Error: errors are retried or thrown. */
export type Answered<K extends Kind> = Exclude<AnswerOf<K>, { kind: 'Error' }>

export interface LinkOptions {
  /** First pause between attempts; doubles up to `maxPauseMs`. Default 50. */
  readonly firstPauseMs?: number
  /** Default 2,000. */
  readonly maxPauseMs?: number
  /** A connection that could not be regained in this time is lost. Default 30,000. */
  readonly regainMs?: number
  /**
   * Told when new tasks have waited for some seconds because the manager takes none (its
   * disk is full, too many are open), with what it says; and every half minute after that.
   */
  readonly onWaiting?: (why: string) => void
}

/** What can be asked: a manager, by a link or in some other way. */
export interface Asks {
  ask<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    options?: AskOptions,
  ): Promise<Answered<K>>
  /** New tasks wait, and why. */
  waiting?(why: string): void
}

export interface AskOptions {
  /** How long one sending waits for its answer. Default 10,000. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal | undefined
}

/** A third silence in a row is no accident. */
const TIMEOUTS = 3

export class Link {
  #connection: LinkConnection | undefined
  #regaining: Promise<void> | undefined
  readonly #closing = new AbortController()
  readonly #dial: DialOnce
  readonly #options: Required<Omit<LinkOptions, 'onWaiting'>> & LinkOptions

  constructor(first: LinkConnection, dial: DialOnce, options: LinkOptions = {}) {
    this.#dial = dial
    this.#options = { firstPauseMs: 50, maxPauseMs: 2_000, regainMs: 30_000, ...options }
    this.#adopt(first)
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted
  }

  /** New tasks wait, and why. */
  waiting(why: string): void {
    this.#options.onWaiting?.(why)
  }

  /** The manager's name, as last connected. */
  get hostName(): string {
    return this.#connection?.peer.hostName ?? ''
  }

  /** Is it a hub, to which it is connected? */
  get isToHub(): boolean {
    return this.#connection?.peer.role === 'hub'
  }

  /** The manager's ledger, which all its task ids begin with; undefined while unknown. */
  get ledgerId(): string | undefined {
    return this.#connection?.peer.introduction?.ledger_id
  }

  /** Asks the manager; sent in this turn if connected. Rejects with a ClientError only. */
  ask<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    options: AskOptions = {},
  ): Promise<Answered<K>> {
    return new Promise((resolve, reject) => {
      const { signal } = options
      if (signal?.aborted) return reject(new ClientError({ kind: 'aborted' }))
      const onAbort = () => settle(new ClientError({ kind: 'aborted' }))
      const onClosing = () => settle(new ClientError({ kind: 'closed' }))
      let isSettled = false
      const settle = (outcome: ClientError | Answered<K>) => {
        if (isSettled) return
        isSettled = true
        signal?.removeEventListener('abort', onAbort)
        this.#open.delete(onClosing)
        if (outcome instanceof ClientError) reject(outcome)
        else resolve(outcome)
      }
      signal?.addEventListener('abort', onAbort)
      this.#open.add(onClosing)
      this.#send(
        { kind, body, timeoutMs: options.timeoutMs ?? 10_000, isOver: () => isSettled },
        { failures: 0, timeouts: 0 },
        settle,
      )
    })
  }

  /** What to call for each open ask at close. */
  readonly #open = new Set<() => void>()

  /** Ends the connection; every open ask fails with `closed`. */
  async close(): Promise<void> {
    this.#closing.abort()
    for (const onClosing of [...this.#open]) onClosing()
    const connection = this.#connection
    this.#connection = undefined
    await connection?.close()
  }

  #send<K extends Kind>(
    ask: Sending<K>,
    tries: Tries,
    settle: (outcome: ClientError | Answered<K>) => void,
  ): void {
    if (ask.isOver()) return
    if (this.isClosed) {
      settle(new ClientError({ kind: 'closed' }))
      return
    }
    const connection = this.#connection
    if (connection === undefined) {
      this.#regain().then(
        () => this.#send(ask, tries, settle),
        (error: ClientError) => settle(error),
      )
      return
    }
    connection.ask(ask.kind, ask.body, ask.timeoutMs, (outcome) => {
      if (ask.isOver()) return
      const verdict =
        outcome._tag === 'Left'
          ? this.#judgeFailure(outcome.left, connection, tries)
          : this.#judgeAnswer(ask.kind, outcome.right, connection, tries)
      if (!('againMs' in verdict)) settle(verdict)
      else if (verdict.againMs === 0) this.#send(ask, verdict.tries, settle)
      else
        void pause(verdict.againMs, this.#closing.signal).then(() =>
          this.#send(ask, verdict.tries, settle),
        )
    })
  }

  #judgeFailure(
    failure: AskFailure,
    connection: LinkConnection,
    tries: Tries,
  ): Again | ClientError {
    switch (failure.kind) {
      case 'timeout':
        if (tries.timeouts + 1 < TIMEOUTS)
          return { againMs: 0, tries: { ...tries, timeouts: tries.timeouts + 1 } }
        return new ClientError({ ...failure, kind: 'no-answer' })
      case 'protocol':
        return new ClientError(failure)
      case 'disconnected':
      case 'unreachable':
        // The ask may hear of it before the link does.
        this.#forget(connection)
        return { againMs: 0, tries }
    }
  }

  #judgeAnswer<K extends Kind>(
    kind: K,
    answer: AnswerOf<K>,
    connection: LinkConnection,
    tries: Tries,
  ): Again | ClientError | Answered<K> {
    if (answer.kind !== 'Error') return answer as Answered<K> // the union minus Error
    const error = answer.body as ErrorAnswer // the body of the kind just checked
    const again = {
      againMs: error.retry_after_ms ?? this.#pauseMs(tries.failures),
      tries: { ...tries, failures: tries.failures + 1 },
    }
    if (error.code === 'busy' || error.code === 'not-ready') return again
    if (error.code === 'deadline' && tries.failures < TIMEOUTS) return again
    if (error.code !== 'shutting-down') return rejectedBy(kind, error)
    this.#forget(connection)
    void connection.close()
    return { againMs: 0, tries }
  }

  #adopt(connection: LinkConnection): void {
    this.#connection = connection
    connection.onClosed(() => this.#forget(connection))
  }

  #forget(connection: LinkConnection): void {
    if (this.#connection === connection) this.#connection = undefined
  }

  #pauseMs(attempt: number): number {
    const { firstPauseMs, maxPauseMs } = this.#options
    const full = Math.min(maxPauseMs, firstPauseMs * 2 ** Math.min(attempt, 20))
    return full * (0.5 + Math.random() / 2)
  }

  /** One regaining for all who wait for it. */
  #regain(): Promise<void> {
    this.#regaining ??= this.#dialUntilConnected().finally(() => {
      this.#regaining = undefined
    })
    return this.#regaining
  }

  async #dialUntilConnected(): Promise<void> {
    const begin = performance.now()
    for (let attempt = 0; ; attempt++) {
      const dialled = await this.#dial(this.#closing.signal)
      if (dialled._tag === 'Right') {
        if (!this.isClosed) return this.#adopt(dialled.right)
        await dialled.right.close()
      }
      if (this.isClosed) throw new ClientError({ kind: 'closed' })
      if (dialled._tag === 'Right') continue
      if (dialled.left.kind === 'refused') throw new ClientError(dialled.left)
      const afterMs = Math.round(performance.now() - begin)
      if (afterMs >= this.#options.regainMs) {
        const reason = new ClientError(dialled.left).message
        throw new ClientError({ kind: 'lost', afterMs, reason })
      }
      await pause(this.#pauseMs(attempt), this.#closing.signal)
    }
  }
}

interface Sending<K extends Kind> {
  readonly kind: K
  readonly body: RequestOf<K>
  readonly timeoutMs: number
  readonly isOver: () => boolean
}

interface Tries {
  readonly failures: number
  readonly timeouts: number
}

interface Again {
  readonly againMs: number
  readonly tries: Tries
}
