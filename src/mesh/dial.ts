// One connection, for who is not a node: a command line, a face, an embedding program.
// It dials once, proves itself, introduces itself, and asks. It never redials: what a
// lost connection means is the caller's to decide.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { Introduction, Kind, RequestOf } from '../../protocol/index.ts'
import type { Clock, Log, Peer, Settle } from '../ports.ts'

/** Why there is no connection. `reason` is a sentence for a person. */
export type DialFailure =
  /** Nobody listens there, or the address cannot be reached. `code` as the system says it. */
  | {
      readonly kind: 'unreachable'
      readonly url: string
      readonly code: string
      readonly reason: string
    }
  /** It listens and will not have us: another mesh, another version, a copied identity. */
  | { readonly kind: 'refused'; readonly url: string; readonly reason: string }
  /** It could not prove to be of our mesh; nothing was told to it. */
  | { readonly kind: 'stranger'; readonly url: string; readonly reason: string }
  | {
      readonly kind: 'timeout'
      readonly url: string
      readonly afterMs: number
      readonly reason: string
    }
  | { readonly kind: 'aborted'; readonly url: string; readonly reason: string }

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
  readonly meshId: string
  readonly secret: Uint8Array
  readonly self: Introduction
  readonly clock: Clock
  readonly log?: Log
  readonly signal?: AbortSignal
}

/** Dials a node, both sides proving that they know the mesh's secret. Never rejects. */
export const dialMesh = async (
  options: DialOptions,
): Promise<Either<DialFailure, Connection>> =>
  E.left({
    kind: 'unreachable',
    url: options.url,
    code: 'ENOSYS',
    reason: 'dialling is not built yet',
  })
