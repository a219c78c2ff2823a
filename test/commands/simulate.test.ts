// simulate: from flags to a table, JSON and a picture.

import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { plot } from '../../src/commands/plot.ts'
import { linearScale, logScale, shortNumber } from '../../src/commands/scales.ts'
import { loadsOf } from '../../src/commands/simulate-sweep.ts'
import { Shell } from './support.ts'

const small = ['--workers', '3', '--tasks', '120', '--task-ms', '200']

t.test('a table, with what it stands for below', async (t) => {
  const { code, stdout, stderr } = await new Shell().call('simulate', ...small)
  t.equal(code, 0, stderr)
  const [heading = '', row = '', note] = stdout.split('\n')
  t.match(heading, /^WORKERS +TASKS +TOOK +TASKS\/S/)
  t.match(row, /^ +3 +120 +\d/)
  t.equal(
    note,
    'tasks of 200 ms, 4 cores a worker, no faults; sockets and disks cost nothing here',
  )
  t.equal(stderr, '')
})

t.test('--json is a list of objects, and a seed gives the same again', async (t) => {
  const call = async (seed: string) => {
    const flags = [...small, '--faults', 'crash,cut', '--json', '--seed', seed]
    const { code, stdout } = await new Shell().call('simulate', ...flags)
    t.equal(code, 0)
    const [{ manager_us_per_task: us, manager_of_core: part, ...row }] =
      JSON.parse(stdout)
    t.ok(us > 0 && part > 0, 'what is measured on this machine is there')
    return row
  }
  const first = await call('7')
  t.match(first, {
    ...{ workers: 3, cores: 4, managers: 1, tasks: 120, task_ms: 200, seed: 7 },
    ...{ faults: ['crash', 'cut'], failed: 0 },
  })
  t.same(await call('7'), first)
  t.not((await call('8')).took_ms, first.took_ms)
})

t.test('a sweep draws a picture', async (t) => {
  const file = join(t.testdir(), 'mesh.svg')
  const flags = [...small, '--workers', '12', '--sweep', '--faults', 'crash']
  const { code, stdout } = await new Shell().call('simulate', ...flags, '--svg', file)
  t.equal(code, 0)
  // 2, 10 and 12 workers; 2, 12 and 120 tasks.
  t.equal(stdout.split('\n').filter((line) => /^ +\d/.test(line)).length, 9)
  const svg = readFileSync(file, 'utf8')
  t.match(svg, /<title id="title">Tasks of 200 ms, 4 cores a worker, crash<\/title>/)
  t.match(svg, /12 workers, 120 tasks: \d+ a second/)
  for (const title of ['Throughput', 'Recovery from a fault, worst', '120 tasks'])
    t.match(svg, title)
})

t.test('a picture that cannot be written is told', async (t) => {
  const flags = [...small, '--tasks', '2', '--sweep', '--svg', '/nowhere/x.svg']
  const { code, stderr } = await new Shell().call('simulate', ...flags)
  t.equal(code, 1)
  t.match(stderr, /^manyhands: cannot write \/nowhere\/x\.svg: ENOENT/)
})

t.test('mistakes in its use', async (t) => {
  const mistakes: readonly [readonly string[], RegExp][] = [
    [['--faults', 'rain'], /expected one of crash, power, .*, got 'rain'/],
    [['--faults', ''], /expected one of/],
    [['--workers', '0'], /expected a whole number of at least 1, got '0'/],
    [['--tasks', '1e6'], /expected a whole number/],
    [['--svg', 'x.svg'], /--svg needs --sweep/],
    [['--workers', '2', '--managers', '3'], /a worker for each manager, got 2 for 3/],
  ]
  for (const [flags, message] of mistakes) {
    const { code, stderr } = await new Shell().call('simulate', ...flags)
    t.equal(code, 2, flags.join(' '))
    t.match(stderr, message)
  }
})

t.test('a sweep goes up to the sizes that were said', async (t) => {
  const load = { cores: 4, taskMs: 1, faults: [], seed: 1 }
  const sizes = (workers: number, tasks: number, managers = 1) =>
    loadsOf({ ...load, workers, tasks, managers }, true).map((one) => [
      one.workers,
      one.tasks,
    ])
  t.same(sizes(2, 1_000), [
    [2, 10],
    [2, 100],
    [2, 1_000],
  ])
  t.same(sizes(40, 1), [
    [2, 1],
    [10, 1],
    [40, 1],
  ])
  t.same(
    sizes(20, 1, 4).map(([workers]) => workers),
    [10, 20],
    'as many workers as managers at least',
  )
})

t.test('axes name round values around what they show', async (t) => {
  t.same(logScale([2, 10, 1_000]).ticks, [2, 5, 10, 20, 50, 100, 200, 500, 1_000])
  t.same(logScale([3, 40_000]).ticks, [10, 100, 1_000, 10_000])
  t.same(logScale([7]).ticks, [5, 10])
  t.same(linearScale([0.7, 33]).ticks, [0, 5, 10, 15, 20, 25, 30, 35])
  t.same(linearScale([0]).at(0), 0)
  const values = fc.array(fc.double({ min: 1e-3, max: 1e9, noNaN: true }), {
    minLength: 1,
    maxLength: 9,
  })
  const property = fc.property(values, (some) =>
    [logScale(some), linearScale(some)].every(
      ({ at, ticks }) =>
        ticks.length >= 2 &&
        ticks.length <= 16 &&
        some.every((value) => at(value) >= -1e-6 && at(value) <= 1 + 1e-6),
    ),
  )
  t.doesNotThrow(() => fc.assert(property))
  t.same([0.25, 20, 1_500, 2e6, 3e9].map(shortNumber), ['0.25', '20', '1.5k', '2M', '3G'])
})

t.test('a figure says in words what it shows, and nothing in it is markup', async (t) => {
  const series = [{ name: 'a<b', points: [{ x: 1, y: 2 }] }]
  const panel = { title: 'T', xLabel: 'x', yLabel: 'y' }
  const svg = plot({
    title: '<script>',
    description: 'one & two',
    panels: [
      { ...panel, series },
      { ...panel, series: [] },
    ],
  })
  t.match(svg, /role="img" aria-labelledby="title description"/)
  t.match(svg, '<title id="title">&#60;script&#62;</title>')
  t.match(svg, 'one &#38; two')
  t.match(svg, 'no values')
  t.notMatch(svg, /NaN|Infinity|<script/)
})

t.test('the picture of the README is one of these', async (t) => {
  t.ok(statSync('docs/simulate.svg').size < 64 * 1024)
  const svg = readFileSync('docs/simulate.svg', 'utf8')
  t.match(svg, /1000 workers, \d+[kM] tasks/)
  t.match(readFileSync('README.md', 'utf8'), /\]\(docs\/simulate\.svg\)/)
})
