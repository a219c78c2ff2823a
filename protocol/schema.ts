// Schema: a codec written out as JSON Schema 2020-12, for readers in other languages.
//
// It says what a receiver takes: unknown fields (ignored), and words of newer peers where
// the codec has a reading for them. Scalars carry their own rule; the rest is read off the
// codec's structure. A test holds every schema to its codec, value by value.

import type * as t from 'io-ts'
import { fieldsOf, kindOf } from './predicate.ts'
import type { Schema, WithSchema } from './scalars.ts'

/** Collects the shapes that have a name, and refers to them. */
export class Schemas {
  readonly #names: ReadonlyMap<t.Mixed, string>
  readonly #definitions = new Map<string, Schema>()

  /** `names`: the codecs that are written out once, in `definitions`. */
  constructor(names: ReadonlyMap<t.Mixed, string>) {
    this.#names = names
  }

  /** Every named shape that was met, by name. */
  get definitions(): Readonly<Record<string, Schema>> {
    const byName = [...this.#definitions].sort(([one], [other]) => (one < other ? -1 : 1))
    return Object.fromEntries(byName)
  }

  /** The schema of a codec, or a reference to it. */
  of(codec: t.Mixed): Schema {
    const name = this.#names.get(codec)
    if (name === undefined) return this.#write(codec)
    if (!this.#definitions.has(name)) {
      this.#definitions.set(name, {}) // its place, so that a shape may hold itself
      this.#definitions.set(name, this.#write(codec))
    }
    return { $ref: `#/$defs/${name}` }
  }

  #write(codec: t.Mixed): Schema {
    if ('known' in codec) return this.#open(codec as Knowing)
    // Read by tag only, as io-ts itself does for unions.
    const type = codec as unknown as {
      readonly _tag?: string
      readonly type: t.Mixed
      readonly types: readonly t.Mixed[]
      readonly codomain: t.Mixed
      readonly value: unknown
    }
    switch (type._tag) {
      case 'ExactType':
        return this.#fields(codec)
      case 'UnionType':
        return this.#union(type.types)
      case 'TupleType':
        return tuple(type.types.map((item) => this.of(item)))
      case 'ArrayType':
        return { type: 'array', items: this.of(type.type) }
      case 'DictionaryType':
        return { type: 'object', additionalProperties: this.of(type.codomain) }
      case 'LiteralType':
        return { const: type.value }
      case 'RefinementType':
        return codec.name === 'Int'
          ? { type: 'integer' }
          : { ...this.#write(type.type), ...schemaOf(codec) }
      case 'BooleanType':
        return { type: 'boolean' }
      default:
        return schemaOf(codec)
    }
  }

  #fields(codec: t.Mixed): Schema {
    const fields = fieldsOf(codec)
    const required = fields.flatMap(({ name, need }) => (need === 1 ? name : []))
    return {
      type: 'object',
      properties: Object.fromEntries(
        fields.map(({ name, codec: field }) => [name, this.of(field)]),
      ),
      ...(required.length > 0 && { required }),
      additionalProperties: true,
    }
  }

  #union(types: readonly t.Mixed[]): Schema {
    const schemas = types.map((type) => this.of(type))
    const literals = schemas.flatMap(({ const: literal }) => literal ?? [])
    return literals.length === types.length ? { enum: literals } : { anyOf: schemas }
  }

  /** What is known, or a word more, of a newer peer. */
  #open({ known, otherwise }: Knowing): Schema {
    const word = { type: 'string', maxLength: MAX_WORD }
    if (otherwise !== undefined)
      return {
        anyOf: [
          this.#write(known),
          { ...word, description: `of a newer peer: read as ${otherwise}` },
        ],
      }
    const { types } = known as t.UnionType<t.Mixed[]>
    const newer = {
      type: 'object',
      properties: { kind: { ...word, not: { enum: types.map(kindOf) } } },
      required: ['kind'],
      description: 'of a newer peer: read as Unknown, with the kind as its name',
    }
    return { anyOf: [...types.map((type) => this.of(type)), newer] }
  }
}

/** A codec that takes more than it knows; without `otherwise` it is a union on `kind`. */
type Knowing = t.Mixed & { readonly known: t.Mixed; readonly otherwise?: string }

/** The longest word of a newer peer that is taken. */
const MAX_WORD = 64

const tuple = (items: readonly Schema[]): Schema => ({
  type: 'array',
  prefixItems: items,
  items: false,
  minItems: items.length,
})

const schemaOf = (codec: t.Mixed): Schema => {
  if ('schema' in codec) return (codec as t.Mixed & WithSchema).schema
  throw new TypeError(`Expected a codec that has a schema, got \`${codec.name}\``)
}
