// What TLS costs: the same mesh twice, once over mutual TLS as always, once over plain
// sockets, measured in turn.

import type { TaskRequest } from '../src/index.ts'
import { startCarriedMesh } from './support/carried-mesh.ts'
import { comparison } from './support/figures.ts'
import { report } from './support/report.ts'
import { interleave } from './support/rounds.ts'

const ROUNDS = 5
const NOOPS = 30_000
const TRUES = 1_000

const tls = await startCarriedMesh('tls')
const plain = await startCarriedMesh('plain')
try {
  const noop: TaskRequest = { job_addr: 'noop:', arguments: [], timeout_ms: 0 }
  const command: TaskRequest = { ...noop, job_addr: 'exec:/bin/true' }
  const rate = async ({ client }: typeof tls, task: TaskRequest, count: number) => {
    const start = performance.now()
    let completed = 0
    for await (const { done } of client.runAll(Array(count).fill(task)))
      if (done.state === 'completed') completed += 1
    if (completed !== count) throw new Error(`only ${completed} of ${count} completed`)
    return count / ((performance.now() - start) / 1000)
  }
  const compare = async (
    what: string,
    task: TaskRequest,
    count: number,
    goal: number,
  ) => {
    const pairs = await interleave(
      ROUNDS,
      () => rate(tls, task, count),
      () => rate(plain, task, count),
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
