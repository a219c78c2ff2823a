// Predicate: a codec compiled to a closure that says whether a value is exactly valid.
//
// Decoding with io-ts allocates a context per field and is 10 to 26 times slower than
// this walk, which every message takes. "Exactly" means: every field right and no other
// field there, so that a value which passes is what decoding would give. One that does
// not pass may still be decoded (with a field more), or be refused with its path.

import type * as t from 'io-ts'

export type Predicate = (value: unknown) => boolean

/** A codec that accepts more than it knows names what it knows (ErrorKind). */
interface Knowing {
  readonly known: t.Mixed
}

/** The codecs that the table is made of, told apart by `_tag`. */
type Tagged =
  | (t.ExactType<t.HasProps> & { readonly _tag: 'ExactType' })
  | (t.InterfaceType<t.Props> & { readonly _tag: 'InterfaceType' })
  | (t.PartialType<t.Props> & { readonly _tag: 'PartialType' })
  | t.IntersectionType<t.Mixed[]>
  | t.UnionType<t.Mixed[]>
  | t.ArrayType<t.Mixed>
  | t.TupleType<t.Mixed[]>
  | t.DictionaryType<t.Mixed, t.Mixed>
  | t.RefinementType<t.Mixed>
  | t.LiteralType<string | number | boolean>

/** Compiles a codec. Throws on a codec that cannot be compiled exactly. */
export const compile = (codec: t.Mixed): Predicate => {
  if ('known' in codec) return compile((codec as t.Mixed & Knowing).known)
  // A codec without a tag of these is a scalar of ours, or a basic one: its `is` is exact.
  const type = codec as unknown as Tagged
  switch (type._tag) {
    case 'ExactType':
    case 'InterfaceType':
    case 'PartialType':
    case 'IntersectionType':
      return compileFields(codec)
    case 'UnionType':
      return compileUnion(type.types)
    case 'ArrayType':
      return compileArray(compile(type.type))
    case 'TupleType':
      return compileTuple(type.types.map(compile))
    case 'DictionaryType':
      return compileMap(compile(type.domain), compile(type.codomain))
    case 'RefinementType':
      return compileRefinement(compile(type.type), type.predicate)
    case 'LiteralType':
      return (value) => value === type.value
    default:
      return codec.is
  }
}

interface Field {
  readonly check: Predicate
  readonly need: 0 | 1
}

/** Every field that a (possibly nested) fielded codec names. */
export const fieldsOf = (
  codec: t.Mixed,
  need: 0 | 1 = 1,
): { name: string; codec: t.Mixed; need: 0 | 1 }[] => {
  const type = codec as unknown as Tagged
  switch (type._tag) {
    case 'ExactType':
      return fieldsOf(type.type, need)
    case 'IntersectionType':
      return type.types.flatMap((part) => fieldsOf(part, need))
    case 'InterfaceType':
    case 'PartialType': {
      const needed = type._tag === 'InterfaceType' ? 1 : 0
      return Object.entries(type.props).map(([name, field]) => ({
        name,
        codec: field,
        need: needed,
      }))
    }
    default:
      throw new TypeError(`Expected a codec with fields, got ${codec.name}`)
  }
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' &&
  value !== null &&
  Object.getPrototypeOf(value) === Object.prototype

const compileFields = (codec: t.Mixed): Predicate => {
  const known = new Map<string, Field>()
  let needed = 0
  for (const field of fieldsOf(codec)) {
    if (known.has(field.name)) throw new TypeError(`Field ${field.name} declared twice`)
    known.set(field.name, { check: compile(field.codec), need: field.need })
    needed += field.need
  }
  return (value) => {
    if (!isPlain(value)) return false
    let found = 0
    for (const name in value) {
      const field = known.get(name)
      if (field === undefined || !field.check(value[name])) return false
      found += field.need
    }
    return found === needed
  }
}

const compileUnion = (types: readonly t.Mixed[]): Predicate => {
  const byKind = new Map<unknown, Predicate>()
  for (const type of types) {
    const kind = kindOf(type)
    if (kind !== undefined) byKind.set(kind, compile(type))
  }
  if (byKind.size === types.length)
    return (value) =>
      isPlain(value) && byKind.get((value as { kind?: unknown }).kind)?.(value) === true
  const checks = types.map(compile)
  return (value) => checks.some((check) => check(value))
}

/** The literal of a codec's `kind` field, by which a union is dispatched. */
export const kindOf = (codec: t.Mixed): unknown => {
  const tag = (codec as unknown as Tagged)._tag
  if (tag !== 'ExactType') return undefined
  const kind = fieldsOf(codec).find((field) => field.name === 'kind')?.codec as
    | Tagged
    | undefined
  return kind?._tag === 'LiteralType' ? kind.value : undefined
}

const compileArray =
  (check: Predicate): Predicate =>
  (value) => {
    if (!Array.isArray(value)) return false
    for (let index = 0; index < value.length; index++)
      if (!check(value[index])) return false
    return true
  }

const compileTuple =
  (checks: readonly Predicate[]): Predicate =>
  (value) =>
    Array.isArray(value) &&
    value.length === checks.length &&
    checks.every((check, index) => check(value[index]))

const compileMap =
  (isKey: Predicate, isValue: Predicate): Predicate =>
  (value) => {
    if (!isPlain(value)) return false
    for (const name in value) if (!isKey(name) || !isValue(value[name])) return false
    return true
  }

/** A list's length is judged before its items: a long one costs nothing. */
const compileRefinement =
  (check: Predicate, also: (value: never) => boolean): Predicate =>
  (value) => {
    // `also` is given what it was declared for: only arrays are shown to it unchecked.
    if (Array.isArray(value)) return also(value as never) && check(value)
    return check(value) && also(value as never)
  }
