// A long queue: the memory that a manager takes for each task that waits, and whether a
// client that hands in faster than the disk is slowed and not dropped.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '../src/index.ts'
import { anonymousBytes, binary } from './support/mesh.ts'
import { report } from './support/report.ts'

const TASKS = Number(process.argv[2] ?? 1_000_000)
const SETTLE_MS = 5_000

const state = await mkdtemp(join(tmpdir(), 'manyhands-bench-'))
const flags = ['--role', 'manager', '--state', state, '--no-mdns']
const manager = spawn(process.execPath, [binary, ...flags])
try {
  await once(manager.stdout, 'data')
  const pid = manager.pid ?? 0
  const client = await connect({ state, discoverMs: 0 })
  const task = { job_addr: 'exec:true', arguments: [], timeout_ms: 0 }
  const before = await anonymousBytes(pid)
  const start = performance.now()
  const tasks = function* () {
    for (let n = 0; n < TASKS; n += 1) yield task
  }
  const ids = await client.submit(tasks())
  const seconds = (performance.now() - start) / 1000
  if (new Set(ids).size !== TASKS) throw new Error(`only ${ids.length} were taken`)
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  const after = await anonymousBytes(pid)
  report({
    what: `a manager's memory for each of ${TASKS} queued tasks`,
    value: (after - before) / TASKS,
    unit: 'bytes',
    goal: ['<=', 500],
    note: `${(before / 2 ** 20).toFixed(0)} MiB before, ${(after / 2 ** 20).toFixed(0)} after`,
  })
  report({
    what: `handing ${TASKS} tasks in, on disk`,
    value: TASKS / seconds,
    unit: '/s',
    note: `${seconds.toFixed(0)} s, none refused`,
  })
  await client.close()
} finally {
  manager.kill('SIGTERM')
  await once(manager, 'exit')
  await rm(state, { recursive: true, force: true })
}
