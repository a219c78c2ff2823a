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
// named timers by effects, of which the newest of a name counts. The rows are told in
// relationship-connections.ts, -asking.ts, -managed.ts and -leases.ts.

import type { LedgerId, Rel } from '../../protocol/index.ts'
import { onAccepted, onRefused, seek } from './relationship-asking.ts'
import { onConnected, onLost } from './relationship-connections.ts'
import { ASSUMED_RELEASE_MS, onLeaseDue, onReleaseDue } from './relationship-leases.ts'
import {
  onBye,
  onNotMine,
  onPingDue,
  onPingTimeout,
  onPong,
} from './relationship-managed.ts'
import type {
  Facts,
  Phase,
  Relationship,
  RelationshipEffect,
  RelationshipEvent,
  Step,
  TimerName,
} from './relationship-state.ts'
import { byeTo, detached, none } from './relationship-state.ts'

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
      : [{ kind: 'timer', name: 'release', afterMs: ASSUMED_RELEASE_MS }],
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
      return onRefused(state, event, facts)
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
