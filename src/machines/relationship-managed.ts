// Managed: pings and what their answers tell, a manager that disowns its worker, and one
// that does not want it any more. Every event names its relationship: an old one's means
// nothing.

import type { Rel } from '../../protocol/index.ts'
import { BACKOFF_MS, failed, request, seek } from './relationship-asking.ts'
import type {
  Facts,
  Relationship,
  RelationshipEffect,
  Step,
} from './relationship-state.ts'
import { bondOf, cut, none, suspectOf, without } from './relationship-state.ts'

/** Unanswered pings after which the socket counts as dead. */
const SILENT_PINGS = 3

/** The next ping, and the one after it. */
export const onPingDue = (state: Relationship): Step => {
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

/** The lease goes on from when the ping was *sent*. */
export const onPong = (
  state: Relationship,
  rel: Rel,
  sentAtMs: number,
  facts: Facts,
): Step => {
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

/** Silence; the third in a row ends the socket. */
export const onPingTimeout = (state: Relationship, rel: Rel): Step => {
  const { phase } = state
  if (phase.kind !== 'managed' || phase.rel !== rel) return [state, none] // an old one
  const silent = phase.silent + 1
  if (silent < SILENT_PINGS) return [{ ...state, phase: { ...phase, silent } }, none]
  return seek({ ...without(state, phase.manager), phase: suspectOf(phase) }, [
    { kind: 'untimer', name: 'ping' },
    ...cut(phase.manager, 'three pings without an answer'),
  ])
}

/** The manager does not know this relationship: the tasks go on, and it is asked anew. */
export const onNotMine = (state: Relationship, rel: Rel, facts: Facts): Step => {
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

/** The manager does not want us: its work ends here. */
export const onBye = (
  state: Relationship,
  connection: number,
  rel: Rel,
  facts: Facts,
): Step => {
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
