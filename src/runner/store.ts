// Store: where the output of one descriptor waits for its reader. Two kinds, by policy:
// stream-store.ts (bounded memory, full means stop) and capture-store.ts (never full).

import type { Hash } from 'node:crypto'
import type { KeptOutput } from '../ports.ts'

/**
 * Bytes that begin at `offset`: later than asked where some are gone. `lost`: how many of
 * those between what was asked for and their end a cap dropped or a reader had taken.
 */
export interface Stretch {
  readonly offset: number
  readonly data: Uint8Array
  readonly lost: number
}

export interface Store {
  /** Bytes taken so far, dropped ones included. */
  readonly written: number
  /** Take no more for now: the pipe is left alone, so that the program waits. */
  readonly isFull: boolean
  push(bytes: Uint8Array): void
  /** `offset` says that all before it has arrived and need not be kept (stream only). */
  read(offset: number, max: number): Stretch
  /** Nothing follows. Calls back with the account of what was kept, at once where it can. */
  finish(settle: (kept: KeptOutput) => void): void
  close(): void
}

/** SHA-256 of nothing. */
export const EMPTY_SHA256 =
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** What an output that wrote nothing amounts to. */
export const NOTHING: KeptOutput = { size: 0, lost: 0, sha256: EMPTY_SHA256 }

/** How a hash under way passes from one store to the next. */
export interface HashSoFar {
  readonly hash: Hash
  /** Offset up to which it was fed. */
  readonly offset: number
}
