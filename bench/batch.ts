// 2,000 x `true` through `run --each-line`, beside a bare loop of child_process.spawn and
// GNU parallel, at the parallelism that the workers have slots.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { comparison } from './support/figures.ts'
import { binary, commandMs, startMesh } from './support/mesh.ts'
import { hasPeer } from './support/peers.ts'
import { report } from './support/report.ts'
import { interleave } from './support/rounds.ts'
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
  const what = `${TASKS} x true`
  const bare = { what, yardstick: 'a bare spawn loop', unit: '/s' }
  report(comparison({ ...bare, goal: ['>=', 1] }, loops))
  if (hasPeer('parallel', what)) {
    const parallels = await interleave(3, batch, () => gnuParallelRate(TASKS, PARALLEL))
    const gnu = { what, yardstick: 'GNU parallel', unit: '/s' }
    report(comparison({ ...gnu, goal: ['>=', 5] }, parallels))
  }
} finally {
  await mesh.close()
}
