// Leases: what a worker does when it has not heard of its manager for too long. The first
// firing ends the socket and starts nothing more; ten leases later another manager may
// be served. A lease fires once for each accepted relationship, in whatever phase.

import { BACKOFF_MS, seek } from './relationship-asking.ts'
import type {
  Facts,
  Phase,
  Relationship,
  RelationshipEffect,
  Step,
} from './relationship-state.ts'
import { bondOf, cut, detached, none, without } from './relationship-state.ts'

/** Leases without its manager after which a worker may serve another. */
const RELEASE_LEASES = 10
/** The lease assumed for work found on disk at the start, before any manager granted one. */
const ASSUMED_LEASE_MS = 15_000

/** When work found on disk is released, if no manager of its ledger comes. */
export const ASSUMED_RELEASE_MS = RELEASE_LEASES * ASSUMED_LEASE_MS

/** The lease is over, unless it was renewed since its timer was set. */
export const onLeaseDue = (state: Relationship, facts: Facts): Step => {
  const { phase } = state
  const bond = bondOf(phase)
  if (bond === undefined || bond.isOver) return [state, none] // fired for it already
  if (facts.nowMs < bond.untilMs) {
    const afterMs = bond.untilMs - facts.nowMs
    return [state, [{ kind: 'timer', name: 'lease', afterMs }]]
  }
  const over = { ...bond, isOver: true }
  const effects: readonly RelationshipEffect[] = [
    { kind: 'orphan', ledgerId: bond.manager.ledgerId },
    {
      kind: 'timer',
      name: 'release',
      afterMs: bond.untilMs + (RELEASE_LEASES - 1) * bond.leaseMs - facts.nowMs,
    },
  ]
  const socket = phase.kind === 'managed' ? phase.manager : undefined
  const current = phase.kind === 'requesting' ? phase.to : socket
  if (
    phase.kind === 'requesting' &&
    phase.to.connection !== bond.manager.connection // bounded by its own ask
  ) {
    return [{ ...state, phase: { ...phase, bond: over } }, effects]
  }
  const owner = bond.manager.ledgerId
  const isBound = facts.hasWork(owner)
  const next: Phase = isBound ? { kind: 'suspect', owner, bond: over } : detached
  const freed = current === undefined ? state : without(state, current)
  const end = current === undefined ? none : cut(current, 'the lease is over')
  return seek({ ...freed, phase: next }, [
    ...effects,
    ...(isBound ? none : [{ kind: 'untimer', name: 'release' } as const]),
    { kind: 'untimer', name: 'ping' },
    ...end,
  ])
}

/** Another manager may be served from here on. */
export const onReleaseDue = (state: Relationship): Step => {
  const { phase } = state
  if (phase.kind === 'requesting' && phase.owner !== undefined) {
    // Its answer decides; if that fails, the next firing releases.
    return [state, [{ kind: 'timer', name: 'release', afterMs: BACKOFF_MS.most }]]
  }
  if (phase.kind !== 'suspect') return [state, none] // untimed meanwhile
  return seek({ ...state, phase: detached, tries: 0 }, [
    { kind: 'release', ledgerId: phase.owner },
  ])
}
