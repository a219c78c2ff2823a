// Arbitrary: values of a codec for fast-check, made from the codec itself.
//
// Composite codecs are walked by their tag; the scalars, whose rules are in functions, are
// known by name. A new scalar without a line here fails the tests with its name.

import fc from 'fast-check'
import type * as t from 'io-ts'
import { fieldsOf } from '../../protocol/predicate.ts'

type Values = fc.Arbitrary<unknown>

/** Every kind of valid value of `codec`. */
export const arbitraryOf = (codec: t.Mixed): Values => {
  if ('known' in codec) return arbitraryOf((codec as t.Mixed & { known: t.Mixed }).known)
  // Read by tag only, as io-ts itself does for unions.
  const type = codec as unknown as {
    readonly _tag?: string
    readonly type: t.Mixed
    readonly types: t.Mixed[]
    readonly domain: t.Mixed
    readonly codomain: t.Mixed
    readonly value: unknown
  }
  switch (type._tag) {
    case 'ExactType':
    case 'InterfaceType':
    case 'PartialType':
    case 'IntersectionType':
      return fieldsArbitrary(codec)
    case 'UnionType':
      return fc.oneof(...type.types.map(arbitraryOf))
    case 'TupleType':
      return fc.tuple(...type.types.map(arbitraryOf))
    case 'ArrayType':
      return fc.array(arbitraryOf(type.type), { maxLength: 4 })
    case 'DictionaryType':
      return fc.dictionary(mapKey, arbitraryOf(type.codomain), {
        maxKeys: 4,
        noNullPrototype: true,
      })
    case 'LiteralType':
      return fc.constant(type.value)
    case 'RefinementType':
      return codec.name === 'Int'
        ? fc.integer()
        : arbitraryOf(type.type).filter((value) => codec.is(value))
    default:
      return scalarArbitrary(codec)
  }
}

const fieldsArbitrary = (codec: t.Mixed): Values => {
  const fields = fieldsOf(codec)
  return fc.record(
    Object.fromEntries(fields.map((field) => [field.name, arbitraryOf(field.codec)])),
    {
      requiredKeys: fields.filter(({ need }) => need === 1).map(({ name }) => name),
      noNullPrototype: true,
    },
  )
}

/** Text without lone halves of pairs, which no UTF-8 can carry. */
const text = (max: number): fc.Arbitrary<string> =>
  fc
    .string({ unit: 'grapheme', maxLength: Math.min(max, 80) })
    .filter((value) => value.length <= max)

const mapKey = fc.oneof(
  fc.constantFrom('constructor', 'toString', 'toJSON', 'hasOwnProperty', 'a.b'),
  fc
    .stringMatching(/^[A-Za-z_][A-Za-z0-9_.]{0,20}$/)
    .filter((key) => key !== '__proto__'),
)

const uint = fc.oneof(
  fc.constantFrom(0, 1, 127, 128, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32 - 1, 2 ** 32),
  fc.constant(Number.MAX_SAFE_INTEGER),
  fc.maxSafeNat(),
)

const SCALARS: Readonly<Record<string, Values>> = {
  Uint: uint,
  Milliseconds: uint,
  Attempt: uint.map((value) => Math.max(1, value)),
  Pid: fc.integer({ min: 1, max: 4_194_304 }),
  string: text(80),
  boolean: fc.boolean(),
  NodeId: fc.stringMatching(/^[0-9a-f]{32}(\/[A-Za-z0-9_.-]{1,64})?$/),
  BootId: fc.stringMatching(/^[0-9a-f]{16}$/),
  LedgerId: fc.stringMatching(/^[0-9a-z]{10}$/),
  TaskId: fc.stringMatching(/^[0-9a-z]{10}-[1-9][0-9]{0,15}$/),
  ProcessId: fc.integer({ min: 1, max: 10 ** 15 }).map((number) => `p${number}`),
  Rel: fc.stringMatching(/^[0-9a-zA-Z_-]{1,32}$/),
  CertificateId: fc.stringMatching(/^[0-9a-f]{64}$/),
  Sha256: fc.stringMatching(/^[0-9a-f]{64}$/),
  Scope: fc.stringMatching(
    /^(read|tasks:run|processes|modules|admin)(@[A-Za-z0-9_.*?-]{1,20})?$/,
  ),
  HostName: fc.stringMatching(
    /^[A-Za-z0-9]([A-Za-z0-9_-]{0,20}[A-Za-z0-9])?(\.[a-z]{1,9})?$/,
  ),
  HostGlob: fc.stringMatching(/^[A-Za-z0-9_.*?-]{1,20}$/),
  UserName: fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}\$?$/),
  JobAddress: fc
    .tuple(fc.constantFrom('exec', 'noop', 'https', 'file', 'js'), text(60))
    .map(([scheme, rest]) => `${scheme}:${rest}`),
}

const scalarArbitrary = (codec: t.Mixed): Values => {
  const named = SCALARS[codec.name]
  if (named !== undefined) return named
  const limited = /^(Text|Bytes)\((\d+)\)$/.exec(codec.name)
  if (limited?.[1] === 'Text') return text(Number(limited[2]))
  if (limited?.[1] === 'Bytes')
    return fc.uint8Array({ maxLength: Math.min(Number(limited[2]), 200) })
  // One of a list of words: the codec itself says which.
  if ('words' in codec) return fc.constantFrom(...(codec.words as string[]))
  throw new TypeError(`Expected a scalar that has an arbitrary, got \`${codec.name}\``)
}
