// How long a worker's event loop is held up while its mesh does 2,000 x `true`, as it is
// and with 800 MB held in Buffers. The measured worker lives in this process, which does
// nothing else: manager, second worker and client are processes of their own.
//
// Yardstick: the same loop, idle, while a bare spawn loop keeps the machine as busy; what
// that shows is the machine's doing. Both histograms hold the 1 ms at which they look.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import * as E from 'fp-ts/lib/Either.js'
import { type RunningNode, startNode } from '../src/node.ts'
import { DEFAULTS } from '../src/options.ts'
import { type BenchMesh, binary, commandMs, startMesh } from './support/mesh.ts'
import { report } from './support/report.ts'
import { interleave, median } from './support/rounds.ts'
import { spawnLoopRate } from './yardsticks/processes.ts'

const TASKS = 2_000
const ROUNDS = 3
const HELD = { buffers: 100, bytes: 8 * 1024 * 1024 }

/** The 99th percentile of the loop's delay while `work` goes on elsewhere, in ms. */
const delayMs = async (work: () => Promise<unknown>): Promise<number> => {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  await work()
  delay.disable()
  return delay.percentile(99) / 1e6
}

const managed = async (mesh: BenchMesh): Promise<readonly number[]> => {
  const nodes = await mesh.nodes()
  return nodes.filter(({ state }) => state === 'managed').map(({ pid }) => pid)
}

/** This process takes the place of one of the two workers. */
const joinMesh = async (mesh: BenchMesh): Promise<RunningNode> => {
  const [other] = await managed(mesh)
  if (other !== undefined) process.kill(other, 'SIGTERM')
  while ((await managed(mesh)).length > 1);
  const options = { ...DEFAULTS, role: 'worker', mdns: false, logLevel: 'error' } as const
  const node = await startNode(
    { ...options, state: mesh.state, cores: 1 },
    {
      environment: process.env,
      version: '0',
      print: () => undefined,
      writeLog: (line) => console.error(line),
    },
  )
  if (E.isLeft(node)) throw new Error(node.left.reason)
  while (!(await managed(mesh)).includes(process.pid));
  return node.right
}

const mesh = await startMesh()
const worker = await joinMesh(mesh)
try {
  const list = join(mesh.state, 'lines')
  await writeFile(list, Array.from({ length: TASKS }, (_, line) => `${line}\n`).join(''))
  const args = ['run', '--quiet', '--state', mesh.state, '--each-line', list]
  const batch = () => commandMs(process.execPath, [binary, ...args, '--', '/bin/true'])
  const measure = async (what: string): Promise<void> => {
    const pairs = await interleave(
      ROUNDS,
      () => delayMs(batch),
      () => delayMs(() => spawnLoopRate(TASKS, 2)),
    )
    report({
      what,
      value: median(pairs.map(({ subject }) => subject)),
      unit: 'ms',
      goal: ['<=', 5],
      yardstick: {
        name: 'an idle loop beside a bare spawn loop',
        ours: median(pairs.map(({ subject }) => subject)),
        theirs: median(pairs.map(({ yardstick }) => yardstick)),
        unit: 'ms',
        rounds: pairs.length,
      },
    })
  }
  await measure("a worker's loop delay p99 in a batch")
  const held = Array.from({ length: HELD.buffers }, () => Buffer.alloc(HELD.bytes, 1))
  await measure(`the same with ${held.length * 8} MB held`)
} finally {
  await worker.close()
  await mesh.close()
}
