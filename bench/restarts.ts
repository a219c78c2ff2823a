// The manager is killed with -9 every ten seconds while it has a batch to run: how much longer
// the batch takes, and what runs again because of it. And once over as much as it ever keeps:
// how soon it and its workers are back.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { connect, type TaskRequest } from '../src/index.ts'
import { binary, said } from './support/mesh.ts'
import { report } from './support/report.ts'

const EVERY_MS = 10_000
/** Two cores, so long each: about a minute. */
const TASKS = 1_200
const ENDED = 100_000
const IN_BATCH = 10_000
const OPEN = 10_000
const TASK: TaskRequest = {
  job_addr: 'exec:sleep',
  arguments: ['0.1'],
  timeout_ms: 0,
}

interface Batch {
  readonly seconds: number
  readonly kills: number
  readonly reruns: number
}

/** A manager, which may be killed and started again, and two workers. */
const startNodes = async () => {
  const state = await mkdtemp(join(tmpdir(), 'manyhands-bench-'))
  const node = (role: string, ...flags: readonly string[]) =>
    spawn(
      process.execPath,
      [binary, '--role', role, '--state', state, '--no-mdns', ...flags],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
  const start = () => node('manager', '--name', 'm')
  let manager = start()
  await said(manager, /listening/)
  const workers = ['w1', 'w2'].map((name) =>
    node('worker', '--name', name, '--cores', '1'),
  )
  await Promise.all(workers.map((worker) => said(worker, /phase=managed/)))
  const client = await connect({ state, discoverMs: 0 })
  return {
    client,
    workers,
    restart: () => {
      manager.kill('SIGKILL')
      manager = start()
      return manager
    },
    close: async () => {
      await client.close()
      for (const child of [manager, ...workers]) {
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
      await rm(state, { recursive: true, force: true })
    },
  }
}

const batch = async (isKilled: boolean): Promise<Batch> => {
  const { client, restart, close } = await startNodes()
  let kills = 0
  const killer = setInterval(() => {
    if (!isKilled) return
    kills += 1
    restart()
  }, EVERY_MS)
  const begin = performance.now()
  let reruns = 0
  let completed = 0
  for await (const { done } of client.runAll(Array(TASKS).fill(TASK))) {
    if (done.state === 'completed') completed += 1
    reruns += done.attempt - 1
  }
  const seconds = (performance.now() - begin) / 1000
  clearInterval(killer)
  await close()
  if (completed !== TASKS) throw new Error(`only ${completed} of ${TASKS} completed`)
  return { seconds, kills, reruns }
}

/** As many ended tasks as are ever kept, and open ones, some of which run. */
const overMany = async (): Promise<void> => {
  const { client, workers, restart, close } = await startNodes()
  try {
    const noop: TaskRequest = { job_addr: 'noop:', arguments: [], timeout_ms: 0 }
    for (let n = 0; n < ENDED / IN_BATCH; n += 1)
      for await (const _ of client.runAll(Array(IN_BATCH).fill(noop)));
    const long: TaskRequest = { ...TASK, arguments: ['600'] }
    const ids = await client.submit(Array(OPEN).fill(long))
    while ((await client.show(ids[1] ?? '')).summary.state !== 'running') await pause(20)
    const adopted = Promise.all(workers.map((worker) => said(worker, /phase=managed/)))
    const start = performance.now()
    await said(restart(), /listening/)
    const ready = performance.now()
    await adopted
    const managed = performance.now()
    report({
      what: `a manager killed over ${ENDED} ended and ${OPEN} open tasks: ready again`,
      value: (ready - start) / 1000,
      unit: 's',
      goal: ['<=', 3],
    })
    report({
      what: 'its workers adopted after that',
      value: (managed - ready) / 1000,
      unit: 's',
      goal: ['<=', 1],
    })
    const { summary } = await client.show(ids[0] ?? '')
    report({
      what: 'attempts of a task that ran meanwhile',
      value: summary.attempt,
      unit: '',
      goal: ['<=', 1],
    })
  } finally {
    await close()
  }
}

const undisturbed = await batch(false)
const disturbed = await batch(true)
report({
  what: 'a batch whose manager is killed with -9 every 10 s, by undisturbed',
  value: disturbed.seconds / undisturbed.seconds,
  unit: 'x',
  goal: ['<=', 1.3],
  note: `${disturbed.seconds.toFixed(1)} s with ${disturbed.kills} kills, ${undisturbed.seconds.toFixed(1)} s without`,
})
report({
  what: 'tasks that ran again because of it',
  value: disturbed.reruns,
  unit: '',
  goal: ['<=', 0],
})
await overMany()
