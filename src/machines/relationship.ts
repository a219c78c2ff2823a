// Relationship: the worker's side of what joins it to a manager (the manager's: roster.ts).
//
// | phase      | event                               | does -> next                                     |
// | detached   | connected                           | request with inventory -> requesting             |
// | requesting | accepted                            | drops, lease, pings, flush -> managed            |
// | requesting | refused, lost                       | back-off -> suspect if it has work, else detached |
// | managed    | accepted by another one (late)      | bye to that one, stay                            |
// | managed    | lost, third ping without an answer  | redial at once -> suspect                        |
// | managed    | not-mine with the current rel       | rel cleared, request -> requesting               |
// | managed    | bye from the manager                | forget its ledger's work -> detached             |
// | suspect    | connected (the owner's ledger)      | request, with rel if same boot -> requesting     |
// | any bond   | lease over (once)                   | end the socket, orphan -> suspect                |
// | suspect    | ten leases over                     | release the owner's unstarted work -> detached   |
// | managed    | leave                               | bye -> left                                      |
//
// An idle worker whose lease is over goes straight to detached: it holds nothing that
// another manager's work could harm. Time and chance come in as facts; the machine sets
// named timers by effects, of which the newest of a name counts.

import type { LedgerId, NodeId, Rel } from '../../protocol/index.ts'
import type {
  Bond,
  Facts,
  Manager,
  Phase,
  Relationship,
  RelationshipEffect,
  RelationshipEvent,
  TimerName,
} from './relationship-state.ts'

type Step = readonly [Relationship, readonly RelationshipEffect[]]

/** The first back-off, and the longest. */
export const BACKOFF_MS = { first: 500, most: 10_000 }
/** A refusing manager cannot keep us away for longer. */
const MOST_RETRY_AFTER_MS = 60_000
/** Unanswered pings after which the socket counts as dead. */
const SILENT_PINGS = 3
/** Leases without its manager after which a worker may serve another. */
const RELEASE_LEASES = 10
/** The lease assumed for work found on disk at the start, before any manager granted one. */
const ASSUMED_LEASE_MS = 15_000
/** Managers whose ledger is remembered. */
const KNOWN_MANAGERS = 64

const none: readonly RelationshipEffect[] = []
const detached: Phase = { kind: 'detached' }

/** The state at the start; `owner`: the ledger of unstarted work found on disk. */
export const relationship = (owner?: LedgerId): Step => {
  const phase: Phase =
    owner === undefined ? detached : { kind: 'suspect', owner, bond: undefined }
  return [
    {
      phase,
      candidates: [],
      tries: 0,
      serial: 0,
      epochs: new Map(),
      ledgers: new Map(),
    },
    owner === undefined
      ? none
      : [{ kind: 'timer', name: 'release', afterMs: RELEASE_LEASES * ASSUMED_LEASE_MS }],
  ]
}

/** Decides on one event. */
export const step = (
  state: Relationship,
  event: RelationshipEvent,
  facts: Facts,
): Step => {
  // A worker that has left hears nothing more: a late acceptance alone is sent away.
  if (state.phase.kind === 'left' && event.kind !== 'accepted') return [state, none]
  switch (event.kind) {
    case 'connected':
      return onConnected(state, event.manager)
    case 'lost':
      return onLost(state, event.connection, facts)
    case 'accepted':
      return onAccepted(state, event, facts)
    case 'refused':
      return state.phase.kind === 'requesting' && state.phase.serial === event.serial
        ? failed(state, state.phase, event.retryAfterMs, facts)
        : [state, none] // a request that was given up
    case 'pong':
      return onPong(state, event.rel, event.sentAtMs, facts)
    case 'ping-timeout':
      return onPingTimeout(state, event.rel)
    case 'not-mine':
      return onNotMine(state, event.rel, facts)
    case 'bye':
      return onBye(state, event.connection, event.rel, facts)
    case 'timer':
      return onTimer(state, event.name, facts)
    case 'leave':
      return onLeave(state)
  }
}

/** Is this message, by its connection and rel, from our manager? */
export const isFromManager = (
  state: Relationship,
  connection: number,
  rel: Rel,
): state is Relationship & { readonly phase: Phase & { readonly kind: 'managed' } } =>
  state.phase.kind === 'managed' &&
  state.phase.manager.connection === connection &&
  state.phase.rel === rel

/** The ledger that this worker serves, asks to serve, or waits for. */
export const servedLedger = ({ phase }: Relationship): LedgerId | undefined => {
  switch (phase.kind) {
    case 'managed':
      return phase.manager.ledgerId
    case 'requesting':
      return phase.to.ledgerId
    case 'suspect':
      return phase.owner
    default:
      return undefined
  }
}

const onConnected = (before: Relationship, manager: Manager): Step => {
  const effects: RelationshipEffect[] = []
  let state = before
  if (state.phase.kind === 'managed' && state.phase.manager.nodeId === manager.nodeId) {
    // The mesh replaced a half-open socket: the old one is as good as lost.
    state = { ...state, phase: suspectOf(state.phase) }
    effects.push({ kind: 'untimer', name: 'ping' })
  }
  const known = state.ledgers.get(manager.nodeId)
  if (known !== undefined && known !== manager.ledgerId) {
    state = ledgerGone(state, manager.nodeId, known, effects)
  }
  // Newcomers go first: they have not refused us yet.
  const others = state.candidates.filter(({ nodeId }) => nodeId !== manager.nodeId)
  return seek({ ...state, candidates: [manager, ...others] }, effects)
}

/** The same manager with another ledger: the work of the old one is nobody's. */
const ledgerGone = (
  state: Relationship,
  nodeId: NodeId,
  ledgerId: LedgerId,
  effects: RelationshipEffect[],
): Relationship => {
  effects.push({ kind: 'forget', ledgerId })
  const ledgers = new Map(state.ledgers)
  ledgers.delete(nodeId)
  const { phase } = state
  const isOwner =
    (phase.kind === 'suspect' || phase.kind === 'requesting') && phase.owner === ledgerId
  if (isOwner) {
    effects.push({ kind: 'untimer', name: 'lease' }, { kind: 'untimer', name: 'release' })
    return phase.kind === 'suspect'
      ? { ...state, ledgers, phase: detached, tries: 0 }
      : { ...state, ledgers, phase: { ...phase, owner: undefined, bond: undefined } }
  }
  // To forget ends the lease too: another manager's goes on.
  if (phase.kind === 'managed')
    effects.push({ kind: 'lease', untilMs: phase.bond.untilMs })
  return { ...state, ledgers }
}

/** Asks the next manager, if one is there and we are free to. */
const seek = (
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

const request = (
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

const onLost = (before: Relationship, connection: number, facts: Facts): Step => {
  const candidates = before.candidates.filter((one) => one.connection !== connection)
  const state = { ...before, candidates }
  const { phase } = state
  if (phase.kind === 'managed' && phase.manager.connection === connection) {
    return seek({ ...state, phase: suspectOf(phase) }, [
      { kind: 'untimer', name: 'ping' },
      { kind: 'redial', nodeId: phase.manager.nodeId },
    ])
  }
  if (phase.kind === 'requesting' && phase.to.connection === connection) {
    return failed(state, phase, 0, facts)
  }
  return [state, none] // a manager that we did not deal with
}

const suspectOf = (phase: Phase & { kind: 'managed' }): Phase => ({
  kind: 'suspect',
  owner: phase.manager.ledgerId,
  bond: phase.bond,
})

/** A request came to nothing: the next manager's turn, after a back-off. */
const failed = (
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

const onAccepted = (
  state: Relationship,
  event: RelationshipEvent & { kind: 'accepted' },
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

const byeTo = (to: Manager, rel: Rel, reason: string): RelationshipEffect => ({
  kind: 'bye',
  to,
  rel,
  reason,
})

const onPong = (state: Relationship, rel: Rel, sentAtMs: number, facts: Facts): Step => {
  const { phase } = state
  if (phase.kind !== 'managed' || phase.rel !== rel) return [state, none] // an old one
  const untilMs = Math.max(phase.bond.untilMs, sentAtMs + phase.bond.leaseMs)
  return [
    { ...state, phase: { ...phase, silent: 0, bond: { ...phase.bond, untilMs } } },
    [
      { kind: 'lease', untilMs },
      { kind: 'timer', name: 'lease', afterMs: Math.max(0, untilMs - facts.nowMs) },
    ],
  ]
}

const onPingTimeout = (state: Relationship, rel: Rel): Step => {
  const { phase } = state
  if (phase.kind !== 'managed' || phase.rel !== rel) return [state, none] // an old one
  const silent = phase.silent + 1
  if (silent < SILENT_PINGS) return [{ ...state, phase: { ...phase, silent } }, none]
  return seek({ ...without(state, phase.manager), phase: suspectOf(phase) }, [
    { kind: 'untimer', name: 'ping' },
    ...cut(phase.manager, 'three pings without an answer'),
  ])
}

const without = (state: Relationship, manager: Manager): Relationship => ({
  ...state,
  candidates: state.candidates.filter((one) => one.connection !== manager.connection),
})

const cut = ({ nodeId }: Manager, why: string): readonly RelationshipEffect[] => [
  { kind: 'terminate', nodeId, why },
  { kind: 'redial', nodeId },
]

const onNotMine = (state: Relationship, rel: Rel, facts: Facts): Step => {
  const { phase } = state
  if (phase.kind !== 'managed' || phase.rel !== rel) return [state, none] // an old one
  const bond = { ...phase.bond, rel: undefined }
  const owner = phase.manager.ledgerId
  const effects: readonly RelationshipEffect[] = [{ kind: 'untimer', name: 'ping' }]
  if (facts.nowMs - phase.sinceMs >= BACKOFF_MS.first) {
    return request(state, phase.manager, owner, bond, effects)
  }
  // Accepted and disowned in the same breath: asking at once would go round for ever.
  return [
    { ...state, phase: { kind: 'suspect', owner, bond } },
    [...effects, { kind: 'timer', name: 'retry', afterMs: BACKOFF_MS.first }],
  ]
}

const onBye = (state: Relationship, connection: number, rel: Rel, facts: Facts): Step => {
  const bond = bondOf(state.phase)
  const sender = state.candidates.find((one) => one.connection === connection)
  if (bond === undefined || bond.rel !== rel || sender?.nodeId !== bond.manager.nodeId) {
    return [state, none] // a stranger
  }
  const effects: readonly RelationshipEffect[] = [
    { kind: 'forget', ledgerId: bond.manager.ledgerId },
    { kind: 'untimer', name: 'ping' },
    { kind: 'untimer', name: 'lease' },
    { kind: 'untimer', name: 'release' },
  ]
  if (state.phase.kind === 'requesting') {
    const phase = { ...state.phase, owner: undefined, bond: undefined }
    return [{ ...state, phase }, effects]
  }
  // It may change its mind, or another may want us: ask again, but not at once.
  const asking = {
    kind: 'requesting',
    to: bond.manager,
    serial: state.serial,
    owner: undefined,
    bond: undefined,
  } as const
  const [next, after] = failed(state, asking, 0, facts)
  return [next, [...effects, ...after]]
}

const bondOf = (phase: Phase): Bond | undefined =>
  phase.kind === 'managed' || phase.kind === 'requesting' || phase.kind === 'suspect'
    ? phase.bond
    : undefined

const onTimer = (state: Relationship, name: TimerName, facts: Facts): Step => {
  switch (name) {
    case 'retry':
      return seek(state)
    case 'ping':
      return onPingDue(state)
    case 'lease':
      return onLeaseDue(state, facts)
    case 'release':
      return onReleaseDue(state)
  }
}

const onPingDue = (state: Relationship): Step => {
  const { phase } = state
  if (phase.kind !== 'managed') return [state, none] // untimed meanwhile
  const { pingMs } = phase.bond
  return [
    state,
    [
      { kind: 'ping', to: phase.manager, rel: phase.rel, t: pingMs },
      { kind: 'timer', name: 'ping', afterMs: pingMs },
    ],
  ]
}

const onLeaseDue = (state: Relationship, facts: Facts): Step => {
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

const onReleaseDue = (state: Relationship): Step => {
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

const onLeave = (state: Relationship): Step => {
  const { phase } = state
  const timers = (['retry', 'ping', 'lease', 'release'] as const).map(
    (name): RelationshipEffect => ({ kind: 'untimer', name }),
  )
  const bye =
    phase.kind === 'managed'
      ? [byeTo(phase.manager, phase.rel, 'the worker is leaving')]
      : none
  return [{ ...state, phase: { kind: 'left' } }, [...timers, ...bye]]
}
