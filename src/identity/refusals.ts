// Refusals: why a node does not let a caller in. One word travels (in the header
// `Manyhands-Refused`); both ends say the sentence, and the caller what to do about it.

import type { Credentials } from './credentials.ts'

/** Reason words, with the sentence of the side that refuses. */
export const REFUSALS = {
  'no-certificate': 'it showed no certificate',
  'unknown-ca': 'its certificate is of another mesh',
  expired: 'its certificate has expired, or its clock is wrong',
  'not-yet-valid': 'its certificate is not valid yet, or a clock is wrong',
  'wrong-purpose': 'its certificate is not for calling nodes',
  san: 'its certificate does not say who it is in our way',
  'other-mesh': 'its certificate names another mesh',
  'id-mismatch': "its certificate's node id is not its key's",
  revoked: 'it was taken out of the mesh (manyhands revoke)',
  resumed: 'it resumed an earlier session, which proves nothing',
  origin: 'browsers are not served here',
  subprotocol: 'the subprotocol manyhands.v1 is required',
  'not-a-websocket': 'this port speaks manyhands.v1 with members of its mesh only',
} as const

export type RefusalWord = keyof typeof REFUSALS

export const isRefusalWord = (word: string): word is RefusalWord =>
  Object.hasOwn(REFUSALS, word)

/** Clocks further apart than this are worth a word when a date is what was refused. */
const SKEW_MS = 30_000

export interface RefusedCaller {
  /** As it came over the network: anything. */
  readonly word: string
  /** Where it was refused, for the sentence. */
  readonly host: string
  /** The refusing side's clock, if it said so. */
  readonly theirMs: number | undefined
  readonly nowMs: number
  /** The caller's own; undefined where it has none to show. */
  readonly own: Pick<Credentials, 'party' | 'notBeforeMs' | 'notAfterMs'> | undefined
}

/** What the refused side says: why, by its own certificate too, and the cure. */
export const describeRefusal = (refused: RefusedCaller): string => {
  const { word, host } = refused
  switch (word) {
    case 'unknown-ca':
    case 'other-mesh':
      return `${host} belongs to another mesh; give the state directory of its mesh with --state, or join it: manyhands join TOKEN`
    case 'expired':
    case 'not-yet-valid':
      return describeDates(refused)
    case 'revoked':
      return `this member was taken out of the mesh; to be let in again it needs a new invitation (manyhands invite, manyhands join TOKEN)`
    default: {
      // What a stranger wrote may end on a terminal: plain characters, not many.
      const reason = isRefusalWord(word)
        ? REFUSALS[word]
        : word.replace(/[^ -~]/g, '?').slice(0, 200)
      return `refused by ${host}: ${reason}`
    }
  }
}

const describeDates = ({ host, theirMs, nowMs, own }: RefusedCaller): string => {
  if (own === undefined) return `${host} refused this certificate by its dates`
  const { notBeforeMs, notAfterMs, party } = own
  const valid = `valid from ${dateOf(notBeforeMs)} to ${dateOf(notAfterMs)}`
  if (theirMs !== undefined && Math.abs(theirMs - nowMs) > SKEW_MS) {
    const behind = nowMs < theirMs ? 'behind' : 'ahead of'
    const span = spanOf(Math.abs(theirMs - nowMs))
    return `this machine's clock is ${span} ${behind} ${host}'s; the certificate is ${valid}; set the clock that is wrong`
  }
  if (nowMs > notAfterMs)
    return `the certificate of ${party.hostName} expired on ${dateOf(notAfterMs)}; start the node again where the mesh was made, or join again: manyhands join TOKEN`
  return `${host} refused the certificate by its dates, ${valid}; check the clock of both machines`
}

export const dateOf = (ms: number): string =>
  `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
] as const

/** The two largest units: `2 h 3 min`. */
const spanOf = (ms: number): string => {
  const words: string[] = []
  let left = ms
  for (const [unit, size] of UNITS) {
    const count = Math.floor(left / size)
    if (count > 0 && words.length < 2) words.push(`${count} ${unit}`)
    left -= count * size
  }
  return words.join(' ')
}
