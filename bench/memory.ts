// Memory of the manager: what a flood of tasks that start no process makes it take, at its
// most and afterwards. Closed tasks are kept for show and wait up to a bound, not for ever.
// `node dist/bench/memory.js 1000000` floods with another number.

import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../src/index.ts'
import { peakBytes, residentBytes, startMesh } from './support/mesh.ts'
import { report } from './support/report.ts'

const TASKS = Number(process.argv[2] ?? 300_000)
const IDLE_MS = 10_000
const MIB = 1024 * 1024

const mesh = await startMesh()
try {
  const pid = (await mesh.nodes()).find(({ role }) => role === 'manager')?.pid
  if (pid === undefined) throw new Error('no manager among the nodes')
  const client = await connect({ state: mesh.state })
  const task = { job_addr: 'noop:', arguments: [], timeout_ms: 0 }
  const tasks = function* () {
    for (let i = 0; i < TASKS; i++) yield task
  }
  const start = performance.now()
  let completed = 0
  for await (const { done } of client.runAll(tasks()))
    if (done.state === 'completed') completed += 1
  if (completed !== TASKS) throw new Error(`only ${completed} of ${TASKS} completed`)
  const seconds = (performance.now() - start) / 1000
  await client.close()
  const note = `${TASKS} noops, ${(TASKS / seconds).toFixed(0)}/s`
  const peak = (await peakBytes(pid)) / MIB
  report({ what: 'manager, at most', value: peak, unit: 'MiB', goal: ['<=', 300], note })
  await sleep(IDLE_MS)
  const idle = (await residentBytes(pid)) / MIB
  report({ what: 'manager, afterwards', value: idle, unit: 'MiB', goal: ['<=', 200] })
} finally {
  await mesh.close()
}
