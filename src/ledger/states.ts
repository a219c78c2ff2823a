// States: what is on record of a task beyond its submission, as it stands in the store.

import type { Outcome } from '../../protocol/index.ts'
import type { Assigned, Closed } from '../records.ts'

export interface State {
  readonly attempt: number
  readonly failures: number
  readonly losses: number
  readonly notBeforeMs: number
  /** The last hand-outs, oldest first. */
  readonly assigned: readonly Assigned[]
  readonly closed?: Closed
  /** The number of its closing. */
  readonly order?: number
}

/** Of a task that waits for its first attempt. */
export const FRESH: State = {
  attempt: 1,
  failures: 0,
  losses: 0,
  notBeforeMs: 0,
  assigned: [],
}

/** Stands for a task that is forgotten, while others of its submission are not. */
export const FORGOTTEN = 0

/** Hand-outs that are remembered of one task; older ones are dropped. */
export const ATTEMPTS_KEPT = 16

type PackedHandOut = readonly [number, string, string, string, string | null, number]
type PackedClosing = readonly [
  'completed' | 'failed' | 'aborted',
  Outcome,
  number,
  number,
]
type Packed = readonly [
  attempt: number,
  failures: number,
  losses: number,
  notBeforeMs: number,
  assigned: readonly PackedHandOut[],
  closing?: PackedClosing,
]

/** As a list: names would be most of it. */
export const packState = ({ assigned, closed, order = 0, ...state }: State): Packed => {
  const { attempt, failures, losses, notBeforeMs } = state
  const handOuts = assigned.map(
    ({ attempt, nodeId, bootId, hostName, address = null, atMs }) =>
      [attempt, nodeId, bootId, hostName, address, atMs] as const,
  )
  const open = [attempt, failures, losses, notBeforeMs, handOuts] as const
  if (closed === undefined) return open
  return [...open, [closed.state, closed.outcome, closed.endedMs, order]]
}

export const unpackState = (seq: number, packed: unknown): State => {
  const [attempt, failures, losses, notBeforeMs, handOuts, closing] = packed as Packed
  const assigned = handOuts.map(
    ([attempt, nodeId, bootId, hostName, address, atMs]): Assigned => ({
      kind: 'assigned',
      ...{ seq, attempt, nodeId, bootId, hostName, atMs },
      ...(address !== null && { address }),
    }),
  )
  const state = { attempt, failures, losses, notBeforeMs, assigned }
  if (closing === undefined) return state
  const [its, outcome, endedMs, order] = closing
  const closed: Closed = {
    kind: 'closed',
    ...{ seq, attempt, state: its, outcome, failures, losses, endedMs },
  }
  return { ...state, closed, order }
}
