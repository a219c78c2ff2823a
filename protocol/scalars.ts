// Scalars: the small values that messages are made of, each with its limits.
//
// A limit is part of the codec, so a handler never meets a value that is too long or
// too large. Nothing here is branded: a TaskId is a string that has been checked once,
// at the edge. No Node module is used; bytes are Uint8Array. Each scalar says its rule twice:
// as a predicate, and as JSON Schema for other languages. A test holds one to the other.

import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'

/** Keywords of JSON Schema 2020-12. */
export type Schema = Readonly<Record<string, unknown>>

/** What carries its own rule as JSON Schema. */
export interface WithSchema {
  readonly schema: Schema
}

const refined = <A>(
  name: string,
  schema: Schema,
  is: (value: unknown) => value is A,
): t.Type<A> & WithSchema =>
  Object.assign(
    new t.Type<A>(
      name,
      is,
      (value, context) => (is(value) ? E.right(value) : t.failure(value, context)),
      t.identity,
    ),
    { schema },
  )

/** An integer from 0 to 2^53 - 1. */
export const Uint = refined(
  'Uint',
  { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
  (value): value is number => Number.isSafeInteger(value) && (value as number) >= 0,
)

/** A whole number of milliseconds, 0 to 2^53 - 1: a span, or Unix time by the sender's clock. */
export const Milliseconds = refined('Milliseconds', Uint.schema, Uint.is)

/** Text of at most `max` UTF-16 units. */
export const Text = (max: number): t.Type<string> =>
  refined(
    `Text(${max})`,
    { type: 'string', maxLength: max },
    (value): value is string => typeof value === 'string' && value.length <= max,
  )

/** Text of at most `max` units that matches `pattern` (which must be anchored). */
export const Pattern = (name: string, max: number, pattern: RegExp): t.Type<string> =>
  refined(
    name,
    { type: 'string', maxLength: max, pattern: pattern.source },
    (value): value is string =>
      typeof value === 'string' && value.length <= max && pattern.test(value),
  )

/** A key of a map with free keys: what the scan of a frame lets pass, and not empty. */
export const isMapKey = (key: string): boolean =>
  key !== '' && key !== '__proto__' && utf8Bytes(key) <= 255

/** The rule of map keys as JSON Schema, but for the count of bytes, which it cannot say. */
export const MAP_KEY: Schema = {
  minLength: 1,
  maxLength: 255,
  not: { const: '__proto__' },
}

/** Length in UTF-8; a lone half of a pair counts as the three bytes that replace it. */
const utf8Bytes = (text: string): number => {
  let bytes = 0
  for (const letter of text) {
    const code = letter.codePointAt(0) ?? 0
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
  }
  return bytes
}

/** Raw bytes, at most `max` of them. A Node Buffer is one; nothing here asks for more. */
export const Bytes = (max: number): t.Type<Uint8Array> =>
  refined(
    `Bytes(${max})`,
    // JSON has no bytes: there, and only there, they are written in base64.
    {
      type: 'string',
      contentEncoding: 'base64',
      maxLength: Math.ceil(max / 3) * 4,
      'x-msgpack': 'bin',
      'x-maxBytes': max,
    },
    (value): value is Uint8Array =>
      value instanceof Uint8Array && value.byteLength <= max,
  )

/** A list of at most `max` items. */
export const List = <C extends t.Mixed>(item: C, max: number) =>
  Object.assign(
    t.refinement(
      t.array(item),
      (list) => list.length <= max,
      `List(${item.name}, ${max})`,
    ),
    { schema: { maxItems: max } },
  )

/** One of the given words, which it carries for documents and generators. */
export const Word = <W extends string>(
  name: string,
  words: readonly [W, ...W[]],
): t.Type<W> & { readonly words: readonly W[] } =>
  Object.assign(
    refined(name, { enum: words }, (value): value is W =>
      (words as readonly unknown[]).includes(value),
    ),
    { words },
  )

/**
 * One of the given words; one of a newer peer, which we do not know, is read as `otherwise`,
 * so that a word more does not make its messages malformed.
 */
export const OpenWord = <W extends string>(
  name: string,
  words: readonly [W, ...W[]],
  otherwise: W,
): t.Type<W> & {
  readonly known: t.Type<W> & { readonly words: readonly W[] }
  readonly otherwise: W
} => {
  const known = Word(name, words)
  const codec = new t.Type<W>(
    name,
    known.is,
    (value, context) => {
      if (known.is(value)) return E.right(value)
      const isWord = typeof value === 'string' && value.length <= 64
      return isWord ? E.right(otherwise) : t.failure(value, context)
    },
    t.identity,
  )
  return Object.assign(codec, { known, otherwise })
}

/** A fielded map: `required` must be there, `optional` may be; unknown fields are dropped. */
export const fields = <R extends t.Props, O extends t.Props = Record<never, never>>(
  required: R,
  optional: O = {} as O,
) => t.exact(t.intersection([t.type(required), t.partial(optional)]))

/** What a node is. The seed knows manager and worker; hub and client came with the faces. */
export const NodeType = Word('NodeType', ['manager', 'worker', 'hub', 'client'])
export type NodeType = t.TypeOf<typeof NodeType>

/** 32 hex digits that name a node for good; a guest worker is `<node id>/<guest name>`. */
export const NodeId = Pattern('NodeId', 100, /^[0-9a-f]{32}(\/[A-Za-z0-9_.-]{1,64})?$/)
export type NodeId = t.TypeOf<typeof NodeId>

/** One life of a node, from start to exit: 16 hex digits, new at every start. */
export const BootId = Pattern('BootId', 16, /^[0-9a-f]{16}$/)
export type BootId = t.TypeOf<typeof BootId>

/** Labels of letters, digits, `-` and `_`, joined by dots; compared exactly. */
export const HostName = Pattern(
  'HostName',
  200,
  /^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*$/,
)
export type HostName = t.TypeOf<typeof HostName>

/** The random id of a ledger, made with it: 10 lower-case letters and digits. */
export const LedgerId = Pattern('LedgerId', 10, /^[0-9a-z]{10}$/)
export type LedgerId = t.TypeOf<typeof LedgerId>

/** `<ledger id>-<sequence>`: a task can never be mistaken for one of another ledger. */
export const TaskId = Pattern('TaskId', 27, /^[0-9a-z]{10}-[1-9][0-9]{0,15}$/)
export type TaskId = t.TypeOf<typeof TaskId>

/** How often a task was handed out, from 1. */
export const Attempt = refined(
  'Attempt',
  { ...Uint.schema, minimum: 1 },
  (value): value is number => Uint.is(value) && value >= 1,
)

/** The random id of a relationship, chosen by the manager; every later message carries it. */
export const Rel = Pattern('Rel', 32, /^[0-9a-zA-Z_-]{1,32}$/)
export type Rel = t.TypeOf<typeof Rel>

/** An operating-system process id. */
export const Pid = refined(
  'Pid',
  { ...Uint.schema, minimum: 1 },
  (value): value is number => Uint.is(value) && value >= 1,
)
