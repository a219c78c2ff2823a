// One connection, for who is not a node: a command line, a face, an embedding program.
// It dials once, proves itself, introduces itself, and asks. It never redials: what a
// lost connection means is the caller's to decide.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { Introduction, Kind, RequestOf } from '../../protocol/index.ts'
import type { Clock, Log, Peer, Settle } from '../ports.ts'
import type { Ending } from './closing.ts'
import type { DialFailure } from './failures.ts'
import { knock } from './knock.ts'
import { Link } from './link.ts'
import type { ProvenSocket, Transport } from './transport.ts'

export type { DialFailure } from './failures.ts'

/** An open, introduced connection. */
export interface Connection {
  readonly peer: Peer
  /** As `Ask` of ports.ts, to this peer. */
  ask<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    settle: Settle<K>,
  ): void
  /** Says goodbye and resolves when the socket is closed. Open asks fail with `disconnected`. */
  close(): Promise<void>
  /** Calls `fn` once, when the connection has ended, whoever ended it. */
  onClosed(fn: (why: string) => void): void
}

export interface DialOptions {
  readonly url: string
  readonly transport: Transport
  readonly self: Introduction
  readonly clock: Clock
  readonly log?: Log
  readonly signal?: AbortSignal
}

const silent: Log = {
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
}

/** Dials a node; both sides know each other by their certificates. Never rejects. */
export const dialMesh = async (
  options: DialOptions,
): Promise<Either<DialFailure, Connection>> => {
  const { url, transport, self, signal } = options
  const socket = await knock({ url, transport, maxFrameBytes: self.max_frame, signal })
  return E.isLeft(socket) ? socket : introduce(socket.right, options)
}

const introduce = (
  socket: ProvenSocket,
  { url, self, clock, log = silent, signal }: DialOptions,
): Promise<Either<DialFailure, Connection>> =>
  new Promise((resolve) => {
    const listeners: ((why: string) => void)[] = []
    const abort = () => link.terminate('called off')
    const ended = (_link: Link, { why }: Ending) => {
      signal?.removeEventListener('abort', abort)
      resolve(E.left({ kind: 'refused', url, reason: why }))
      for (const fn of listeners.splice(0)) fn(why)
    }
    const link: Link = new Link({
      socket,
      self,
      clock,
      log,
      events: {
        introduced: ({ peer }) => {
          signal?.removeEventListener('abort', abort)
          if (peer !== undefined) resolve(E.right(connectionOf(link, peer, listeners)))
        },
        request: (_link, kind, _body, respond) =>
          respond('Error', { code: 'wrong-role', message: `${kind} is not served here` }),
        ended,
      },
    })
    signal?.addEventListener('abort', abort, { once: true })
  })

const connectionOf = (
  link: Link,
  peer: Peer,
  listeners: ((why: string) => void)[],
): Connection => ({
  peer,
  ask: (kind, body, timeoutMs, settle) => link.ask(kind, body, timeoutMs, settle),
  close: () => link.close(),
  onClosed: (fn) => {
    const { ending } = link
    if (ending === undefined) listeners.push(fn)
    else process.nextTick(() => fn(ending.why))
  },
})
