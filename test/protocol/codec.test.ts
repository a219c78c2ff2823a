// Codec and predicate: every row and answer, there and back; what is refused, and where.

import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import type * as io from 'io-ts'
import t from 'tap'
import { encodeAnswer, encodeRequest } from '../../protocol/codec.ts'
import { compileFault } from '../../protocol/fault.ts'
import {
  decodeAnswer,
  decodeRequest,
  fromBytes,
  type Kind,
  toBytes,
} from '../../protocol/index.ts'
import { compile } from '../../protocol/predicate.ts'
import { arbitraryOf } from '../support/arbitrary.ts'
import { bodies } from '../support/rows.ts'

/** Bytes as arrays: a Buffer and a Uint8Array of the same bytes are the same body. */
const plain = (value: unknown): unknown => {
  if (value instanceof Uint8Array) return ['bytes', ...value]
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, plain(item)]),
  )
}

/** Only maps, lists, bytes and plain scalars: what unpacking gives. */
const isFromWire = (value: unknown): boolean => {
  if (value === null || value instanceof Uint8Array) return true
  if (typeof value !== 'object')
    return ['string', 'number', 'boolean'].includes(typeof value)
  const isPlain =
    Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype
  return isPlain && Object.values(value).every(isFromWire)
}

/** The same value with something else at a place in it. */
const changeAt = (body: unknown, path: readonly number[], value: unknown): unknown => {
  const [step, ...rest] = path
  if (step === undefined || typeof body !== 'object' || body === null) return value
  if (ArrayBuffer.isView(body)) return value
  const names = [...Object.keys(body), 'surplus']
  const name = names[step % names.length] ?? 'surplus'
  const fields = body as Record<string, unknown>
  fields[name] = changeAt(fields[name], rest, value)
  return body
}

t.test('every valid body passes, and comes back from the wire as it was', async (t) => {
  for (const { name, kind, answer, codec } of bodies) {
    const isExact = compile(codec)
    fc.assert(
      fc.property(arbitraryOf(codec), (body) => {
        if (!isExact(body)) throw new Error(`${name} is refused`)
        const k = answer ?? kind
        const sent =
          answer === undefined ? { q: 1, k, b: body, t: 1 } : { a: 1, k, b: body }
        const frame = fromBytes(toBytes(sent))
        if (E.isLeft(frame)) throw new Error('not a frame')
        const decoded =
          answer === undefined
            ? decodeRequest(frame.right.k, frame.right.b)
            : decodeAnswer(kind, frame.right.k, frame.right.b)
        if (E.isLeft(decoded)) throw new Error(JSON.stringify(decoded.left))
        return isDeepStrictEqual(plain(decoded.right), plain({ kind: k, body }))
      }),
      { numRuns: 40 },
    )
    t.pass(name)
  }
})

t.test('what passes the predicate is what decoding would give', async (t) => {
  for (const { name, codec } of bodies) {
    const isExact = compile(codec)
    const findFault = compileFault(codec)
    // Values near the valid ones: a field lost, changed or added somewhere.
    const near = fc
      .tuple(arbitraryOf(codec), fc.array(fc.nat(), { maxLength: 3 }), fc.anything())
      .map(([body, path, value]) => changeAt(structuredClone(body), path, value))
    fc.assert(
      fc.property(fc.oneof(near, fc.anything()), (value) => {
        const decoded = codec.decode(value)
        // A fault is found exactly where io-ts finds an error.
        if (isFromWire(value) && (findFault(value) === undefined) !== E.isRight(decoded))
          throw new Error(`${name}: ${findFault(value)?.join('.')}`)
        if (!isExact(value)) return true
        return E.isRight(decoded) && isDeepStrictEqual(plain(decoded.right), plain(value))
      }),
      { numRuns: 60 },
    )
    t.pass(name)
  }
})

t.test('an unknown field is dropped at any depth', async (t) => {
  const rel = 'r1'
  const decoded = decodeRequest('ManagerPing', { rel, later: { a: 1 } })
  t.same(decoded, E.right({ kind: 'ManagerPing', body: { rel } }))
  const status = { kind: 'Started', at_ms: 1, host: 'x' }
  t.same(
    decodeAnswer('TasksPing', 'TasksPong', { tasks_status: [['0123456789-1', status]] }),
    E.right({
      kind: 'TasksPong',
      body: { tasks_status: [['0123456789-1', { kind: 'Started', at_ms: 1 }]] },
    }),
  )
})

t.test('the path names the field and never its value', async (t) => {
  const task = {
    task_id: '0123456789-1',
    attempt: 1,
    job_addr: 'exec:true',
    arguments: [],
    timeout_ms: 0,
  }
  const assignment = (change: object) => ({
    rel: 'r1',
    epoch: 1,
    boot: '0123456789abcdef',
    tasks: [task, { ...task, ...change }],
  })
  const cases: readonly [object, string][] = [
    [{ attempt: 0 }, 'tasks.1.attempt'],
    [{ arguments: ['a', 5] }, 'tasks.1.arguments.1'],
    [{ env: { PATH: 7 } }, 'tasks.1.env.PATH'],
    [{ requires: { cores: -1 } }, 'tasks.1.requires.cores'],
    [{ output: 'everything' }, 'tasks.1.output'],
  ]
  for (const [change, path] of cases)
    t.same(
      decodeRequest('TasksExecute', assignment(change)),
      E.left({ code: 'malformed', path }),
    )
  t.same(
    decodeRequest('TaskError', {
      rel: 'r1',
      task_id: task.task_id,
      attempt: 1,
      error: { kind: 'SpawnError', code: 1, reason: '' },
    }),
    E.left({ code: 'malformed', path: 'error.code' }),
  )
  t.same(decodeRequest('ManagerPing', 5), E.left({ code: 'malformed', path: '' }))
})

t.test('only the answers of a row, and Error, are its answers', async (t) => {
  t.same(decodeAnswer('ManagerPing', 'Ack', {}), E.left({ code: 'unknown-kind' }))
  t.same(decodeAnswer('ManagerPing', 'constructor', {}), E.left({ code: 'unknown-kind' }))
  t.ok(E.isRight(decodeAnswer('ManagerPing', 'NotMine', {})))
  t.ok(E.isRight(decodeAnswer('ManagerPing', 'Error', { code: 'busy' })))
  for (const kind of ['constructor', '__proto__', 'toString', '', 'managerping'])
    t.same(decodeRequest(kind, {}), E.left({ code: 'unknown-kind' }), kind)
})

t.test('a task error of a newer peer is kept by its name', async (t) => {
  const body = {
    rel: 'r',
    task_id: '0123456789-1',
    attempt: 1,
    error: { kind: 'Melted' },
  }
  t.same(
    decodeRequest('TaskError', body),
    E.right({
      kind: 'TaskError',
      body: { ...body, error: { kind: 'Unknown', name: 'Melted' } },
    }),
  )
})

t.test('what is sent is clean, or is not sent', async (t) => {
  const clean = { rel: 'r1' }
  t.equal(encodeRequest('ManagerPing', clean), clean)
  t.strictSame(encodeRequest('ManagerBye', { rel: 'r1', reason: undefined }), clean)
  t.strictSame(encodeAnswer('ManagerPing', 'ManagerPong', { rel: 'r1', more: 1 }), clean)
  t.throws(() => encodeRequest('ManagerPing', { rel: '' }), /`rel`/)
  t.throws(() => encodeRequest('Nothing', {}), /Nothing/)
  t.throws(() => encodeAnswer('ManagerPing', 'Ack', {}), /Ack/)
  t.throws(() => encodeAnswer('ManagerPing', 'Error', { code: 'tired' }), /`code`/)
})

/** Paths at which a codec takes text or a list of any length. */
const unlimited = (codec: io.Mixed, path: string): readonly string[] => {
  const type = codec as unknown as {
    readonly _tag?: string
    readonly type: io.Mixed
    readonly types: readonly io.Mixed[]
    readonly props: Readonly<Record<string, io.Mixed>>
    readonly codomain: io.Mixed
  }
  switch (type._tag) {
    case 'StringType':
    case 'ArrayType':
    case 'DictionaryType':
      return [path]
    case 'RefinementType':
      return unlimitedWithin(type.type, path)
    case 'ExactType':
      return unlimited(type.type, path)
    case 'IntersectionType':
    case 'UnionType':
    case 'TupleType':
      return type.types.flatMap((part) => unlimited(part, path))
    case 'InterfaceType':
    case 'PartialType':
      return Object.entries(type.props).flatMap(([name, field]) =>
        unlimited(field, `${path}.${name}`),
      )
    default:
      return []
  }
}

/** What a refinement limits is a list or a map; its items have limits of their own. */
const unlimitedWithin = (codec: io.Mixed, path: string): readonly string[] => {
  const type = codec as unknown as {
    readonly _tag?: string
    readonly type: io.Mixed
    readonly codomain: io.Mixed
  }
  if (type._tag === 'ArrayType') return unlimited(type.type, `${path}[]`)
  if (type._tag === 'DictionaryType') return unlimited(type.codomain, `${path}[]`)
  return unlimited(codec, path)
}

t.test('every text, list and map of every message has a limit', async (t) => {
  for (const { name, codec } of bodies) t.same(unlimited(codec, name), [], name)
})

t.test('a map key that no frame may carry is no valid key', async (t) => {
  const submit = (env: Record<string, string>) =>
    decodeRequest('TasksSubmit', {
      key: 'k',
      tasks: [{ job_addr: 'exec:true', arguments: [], timeout_ms: 0, env }],
    })
  t.ok(E.isRight(submit({ ['é'.repeat(127)]: '' })))
  for (const name of ['é'.repeat(128), 'x'.repeat(256), '', 'a=b', 'a\0'])
    t.ok(E.isLeft(submit({ [name]: '' })), JSON.stringify(name.slice(0, 8)))
  t.ok(E.isLeft(submit(JSON.parse('{"__proto__":""}'))))
})

t.test(
  'a malformed body of a megabyte is refused as quickly as a small one',
  async (t) => {
    const bodies: readonly [Kind, object][] = [
      ['TasksPing', { rel: 'r', tasks: new Array(190_000).fill(1) }],
      ['TasksAbord', { rel: 'r', tasks: new Array(1000).fill({ task_id: 1 }) }],
      ['TasksAbord', { rel: 'r', tasks: new Array(190_000).fill(1) }],
    ]
    for (const [kind, body] of bodies) {
      const before = process.cpuUsage()
      t.ok(E.isLeft(decodeRequest(kind, body)))
      const { user, system } = process.cpuUsage(before)
      t.ok(user + system < 200_000, `${kind}: ${user + system} us of processor time`)
    }
  },
)

t.test('words of a newer peer are read as the safe one of ours', (t) => {
  const error = { code: 'too-hot', message: 'm', newer: 1 }
  t.same(decodeAnswer('TasksPing', 'Error', error), {
    _tag: 'Right',
    right: { kind: 'Error', body: { code: 'internal', message: 'm' } },
  })
  const task_id = 'abcdefghij-1'
  const refused = [
    { task_id, reason: 'too-hot', retry_after_ms: 5 },
    { task_id, reason: 'specs' },
  ]
  t.match(decodeAnswer('TasksExecute', 'TasksRefused', { refused }), {
    right: {
      body: {
        refused: [
          { task_id, reason: 'busy', retry_after_ms: 5 },
          { task_id, reason: 'specs' },
        ],
      },
    },
  })
  for (const code of [7, null, 'x'.repeat(65), undefined])
    t.match(decodeAnswer('TasksPing', 'Error', { code }), {
      left: { code: 'malformed', path: 'code' },
    })
  t.end()
})
