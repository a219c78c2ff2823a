// The chain: each line of an audit log names the hash of the one before, so that none can
// be changed, taken out or put in without breaking all that follow. (What a chain alone
// cannot show is that its end was cut off: whoever wants that keeps a hash elsewhere.)
//
// A line is a JSON object with `seq`, `at`, the fields of the event, `prev`, and last
// `hash`: the SHA-256 of the line without it, that is of the text up to `,"hash"` and `}`.

import { createHash } from 'node:crypto'

/** Of what comes before the first line. */
export const GENESIS = '0'.repeat(64)

/** Where a chain stands: the number and the hash of its last line. */
export interface Head {
  readonly seq: number
  readonly hash: string
}

export const BEGINNING: Head = { seq: 0, hash: GENESIS }

/** What a line says besides its place in the chain. */
export type Fields = Readonly<Record<string, unknown>>

export interface Link extends Head {
  readonly prev: string
  /** ISO 8601. */
  readonly at: string
  readonly event: string
  /** The others. */
  readonly fields: Fields
}

/** The next line after `head`, without its end, and where the chain stands with it. */
export const nextLine = (
  { seq, hash: prev }: Head,
  fields: Fields,
): { readonly line: string; readonly head: Head } => {
  const text = JSON.stringify({ seq: seq + 1, ...fields, prev })
  const hash = sha256(text)
  return {
    line: `${text.slice(0, -1)},"hash":"${hash}"}`,
    head: { seq: seq + 1, hash },
  }
}

const ENDING = /,"hash":"([0-9a-f]{64})"\}$/

/** A line by itself: what it says if its hash is right; 'changed' if not; 'foreign' if it is none. */
export const readLine = (line: string): Link | 'changed' | 'foreign' => {
  const ending = ENDING.exec(line)
  if (ending === null) return 'foreign'
  const [, hash = ''] = ending
  const text = `${line.slice(0, ending.index)}}`
  const content = parse(text)
  if (content === undefined) return 'foreign'
  if (sha256(text) !== hash) return 'changed'
  const { seq, prev, at, event, ...fields } = content
  if (!Number.isSafeInteger(seq) || typeof prev !== 'string') return 'foreign'
  return { seq: Number(seq), prev, hash, at: String(at), event: String(event), fields }
}

/** What is wrong with a line that follows `head`; undefined: nothing. */
export const breach = ({ seq, hash }: Head, link: Link): string | undefined => {
  if (link.seq !== seq + 1)
    return `it is number ${link.seq} and follows number ${seq}: lines are missing, or in another order`
  if (link.prev !== hash)
    return `it names another line before it than number ${seq}, which was replaced`
  return undefined
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

const parse = (text: string): Record<string, unknown> | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
