// Connections: managers that come into reach and leave it. A manager that comes back is
// asked at once; one with another ledger has lost the old one, and with it our work of it.

import type { LedgerId, NodeId } from '../../protocol/index.ts'
import { failed, seek } from './relationship-asking.ts'
import type {
  Facts,
  Manager,
  Relationship,
  RelationshipEffect,
  Step,
} from './relationship-state.ts'
import { detached, none, suspectOf } from './relationship-state.ts'

/** A manager came into reach, perhaps again, perhaps as another life. */
export const onConnected = (before: Relationship, manager: Manager): Step => {
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

/** A connection ended; what we had over it is in doubt. */
export const onLost = (before: Relationship, connection: number, facts: Facts): Step => {
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
