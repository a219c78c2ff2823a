// Exchange: how a row of the table is written, and the types that follow from rows.
//
// A row says who asks whom, what it means, the fields of the request, and every answer it
// may get. Types, decoders, the table of the README and the test generators all come from
// it; nothing is written twice.

import type * as t from 'io-ts'

/** Who may send a request: `peers` = a manager to its worker and a worker to its manager. */
export type Direction =
  | 'any -> any'
  | 'worker -> manager'
  | 'manager -> worker'
  | 'peers'
  | 'client -> manager'
  | 'client, manager -> manager, worker'

/** One row of the table. `priority` rows have places of their own in the in-flight limit. */
export interface Exchange<
  Q extends t.Mixed = t.Mixed,
  A extends Record<string, t.Mixed> = Record<string, t.Mixed>,
> {
  readonly direction: Direction
  readonly about: string
  readonly request: Q
  readonly answers: A
  /** Answered although 1,024 others are open: what keeps the mesh alive or stops work. */
  readonly priority?: true
  /** May stay open for long by design (long polls): counted against a limit of its own. */
  readonly waits?: true
  /** Where it carries bytes of input, output or a blob: these keep control waiting least. */
  readonly data?: 'request' | 'answer'
}

/** Declares a row; exists for its types. */
export const exchange = <Q extends t.Mixed, A extends Record<string, t.Mixed>>(
  row: Exchange<Q, A>,
): Exchange<Q, A> => row
