// Roster: the manager's side of the relationship with one worker.
//
// | state              | event                        | effects -> next
// | known              | request, acceptable          | reconcile, accept -> managing
// | any                | request, not acceptable      | refuse -> unchanged
// | managing, suspect  | request, same boot, my rel   | reconcile, accept (resumed) -> managing
// | managing, suspect  | request, same boot, other rel| reconcile, accept -> managing
// | any                | request, new boot            | reconcile (reborn), accept -> managing
// | managing           | socket closed                | suspect, probe if it ended cleanly -> suspect
// | managing, suspect  | lease over, or refused twice | terminate, lose -> known
// | managing, suspect  | taken out of the mesh        | terminate, lose -> known
// | managing, suspect  | bye with my rel              | release -> known
// | managing           | NotMine with my rel          | suspect, terminate -> suspect
// | known              | anything else                | (the role answers NotMine, by the rel)
//
// The lease itself is arithmetic (`leaseLeftMs`): the role notes when it last heard the
// right rel, which happens with every message and must cost nothing.

export type Relationship =
  /** `bootId`: of the boot it last was managed in, if any. */
  | { readonly kind: 'known'; readonly bootId: string | undefined }
  | { readonly kind: 'managing'; readonly bootId: string; readonly rel: string }
  | { readonly kind: 'suspect'; readonly bootId: string; readonly rel: string }

export type RosterEvent =
  | {
      readonly kind: 'request'
      readonly bootId: string
      /** The relationship it comes back to, if it names one. */
      readonly rel: string | undefined
      /** A fresh random id, used if a new relationship begins. */
      readonly newRel: string
      /** Undefined: acceptable; else why it is refused. */
      readonly objection: string | undefined
    }
  /** `clean`: by FIN or RST, so that dialling its port can tell whether it lives. */
  | { readonly kind: 'closed'; readonly clean: boolean }
  | { readonly kind: 'lease-over' }
  /** Its port refused connections twice: the process is gone. */
  | { readonly kind: 'refused' }
  /** It is no member of the mesh any more. */
  | { readonly kind: 'expelled' }
  | { readonly kind: 'bye'; readonly rel: string }
  | { readonly kind: 'not-mine'; readonly rel: string }

export type RosterEffect =
  /** Answer accepted: false. */
  | { readonly kind: 'refuse'; readonly reason: string }
  /** Compare the inventory with the table. `reborn`: what is not in it died with the old boot. */
  | { readonly kind: 'reconcile'; readonly rel: string; readonly reborn: boolean }
  /** Answer accepted: true, with the drops of the reconciliation. */
  | { readonly kind: 'accept'; readonly rel: string; readonly resumed: boolean }
  /** Offer nothing new, requeue nothing. */
  | { readonly kind: 'suspect' }
  | { readonly kind: 'probe' }
  | { readonly kind: 'terminate'; readonly why: string }
  /** Requeue its tasks; `certain`: the loss counts at once, else it is pending. */
  | { readonly kind: 'lose'; readonly certain: boolean }
  /** Requeue its tasks at no cost: it left in good order. */
  | { readonly kind: 'release' }

type Stepped = readonly [Relationship, readonly RosterEffect[]]
const none: readonly RosterEffect[] = []

export const stranger: Relationship = { kind: 'known', bootId: undefined }

/** Milliseconds until the manager's lease is over; 0 or less: it is. */
export const leaseLeftMs = (heardAtMs: number, leaseMs: number, nowMs: number): number =>
  heardAtMs + leaseMs - nowMs

export const stepRoster = (state: Relationship, event: RosterEvent): Stepped => {
  switch (event.kind) {
    case 'request':
      return onRequest(state, event)
    case 'closed': {
      // Suspect already: the socket that closed was terminated by us, or never managed.
      if (state.kind !== 'managing') return [state, none]
      const suspect: RosterEffect = { kind: 'suspect' }
      const effects = event.clean ? [suspect, { kind: 'probe' } as const] : [suspect]
      return [{ ...state, kind: 'suspect' }, effects]
    }
    case 'lease-over':
    case 'expelled':
      return state.kind === 'known' ? [state, none] : lost(state.bootId, event.kind)
    case 'refused': // the answer may come after the worker came back: then it means nothing
      return state.kind === 'suspect' ? lost(state.bootId, event.kind) : [state, none]
    case 'bye': // from a stranger, or of an earlier relationship, it changes nothing
      return state.kind !== 'known' && state.rel === event.rel
        ? [{ kind: 'known', bootId: state.bootId }, [{ kind: 'release' }]]
        : [state, none]
    case 'not-mine': // only a living relationship can be denied
      return state.kind === 'managing' && state.rel === event.rel
        ? [
            { ...state, kind: 'suspect' },
            [{ kind: 'suspect' }, { kind: 'terminate', why: 'it says NotMine' }],
          ]
        : [state, none]
  }
}

const WHY = {
  'lease-over': 'its lease is over',
  refused: 'its port refuses connections',
  expelled: 'it was taken out of the mesh',
} as const

const lost = (bootId: string, cause: keyof typeof WHY): Stepped => {
  const why = WHY[cause]
  const certain = cause !== 'lease-over'
  return [
    { kind: 'known', bootId },
    [
      { kind: 'terminate', why },
      { kind: 'lose', certain },
    ],
  ]
}

const onRequest = (
  state: Relationship,
  event: Extract<RosterEvent, { kind: 'request' }>,
): Stepped => {
  const { bootId, objection } = event
  if (objection !== undefined) return [state, [{ kind: 'refuse', reason: objection }]]
  const reborn = state.bootId !== undefined && state.bootId !== bootId
  const resumed = !reborn && state.kind !== 'known' && state.rel === event.rel
  const rel = resumed ? state.rel : event.newRel
  return [
    { kind: 'managing', bootId, rel },
    [
      { kind: 'reconcile', rel, reborn },
      { kind: 'accept', rel, resumed },
    ],
  ]
}
