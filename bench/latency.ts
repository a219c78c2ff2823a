// From submit to result on a warm mesh, one task at a time: `true`, a program that starts
// and ends; and `noop:`, beside gearmand with one worker that returns at once.

import { connect, type TaskRequest } from '../src/index.ts'
import { comparison } from './support/figures.ts'
import { startMesh } from './support/mesh.ts'
import { hasPeer } from './support/peers.ts'
import { report } from './support/report.ts'
import { interleave, median, quantile } from './support/rounds.ts'
import { gearmandRate } from './yardsticks/gearmand.ts'

const NOOPS = 2_000
const TRUES = 300
const ROUNDS = 5

const mesh = await startMesh()
const client = await connect({ state: mesh.state })
try {
  const times = async (task: TaskRequest, count: number): Promise<readonly number[]> => {
    const spans: number[] = []
    for (let turn = 0; turn < count; turn += 1) {
      const start = performance.now()
      const run = await client.run(task)
      const done = await run.done
      if (done.state !== 'completed') throw new Error(`${task.job_addr} ${done.state}`)
      spans.push(performance.now() - start)
    }
    return spans
  }
  const command = { job_addr: 'exec:/bin/true', arguments: [], timeout_ms: 0 }
  await times(command, 50)
  const trues = await times(command, TRUES)
  report({
    what: 'submit to result, true, p50',
    value: median(trues),
    unit: 'ms',
    goal: ['<=', 5],
    note: `p99 ${quantile(trues, 0.99).toFixed(1)} ms`,
  })
  const noop = { job_addr: 'noop:', arguments: [], timeout_ms: 0 }
  const noops = async (): Promise<number> => {
    const start = performance.now()
    await times(noop, NOOPS)
    return NOOPS / ((performance.now() - start) / 1000)
  }
  const what = 'submit to result, noop, one at a time'
  if (hasPeer('gearmand', what)) {
    const pairs = await interleave(ROUNDS, noops, () => gearmandRate(NOOPS))
    const beside = { what, yardstick: 'gearmand', unit: '/s' }
    report(comparison({ ...beside, goal: ['>=', 1] }, pairs))
  }
} finally {
  await client.close()
  await mesh.close()
}
