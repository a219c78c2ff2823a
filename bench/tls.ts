// What TLS costs: the same mesh twice, once over mutual TLS as always, once over plain
// sockets, measured in turn.

import type { TaskRequest } from '../src/index.ts'
import { startCarriedMesh } from './support/carried-mesh.ts'
import { comparison } from './support/figures.ts'
import { report } from './support/report.ts'
import { interleave } from './support/rounds.ts'
import { taskRate } from './support/task-rate.ts'

const ROUNDS = 5
const NOOPS = 30_000
const TRUES = 1_000

const tls = await startCarriedMesh('tls')
const plain = await startCarriedMesh('plain')
try {
  const noop: TaskRequest = { job_addr: 'noop:', arguments: [], timeout_ms: 0 }
  const command: TaskRequest = { ...noop, job_addr: 'exec:/bin/true' }
  const compare = async (
    what: string,
    task: TaskRequest,
    count: number,
    goal: number,
  ) => {
    const pairs = await interleave(
      ROUNDS,
      () => taskRate(tls.client, task, count),
      () => taskRate(plain.client, task, count),
    )
    const beside = { what, yardstick: 'plain sockets', unit: '/s' }
    report(comparison({ ...beside, goal: ['>=', goal] }, pairs))
  }
  await compare(`${NOOPS} noop tasks under TLS`, noop, NOOPS, 0.6)
  await compare(`${TRUES} x true under TLS`, command, TRUES, 0.95)
} finally {
  await tls.close()
  await plain.close()
}
