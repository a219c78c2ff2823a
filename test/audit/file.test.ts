// The file of an audit log: what it survives, what it says of what it did not, and that its
// chain goes on over lives and parts.

import {
  appendFileSync,
  readdirSync,
  readFileSync,
  statSync,
  write,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { AuditFile, type AuditFileOptions } from '../../src/audit/file.ts'
import { logsIn } from '../../src/audit/logs.ts'
import { recordOnce } from '../../src/audit/record-once.ts'
import { linesOf, verify } from '../../src/audit/verify.ts'
import { systemClock } from '../../src/clock.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { quiet } from '../support/worker-world.ts'

const opener = (t: Test, more: Partial<AuditFileOptions> = {}) => {
  const directory = t.testdir({})
  const open = (again: Partial<AuditFileOptions> = {}) =>
    new AuditFile({
      directory,
      name: 'n',
      clock: systemClock,
      log: quiet,
      ...more,
      ...again,
    })
  const path = join(directory, 'n.jsonl')
  const events = async (): Promise<string[]> => {
    const seen: string[] = []
    for (const log of logsIn(directory).filter(({ name }) => name === 'n'))
      for await (const { link } of linesOf(log))
        seen.push(typeof link === 'string' ? link : link.event)
    return seen
  }
  const verdict = async () => {
    const [log] = logsIn(directory).filter(({ name }) => name === 'n')
    return log === undefined ? undefined : await verify(log)
  }
  return { directory, open, path, events, verdict }
}

t.test(
  'the chain goes on in the next life; files are for their owner alone',
  async (t) => {
    const { open, path, events, verdict } = opener(t)
    for (const life of ['a', 'b', 'c']) {
      const audit = open()
      audit.record(`${life}1`, { list: ['x', 'y'], n: 1, none: undefined })
      audit.record(`${life}2`)
      await audit.close()
      t.match(await verdict(), { head: audit.head, broken: undefined })
    }
    t.same(await events(), ['a1', 'a2', 'b1', 'b2', 'c1', 'c2'])
    t.equal(statSync(path).mode & 0o777, 0o600)
  },
)

t.test(
  'a line that a dying machine left half is cut off, and that is said',
  async (t) => {
    const { open, path, events, verdict } = opener(t)
    const first = open()
    first.record('one')
    await first.close()
    appendFileSync(path, '{"seq":2,"at":"20')
    t.match(await verdict(), { isOpenEnded: true, broken: undefined, head: { seq: 1 } })
    const second = open()
    second.record('two')
    await second.close()
    t.same(await events(), ['one', 'audit-end-cut', 'two'])
    t.match(await verdict(), { head: { seq: 3 }, broken: undefined })
  },
)

t.test('what ends in something else is kept aside as it is, and named', async (t) => {
  const { directory, open, path, events } = opener(t)
  const first = open()
  first.record('one')
  await first.close()
  appendFileSync(path, 'what somebody wrote into it\n')
  const second = open()
  second.record('two')
  await second.close()
  t.same(await events(), ['audit-broken', 'two'])
  const [, aside] = logsIn(directory)
  if (aside === undefined) throw new Error('Expected the broken one to be there')
  t.match(aside.name, /^n-broken-\d+$/)
  t.match(await verify(aside), { broken: { line: 2, why: /no line of an audit log/ } })
})

t.test('a changed line is named, with file and line', async (t) => {
  const { open, path, verdict } = opener(t)
  const audit = open()
  for (const n of [1, 2, 3, 4]) audit.record('e', { n })
  await audit.close()
  writeFileSync(path, readFileSync(path, 'utf8').replace('"n":3', '"n":5'))
  t.match(await verdict(), {
    head: { seq: 2 },
    broken: { file: path, line: 3, why: /changed/ },
  })
})

t.test(
  'full parts are put aside, the oldest dropped, and the chain holds over them',
  async (t) => {
    const { directory, open, verdict, events } = opener(t, {
      partBytes: 1_000,
      partsKept: 3,
    })
    let audit = open()
    for (let n = 1; n <= 60; n += 1) {
      audit.record('e', { n })
      await new Promise(setImmediate)
      await new Promise(setImmediate)
      if (n % 13 === 0) {
        await audit.close()
        audit = open()
      }
    }
    await audit.close()
    const [log] = logsIn(directory)
    t.equal(log?.parts.length, 4, 'the current one and three')
    const result = await verdict()
    t.match(result, { broken: undefined, head: { seq: 60 } })
    t.ok((result?.from ?? 0) > 10, `from ${result?.from}`)
    t.equal((await events()).length, 61 - (result?.from ?? 0))
  },
)

t.test(
  'a disk that takes nothing holds nobody up; what was lost is counted',
  async (t) => {
    let isFull = false
    const full = ((...args: Parameters<typeof write>) => {
      if (!isFull) return write(...args)
      const done = args.at(-1) as (error: Error, count: number) => void
      setImmediate(() => done(new Error('ENOSPC'), 0))
    }) as typeof write
    const clock = createManualClock()
    const { open, path, verdict, events } = opener(t, { write: full, clock })
    const audit = open()
    audit.record('before')
    while (statSync(path).size === 0) await new Promise(setImmediate)
    isFull = true
    for (let n = 0; n < 30_000; n += 1) audit.record('meanwhile')
    for (let n = 0; n < 5; n += 1) await new Promise(setImmediate)
    isFull = false
    // It tries again once a second.
    while (!(await events()).includes('audit-lost')) {
      clock.advance(1_000)
      await new Promise(setImmediate)
    }
    audit.record('after')
    await audit.close()
    t.match(await verdict(), { broken: undefined, head: audit.head })
    const all = await events()
    const kept = all.filter((event) => event === 'meanwhile').length
    t.ok(kept > 1_000 && kept < 10_000, `${kept} of 30,000 fit`)
    t.equal(all[0], 'before')
    t.equal(all.at(-1), 'after')
  },
)

t.test(
  'what anybody can cause is told a hundred times in ten seconds, then counted',
  async (t) => {
    const clock = createManualClock()
    const { open, events, path } = opener(t, { clock })
    const audit = open()
    for (let n = 0; n < 500; n += 1) audit.record('busy')
    audit.record('refused', { one: 'is not hidden by the flood of another' })
    audit.record('asked')
    clock.advance(10_000)
    for (let n = 0; n < 101; n += 1) audit.record('denied')
    await audit.close()
    const all = await events()
    t.same(new Set(all.slice(0, 100)), new Set(['busy']))
    t.same(all.slice(100, 104), ['refused', 'asked', 'untold', 'denied'])
    t.same(all.slice(-2), ['denied', 'untold'], 'at the end too')
    t.equal(all.length, 100 + 2 + 1 + 100 + 1)
    const text = readFileSync(path, 'utf8')
    t.match(text, /"event":"untold","of":"busy","count":400/)
    t.match(text, /"event":"untold","of":"denied","count":1[,}]/)
  },
)

t.test('commands that record at the same moment stand one after the other', async (t) => {
  const directory = t.testdir({})
  const all = Array.from({ length: 12 }, (_, n) =>
    recordOnce(directory, 'commands', 'revoked', { n }),
  )
  t.same(await Promise.all(all), Array(12).fill(undefined))
  const [log] = logsIn(join(directory, 'audit'))
  if (log === undefined) throw new Error('Expected a log')
  t.match(await verify(log), { broken: undefined, head: { seq: 12 } })
  t.same(readdirSync(join(directory, 'audit')), ['commands.jsonl'])
})
