// Tasks that start no process, on disk before they are acknowledged, through one manager and
// two workers. Yardstick: BullMQ on a redis-server that syncs every write.

import { connect } from '../src/index.ts'
import { comparison } from './support/figures.ts'
import { startMesh } from './support/mesh.ts'
import { hasModule, hasPeer } from './support/peers.ts'
import { report } from './support/report.ts'
import { interleave } from './support/rounds.ts'
import { taskRate } from './support/task-rate.ts'
import { bullmqRate } from './yardsticks/bullmq.ts'

const TASKS = 20_000
const ROUNDS = 3

const what = `${TASKS} noop tasks, durable`
if (hasPeer('redis-server', what) && hasModule('bullmq', what)) {
  const mesh = await startMesh()
  const client = await connect({ state: mesh.state })
  try {
    const noop = { job_addr: 'noop:', arguments: [], timeout_ms: 0 }
    const pairs = await interleave(
      ROUNDS,
      () => taskRate(client, noop, TASKS),
      () => bullmqRate(TASKS),
    )
    const beside = { what, yardstick: 'BullMQ, appendfsync always', unit: '/s' }
    report(comparison({ ...beside, goal: ['>=', 2] }, pairs))
  } finally {
    await client.close()
    await mesh.close()
  }
}
