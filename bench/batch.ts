// 2,000 x `true` through `run --each-line`, beside a bare loop of child_process.spawn and
// GNU parallel, at the parallelism that the workers have slots.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { binary, commandMs, startMesh } from './support/mesh.ts'
import { hasPeer } from './support/peers.ts'
import { report } from './support/report.ts'
import { interleave, median, ratio } from './support/rounds.ts'
import { gnuParallelRate, spawnLoopRate } from './yardsticks/processes.ts'

const TASKS = 2_000
const PARALLEL = 2
const ROUNDS = 5

const mesh = await startMesh()
try {
  const list = join(mesh.state, 'lines')
  await writeFile(list, Array.from({ length: TASKS }, (_, line) => `${line}\n`).join(''))
  const batch = async (): Promise<number> => {
    const args = ['run', '--state', mesh.state, '--each-line', list, '--', '/bin/true']
    return TASKS / ((await commandMs(process.execPath, [binary, ...args])) / 1000)
  }
  const loops = await interleave(ROUNDS, batch, () => spawnLoopRate(TASKS, PARALLEL))
  report({
    what: `${TASKS} x true, by a bare spawn loop`,
    value: ratio(loops),
    unit: 'x',
    goal: ['>=', 1],
    note: `${median(loops.map((pair) => pair.subject)).toFixed(0)}/s by ${median(loops.map((pair) => pair.yardstick)).toFixed(0)}/s`,
  })
  const what = `${TASKS} x true, by GNU parallel`
  if (hasPeer('parallel', what)) {
    const parallels = await interleave(3, batch, () => gnuParallelRate(TASKS, PARALLEL))
    report({
      what,
      value: ratio(parallels),
      unit: 'x',
      goal: ['>=', 5],
      note: `${median(parallels.map((pair) => pair.yardstick)).toFixed(0)}/s for parallel`,
    })
  }
} finally {
  await mesh.close()
}
