// The journal: what was told done is there in the next life, whatever ended the last one.

import { spawn } from 'node:child_process'
import {
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  write,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import t from 'tap'
import { systemClock } from '../../src/clock.ts'
import { Journal } from '../../src/outbox/journal.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { quiet } from '../support/worker-world.ts'

const common = { machineBoot: 'one', clock: systemClock, log: quiet }

const open = (path: string, machineBoot = 'one') => {
  const warnings: object[] = []
  const log = {
    ...quiet,
    warn: (_event: string, fields = {}) => void warnings.push(fields),
  }
  const opened = Journal.open({ path, machineBoot, clock: systemClock, log })
  return { ...opened, warnings }
}
const synced = (journal: Journal) => new Promise<boolean>((done) => journal.sync(done))
/** What the next life finds, closed at once. */
const found = async (path: string) => {
  const { journal, values } = open(path)
  await journal.close()
  return Object.fromEntries(values)
}

t.test('what was put and not removed is there again', async (t) => {
  const path = join(t.testdir({}), 'journal')
  const { journal, values } = open(path)
  t.equal(values.size, 0)
  journal.put('a', { text: 'ä', bytes: Buffer.from([0, 255]), deep: [{ n: 2 ** 40 }] })
  journal.put('b', 1)
  journal.put('b', 2)
  journal.put('c', 3)
  journal.remove('c')
  journal.remove('never there')
  t.equal(await synced(journal), true)
  t.same(await found(path), {
    a: { text: 'ä', bytes: Buffer.from([0, 255]), deep: [{ n: 2 ** 40 }] },
    b: 2,
  })
})

t.test('whatever is done in several lives, a map would have the same', async (t) => {
  const directory = t.testdir({})
  let runs = 0
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('put' as const),
      name: fc.constantFrom('a', 'b', 'c'),
      value: fc.integer(),
    }),
    fc.record({
      kind: fc.constant('remove' as const),
      name: fc.constantFrom('a', 'b', 'c'),
    }),
    fc.record({ kind: fc.constant('sync' as const) }),
    fc.record({ kind: fc.constant('again' as const) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      runs += 1
      const path = join(directory, `journal-${runs}`)
      const model = new Map<string, number>()
      let { journal } = open(path)
      for (const one of steps) {
        if (one.kind === 'put') {
          journal.put(one.name, one.value)
          model.set(one.name, one.value)
        } else if (one.kind === 'remove') {
          journal.remove(one.name)
          model.delete(one.name)
        } else if (one.kind === 'sync') await synced(journal)
        else {
          await journal.close()
          const next = open(path)
          t.same(new Map(next.values), model)
          journal = next.journal
        }
      }
      await journal.close()
      t.same(await found(path), Object.fromEntries(model))
    }),
    { numRuns: 40 },
  )
})

t.test('cut anywhere, it has the records before the cut, and says so', async (t) => {
  const path = join(t.testdir({}), 'journal')
  const { journal } = open(path)
  const ends: number[] = []
  for (const name of ['a', 'b', 'c']) {
    journal.put(name, name.repeat(20))
    await synced(journal)
    ends.push(statSync(path).size)
  }
  const whole = readFileSync(path)
  const headEnd = whole.readUInt32LE(0) + 8
  for (let length = headEnd; length < whole.length; length += 1) {
    writeFileSync(path, whole)
    truncateSync(path, length)
    const { journal: next, values, warnings } = open(path)
    await next.close()
    const kept = ends.filter((end) => end <= length).length
    t.equal(values.size, kept, `cut at ${length}`)
    const isClean = length === headEnd || ends.includes(length)
    t.equal(warnings.length, isClean ? 0 : 1, `cut at ${length}`)
  }
})

t.test('a flipped bit ends it there; nothing false is read', async (t) => {
  const path = join(t.testdir({}), 'journal')
  const { journal } = open(path)
  journal.put('a', 'first')
  journal.put('b', 'second')
  await synced(journal)
  const whole = readFileSync(path)
  const headEnd = whole.readUInt32LE(0) + 8
  for (let at = headEnd; at < whole.length; at += 1) {
    const flipped = Buffer.from(whole)
    flipped[at] = (flipped[at] ?? 0) ^ 0x10
    writeFileSync(path, flipped)
    const { journal: next, values } = open(path)
    await next.close()
    const [a, b] = [values.get('a'), values.get('b')]
    t.ok(a === undefined || a === 'first', `flipped at ${at}`)
    t.equal(b, undefined, `flipped at ${at}`)
  }
})

t.test('what is not ours, or newer, is refused with the remedy, and stays', async (t) => {
  const path = join(t.testdir({}), 'journal')
  for (const content of ['no journal at all', Buffer.alloc(100)]) {
    writeFileSync(path, content)
    t.throws(() => open(path), {
      name: 'ForeignJournalError',
      message: /was not written by this version.*move the file away/,
    })
    t.same(readFileSync(path), Buffer.from(content))
  }
})

t.test('it tells whether the machine has been down since', async (t) => {
  const path = join(t.testdir({}), 'journal')
  const boots = ['one', 'one', 'two', 'two', 'one']
  const same: boolean[] = []
  for (const boot of boots) {
    const { journal, isSameBoot } = open(path, boot)
    same.push(isSameBoot)
    await journal.close()
  }
  t.same(same, [false, true, false, true, false])
})

t.test('25 MiB put: it is written anew when most of it is out of date', async (t) => {
  const path = join(t.testdir({}), 'journal')
  const { journal } = open(path)
  journal.put('stays', 'here')
  const piece = Buffer.alloc(256 * 1024, 1)
  let most = 0
  for (let turn = 0; turn < 100; turn += 1) {
    journal.put('changes', piece)
    await synced(journal)
    most = Math.max(most, statSync(path).size)
  }
  await journal.close()
  t.ok(most < 18 * 1024 * 1024, `${most} bytes at most`)
  t.same(readdirSync(join(path, '..')), ['journal'])
  t.same(await found(path), { stays: 'here', changes: piece })
})

t.test('kill -9 at any moment: what was told done is there', async (t) => {
  const directory = t.testdir({})
  const fixture = fileURLToPath(new URL('./fixtures/fill-journal.js', import.meta.url))
  for (const round of [0, 1, 2]) {
    const path = join(directory, `journal-${round}`)
    const child = spawn(process.execPath, [fixture, path])
    t.teardown(() => child.kill('SIGKILL'))
    let said = ''
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (text) => {
        said += text
        if (said.length > 2000 * (round + 1)) resolve()
      })
    })
    const exited = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGKILL')
    await exited
    const last = Number(
      said
        .trimEnd()
        .split('\n')
        .at(said.endsWith('\n') ? -1 : -2),
    )
    const values = await found(path)
    // Number n is put in step n, and n - 10 removed; a step may be done and not yet said.
    for (let n = last - 8; n <= last; n += 1) t.equal(values[`n${n}`], n, `n${n}`)
    t.equal(values[`n${last - 10}`], undefined)
    t.equal(existsSync(`${path}.new`), false)
  }
})

t.test('a full disk: told so, what was there stays, and it goes on later', async (t) => {
  const path = join(t.testdir({}), 'journal')
  let room = Number.POSITIVE_INFINITY
  // A disk takes what it has room for, and then nothing.
  const full = ((fd, bytes: Buffer, offset: number, length: number, position) => {
    const count = Math.min(length, room)
    room -= count
    if (count > 0) return writeSync(fd, bytes, offset, count, position)
    throw Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' })
  }) as typeof writeSync
  const { journal } = Journal.open({ ...common, path, writeSync: full })
  journal.put('a', 1)
  journal.put('b', 2)
  t.equal(await synced(journal), true)
  const { size } = statSync(path)
  for (const left of [5, 0]) {
    room = left
    journal.remove('a')
    journal.put('c', 3)
    t.equal(await synced(journal), false, `${left} bytes of room`)
    t.equal(statSync(path).size, size, 'nothing of it stays')
  }
  room = Number.POSITIVE_INFINITY
  journal.put('d', 4)
  t.equal(await synced(journal), true)
  await journal.close()
  t.same(await found(path), { b: 2, d: 4 }, 'a removal is not forgotten')
})

t.test(
  'a disk that is slow once has its writes made elsewhere for a while',
  async (t) => {
    const path = join(t.testdir({}), 'journal')
    const clock = createManualClock()
    const made: string[] = []
    let isSlow = false
    const { journal } = Journal.open({
      ...common,
      clock,
      path,
      write: ((...args: Parameters<typeof write>) => {
        made.push('elsewhere')
        return write(...args)
      }) as typeof write,
      writeSync: ((...args: Parameters<typeof writeSync>) => {
        made.push('at once')
        if (isSlow) clock.stall(6)
        return writeSync(...args)
      }) as typeof writeSync,
    })
    const put = async (n: number) => {
      journal.put('n', n)
      t.equal(await synced(journal), true)
    }
    await put(1)
    isSlow = true
    await put(2)
    isSlow = false
    await put(3)
    clock.advance(10_000)
    await put(4)
    t.same(made, ['at once', 'at once', 'elsewhere', 'at once'])
    await journal.close()
    t.same(await found(path), { n: 4 })
  },
)
