// A worker killed with -9 while it runs tasks: how soon they run elsewhere.

import { connect } from '../src/index.ts'
import { startMesh } from './support/mesh.ts'
import { report } from './support/report.ts'
import { median } from './support/rounds.ts'

const ROUNDS = 5

const spans: number[] = []
let lost = 0
for (let round = 0; round < ROUNDS; round += 1) {
  const mesh = await startMesh()
  const client = await connect({ state: mesh.state })
  try {
    const workers = (await mesh.nodes()).filter((node) => node.role === 'worker')
    const [victim] = workers
    if (victim === undefined) throw new Error('no worker')
    // As many as fill both workers, each running until it is told to end.
    const runs = await Promise.all(
      workers.map(() =>
        client.run({
          job_addr: 'exec:cat',
          arguments: [],
          timeout_ms: 0,
          stdin_live: true,
        }),
      ),
    )
    const hosts = async () =>
      Promise.all(runs.map(async (run) => (await client.show(run.id)).summary))
    const until = async (reached: () => Promise<boolean>): Promise<void> => {
      while (!(await reached())) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await until(async () => (await hosts()).every((task) => task.state === 'running'))
    const theirs = (await hosts()).filter((task) => task.host_name === victim.host_name)
    // The other has no free slot for it: one of its own ends first.
    const other = runs.find((run) => theirs.every((task) => task.task_id !== run.id))
    await other?.stdin.end()
    await other?.done
    process.kill(victim.pid, 'SIGKILL')
    const start = performance.now()
    await until(async () =>
      (await hosts()).every(
        (task) =>
          task.task_id === other?.id || (task.attempt > 1 && task.state === 'running'),
      ),
    )
    spans.push(performance.now() - start)
    for (const run of runs) {
      if (run !== other) await run.stdin.end()
      if ((await run.done).state !== 'completed') lost += 1
    }
  } finally {
    await client.close()
    await mesh.close()
  }
}
report({
  what: 'tasks of a worker killed with -9 run elsewhere after, worst',
  value: Math.max(...spans) / 1000,
  unit: 's',
  goal: ['<=', 1],
  note: `median ${(median(spans) / 1000).toFixed(2)} s of ${ROUNDS}`,
})
report({ what: 'tasks lost by it', value: lost, unit: '', goal: ['<=', 0] })
