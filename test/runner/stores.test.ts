// Stores: what is kept of an output, as properties over how it was cut into pieces.

import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import fc from 'fast-check'
import t from 'tap'
import { Blocks } from '../../src/runner/blocks.ts'
import { CaptureStore } from '../../src/runner/capture-store.ts'
import type { Store } from '../../src/runner/store.ts'
import { StreamStore } from '../../src/runner/stream-store.ts'

const sha256 = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex')

/** Bytes that tell where they belong. */
const pattern = (size: number): Buffer => {
  const bytes = Buffer.alloc(size)
  for (let i = 0; i < size; i += 1) bytes[i] = (i * 31 + (i >> 8) * 7) & 255
  return bytes
}

const pushInPieces = (store: Store, bytes: Buffer, sizes: readonly number[]): void => {
  let turn = 0
  for (let at = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1
    store.push(bytes.subarray(at, at + size))
    at += size
  }
}

const finished = (store: Store) =>
  new Promise<{ size: number; lost: number; sha256: string }>((resolve) =>
    store.finish(resolve),
  )

const readAll = (store: Store, max: number): { at: number; data: Buffer }[] => {
  const stretches = []
  for (let offset = 0; offset < store.written; ) {
    const { offset: at, data } = store.read(offset, max)
    if (data.length === 0 && at === offset) throw new Error(`stuck at ${offset}`)
    stretches.push({ at, data: Buffer.from(data) })
    offset = at + data.length
  }
  return stretches
}

const sizes = fc.array(fc.integer({ min: 1, max: 70_000 }), {
  minLength: 1,
  maxLength: 8,
})

t.test('blocks give back every byte of their window', async (t) => {
  fc.assert(
    fc.property(sizes, fc.nat(200_000), fc.nat(200_000), (pieces, drop, from) => {
      const blocks = new Blocks(5)
      const all = pattern(pieces.reduce((sum, size) => sum + size, 0))
      let at = 0
      for (const size of pieces) {
        blocks.push(all.subarray(at, at + size))
        at += size
      }
      let dropped = 0
      blocks.drop(5 + drop, (bytes) => {
        dropped += bytes.length
      })
      const start = Math.min(drop, all.length)
      if (blocks.start !== 5 + start || dropped !== start) return false
      const offset = Math.min(Math.max(from, start), all.length)
      const wanted = all.subarray(offset, offset + 1000)
      return wanted.equals(blocks.read(5 + offset, 1000))
    }),
    { numRuns: 50 },
  )
  t.pass('holds')
})

t.test('a capture keeps the first and last parts and counts the rest', async (t) => {
  const directory = t.testdir()
  await fc.assert(
    fc.asyncProperty(
      sizes,
      fc.nat(400_000),
      fc.integer({ min: 1, max: 300_000 }),
      fc.integer({ min: 1000, max: 70_000 }),
      async (pieces, size, capBytes, max) => {
        const store = new CaptureStore({ capBytes, directory })
        const bytes = pattern(size)
        pushInPieces(store, bytes, pieces)
        const kept = await finished(store)
        const head = Math.ceil(capBytes / 2)
        const lost = Math.max(0, size - capBytes)
        const wanted =
          lost === 0
            ? bytes
            : Buffer.concat([bytes.subarray(0, head), bytes.subarray(head + lost)])
        const stretches = readAll(store, max)
        const got = Buffer.concat(stretches.map(({ data }) => data))
        const inPlace = stretches.every(({ at, data }) =>
          bytes.subarray(at, at + data.length).equals(data),
        )
        store.close()
        return (
          kept.size === size &&
          kept.lost === lost &&
          kept.sha256 === sha256(wanted) &&
          got.equals(wanted) &&
          inPlace
        )
      },
    ),
    { numRuns: 60 },
  )
  t.pass('holds')
})

t.test('a capture tells a reader what was dropped before', async (t) => {
  const store = new CaptureStore({ capBytes: 100, directory: t.testdir() })
  t.teardown(() => store.close())
  store.push(pattern(1000))
  t.same(store.read(0, 20).lost, 0)
  t.same(store.read(49, 20), { offset: 49, data: pattern(50).subarray(49), lost: 0 })
  t.match(store.read(50, 20), { offset: 950, lost: 900 })
  t.match(store.read(1000, 20), { offset: 1000, lost: 900 })
})

t.test('a capture whose disk fails keeps what it has and goes on', async (t) => {
  const store = new CaptureStore({ capBytes: 1e6, directory: '/nowhere' })
  store.push(pattern(1000))
  store.push(pattern(100_000))
  const kept = await finished(store)
  t.same(kept, { size: 101_000, lost: 100_000, sha256: sha256(pattern(1000)) })
  t.match(store.read(0, 5000), { offset: 0, data: pattern(1000), lost: 0 })
  t.match(store.read(1000, 5000), { offset: 101_000, lost: 100_000 })
})

t.test('a stream is full at a bound and forgets what was acknowledged', async (t) => {
  const store = new StreamStore()
  const bytes = pattern(3 * 1024 * 1024)
  let at = 0
  let read = 0
  const got: Buffer[] = []
  while (read < bytes.length) {
    while (!store.isFull && at < bytes.length) {
      store.push(bytes.subarray(at, at + 65_536))
      at += 65_536
    }
    t.ok(at - read <= 1024 * 1024 + 65_536)
    const { data, offset } = store.read(read, 300_000)
    t.equal(offset, read)
    got.push(Buffer.from(data))
    read += data.length
  }
  t.ok(Buffer.concat(got).equals(bytes))
  t.same(await finished(store), { size: bytes.length, lost: 0, sha256: sha256(bytes) })
})

t.test('a stream that nobody reads becomes a capture without a gap', async (t) => {
  const directory = t.testdir()
  const bytes = pattern(900_000)
  const stream = new StreamStore()
  stream.push(bytes.subarray(0, 500_000))
  stream.read(200_000, 10)
  const capture = stream.toCapture(10_000_000, directory)
  t.teardown(() => capture.close())
  capture.push(bytes.subarray(500_000))
  const kept = await finished(capture)
  t.same(kept, { size: 900_000, lost: 0, sha256: sha256(bytes) }, 'digest of all')
  t.ok(
    Buffer.from(capture.read(200_000, 100).data).equals(bytes.subarray(200_000, 200_100)),
  )
})

t.test('what a reader has taken of a stream is lost for the next', async (t) => {
  const directory = t.testdir()
  const taken = (): StreamStore => {
    const stream = new StreamStore()
    stream.push(pattern(500))
    stream.read(200, 10)
    return stream
  }
  const memory = taken().toCapture(1000, directory)
  const file = taken().toCapture(1000, directory)
  t.teardown(() => {
    memory.close()
    file.close()
  })
  file.push(pattern(2000))
  t.match(taken().read(0, 300), { offset: 200, lost: 200 })
  t.match(memory.read(0, 300), { offset: 200, lost: 200 })
  t.match(memory.read(150, 300), { offset: 200, lost: 50 })
  t.match(memory.read(200, 300), { offset: 200, lost: 0 })
  t.match(file.read(0, 300), { offset: 200, lost: 200 })
  t.match(file.read(200, 300), { offset: 200, lost: 0 })
  t.match(file.read(700, 300), { offset: 2000, lost: 1300 }, 'and then the cap')
  const whole = taken()
  whole.read(500, 10)
  t.match(whole.read(100, 10), { offset: 500, data: Buffer.alloc(0), lost: 400 })
})

t.test('what the disk does not give back is lost, not empty', async (t) => {
  const store = new CaptureStore({ capBytes: 200_000, directory: t.testdir({}) })
  t.teardown(() => store.close())
  store.push(pattern(300_000))
  const { readSync, read } = fs
  const broken = Object.assign(new Error('EIO'), { code: 'EIO' })
  Object.assign(fs, {
    readSync: () => {
      throw broken
    },
    read: (...args: readonly unknown[]) => {
      const settle = args.at(-1)
      if (typeof settle === 'function') setImmediate(() => settle(broken, 0))
    },
  })
  syncBuiltinESMExports()
  t.teardown(() => {
    Object.assign(fs, { readSync, read })
    syncBuiltinESMExports()
  })
  t.match(store.read(0, 1000), { offset: 300_000, data: Buffer.alloc(0), lost: 300_000 })
  t.match(store.read(50_000, 1000), { offset: 300_000, lost: 250_000 })
  t.match(store.read(250_000, 1000), { offset: 300_000, lost: 150_000 })
  const { size, lost, sha256: digest } = await finished(store)
  t.same({ size, lost }, { size: 300_000, lost: 200_000 })
  t.equal(digest, sha256(pattern(300_000).subarray(0, 100_000)), 'of what is told')
})
