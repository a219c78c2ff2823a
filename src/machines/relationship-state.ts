// Relationship state: the states, events and effects of the worker's side of a relationship
// (relationship.ts), and the small readings and moves that its parts share.

import type { BootId, LedgerId, NodeId, Rel, TaskAttempt } from '../../protocol/index.ts'

/** A connected and authorised manager. `connection` tells its sockets apart. */
export interface Manager {
  readonly connection: number
  readonly nodeId: NodeId
  readonly bootId: BootId
  readonly ledgerId: LedgerId
}

/** What an accepted relationship leaves behind until the next one; `rel` is cleared by NotMine. */
export interface Bond {
  readonly manager: Manager
  readonly rel: Rel | undefined
  readonly epoch: number
  readonly pingMs: number
  readonly leaseMs: number
  /** When the lease ends, by our own clock, counted from when we last *sent* what renewed it. */
  readonly untilMs: number
  readonly isOver: boolean
}

export type Phase =
  | { readonly kind: 'detached' }
  | {
      readonly kind: 'requesting'
      readonly to: Manager
      readonly serial: number
      /** The ledger whose work we hold; undefined when we came from detached. */
      readonly owner: LedgerId | undefined
      readonly bond: Bond | undefined
    }
  | {
      readonly kind: 'managed'
      readonly manager: Manager
      readonly rel: Rel
      readonly bond: Bond
      readonly sinceMs: number
      /** Pings without an answer, in a row. */
      readonly silent: number
    }
  | {
      readonly kind: 'suspect'
      readonly owner: LedgerId
      readonly bond: Bond | undefined
    }
  | { readonly kind: 'left' }

export interface Relationship {
  readonly phase: Phase
  /** Connected managers, the next to be asked first. */
  readonly candidates: readonly Manager[]
  /** Requests that failed in a row. */
  readonly tries: number
  readonly serial: number
  /** The highest epoch seen of each ledger. */
  readonly epochs: ReadonlyMap<LedgerId, number>
  /** The ledger of each manager that we have worked for. */
  readonly ledgers: ReadonlyMap<NodeId, LedgerId>
}

export type TimerName = 'retry' | 'ping' | 'lease' | 'release'

/** What a ManagerAnswer that accepts grants. */
export interface Grant {
  readonly rel: Rel
  readonly epoch: number
  readonly pingMs: number
  readonly leaseMs: number
  readonly drop: readonly TaskAttempt[]
}

export type RelationshipEvent =
  | { readonly kind: 'connected'; readonly manager: Manager }
  | { readonly kind: 'lost'; readonly connection: number }
  | {
      readonly kind: 'accepted'
      readonly from: Manager
      readonly serial: number
      /** When the request that was accepted was sent. */
      readonly sentAtMs: number
      readonly grant: Grant
    }
  | { readonly kind: 'refused'; readonly serial: number; readonly retryAfterMs: number }
  | { readonly kind: 'pong'; readonly rel: Rel; readonly sentAtMs: number }
  | { readonly kind: 'ping-timeout'; readonly rel: Rel }
  | { readonly kind: 'not-mine'; readonly rel: Rel }
  | { readonly kind: 'bye'; readonly connection: number; readonly rel: Rel }
  | { readonly kind: 'timer'; readonly name: TimerName }
  | { readonly kind: 'leave' }

export type RelationshipEffect =
  | {
      readonly kind: 'request'
      readonly to: Manager
      readonly serial: number
      readonly rel: Rel | undefined
    }
  | { readonly kind: 'ping'; readonly to: Manager; readonly rel: Rel; readonly t: number }
  | {
      readonly kind: 'bye'
      readonly to: Manager
      readonly rel: Rel
      readonly reason: string
    }
  | { readonly kind: 'drop'; readonly tasks: readonly TaskAttempt[] }
  /** Work may be started until then. */
  | { readonly kind: 'lease'; readonly untilMs: number }
  /** Everything undelivered of that ledger can be sent now. */
  | { readonly kind: 'flush'; readonly ledgerId: LedgerId }
  /** The lease is over: kill what asked for it, start nothing. */
  | { readonly kind: 'orphan'; readonly ledgerId: LedgerId }
  /** The manager does not want that work: kill it, drop its outcomes. */
  | { readonly kind: 'forget'; readonly ledgerId: LedgerId }
  /** Another manager may be served: drop what was not started, keep outcomes. */
  | { readonly kind: 'release'; readonly ledgerId: LedgerId }
  | { readonly kind: 'terminate'; readonly nodeId: NodeId; readonly why: string }
  | { readonly kind: 'redial'; readonly nodeId: NodeId }
  | { readonly kind: 'timer'; readonly name: TimerName; readonly afterMs: number }
  | { readonly kind: 'untimer'; readonly name: TimerName }

/** What the machine may know of the outside at a step. 0 <= fraction < 1. */
export interface Facts {
  readonly nowMs: number
  readonly fraction: number
  readonly hasWork: (ledgerId: LedgerId) => boolean
}

/** What an event makes of the state, and what is to be done. */
export type Step = readonly [Relationship, readonly RelationshipEffect[]]

/** No effect at all. */
export const none: readonly RelationshipEffect[] = []

export const detached: Phase = { kind: 'detached' }

/** What the last accepted relationship left, whatever came of it. */
export const bondOf = (phase: Phase): Bond | undefined =>
  phase.kind === 'managed' || phase.kind === 'requesting' || phase.kind === 'suspect'
    ? phase.bond
    : undefined

/** A manager that we were managed by is out of reach: its work is kept. */
export const suspectOf = (phase: Phase & { kind: 'managed' }): Phase => ({
  kind: 'suspect',
  owner: phase.manager.ledgerId,
  bond: phase.bond,
})

/** A manager whose socket is no good any more is not asked. */
export const without = (state: Relationship, manager: Manager): Relationship => ({
  ...state,
  candidates: state.candidates.filter((one) => one.connection !== manager.connection),
})

/** Ends a manager's socket, and asks for another one. */
export const cut = ({ nodeId }: Manager, why: string): readonly RelationshipEffect[] => [
  { kind: 'terminate', nodeId, why },
  { kind: 'redial', nodeId },
]

export const byeTo = (to: Manager, rel: Rel, reason: string): RelationshipEffect => ({
  kind: 'bye',
  to,
  rel,
  reason,
})
