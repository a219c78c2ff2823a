// The manager is killed with -9 every ten seconds while it has a batch to run: how much longer
// the batch takes, and what runs again because of it.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type TaskRequest } from '../src/index.ts'
import { binary, said } from './support/mesh.ts'
import { report } from './support/report.ts'

const EVERY_MS = 10_000
/** Two cores, so long each: about a minute. */
const TASKS = 1_200
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

const batch = async (isKilled: boolean): Promise<Batch> => {
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
  let kills = 0
  const killer = setInterval(() => {
    if (!isKilled) return
    kills += 1
    manager.kill('SIGKILL')
    manager = start()
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
  if (completed !== TASKS) throw new Error(`only ${completed} of ${TASKS} completed`)
  await client.close()
  for (const child of [manager, ...workers]) {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  await rm(state, { recursive: true, force: true })
  return { seconds, kills, reruns }
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
