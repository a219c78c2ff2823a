// Failures: what can go wrong that is expected, as values. An answer that says no is not
// a failure but an answer; a caller's mistake throws; a bug throws and is not caught.

import type { AskFailure, ErrorAnswer } from '../protocol/index.ts'

/** Why a job's program could not be got ready. */
export type JobFailure =
  | { readonly kind: 'spawn'; readonly code: string; readonly reason: string }
  | { readonly kind: 'download'; readonly reason: string }
  | { readonly kind: 'invalid'; readonly reason: string }

export type { AskFailure, ErrorAnswer }
