// Exchange: how a row of the table is written, and the types that follow from rows.
//
// A row says who asks whom, what it means, the fields of the request, and every answer it
// may get. Types, decoders, the table of the README, who may ask what at run time and the
// test generators all come from it; nothing is written twice.

import type * as t from 'io-ts'
import type { NodeType } from './scalars.ts'
import type { ScopeName } from './scopes.ts'

/** Who asks, and who is asked. */
export type Way = readonly [from: NodeType | 'any', to: NodeType | 'any']

/** Who may send a request, by the directions that there are. */
export const WAYS = {
  'any -> any': [['any', 'any']],
  'worker -> manager': [['worker', 'manager']],
  'manager -> worker': [['manager', 'worker']],
  /** A manager to its worker and a worker to its manager. */
  peers: [
    ['manager', 'worker'],
    ['worker', 'manager'],
  ],
  'client -> manager': [['client', 'manager']],
  'client, manager -> manager, worker': [
    ['client', 'manager'],
    ['manager', 'worker'],
  ],
  'client -> any': [['client', 'any']],
  'client -> manager, hub': [
    ['client', 'manager'],
    ['client', 'hub'],
  ],
  'client -> hub': [['client', 'hub']],
  'hub -> any': [['hub', 'any']],
} as const satisfies Readonly<Record<string, readonly Way[]>>

export type Direction = keyof typeof WAYS

/** Directions in which clients ask: such a row says which scope that takes. */
type OfClients = Extract<Direction, `client${string}`>

/**
 * What a node may list among its `features`. `membership`: it takes part in renewing
 * certificates and in spreading revocations. `issuer`: it has the authority's key.
 * `processes`: it starts, stops and shows programs by name. `host-requests`: it answers what
 * a hub hands on. `events`: it tells what happens there.
 */
export type Feature = 'membership' | 'issuer' | 'processes' | 'host-requests' | 'events'

interface Row<Q extends t.Mixed, A extends Record<string, t.Mixed>> {
  readonly about: string
  readonly request: Q
  readonly answers: A
  /** Answered although 1,024 others are open: what keeps the mesh alive or stops work. */
  readonly priority?: true
  /** May stay open for long by design (long polls): counted against a limit of its own. */
  readonly waits?: true
  /** The name that a peer lists in its introduction to be asked this; none: everybody knows it. */
  readonly feature?: Feature
  /** Where it carries bytes of input, output or a blob: these keep control waiting least. */
  readonly data?: 'request' | 'answer'
}

/** One row of the table. `priority` rows have places of their own in the in-flight limit. */
export type Exchange<
  Q extends t.Mixed = t.Mixed,
  A extends Record<string, t.Mixed> = Record<string, t.Mixed>,
> = Row<Q, A> &
  (
    | {
        readonly direction: OfClients
        readonly scope: ScopeName
        /** It acts on the very host that is asked, so the scope has to hold there. */
        readonly isHere?: true
      }
    | {
        readonly direction: Exclude<Direction, OfClients>
        readonly scope?: never
        readonly isHere?: never
      }
  )

/** Declares a row; exists for its types. */
export const exchange = <Q extends t.Mixed, A extends Record<string, t.Mixed>>(
  row: Exchange<Q, A>,
): Exchange<Q, A> => row
