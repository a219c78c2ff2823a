// Rows: every body of the table with its codec, for tests that go through all of them.

import type * as t from 'io-ts'
import { ErrorAnswer, type Kind, kinds, rowOf } from '../../protocol/index.ts'

export interface BodyCase {
  readonly name: string
  readonly kind: Kind
  /** undefined: the request itself. */
  readonly answer: string | undefined
  readonly codec: t.Mixed
}

/** Requests, answers, and Error once. */
export const bodies: readonly BodyCase[] = [
  ...kinds.flatMap((kind) => [
    { name: kind, kind, answer: undefined, codec: rowOf(kind).request },
    ...Object.entries(rowOf(kind).answers).map(([answer, codec]) => ({
      name: `${kind}.${answer}`,
      kind,
      answer,
      codec,
    })),
  ]),
  {
    name: 'ManagerPing.Error',
    kind: 'ManagerPing',
    answer: 'Error',
    codec: ErrorAnswer,
  },
]
