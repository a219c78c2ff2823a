// Watch: what no implementation may do, whatever is asked of it. Every frame that any raw
// peer receives is looked at; the cases about it are judged when all others are over.

import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import type { Frame } from './bytes.ts'
import { facts } from './protocol.ts'

export type Watched = 'frames' | 'ids' | 'answers' | 'rows' | 'schemas'

interface From {
  readonly frames: readonly Frame[]
}

/** Compiled when first needed, and kept: a schema is the same for every run. */
const validators = new Map<string, ValidateFunction>()
let compiler: Ajv2020 | undefined

/** The check of a body whose schema is at `place`; undefined: there is none. */
const validatorOf = (place: string): ValidateFunction | undefined => {
  compiler ??= newCompiler()
  const validate = validators.get(place) ?? compiler.getSchema(`manyhands${place}`)
  if (validate !== undefined) validators.set(place, validate)
  return validate
}

const newCompiler = (): Ajv2020 => {
  const ajv = new Ajv2020({ strict: false, logger: false })
  ajv.addKeyword({
    keyword: 'x-bytes',
    validate: (max: number, value: unknown) =>
      value instanceof Uint8Array && value.byteLength <= max,
  })
  const { $id: _, ...document } = forBytes(facts) as Record<string, unknown>
  return ajv.addSchema(document, 'manyhands')
}

export class Watch {
  readonly #broken = new Map<Watched, Set<string>>()

  /** What was seen against a rule, each once. */
  against(rule: Watched): readonly string[] {
    return [...(this.#broken.get(rule) ?? [])]
  }

  broken(rule: Watched, what: string): void {
    this.#broken.set(rule, (this.#broken.get(rule) ?? new Set()).add(what))
  }

  /** Unpacks; what cannot be is noted. */
  read(unpack: () => Frame): Frame | undefined {
    try {
      const frame = unpack()
      const names = Object.keys(frame).sort().join('')
      if (names === 'abk' || names === 'bkqt') return frame
      this.broken('frames', `a frame with the keys ${Object.keys(frame).join(', ')}`)
    } catch {
      this.broken('frames', 'bytes that are not MessagePack')
    }
    return undefined
  }

  /** `asked`: the kinds of our own requests without an answer, by id. */
  frame(from: From, frame: Frame, asked: ReadonlyMap<number, string>): void {
    if (frame.q !== undefined) this.#request(from, frame, frame.q)
    else this.#answer(frame, asked.get(frame.a ?? 0))
  }

  #request({ frames }: From, { k, b }: Frame, id: number): void {
    const last = frames.findLast(({ q }) => q !== undefined)?.q ?? 0
    if (!(Number.isSafeInteger(id) && id > last))
      this.broken('ids', `the request ${k} has the id ${id} after ${last}`)
    this.#check(k, `#/exchanges/${k}/request`, b)
  }

  #answer({ a, k, b }: Frame, asked: string | undefined): void {
    if (asked === undefined) {
      this.broken('answers', `${k} answers ${a}, which waits for no answer`)
      return
    }
    const row = facts.exchanges[asked]
    if (k === 'Error') this.#check(k, '#/error', b)
    else if (row === undefined || !(k in row.answers))
      this.broken('rows', `${k} answers ${asked}`)
    else this.#check(`${k} to ${asked}`, `#/exchanges/${asked}/answers/${k}`, b)
  }

  #check(what: string, place: string, body: unknown): void {
    const validate = validatorOf(place)
    if (validate === undefined) {
      this.broken('rows', `it asks ${what}, which is in no table`)
      return
    }
    if (validate(body)) return
    const [first] = validate.errors ?? []
    this.broken('schemas', `${what}: ${first?.instancePath} ${first?.message}`)
  }
}

/** The schemas for values whose bytes are bytes, not yet base64. */
const forBytes = (schema: unknown): unknown => {
  if (Array.isArray(schema)) return schema.map(forBytes)
  if (typeof schema !== 'object' || schema === null) return schema
  if ('x-maxBytes' in schema) return { 'x-bytes': schema['x-maxBytes'] }
  return Object.fromEntries(
    Object.entries(schema).map(([name, part]) => [name, forBytes(part)]),
  )
}
