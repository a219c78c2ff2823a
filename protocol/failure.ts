// Failure: how an ask can end without an answer.

import type { Kind } from './exchanges/index.ts'

/** An ask that got no answer. After `timeout` and `disconnected` the outcome is unknown. */
export type AskFailure =
  | { readonly kind: 'timeout'; readonly exchange: Kind; readonly afterMs: number }
  | { readonly kind: 'disconnected'; readonly exchange: Kind }
  /** The peer broke the protocol (an answer of another row, or one that fails its codec). */
  | { readonly kind: 'protocol'; readonly exchange: Kind; readonly detail: string }
  /** Never sent: the peer is not connected, or this side is closing. */
  | { readonly kind: 'unreachable'; readonly exchange: Kind }
