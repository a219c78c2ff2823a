// Fault: a codec compiled to a closure that finds the first wrong field of a value.
//
// io-ts collects every error of a value, each with its context: a frame of a megabyte can
// make that take seconds. This walk stops at the first. It takes what decoding takes
// (unknown fields included), so decoding a value without a fault finds no error.

import * as E from 'fp-ts/lib/Either.js'
import type * as t from 'io-ts'
import { fieldsOf, kindOf } from './predicate.ts'

/** Where the first fault is: names of fields, positions in lists; empty: the value itself. */
export type Path = readonly (string | number)[]
export type FindFault = (value: unknown) => Path | undefined

const here: Path = []

/** Newer words are taken from a peer; what we send ourselves must be known. */
export type Way = 'received' | 'sent'

export const compileFault = (codec: t.Mixed, way: Way = 'received'): FindFault => {
  if ('known' in codec) {
    const find = compileFault((codec as Knowing).known, way)
    return way === 'sent' ? find : tolerant(codec, find)
  }
  // Read by tag only, as io-ts itself does for unions.
  const type = codec as unknown as {
    readonly _tag?: string
    readonly type: t.Mixed
    readonly types: t.Mixed[]
    readonly codomain: t.Mixed
    readonly predicate: (value: never) => boolean
  }
  switch (type._tag) {
    case 'ExactType':
      return inFields(codec, way)
    case 'UnionType':
      return inUnion(type.types, way)
    case 'ArrayType':
      return inList(compileFault(type.type, way))
    case 'TupleType':
      return inTuple(type.types.map((item) => compileFault(item, way)))
    case 'DictionaryType':
      return inMap(compileFault(type.codomain, way))
    case 'RefinementType':
      return inRefined(compileFault(type.type, way), type.predicate)
    default:
      return (value) => (codec.is(value) ? undefined : here)
  }
}

type Knowing = t.Mixed & { readonly known: t.Mixed }

/** What is not among the known ones may still be taken; one value at a time, so io-ts may say. */
const tolerant =
  (codec: t.Mixed, find: FindFault): FindFault =>
  (value) => {
    const fault = find(value)
    return fault === undefined || E.isRight(codec.decode(value)) ? undefined : fault
  }

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  !ArrayBuffer.isView(value)

const inFields = (codec: t.Mixed, way: Way): FindFault => {
  const fields = fieldsOf(codec).map(({ name, codec: field, need }) => ({
    name,
    find: compileFault(field, way),
    need,
  }))
  return (value) => {
    if (!isMap(value)) return here
    for (const { name, find, need } of fields) {
      const field = value[name]
      const fault = field === undefined && need === 0 ? undefined : find(field)
      if (fault !== undefined) return [name, ...fault]
    }
    return undefined
  }
}

const inUnion = (types: readonly t.Mixed[], way: Way): FindFault => {
  const finders = types.map((type) => compileFault(type, way))
  const byKind = new Map(types.map((type, index) => [kindOf(type), finders[index]]))
  if (!byKind.has(undefined) && byKind.size === types.length)
    return (value) => {
      const find = isMap(value)
        ? byKind.get((value as { kind?: unknown }).kind)
        : undefined
      return find === undefined ? here : find(value)
    }
  return (value) => (finders.some((find) => find(value) === undefined) ? undefined : here)
}

const inList =
  (find: FindFault): FindFault =>
  (value) => {
    if (!Array.isArray(value)) return here
    for (let index = 0; index < value.length; index++) {
      const fault = find(value[index])
      if (fault !== undefined) return [index, ...fault]
    }
    return undefined
  }

const inTuple =
  (finders: readonly FindFault[]): FindFault =>
  (value) => {
    if (!Array.isArray(value) || value.length !== finders.length) return here
    for (const [index, find] of finders.entries()) {
      const fault = find(value[index])
      if (fault !== undefined) return [index, ...fault]
    }
    return undefined
  }

const inMap =
  (find: FindFault): FindFault =>
  (value) => {
    if (!isMap(value)) return here
    for (const name in value) {
      const fault = find(value[name])
      if (fault !== undefined) return [name, ...fault]
    }
    return undefined
  }

/** A list's length is judged before its items: a long one costs nothing. */
const inRefined =
  (find: FindFault, also: (value: never) => boolean): FindFault =>
  (value) => {
    // `also` is given what it was declared for: only arrays are shown to it unchecked.
    if (Array.isArray(value) && !also(value as never)) return here
    return find(value) ?? (also(value as never) ? undefined : here)
  }
