// Failures: what can go wrong that is expected, as values. An answer that says no is not
// a failure but an answer; a caller's mistake throws; a bug throws and is not caught.

import type { ErrorAnswer, Kind } from '../protocol/index.ts'

/** An ask that got no answer. After `timeout` and `disconnected` the outcome is unknown. */
export type AskFailure =
  | { readonly kind: 'timeout'; readonly exchange: Kind; readonly afterMs: number }
  | { readonly kind: 'disconnected'; readonly exchange: Kind }
  /** The peer broke the protocol (an answer of another row, or one that fails its codec). */
  | { readonly kind: 'protocol'; readonly exchange: Kind; readonly detail: string }
  /** Never sent: the peer is not connected, or this side is closing. */
  | { readonly kind: 'unreachable'; readonly exchange: Kind }

/** Why a job's program could not be got ready. */
export type JobFailure =
  | { readonly kind: 'spawn'; readonly code: string; readonly reason: string }
  | { readonly kind: 'download'; readonly reason: string }
  | { readonly kind: 'invalid'; readonly reason: string }

export type { ErrorAnswer }
