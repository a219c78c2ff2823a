// Limits: the bounds of a connection and the codes with which it is ended.

import { type Kind, kinds, rowOf } from './exchanges/index.ts'
import { OutputData } from './exchanges/tasks.ts'

export interface Limits {
  /** Ordinary requests of the peer open at once; stated to it in the first exchange. */
  readonly maxInFlight: number
  /** The largest frame taken, in bytes; stated likewise. */
  readonly maxFrame: number
  /** Places of their own for what keeps the mesh alive. */
  readonly priorityPlaces: number
  /** Places of their own for long polls, and as many again for waiting aborts. */
  readonly waitsPlaces: number
  /** Asks that wait for a place, and the most that are open at once, whatever the peer states. */
  readonly maxQueued: number
  /** More unsent bytes than this: no new requests but priority ones, no data answers. */
  readonly slowBytes: number
  /** More than this: the socket is given up. */
  readonly terminateBytes: number
  /** Broken rules that are forgiven, less one. */
  readonly strikes: number
  /** Asks in a row without an answer until the socket is given up. */
  readonly timeoutsInARow: number
  /** What an asked `busy` peer is told to wait. */
  readonly retryAfterMs: number
}

export const DEFAULT_LIMITS: Limits = {
  maxInFlight: 1024,
  maxFrame: 1024 * 1024,
  priorityPlaces: 8,
  waitsPlaces: 256,
  maxQueued: 65_536,
  slowBytes: 4 * 1024 * 1024,
  terminateBytes: 16 * 1024 * 1024,
  strikes: 3,
  timeoutsInARow: 3,
  retryAfterMs: 100,
}

/** Why a connection is closed. 4406 and 4407 are the mesh's, not a conversation's. */
export const CLOSE = {
  notAFrame: 4400,
  notIntroduced: 4401,
  wrongAnswer: 4402,
  unknownId: 4403,
  oldRequestId: 4404,
  strikes: 4405,
  /** Two sockets between the same nodes: this is the one too many. */
  twice: 4406,
  /** The other end is this node itself. */
  oneself: 4407,
  /** Three asks in a row without an answer, or 16 MiB not taken. */
  stalled: 4408,
} as const

/**
 * Which places a request takes. Both ends count alike, and no class borrows from another:
 * so whoever keeps to the limits is never told `busy`.
 */
export const PLACES = ['ordinary', 'priority', 'waits', 'aborts'] as const
export type Place = (typeof PLACES)[number]

export const placeOf = (kind: Kind): Place => places.get(kind) ?? 'ordinary'

/** Does the request carry bytes of input? */
export const asksWithData = (kind: Kind): boolean => dataAsks.has(kind)

/** Does an answer to it carry bytes of output or of a blob? */
export const answersWithData = (kind: Kind): boolean => dataAnswers.has(kind)

/** Is it that answer, with a valid body? The others of its row, and one without bytes, are control. */
export const isDataAnswer = (
  kind: Kind,
  answerKind: string,
  body: unknown,
): body is OutputData =>
  answersWithData(kind) &&
  rowOf(kind).answers[answerKind] === OutputData &&
  (body as OutputData).data.byteLength > 0 // it is valid

const placeOfRow = (kind: Kind): Place => {
  const { priority, waits } = rowOf(kind)
  if (priority && waits) return 'aborts'
  if (priority) return 'priority'
  return waits ? 'waits' : 'ordinary'
}

const places: ReadonlyMap<Kind, Place> = new Map(
  kinds.map((kind) => [kind, placeOfRow(kind)]),
)

const withData = (where: 'request' | 'answer'): ReadonlySet<Kind> =>
  new Set(kinds.filter((kind) => rowOf(kind).data === where))

const dataAsks = withData('request')
const dataAnswers = withData('answer')

/** The number of places of each class, for a peer that takes `maxInFlight` ordinary ones. */
export const placesOf = (limits: Limits): Readonly<Record<Place, number>> => ({
  ordinary: limits.maxInFlight,
  priority: limits.priorityPlaces,
  waits: limits.waitsPlaces,
  aborts: limits.waitsPlaces,
})
