// The log: one line per event, whatever the values are.

import t from 'tap'
import { type LogOptions, makeLog } from '../src/log.ts'

const clock = { now: () => 0, wall: () => 1_000, after: () => () => undefined }

const keep = (given: Partial<LogOptions> = {}) => {
  const lines: string[] = []
  const write = (line: string) => lines.push(line)
  const log = makeLog({ level: 'info', format: 'text', clock, write, ...given })
  return { log, lines }
}

t.test(
  'a line has its time, level, event and fields; those always given first',
  async (t) => {
    const { log, lines } = keep({ fields: { node: 'pi' } })
    log.info('connected', { peer: 'm', ms: 3, dialled: true, gone: undefined })
    t.same(lines, ['00:00:01.000 info  connected node=pi peer=m ms=3 dialled=true\n'])
  },
)

t.test('below its level nothing is written', async (t) => {
  const { log, lines } = keep({ level: 'warn' })
  log.debug('a')
  log.info('b')
  log.warn('c')
  log.error('d')
  t.equal(lines.length, 2)
})

t.test('a value cannot look like a line of ours, nor steer a terminal', async (t) => {
  const { log, lines } = keep()
  const hostile = [
    'a b',
    'x\nfake',
    '"',
    '',
    '\x1b[2J',
    '\x9b2J',
    '\x7f',
    '\u202eevil',
    '\u2028',
  ]
  for (const why of hostile) log.info('ended', { why })
  t.equal(lines.length, hostile.length)
  for (const [at, line] of lines.entries()) {
    const [, value = ''] = /^00:00:01.000 info {2}ended why=(".*")\n$/.exec(line) ?? []
    t.equal(JSON.parse(value), hostile[at])
    t.notMatch(
      line.slice(0, -1),
      /[\p{Cc}\p{Cf}\u2028\u2029]/u,
      'nothing but its end is a control',
    )
  }
})

t.test('as JSON a line is an object', async (t) => {
  const { log, lines } = keep({ format: 'json' })
  log.error('ended', { why: 'x\ny' })
  t.same(JSON.parse(lines[0] ?? ''), {
    at: '1970-01-01T00:00:01.000Z',
    level: 'error',
    event: 'ended',
    why: 'x\ny',
  })
  t.equal(lines[0]?.split('\n').length, 2)
})
