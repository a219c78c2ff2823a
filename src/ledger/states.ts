// States: what is on record of a task beyond its submission, as it stands in the store.

import type { Outcome } from '../../protocol/index.ts'
import type { Closed, Ran, Recalled } from '../records.ts'

export interface State {
  readonly attempt: number
  readonly failures: number
  readonly losses: number
  readonly notBeforeMs: number
  /** The last hand-outs, oldest first. */
  readonly assigned: readonly Recalled[]
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

type PackedRan = readonly [
  startedMs: number | null,
  pid: number | null,
  endedMs: number | null,
  ended: string | null,
]
type PackedHandOut = readonly [
  attempt: number,
  nodeId: string,
  bootId: string,
  hostName: string,
  address: string | null,
  atMs: number,
  ran?: PackedRan,
]
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
    ({ attempt, nodeId, bootId, hostName, address = null, atMs, ran }): PackedHandOut => {
      const handOut = [attempt, nodeId, bootId, hostName, address, atMs] as const
      return ran === undefined ? handOut : [...handOut, packRan(ran)]
    },
  )
  const open = [attempt, failures, losses, notBeforeMs, handOuts] as const
  if (closed === undefined) return open
  return [...open, [closed.state, closed.outcome, closed.endedMs, order]]
}

const packRan = ({ startedMs, pid, endedMs, ended }: Ran): PackedRan => [
  startedMs ?? null,
  pid ?? null,
  endedMs ?? null,
  ended ?? null,
]

type Writable<A> = { -readonly [K in keyof A]: A[K] }

const unpackRan = ([startedMs, pid, endedMs, ended]: PackedRan): Ran => {
  const ran: Writable<Ran> = {}
  if (startedMs !== null) ran.startedMs = startedMs
  if (pid !== null) ran.pid = pid
  if (endedMs !== null) ran.endedMs = endedMs
  if (ended !== null) ran.ended = ended
  return ran
}

const unpackHandOut = (
  seq: number,
  [attempt, nodeId, bootId, hostName, address, atMs, ran]: PackedHandOut,
): Recalled => {
  const handOut: Writable<Recalled> = {
    kind: 'assigned',
    seq,
    attempt,
    nodeId,
    bootId,
    hostName,
    atMs,
  }
  if (address !== null) handOut.address = address
  if (ran !== undefined) handOut.ran = unpackRan(ran)
  return handOut
}

/** How a task was closed, of a record as it is read; undefined: it is open. */
export const closedAs = (packed: unknown): Closed['state'] | undefined =>
  (packed as Packed)[5]?.[0]

export const unpackState = (seq: number, packed: unknown): State => {
  const [attempt, failures, losses, notBeforeMs, handOuts, closing] = packed as Packed
  const assigned = handOuts.map((handOut) => unpackHandOut(seq, handOut))
  const state = { attempt, failures, losses, notBeforeMs, assigned }
  if (closing === undefined) return state
  const [its, outcome, endedMs, order] = closing
  const closed: Closed = {
    kind: 'closed',
    seq,
    attempt,
    state: its,
    outcome,
    failures,
    losses,
    endedMs,
  }
  return { attempt, failures, losses, notBeforeMs, assigned, closed, order }
}
