// manyhands.json and golden.json: up to date, and true. Each schema accepts what its codec
// accepts and refuses what it refuses, as judged by a validator that is not ours (ajv).

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import type * as io from 'io-ts'
import t from 'tap'
import { compileFault } from '../../protocol/fault.ts'
import { ErrorAnswer, kinds, rowOf } from '../../protocol/index.ts'
import { arbitraryOf } from '../support/arbitrary.ts'
import { bodies } from '../support/rows.ts'

const read = (name: string) => JSON.parse(readFileSync(`protocol/${name}.json`, 'utf8'))
const document = read('manyhands')
const golden = read('golden')

/** Where in the document a body's schema is. */
const placeOf = (kind: string, answer: string | undefined): string => {
  if (answer === 'Error') return '#/error'
  const place = `#/exchanges/${kind}`
  return answer === undefined ? `${place}/request` : `${place}/answers/${answer}`
}

/**
 * `unicode: false` counts UTF-16 units, as nodes do. With `bytes` the values have bytes as
 * bytes, not yet as base64: what the keyword says of them is checked in its place.
 */
const validator = (about: unknown, bytes: boolean): Ajv2020 => {
  const ajv = new Ajv2020({ strict: false, unicode: false, logger: false })
  if (bytes)
    ajv.addKeyword({
      keyword: 'x-bytes',
      validate: (max: number, value: unknown) =>
        value instanceof Uint8Array && value.byteLength <= max,
    })
  ajv.addSchema(about as object, 'manyhands')
  return ajv
}

/** The schema for values whose bytes are bytes. */
const forBytes = (schema: unknown): unknown => {
  if (Array.isArray(schema)) return schema.map(forBytes)
  if (typeof schema !== 'object' || schema === null) return schema
  if ('x-maxBytes' in schema) return { 'x-bytes': schema['x-maxBytes'] }
  return Object.fromEntries(
    Object.entries(schema).map(([name, part]) => [name, forBytes(part)]),
  )
}

const { $id: _, ...anonymous } = document
const ofBytes = validator(forBytes(anonymous), true)
const ofJson = validator(anonymous, false)
const compiled = (
  ajv: Ajv2020,
  name: string,
  kind: string,
  answer: string | undefined,
) => {
  const validate = ajv.getSchema(`manyhands${placeOf(kind, answer)}`)
  if (validate === undefined) throw new Error(`${name} has no schema`)
  return validate as ValidateFunction
}

/** A value of any size up to one more than a limit. */
const SIZES = [0, 16, 17, 32, 33, 64, 65, 255, 256, 257, 512, 513, 1000, 1001, 1024, 1025]
const BIG = [4096, 4097, 32_768, 32_769, 65_536, 65_537, 131_072, 131_073]
const NUMBERS = [-1, 0, 0.5, 1, 2 ** 53 - 1, 2 ** 53, 1e300, Number.NaN]
const WORDS = [
  '',
  'Unknown',
  'x',
  'noop:',
  '0123456789-0',
  'a b',
  'a\n',
  '.',
  `${'a'.repeat(32)}\n`,
]
const SCALARS = [null, true, {}, [], [[]], ...NUMBERS, ...WORDS]

/** `value` made as long as `size`: text, bytes, list or map. */
const resized = (value: unknown, size: number): unknown => {
  if (typeof value === 'string') return (value[0] ?? 'x').repeat(size)
  if (value instanceof Uint8Array) return new Uint8Array(size)
  if (Array.isArray(value)) return new Array(Math.min(size, 1001)).fill(value[0] ?? 'x')
  if (typeof value !== 'object' || value === null) return value
  const [first = 'x'] = Object.values(value)
  const names = Array.from({ length: Math.min(size, 1025) }, (_, index) => `k${index}`)
  return Object.fromEntries(names.map((name) => [name, first]))
}

const isTree = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)

/** The same value with one place in it changed, removed or added. */
const changed = (
  value: unknown,
  steps: readonly number[],
  change: (old: unknown) => unknown,
): unknown => {
  const [step, ...rest] = steps
  if (step === undefined || !isTree(value)) return change(value)
  const names = [...Object.keys(value), 'surplus']
  const at = names[step % names.length] ?? 'surplus'
  if (Array.isArray(value) && at === 'surplus') return [...value, change(value[0])]
  const copy = Array.isArray(value) ? [...value] : { ...value }
  const fields = copy as Record<string, unknown>
  const result = changed(fields[at], rest, change)
  if (result === undefined) delete fields[at]
  else fields[at] = result
  return Array.isArray(copy) ? copy.filter((_, index) => index in copy) : copy
}

const change = fc.oneof(
  fc.constantFrom(...SCALARS).map((value) => () => value),
  fc.constant(() => undefined),
  fc.constantFrom(...SIZES).map((size) => (old: unknown) => resized(old, size)),
  fc.constantFrom(...BIG).map((size) => (old: unknown) => resized(old, size)),
)

/** Values of a codec, as they are and with up to two changes. */
const nearby = (codec: io.Mixed) => {
  const one = fc.tuple(fc.array(fc.nat(), { maxLength: 4 }), change)
  return fc
    .tuple(arbitraryOf(codec), fc.array(one, { maxLength: 2 }))
    .map(([value, changes]) =>
      changes.reduce((so, [steps, how]) => changed(so, steps, how), value),
    )
}

t.test('what is generated in protocol/ is up to date', async (t) => {
  const { status, stderr } = spawnSync(
    process.execPath,
    ['scripts/docs-protocol.mjs', '--check'],
    { encoding: 'utf8' },
  )
  t.equal(status, 0, stderr)
})

t.test('a codec and its schema accept and refuse the same', async (t) => {
  let refused = 0
  for (const { name, kind, answer, codec } of bodies) {
    const findFault = compileFault(codec)
    const validate = compiled(ofBytes, name, kind, answer)
    fc.assert(
      fc.property(nearby(codec), (value) => {
        const fault = findFault(value)
        if (fault !== undefined) refused++
        if (validate(value) === (fault === undefined)) return
        const why = JSON.stringify(validate.errors?.slice(0, 3))
        throw new Error(`${name}: fault at ${fault?.join('.')}, schema says ${why}`)
      }),
      { numRuns: 100 },
    )
    t.pass(name)
  }
  t.ok(refused > 1000, `${refused} of them refused`)
})

t.test('the differences that the document states, and why', async (t) => {
  const submit = (change: object) => ({
    key: 'k',
    tasks: [{ job_addr: 'exec:true', arguments: [], timeout_ms: 0, ...change }],
  })
  const findFault = compileFault(rowOf('TasksSubmit').request)
  const strict = new Ajv2020({ strict: false, logger: false })
  strict.addSchema(anonymous, 'manyhands')
  const validate = compiled(strict, 'TasksSubmit', 'TasksSubmit', undefined)
  const looser = [
    submit({ name: '😀'.repeat(255) }),
    submit({ requires: { labels: { ['é'.repeat(255)]: '' } } }),
    submit({ stdin: 'text' }),
  ]
  t.equal(document.conventions.differences.length, looser.length)
  for (const value of looser) {
    t.ok(validate(value), 'the schema takes it')
    t.ok(findFault(value), 'a node does not')
  }
})

t.test('golden frames are in the table, and fit their schemas in JSON', async (t) => {
  const names = new Set<string>()
  for (const { kind, answer, frame, hex } of golden.frames) {
    const name = answer === undefined ? kind : `${kind}.${answer}`
    names.add(name)
    const validate = compiled(ofJson, name, kind, answer)
    t.ok(validate(frame.b), `${name}: ${JSON.stringify(validate.errors)}`)
    t.match(hex, /^([0-9a-f]{2})+$/)
  }
  for (const { name } of bodies) t.ok(names.has(name), name)
})

t.test('every kind is in the document, with each of its answers', async (t) => {
  t.same(Object.keys(document.exchanges), kinds)
  for (const kind of kinds)
    t.same(
      Object.keys(document.exchanges[kind].answers),
      Object.keys(rowOf(kind).answers),
    )
  t.ok(ErrorAnswer.is({ code: 'busy' }) && ofJson.getSchema('manyhands#/error'))
})
