// Scan and wire: hostile bytes are refused, quickly and without a throw.

import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import { pack } from 'msgpackr'
import t from 'tap'
import { fromBytes, toBytes } from '../../protocol/index.ts'
import { REFUSED, SCAN_LIMITS, scan } from '../../protocol/scan.ts'
import { refusedFrames } from '../support/refused-frames.ts'

const of = (...parts: (number | readonly number[] | Uint8Array)[]): Uint8Array =>
  Uint8Array.from(
    parts.flatMap((part) => (typeof part === 'number' ? [part] : [...part])),
  )
const text = (value: string): number[] => [0xa0 | value.length, ...Buffer.from(value)]
/** `{a: 1, k: "Ack", b: <bytes>}` */
const around = (...body: (number | readonly number[] | Uint8Array)[]): Uint8Array =>
  of(0x83, text('a'), 1, text('k'), text('Ack'), text('b'), ...body)
const nested = (depth: number): number[] => [...new Array(depth).fill(0x91), 0xc0]
const map16 = (count: number): number[] => [0xde, count >> 8, count & 255]

const keys = (count: number): number[][] =>
  Array.from({ length: count }, (_, index) => [
    ...text(`k${index}`.padEnd(6, '_').slice(0, 6)),
    1,
  ])

t.test('bytes that are a frame, and bytes that are not', async (t) => {
  const cases: readonly [string, Uint8Array, boolean][] = [
    ['an empty body', around(0x80), true],
    ['a nil body', around(0xc0), true],
    [
      'every plain scalar',
      around(
        [0x9a, 0xe0, 0xcc, 1, 0xcd, 0, 1, 0xce, 0, 0, 0, 1],
        [0xcf, 0, 0, 0, 0, 0, 0, 0, 1],
        [0xd0, 1, 0xd1, 0, 1, 0xd2, 0, 0, 0, 1],
        [0xca, 0, 0, 0, 0],
        [0xc3],
      ),
      true,
    ],
    ['32 levels', around(nested(31)), true],
    ['33 levels', around(nested(32)), false],
    ['a thousand levels', around(nested(1000)), false],
    ['4,096 keys', around(map16(4096), ...keys(4096)), true],
    ['4,097 keys', around(map16(4097), ...keys(4097)), false],
    ['a key of 255 bytes', around([0x81, 0xd9, 255], new Array(255).fill(97), 1), true],
    ['a key of 256 bytes', around([0x81, 0xda, 1, 0], new Array(256).fill(97), 1), false],
    ['a number as key', around([0x81, 1, 1]), false],
    ['nil as key', around([0x81, 0xc0, 1]), false],
    ['binary as key', around([0x81, 0xc4, 1, 97, 1]), false],
    ['a map as key', around([0x81, 0x80, 1]), false],
    ['an array as key', around([0x81, 0x90, 1]), false],
    ['__proto__ as key', around([0x81], text('__proto__'), 0x80), false],
    [
      '__proto__ in a longer string',
      around([0x81, 0xd9, 9], text('__proto__').slice(1), 1),
      false,
    ],
    ['__proto_x as key', around([0x81], text('__proto_x'), 1), true],
    ['__proto__ as value', around(text('__proto__')), true],
    ['the unused byte', around(0xc1), false],
    ['a timestamp', around([0xd6, 0xff, 0, 0, 0, 0]), false],
    ['undefined as extension', around([0xd4, 0, 0]), false],
    ['a record definition', around([0xd4, 0x72, 0x40, 0x91], text('a'), 1), false],
    ['fixext 2', around([0xd5, 1, 0, 0]), false],
    ['fixext 8', around([0xd7, 1], new Array(8).fill(0)), false],
    ['fixext 16', around([0xd8, 1], new Array(16).fill(0)), false],
    ['ext 8', around([0xc7, 1, 1, 0]), false],
    ['ext 16', around([0xc8, 0, 1, 1, 0]), false],
    ['ext 32', around([0xc9, 0, 0, 0, 1, 1, 0]), false],
    ['a trailing byte', of(around(0x80), 0), false],
    ['two frames', of(around(0x80), around(0x80)), false],
    ['an array that claims 4 billion items', around([0xdd, 255, 255, 255, 255]), false],
    ['a map that claims 4 billion keys', around([0xdf, 255, 255, 255, 255]), false],
    ['a string that claims 4 GB', around([0xdb, 255, 255, 255, 255]), false],
    ['binary that claims 4 GB', around([0xc6, 255, 255, 255, 255]), false],
    ['nothing', of(), false],
    ['a number', of(1), false],
    ['an array', of(0x90), false],
    ['a string', of(text('hello')), false],
  ]
  for (const [name, bytes, isFrame] of cases) {
    t.equal(scan(bytes) !== REFUSED, isFrame, name)
    t.equal(E.isRight(fromBytes(bytes)), isFrame, name)
  }
})

t.test('each published refused frame is refused', async (t) => {
  for (const { why, bytes } of refusedFrames) t.ok(E.isLeft(fromBytes(bytes)), why)
})

t.test('200,000 nodes are the most', async (t) => {
  const array = (count: number) =>
    around([0xdd, 0, count >> 16, (count >> 8) & 255, count & 255], new Uint8Array(count))
  // The frame's own map is six nodes.
  t.not(scan(array(SCAN_LIMITS.nodes - 6)), REFUSED)
  t.equal(scan(array(SCAN_LIMITS.nodes - 5)), REFUSED)
})

t.test('a frame cut anywhere is refused', async (t) => {
  const whole = toBytes({
    q: 300,
    k: 'TasksPing',
    b: { list: [1, 2.5, -1, 2 ** 40, 'text', true, null], data: new Uint8Array(300) },
    t: 100,
  })
  t.ok(E.isRight(fromBytes(whole)))
  for (let end = 0; end < whole.length; end++)
    if (E.isRight(fromBytes(whole.subarray(0, end)))) t.fail(`cut at ${end}`)
})

t.test('exactly the two forms are envelopes', async (t) => {
  const good = [
    { q: 1, k: 'A', b: {}, t: 1 },
    { a: 1, k: 'A', b: {} },
    { b: null, k: '', a: 2 ** 53 - 1 },
  ]
  const bad = [
    {},
    { q: 1, a: 1, k: 'A', b: {} },
    { q: 1, a: 1, k: 'A', b: {}, t: 1 },
    { k: 'A', b: {}, t: 1 },
    { k: 'A', b: {} },
    { q: 1, k: 'A', b: {} },
    { a: 1, k: 'A', b: {}, t: 1 },
    { a: 1, k: 'A' },
    { a: 1, b: {} },
    { a: 0, k: 'A', b: {} },
    { a: -1, k: 'A', b: {} },
    { a: 1.5, k: 'A', b: {} },
    { a: 2 ** 53, k: 'A', b: {} },
    { a: '1', k: 'A', b: {} },
    { a: 1, k: 5, b: {} },
    { q: 1, k: 'A', b: {}, t: 0 },
    { q: 1, k: 'A', b: {}, t: -5 },
    { q: 1, k: 'A', b: {}, t: 1, x: 1 },
    { a: 1, k: 'A', b: {}, x: 1 },
    { x: 1, k: 'A', b: {} },
  ]
  for (const frame of good) t.ok(E.isRight(fromBytes(pack(frame))), JSON.stringify(frame))
  for (const frame of bad) t.ok(E.isLeft(fromBytes(pack(frame))), JSON.stringify(frame))
  const twice = of(
    0x84,
    text('a'),
    1,
    text('a'),
    2,
    text('k'),
    text('Ack'),
    text('b'),
    0x80,
  )
  t.ok(E.isLeft(fromBytes(twice)), 'a key twice')
})

t.test('no bytes make it throw, and what passes is plain', async (t) => {
  const isPlain = (value: unknown): boolean => {
    if (value instanceof Uint8Array) return true
    if (Array.isArray(value)) return value.every(isPlain)
    if (typeof value !== 'object') return typeof value !== 'bigint' && value !== undefined
    if (value === null) return true
    return (
      Object.getPrototypeOf(value) === Object.prototype &&
      Object.values(value).every(isPlain)
    )
  }
  const check = (bytes: Uint8Array) => {
    const frame = fromBytes(bytes)
    return E.isLeft(frame) || isPlain(frame.right)
  }
  const wire = fc.uint8Array({ maxLength: 200 })
  fc.assert(fc.property(wire, check), { numRuns: 2000 })
  fc.assert(
    fc.property(wire, (body) => check(around(body))),
    { numRuns: 3000 },
  )
  // A valid frame with some bytes changed.
  const changed = fc.tuple(
    fc.anything({ maxDepth: 3 }),
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
  )
  fc.assert(
    fc.property(changed, ([body, changes]) => {
      const bytes = Uint8Array.from(pack({ q: 1, k: 'A', b: body, t: 1 }))
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte
      return check(bytes)
    }),
    { numRuns: 2000 },
  )
  t.pass()
})

t.test('a legal map of 6 MB costs no more than a look at it', async (t) => {
  const names = Array.from({ length: 600_000 }, (_, index) => [`key${index}`, 1])
  const bytes = new Uint8Array(pack({ a: 1, k: 'A', b: new Map(names as [string, 1][]) }))
  const before = process.cpuUsage()
  t.equal(scan(bytes), REFUSED)
  const { user, system } = process.cpuUsage(before)
  t.ok(user + system < 100_000, `${user + system} us of processor time`)
})

t.test('what we send is plain MessagePack', async (t) => {
  const body = {
    big: 2 ** 40,
    float: 0.5,
    bytes: new Uint8Array(3),
    buffer: Buffer.from('x'),
  }
  const frame = fromBytes(toBytes({ a: 1, k: 'A', b: body }))
  t.same(frame, E.right({ a: 1, k: 'A', b: body }))
  t.ok(E.isLeft(fromBytes(toBytes({ a: 1, k: 'A', b: { at: new Date(0) } }))), 'no Date')
  t.ok(
    E.isLeft(fromBytes(toBytes({ a: 1, k: 'A', b: { x: undefined } }))),
    'no undefined',
  )
})

t.test('bytes stay as they were while later frames are packed', async (t) => {
  const frames = Array.from({ length: 500 }, (_, index) =>
    toBytes({ a: index + 1, k: 'A', b: { data: new Uint8Array(index * 7).fill(index) } }),
  )
  t.same(
    frames.map((bytes) => {
      const frame = fromBytes(bytes)
      return E.isRight(frame) && 'a' in frame.right && frame.right.a
    }),
    frames.map((_, index) => index + 1),
  )
})
