// Benchmarks: medians, ratios, verdicts, the table and the JSON result.

import fc from 'fast-check'
import t from 'tap'
import { comparison, type Figure, isMet, tableOf } from '../../bench/support/figures.ts'
import { benchmarkOf, type Results, textOf } from '../../bench/support/results.ts'
import { interleave, median, quantile, ratio } from '../../bench/support/rounds.ts'

const machine = { cpu: 'x', cores: 2, memory_bytes: 1, system: 'x', node: 'x', load: [0] }

t.test('the median is the middle, the quantile what a share lies below', async (t) => {
  const cases: readonly [readonly number[], number][] = [
    [[3], 3],
    [[3, 1, 2], 2],
    [[4, 1, 2, 3], 2.5],
    [[10, 9, 100], 10],
  ]
  for (const [values, middle] of cases) t.equal(median(values), middle, String(values))
  const hundred = Array.from({ length: 100 }, (_, at) => 100 - at)
  t.equal(quantile(hundred, 0.99), 100)
  t.equal(quantile(hundred, 0.5), 51)
  t.same([median([]), quantile([], 0.5)], [Number.NaN, Number.NaN])
})

t.test('a median lies between the least and the most, whatever the order', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), { minLength: 1 }),
      (values) => {
        const middle = median(values)
        const same = median([...values].reverse())
        return (
          middle === same &&
          middle >= Math.min(...values) &&
          middle <= Math.max(...values)
        )
      },
    ),
  )
  t.pass('in every case')
})

t.test(
  'a subject and its yardstick are measured in turn, the first not counted',
  async (t) => {
    const order: string[] = []
    let at = 0
    const measure = (name: string) => async () => {
      order.push(name)
      return ++at
    }
    const pairs = await interleave(3, measure('a'), measure('b'))
    t.equal(order.join(''), 'ababbaab')
    t.same(pairs, [
      { subject: 3, yardstick: 4 },
      { subject: 6, yardstick: 5 },
      { subject: 7, yardstick: 8 },
    ])
    t.equal(ratio(pairs), 7 / 8, 'the median of the ratios, not the ratio of medians')
  },
)

t.test('a goal is met at its bound', async (t) => {
  const figure = { what: '', unit: '' }
  const cases: readonly [Figure, boolean][] = [
    [{ ...figure, value: 1, goal: ['>=', 1] }, true],
    [{ ...figure, value: 0.99, goal: ['>=', 1] }, false],
    [{ ...figure, value: 1, goal: ['<=', 1] }, true],
    [{ ...figure, value: 1.01, goal: ['<=', 1] }, false],
    [{ ...figure, value: Number.NaN, goal: ['<=', 1] }, false],
    [{ ...figure, value: 1 }, true],
  ]
  for (const [one, expected] of cases) t.equal(isMet(one), expected)
})

t.test('the columns of a table are as wide as their widest cell', async (t) => {
  const table = tableOf([
    ['what', 'value', 'goal'],
    ['a long name', '1 x', ''],
    ['b', '10000/s', '>= 1'],
  ])
  t.same(table.split('\n'), [
    'what           value  goal',
    'a long name      1 x',
    'b            10000/s  >= 1',
  ])
})

const compared = comparison(
  { what: 'noop tasks', yardstick: 'beanstalkd', unit: '/s', goal: ['>=', 1] },
  [
    { subject: 200, yardstick: 100 },
    { subject: 330, yardstick: 110 },
    { subject: 300, yardstick: 300 },
  ],
)

t.test('a figure stands beside its yardstick', async (t) => {
  t.same(compared, {
    what: 'noop tasks',
    value: 2,
    unit: 'x',
    goal: ['>=', 1],
    yardstick: { name: 'beanstalkd', ours: 300, theirs: 110, unit: '/s', rounds: 3 },
  })
})

t.test('a run tells its figures, what is missing, and what failed', async (t) => {
  const missing = { what: 'noop, one at a time', yardstick: 'gearmand', remedy: 'do' }
  const plain = { what: 'first byte', value: 12.345, unit: 'ms', note: 'p50 2 ms' }
  const slow = { what: 'ready', value: 2, unit: 's', goal: ['<=', 1] }
  const lines = [{ figure: compared }, { missing }, { figure: plain }, { figure: slow }]
  const recorded = lines.map((line) => `${JSON.stringify(line)}\n`).join('')
  const ended = { seconds: 1, status: 'ok' } as const
  const whole = benchmarkOf('noop', recorded, ended)
  t.same(
    whole.figures.map(({ met }) => met),
    [true, undefined, false],
  )
  t.same(whole.missing, [missing])
  const half = benchmarkOf('half', `${recorded}{"figure":{"wh`, {
    seconds: 1,
    status: 'failed',
  })
  t.equal(half.figures.length, 3, 'a line that was cut off is left out')
  const results: Results = {
    format: 1,
    at: '2026-01-01T00:00:00.000Z',
    machine,
    benchmarks: [whole, { ...half, figures: [], missing: [] }],
  }
  t.same(JSON.parse(JSON.stringify(results)), results, 'it is JSON')
  t.same(textOf(results).split('\n'), [
    'what                         value  yardstick                     goal',
    'noop: noop tasks            2.00 x  300/s by 110/s of beanstalkd  >= 1  met',
    'noop: first byte           12.3 ms                                               p50 2 ms',
    'noop: ready                 2.00 s                                <= 1  MISSED',
    'noop: noop, one at a time  missing  gearmand is not installed           skipped  do',
    '',
    '3 figures, 1 of 2 goals met; 1 skipped, for want of gearmand; half FAILED',
    '',
  ])
})

t.test('a figure that came to nothing misses its goal', async (t) => {
  const figure = { what: 'x', value: Number.NaN, unit: 'x', goal: ['>=', 1] }
  const { figures } = benchmarkOf('x', `${JSON.stringify({ figure })}\n`, {
    seconds: 1,
    status: 'ok',
  })
  t.match(figures, [{ value: Number.NaN, met: false }])
})
