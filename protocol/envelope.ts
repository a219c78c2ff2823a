// Envelope: the only two forms of a frame, an id around a request or around an answer.

/** A request: `t` = how many milliseconds the asker waits. */
export interface RequestEnvelope {
  readonly q: number
  readonly k: string
  readonly b: unknown
  readonly t: number
}

/** An answer to the request of the same id. */
export interface AnswerEnvelope {
  readonly a: number
  readonly k: string
  readonly b: unknown
}

export type Envelope = RequestEnvelope | AnswerEnvelope

export const isRequest = (envelope: Envelope): envelope is RequestEnvelope =>
  'q' in envelope

const isId = (value: unknown): boolean =>
  Number.isSafeInteger(value) && (value as number) >= 1

/**
 * Is it exactly `{q, k, b, t}` or `{a, k, b}`? `entries` is how many the map had on the
 * wire: a key that comes twice makes it more than there are fields.
 */
export const isEnvelope = (value: unknown, entries: number): value is Envelope => {
  if (typeof value !== 'object' || value === null) return false
  const frame = value as Record<'q' | 'a' | 'k' | 'b' | 't', unknown>
  if (typeof frame.k !== 'string' || frame.b === undefined) return false
  if (entries === 4) return isId(frame.q) && isId(frame.t) && frame.a === undefined
  return entries === 3 && isId(frame.a) && frame.q === undefined
}
