// The chain of an audit log: whatever is done to it afterwards, but at its end, shows.

import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { BEGINNING, breach, nextLine, readLine } from '../../src/audit/chain.ts'

/** A chain of so many lines. */
const chain = (count: number): string[] => {
  const lines: string[] = []
  let head = BEGINNING
  for (let n = 1; n <= count; n += 1) {
    const next = nextLine(head, {
      at: '2026-01-01T00:00:00.000Z',
      event: 'e',
      n,
      text: 'ä"\\,',
    })
    lines.push(next.line)
    head = next.head
  }
  return lines
}

/** The first line that does not hold, from 0; -1: all do. */
const firstBroken = (lines: readonly string[]): number => {
  let head = BEGINNING
  for (const [index, line] of lines.entries()) {
    const link = readLine(line)
    if (typeof link === 'string' || breach(head, link) !== undefined) return index
    head = link
  }
  return -1
}

const lines = chain(12)
const index = fc.integer({ min: 0, max: lines.length - 1 })

t.test('a chain holds, and its lines say what was put in', async (t) => {
  t.equal(firstBroken(lines), -1)
  t.match(readLine(lines[4] ?? ''), {
    seq: 5,
    event: 'e',
    fields: { n: 5, text: 'ä"\\,' },
  })
})

t.test('a hash is that of the line without it, as anybody can compute', async (t) => {
  const [, text = '', hash] = /^(.*),"hash":"(.*)"\}$/.exec(lines[3] ?? '') ?? []
  t.equal(hash, createHash('sha256').update(`${text}}`).digest('hex'))
})

t.test('any character changed anywhere is found in that line', async (t) => {
  fc.assert(
    fc.property(
      index,
      fc.nat(),
      fc.string({ minLength: 1, maxLength: 1 }),
      (at, where, by) => {
        const line = lines[at] ?? ''
        const place = where % line.length
        fc.pre(line[place] !== by)
        const changed = line.slice(0, place) + by + line.slice(place + 1)
        return firstBroken(lines.with(at, changed)) === at
      },
    ),
  )
  t.pass('in every case')
})

t.test(
  'a line taken out, doubled or moved is found where the order breaks',
  async (t) => {
    fc.assert(
      fc.property(index, index, (one, other) => {
        const out = lines.filter((_, at) => at !== one)
        const twice = lines.toSpliced(one, 0, lines[one] ?? '')
        if (one < lines.length - 1 && firstBroken(out) !== one) return false
        if (firstBroken(twice) !== one + 1) return false
        if (one === other) return true
        const swapped = lines.with(one, lines[other] ?? '').with(other, lines[one] ?? '')
        return firstBroken(swapped) === Math.min(one, other)
      }),
    )
    t.pass('in every case')
  },
)

t.test('a line that is made anew, hash and all, breaks the next one', async (t) => {
  fc.assert(
    fc.property(index, (at) => {
      fc.pre(at < lines.length - 1)
      const before = at === 0 ? BEGINNING : readLine(lines[at - 1] ?? '')
      if (typeof before === 'string') return false
      const forged = nextLine(before, { at: '', event: 'another' }).line
      return firstBroken(lines.with(at, forged)) === at + 1
    }),
  )
  t.pass('in every case')
})

t.test('what is no line is told from one that was changed', async (t) => {
  const rows: [line: string, is: string][] = [
    ['', 'foreign'],
    ['{}', 'foreign'],
    ['no json', 'foreign'],
    [`["a"],"hash":"${'0'.repeat(64)}"}`, 'foreign'],
    [(lines[0] ?? '').replace('"n":1', '"n":2'), 'changed'],
  ]
  for (const [line, is] of rows) t.equal(readLine(line), is, line.slice(0, 40))
})
