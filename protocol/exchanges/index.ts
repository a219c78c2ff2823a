// The table of exchanges: every request of the protocol with every answer it may get.
// ONLY ADD TO IT: a kind, once published, keeps its name and its meaning.

import type * as t from 'io-ts'
import type { Exchange } from '../exchange.ts'
import { fields, Milliseconds, OpenWord, Text } from '../scalars.ts'
import { client } from './client.ts'
import { events } from './events.ts'
import { hub } from './hub.ts'
import { membership } from './membership.ts'
import { processes } from './processes.ts'
import { relationship } from './relationship.ts'
import { tasks } from './tasks.ts'

export const exchanges = {
  ...relationship,
  ...tasks,
  ...client,
  ...membership,
  ...processes,
  ...hub,
  ...events,
}

/**
 * Why a request was not dealt with, whatever its kind. A code of a newer peer is read as
 * `internal`, which says no more than that it was not.
 */
export const ErrorCode = OpenWord(
  'ErrorCode',
  [
    'unknown-kind',
    'malformed',
    'not-ready',
    'role-changed',
    'wrong-role',
    'forbidden',
    'busy',
    'deadline',
    'shutting-down',
    'clock-skew',
    'internal',
  ],
  'internal',
)
export type ErrorCode = t.TypeOf<typeof ErrorCode>

/** Always allowed as an answer. `path` names the field that was refused, never its value. */
export const ErrorAnswer = fields(
  { code: ErrorCode },
  { message: Text(1024), path: Text(255), retry_after_ms: Milliseconds },
)
export type ErrorAnswer = t.TypeOf<typeof ErrorAnswer>

type Table = typeof exchanges
type AnswersOf<K extends Kind> = Table[K]['answers']

/** The name of a request. */
export type Kind = keyof Table
/** The body of a request of kind K. */
export type RequestOf<K extends Kind> = t.TypeOf<Table[K]['request']>
/** The kinds that may answer K, `Error` included. */
export type AnswerKindOf<K extends Kind> = (keyof AnswersOf<K> & string) | 'Error'
/** The body of answer A to K. */
export type AnswerBodyOf<K extends Kind, A extends AnswerKindOf<K>> = A extends 'Error'
  ? ErrorAnswer
  : A extends keyof AnswersOf<K>
    ? AnswersOf<K>[A] extends t.Mixed
      ? t.TypeOf<AnswersOf<K>[A]>
      : never
    : never
/** Any answer to K: a union on `kind`. */
export type AnswerOf<K extends Kind> = {
  [A in AnswerKindOf<K>]: { readonly kind: A; readonly body: AnswerBodyOf<K, A> }
}[AnswerKindOf<K>]
/** The one-shot way to answer a request of kind K; a second call throws. */
export type Respond<K extends Kind> = <A extends AnswerKindOf<K>>(
  kind: A,
  body: AnswerBodyOf<K, A>,
) => void
/** What a node does with each kind it serves; `from` says who asks. */
export type Handlers<From> = {
  readonly [K in Kind]?: (body: RequestOf<K>, respond: Respond<K>, from: From) => void
}

/** The row of a kind, with its types widened: for decoders and generators. */
export const rowOf = (kind: Kind): Exchange => exchanges[kind]
export const kinds = Object.keys(exchanges) as readonly Kind[]
/** Is there a row of that name? (Own names only: `constructor` is none.) */
export const isKind = (kind: string): kind is Kind => kindSet.has(kind)
const kindSet: ReadonlySet<string> = new Set(kinds)
