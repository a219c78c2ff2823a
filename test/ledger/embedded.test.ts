// The embedded ledger on a disk: killed, damaged, full, taken over.

import { spawn, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { compacted, usageOf } from '../../src/ledger/compact.ts'
import { createEmbeddedLedger, hasSpace } from '../../src/ledger/embedded.ts'
import { openEmbeddedLedger } from '../../src/ledger/open.ts'
import { openStore, takeOver } from '../../src/ledger/store.ts'
import type { Ledger } from '../../src/ports.ts'
import {
  assigned,
  closed,
  committed,
  replayed,
  submission,
  submitted,
} from './support.ts'

const folder = (t: Test): string => {
  const directory = mkdtempSync(join(tmpdir(), 'ledger-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}
const newId = () => 'abcdefghij'
const room = () => true
const open = async (directory: string): Promise<Ledger> => {
  const ledger = await openEmbeddedLedger({ directory, newId, hasRoom: room })
  if (E.isLeft(ledger)) throw new Error(ledger.left)
  return ledger.right
}
/** A ledger with two hundred tasks, closed in good order. */
const filled = async (directory: string): Promise<void> => {
  const ledger = await open(directory)
  for (let n = 0; n < 10; n += 1)
    await committed(ledger, submitted(submission(1 + 20 * n, 20)), closed(1 + 20 * n))
  await ledger.close()
}

t.test('kill -9 at any moment: what was told safe is there, whole', async (t) => {
  const fixture = fileURLToPath(new URL('./fixtures/fill-ledger.js', import.meta.url))
  const directory = folder(t)
  /** Each was said when it was recorded as given out, and the third before it as closed. */
  const told: number[] = []
  for (const round of [1, 2, 3]) {
    const child = spawn(process.execPath, [fixture, directory])
    t.teardown(() => child.kill('SIGKILL'))
    let said = ''
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (text) => {
        said += text
        if (said.length > 150 * round) resolve()
      })
    })
    const exited = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGKILL')
    await exited
    const whole = said.slice(0, said.lastIndexOf('\n'))
    told.push(...whole.split('\n').map(Number))
    const copy = folder(t)
    cpSync(directory, copy, { recursive: true })
    const ledger = await open(copy)
    t.equal(ledger.epoch, round + 1)
    const tasks = await replayed(ledger)
    await ledger.close()
    const bySeq = new Map(tasks.map((task) => [task.seq, task]))
    for (const seq of told) {
      const isGiven = bySeq.get(seq)?.assigned.length === 1
      const isClosed = seq <= 3 || bySeq.get(seq - 3)?.closed !== undefined
      if (!isGiven || !isClosed) t.fail(`task ${seq}: ${isGiven}, ${isClosed}`)
    }
    const last = told.at(-1) ?? 0
    t.ok(tasks.length >= last && tasks.length <= last + 1, `${tasks.length} of ${last}`)
  }
})

t.test('whoever takes over ends the commits of the one before', async (t) => {
  const directory = folder(t)
  const first = await open(directory)
  t.match(await committed(first, submitted(submission(1, 2))), { kind: 'durable' })
  const store = openStore(directory)
  const epoch = takeOver(store)
  const second = createEmbeddedLedger({
    store,
    id: first.id,
    epoch,
    directory,
    hasRoom: room,
  })
  t.match(await committed(first, closed(1)), { kind: 'fenced' })
  t.match(await committed(first, closed(2)), { kind: 'fenced' }, 'for good')
  t.same(
    (await replayed(second)).map(({ closed }) => closed),
    [undefined, undefined],
  )
  t.match(await committed(second, closed(1)), { kind: 'durable' })
  await second.close()
  await first.close()
})

t.test('without room nothing new is taken, and outcomes are', async (t) => {
  const directory = folder(t)
  let isFull = false
  const opened = await openEmbeddedLedger({ directory, newId, hasRoom: () => !isFull })
  if (E.isLeft(opened)) throw new Error(opened.left)
  const ledger = opened.right
  t.match(await committed(ledger, submitted(submission(1, 1))), { kind: 'durable' })
  isFull = true
  t.match(await committed(ledger, submitted(submission(2, 1)), assigned(1)), {
    kind: 'full',
  })
  t.equal(ledger.nextSequence(), 2)
  t.same(ledger.task(1)?.assigned, [], 'nothing of it was applied')
  t.match(await committed(ledger, closed(1)), { kind: 'durable' })
  isFull = false
  t.match(await committed(ledger, submitted(submission(2, 1))), { kind: 'durable' })
  await ledger.close()
  t.ok(hasSpace(directory))
})

const small = mkdtempSync(join(tmpdir(), 'small-disk-'))
const isMounted =
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'none', small]).status === 0
t.teardown(() => {
  if (isMounted) spawnSync('umount', ['-l', small])
  rmSync(small, { recursive: true, force: true })
})

t.test(
  'on a full disk it closes all the same, and forgets nothing that it could not',
  isMounted ? {} : { skip: 'no file system can be mounted here' },
  async (t) => {
    const store = openStore(small)
    const epoch = takeOver(store)
    const common = { id: newId(), epoch, directory: small, hasRoom: room }
    const ledger = createEmbeddedLedger({ ...common, store })
    await committed(ledger, submitted(submission(1, 1)), closed(1))
    // LMDB says EIO of a disk without room.
    const meta = Object.create(store.meta, {
      ifVersion: { value: () => Promise.reject(new Error('EIO')) },
    })
    const full = createEmbeddedLedger({ ...common, store: { ...store, meta } })
    await replayed(full)
    t.match(await committed(full, closed(1)), { kind: 'full' })
    full.retire([1])
    await full.close()
    const next = openStore(small)
    const again = createEmbeddedLedger({ ...common, store: next, epoch: takeOver(next) })
    t.match(await replayed(again), [{ seq: 1, closed: { state: 'completed' } }])
    await again.close()
  },
)

t.test('what is damaged is refused with the remedy, and nobody dies of it', async (t) => {
  const whole = folder(t)
  await filled(whole)
  const data = (directory: string) => join(directory, 'data.mdb')
  const { size } = statSync(data(whole))
  const patched = (directory: string, from: number, bytes: number, by: number) => {
    const content = readFileSync(data(directory))
    for (let at = from; at < from + bytes; at += 1) content[at] = (content[at] ?? 0) ^ by
    writeFileSync(data(directory), content)
  }
  const rows: [what: string, damage: (directory: string) => void, says: RegExp][] = [
    [
      'gone',
      (directory) => rmSync(data(directory)),
      /data\.mdb is not there, though it was/,
    ],
    ['empty', (directory) => truncateSync(data(directory)), /data\.mdb is empty/],
    [
      'another file',
      (directory) => writeFileSync(data(directory), 'x'.repeat(20_000)),
      /is no database of a ledger/,
    ],
    [
      'cut',
      (directory) => truncateSync(data(directory), size / 2),
      /reading it|it has no/,
    ],
    [
      'pages without content',
      (directory) => {
        const content = readFileSync(data(directory))
        content.fill(0, 8192, content.length)
        writeFileSync(data(directory), content)
      },
      /reading it|it has no|Error/,
    ],
    [
      'bits flipped',
      (directory) => patched(directory, 8192, size - 8192, 0x10),
      /cannot be read/,
    ],
  ]
  for (const [what, damage, says] of rows) {
    const directory = folder(t)
    cpSync(whole, directory, { recursive: true })
    // As after kill -9: it was not closed in good order.
    rmSync(join(directory, 'clean'))
    damage(directory)
    const opened = await openEmbeddedLedger({ directory, newId, hasRoom: room })
    if (E.isRight(opened)) {
      t.fail(`${what}: it was opened`)
      await opened.right.close()
      continue
    }
    t.match(opened.left, says, what)
    t.match(opened.left, /put back a copy of that folder, or move it away/, what)
  }
})

t.test('a value that is not what was written is found by its checksum', async (t) => {
  const directory = folder(t)
  await filled(directory)
  rmSync(join(directory, 'clean'))
  const content = readFileSync(join(directory, 'data.mdb'))
  // A word of a body, wherever its page is.
  for (let at = content.indexOf('noop:'); at >= 0; at = content.indexOf('noop:', at + 1))
    content.write('nope:', at)
  writeFileSync(join(directory, 'data.mdb'), content)
  const opened = await openEmbeddedLedger({ directory, newId, hasRoom: room })
  t.match(opened, { left: /batches \d+ is not what was written/ })
})

t.test('a newer schema is refused; a start that was killed begins again', async (t) => {
  const directory = folder(t)
  const store = openStore(directory)
  await store.root.close()
  const begun = await open(directory)
  t.equal(begun.id, 'abcdefghij')
  await begun.close()
  const newer = openStore(directory)
  newer.meta.putSync('schema', 99)
  await newer.root.close()
  const opened = await openEmbeddedLedger({ directory, newId, hasRoom: room })
  t.match(opened, { left: /written by a newer version \(schema 99, this one knows 1\)/ })
})

t.test(
  'a file that is mostly free is written anew, and holds what it held',
  async (t) => {
    const directory = folder(t)
    const first = await open(directory)
    const count = 2_000
    await committed(
      first,
      submitted(submission(1, count)),
      submitted(submission(9_000, 2)),
    )
    for (let seq = 1; seq <= count; seq += 1) await committed(first, assigned(seq))
    await committed(first, ...Array.from({ length: count }, (_, n) => closed(n + 1)))
    first.retire(Array.from({ length: count }, (_, n) => n + 1))
    await committed(first, assigned(9_000), closed(9_001, 'failed'))
    await first.close()
    const data = join(directory, 'data.mdb')
    const before = statSync(data).size
    // What a start has left that was killed while it wrote.
    mkdirSync(join(directory, 'compact'))
    writeFileSync(join(directory, 'compact', 'data.mdb'), 'half')
    const failures: string[] = []
    const store = await compacted(
      directory,
      openStore(directory),
      (reason) => failures.push(reason),
      0,
    )
    t.same(failures, [])
    const { fileBytes, usedBytes } = usageOf(store)
    await store.root.close()
    t.ok(statSync(data).size < before / 2, `${before} bytes, then ${statSync(data).size}`)
    t.ok(usedBytes <= fileBytes && usedBytes > fileBytes / 2)
    t.equal(statSync(data).mode & 0o777, 0o600)
    t.notOk(existsSync(join(directory, 'compact')))
    const second = await open(directory)
    t.ok(second.epoch > first.epoch)
    t.match(await replayed(second), [
      { seq: 9_001, closed: { state: 'failed' } },
      { seq: 9_000, assigned: [{ attempt: 1 }] },
    ])
    t.equal(second.nextSequence(), 9_002)
    await committed(second, closed(9_000))
    await second.close()
    const kept = await compacted(directory, openStore(directory), (reason) =>
      t.fail(reason),
    )
    t.equal(usageOf(kept).fileBytes, statSync(data).size, 'a small one is left as it is')
    await kept.root.close()
  },
)
