// Asking: whom a worker asks to be its manager, and what comes of it. One at a time, the
// next after a back-off; while it has work of a ledger, only that ledger's manager. What
// answers a request that was given up is sent away.

import type { LedgerId } from '../../protocol/index.ts'
import type {
  Bond,
  Facts,
  Manager,
  Phase,
  Relationship,
  RelationshipEffect,
  RelationshipEvent,
  Step,
} from './relationship-state.ts'
import { byeTo, detached, none } from './relationship-state.ts'

/** The first back-off, and the longest. */
export const BACKOFF_MS = { first: 500, most: 10_000 }
/** A refusing manager cannot keep us away for longer. */
const MOST_RETRY_AFTER_MS = 60_000
/** Managers whose ledger is remembered. */
const KNOWN_MANAGERS = 64

type EventOf<K extends RelationshipEvent['kind']> = RelationshipEvent & { kind: K }

/** Asks the next manager, if one is there and we are free to. */
export const seek = (
  state: Relationship,
  effects: readonly RelationshipEffect[] = none,
): Step => {
  const { phase } = state
  if (phase.kind !== 'detached' && phase.kind !== 'suspect') return [state, effects]
  const owner = phase.kind === 'suspect' ? phase.owner : undefined
  const to = state.candidates.find(
    ({ ledgerId }) => owner === undefined || ledgerId === owner,
  )
  if (to === undefined) return [state, effects]
  return request(state, to, owner, phase.kind === 'suspect' ? phase.bond : undefined, [
    ...effects,
    { kind: 'untimer', name: 'retry' },
  ])
}

/** Asks that manager, with the rel of the bond if it is still the manager's same life. */
export const request = (
  state: Relationship,
  to: Manager,
  owner: LedgerId | undefined,
  bond: Bond | undefined,
  effects: readonly RelationshipEffect[],
): Step => {
  const serial = state.serial + 1
  const isSameLife =
    bond?.manager.nodeId === to.nodeId && bond.manager.bootId === to.bootId
  return [
    { ...state, serial, phase: { kind: 'requesting', to, serial, owner, bond } },
    [...effects, { kind: 'request', to, serial, rel: isSameLife ? bond.rel : undefined }],
  ]
}

/** No, or no answer; of a request that was given up meanwhile it means nothing. */
export const onRefused = (
  state: Relationship,
  { serial, retryAfterMs }: EventOf<'refused'>,
  facts: Facts,
): Step => {
  const { phase } = state
  if (phase.kind !== 'requesting' || phase.serial !== serial) return [state, none]
  return failed(state, phase, retryAfterMs, facts)
}

/** A request came to nothing: the next manager's turn, after a back-off. */
export const failed = (
  state: Relationship,
  phase: Phase & { kind: 'requesting' },
  retryAfterMs: number,
  facts: Facts,
): Step => {
  const backoffMs = Math.min(BACKOFF_MS.first * 2 ** state.tries, BACKOFF_MS.most)
  const jittered = backoffMs * (0.5 + facts.fraction / 2)
  const afterMs = Math.max(jittered, Math.min(retryAfterMs, MOST_RETRY_AFTER_MS))
  const { owner, bond } = phase
  const isBound = owner !== undefined && facts.hasWork(owner)
  const asked = state.candidates.filter((one) => one.connection === phase.to.connection)
  const others = state.candidates.filter((one) => one.connection !== phase.to.connection)
  return [
    {
      ...state,
      candidates: [...others, ...asked],
      tries: Math.min(state.tries + 1, 16),
      phase: isBound ? { kind: 'suspect', owner, bond } : detached,
    },
    [
      { kind: 'timer', name: 'retry', afterMs },
      ...(isBound
        ? none
        : [
            { kind: 'untimer', name: 'lease' } as const,
            { kind: 'untimer', name: 'release' } as const,
          ]),
    ],
  ]
}

/** The relationship begins, unless the request was given up or its epoch is fenced. */
export const onAccepted = (
  state: Relationship,
  event: EventOf<'accepted'>,
  facts: Facts,
): Step => {
  const { phase } = state
  const { from, grant } = event
  if (phase.kind !== 'requesting' || phase.serial !== event.serial) {
    // Already in a relationship with that very manager: the answer is not considered.
    const isOurs =
      phase.kind === 'managed' && phase.manager.connection === from.connection
    return isOurs ? [state, none] : [state, [byeTo(from, grant.rel, 'too late')]]
  }
  if (grant.epoch < (state.epochs.get(from.ledgerId) ?? 0)) {
    const [next, effects] = failed(state, phase, 0, facts)
    return [next, [byeTo(from, grant.rel, 'fenced: a later epoch was seen'), ...effects]]
  }
  const bond: Bond = {
    manager: from,
    rel: grant.rel,
    epoch: grant.epoch,
    pingMs: grant.pingMs,
    leaseMs: grant.leaseMs,
    untilMs: event.sentAtMs + grant.leaseMs,
    isOver: false,
  }
  return [
    {
      ...state,
      phase: {
        kind: 'managed',
        manager: from,
        rel: grant.rel,
        bond,
        sinceMs: facts.nowMs,
        silent: 0,
      },
      tries: 0,
      epochs: remember(state.epochs, from.ledgerId, grant.epoch),
      ledgers: remember(state.ledgers, from.nodeId, from.ledgerId),
    },
    [
      { kind: 'drop', tasks: grant.drop },
      { kind: 'lease', untilMs: bond.untilMs },
      { kind: 'untimer', name: 'retry' },
      { kind: 'untimer', name: 'release' },
      { kind: 'timer', name: 'lease', afterMs: Math.max(0, bond.untilMs - facts.nowMs) },
      { kind: 'timer', name: 'ping', afterMs: grant.pingMs },
      { kind: 'flush', ledgerId: from.ledgerId },
    ],
  ]
}

const remember = <V>(map: ReadonlyMap<string, V>, key: string, value: V) => {
  const next = new Map(map)
  next.delete(key) // so that it becomes the newest
  next.set(key, value)
  for (const oldest of next.keys()) {
    if (next.size <= KNOWN_MANAGERS) break
    next.delete(oldest)
  }
  return next
}
