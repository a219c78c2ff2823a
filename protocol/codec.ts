// Codec: bodies of requests and answers, from unknown values to typed ones and back.
//
// Dispatch is a map on the kind. A body that is exactly valid is taken as it is. One that
// is not is searched for a fault, and refused with its path; without a fault it only has
// unknown fields, which io-ts drops. Codecs are compiled when their kind is first met.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type * as t from 'io-ts'
import type { Exchange } from './exchange.ts'
import {
  type AnswerOf,
  ErrorAnswer,
  type Kind,
  kinds,
  type RequestOf,
  rowOf,
} from './exchanges/index.ts'
import { compileFault, type FindFault, type Path } from './fault.ts'
import { compile, type Predicate } from './predicate.ts'

/** Why a body was not accepted. `path` names the field, never its value. */
export type DecodeFailure =
  | { readonly code: 'unknown-kind' }
  | { readonly code: 'malformed'; readonly path: string }

/** Any request: a union on `kind`. */
export type Request = {
  [K in Kind]: { readonly kind: K; readonly body: RequestOf<K> }
}[Kind]

/** The body of a request of the given kind, checked. */
export const decodeRequest = (
  kind: string,
  body: unknown,
): Either<DecodeFailure, Request> => {
  const row = rows.get(kind)
  if (row === undefined) return unknownKind
  const request = row.request()
  if (request.isExact(body)) return E.right({ kind, body } as Request)
  // The row's own codec has checked the body, so the pair is of that row.
  return E.map((clean) => ({ kind, body: clean }) as Request)(request.decode(body))
}

/** The body of an answer to `kind`: only that row's answers, and Error, are known. */
export const decodeAnswer = <K extends Kind>(
  kind: K,
  answerKind: string,
  body: unknown,
): Either<DecodeFailure, AnswerOf<K>> => {
  const codec = rows.get(kind)?.answers.get(answerKind)?.()
  if (codec === undefined) return unknownKind
  if (codec.isExact(body)) return E.right({ kind: answerKind, body } as AnswerOf<K>)
  return E.map((clean) => ({ kind: answerKind, body: clean }) as AnswerOf<K>)(
    codec.decode(body),
  )
}

/**
 * A request's body as it may be sent: unknown and undefined fields dropped. Throws a
 * TypeError that names the field if it is not valid: that is a mistake of the caller.
 */
export const encodeRequest = (kind: string, body: unknown): unknown => {
  const codec = rows.get(kind)?.request()
  if (codec === undefined) throw new TypeError(`Expected a known kind, got \`${kind}\``)
  return codec.isExact(body) ? body : clean(kind, codec, body)
}

/** An answer's body as it may be sent; throws as encodeRequest does. */
export const encodeAnswer = (kind: Kind, answerKind: string, body: unknown): unknown => {
  const codec = rows.get(kind)?.answers.get(answerKind)?.()
  if (codec === undefined)
    throw new TypeError(`Expected an answer to ${kind}, got \`${answerKind}\``)
  return codec.isExact(body) ? body : clean(answerKind, codec, body)
}

/** A codec with its quick predicate. */
interface Compiled {
  readonly isExact: Predicate
  decode(body: unknown): Either<DecodeFailure, unknown>
  /** What is wrong with it as something that we send. */
  readonly faultOfSent: FindFault
}

interface Row {
  readonly request: () => Compiled
  readonly answers: ReadonlyMap<string, () => Compiled>
}

const lazily = (codec: t.Mixed): (() => Compiled) => {
  let compiled: Compiled | undefined
  let findSent: FindFault | undefined
  return () => {
    compiled ??= {
      isExact: compile(codec),
      decode: decoderOf(codec),
      faultOfSent: (body) => {
        findSent ??= compileFault(codec, 'sent') // seldom asked for
        return findSent(body)
      },
    }
    return compiled
  }
}

/** Looks for a fault first: only what has none is given to io-ts, which then finds none. */
const decoderOf = (codec: t.Mixed): Compiled['decode'] => {
  const findFault = compileFault(codec)
  return (body) => {
    const fault = findFault(body)
    if (fault !== undefined) return E.left(malformed(fault))
    return E.mapLeft(() => malformed([]))(codec.decode(body))
  }
}

const errorCodec = lazily(ErrorAnswer)

const toRow = (row: Exchange): Row => ({
  request: lazily(row.request),
  answers: new Map([
    ...Object.entries(row.answers).map(([kind, codec]) => [kind, lazily(codec)] as const),
    ['Error', errorCodec] as const,
  ]),
})

const rows: ReadonlyMap<string, Row> = new Map(
  kinds.map((kind) => [kind, toRow(rowOf(kind))]),
)

const unknownKind = E.left<DecodeFailure>({ code: 'unknown-kind' })

/** The most of a path that an Error can carry: names of map keys are the peer's. */
const MAX_PATH = 255

const malformed = (path: Path): DecodeFailure => ({
  code: 'malformed',
  path: path.join('.').slice(0, MAX_PATH),
})

const clean = (kind: string, codec: Compiled, body: unknown): unknown => {
  const sent = withoutUndefined(body)
  const fault = codec.faultOfSent(sent)
  const decoded = fault === undefined ? codec.decode(sent) : E.left(malformed(fault))
  if (E.isRight(decoded)) return decoded.right
  const path = decoded.left.code === 'malformed' ? decoded.left.path : ''
  throw new TypeError(`Expected a valid body of ${kind}: \`${path}\` is not`)
}

/** A field that is undefined is a field that is not there; MessagePack has no such value. */
const withoutUndefined = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutUndefined)
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value))
    return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .map(([name, field]) => [name, withoutUndefined(field)]),
  )
}
