// Tasks that start no process: every message of the protocol exchanged and acknowledged,
// one by one per task, through one manager and two workers. Yardstick: beanstalkd with two
// consumers that reserve and delete one job at a time.

import { connect } from '../src/index.ts'
import { comparison } from './support/figures.ts'
import { startMesh } from './support/mesh.ts'
import { hasPeer } from './support/peers.ts'
import { report } from './support/report.ts'
import { interleave, median } from './support/rounds.ts'
import { taskRate } from './support/task-rate.ts'
import { beanstalkdRate } from './yardsticks/beanstalkd.ts'

const TASKS = 50_000
const ROUNDS = 5

const mesh = await startMesh()
const client = await connect({ state: mesh.state })
try {
  const task = { job_addr: 'noop:', arguments: [], timeout_ms: 0 }
  const noops = () => taskRate(client, task, TASKS)
  const what = 'noop tasks'
  const hasBeanstalkd = hasPeer('beanstalkd', what)
  const pairs = await interleave(ROUNDS, noops, () =>
    hasBeanstalkd ? beanstalkdRate(TASKS) : Promise.resolve(Number.NaN),
  )
  const rate = median(pairs.map((pair) => pair.subject))
  const beside = { what, yardstick: 'beanstalkd', unit: '/s' }
  if (hasBeanstalkd) report(comparison({ ...beside, goal: ['>=', 1] }, pairs))
  report({ what: 'noop tasks a second', value: rate, unit: '/s', goal: ['>=', 10_000] })
} finally {
  await client.close()
  await mesh.close()
}
