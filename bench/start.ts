// How soon a started node is ready, how much longer the very first start takes, which makes
// the mesh, and how soon after that a worker is managed, by mDNS alone and by --join alone. Ready: the line that names its address. Managed: the line that
// names its manager.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binary } from './support/mesh.ts'
import { report } from './support/report.ts'
import { median } from './support/rounds.ts'

const ROUNDS = 10

interface Started {
  readonly child: ChildProcess
  readonly readyMs: number
  /** The url it listens on. */
  readonly url: string
  /** Resolves when its log says so. */
  seen(pattern: RegExp): Promise<void>
}

const start = async (args: readonly string[]): Promise<Started> => {
  const began = performance.now()
  const child = spawn(process.execPath, [binary, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  let heard = (): void => undefined
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part
      heard()
    })
  const seen = (pattern: RegExp): Promise<void> =>
    new Promise((resolve) => {
      heard = () => {
        if (pattern.test(text)) resolve()
      }
      heard()
    })
  await seen(/listening +wss:\S+\n/)
  const url = /listening +(wss:\S+)/.exec(text)?.[1] ?? ''
  return { child, readyMs: performance.now() - began, url, seen }
}

const end = async ({ child }: Started): Promise<void> => {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

const ready: number[] = []
/** The first start in a state directory makes the mesh and the node's keys; a later one finds them. */
const starts = { first: [] as number[], later: [] as number[] }
const managed = { mDNS: [] as number[], join: [] as number[] }
for (let round = 0; round < ROUNDS; round += 1) {
  for (const way of ['mDNS', 'join'] as const) {
    const state = join(await mkdtemp(join(tmpdir(), 'manyhands-bench-')), 'state')
    const common = [
      '--state',
      state,
      '--no-local',
      ...(way === 'join' ? ['--no-mdns'] : []),
    ]
    const manager = await start(['--role', 'manager', ...common])
    const joining = way === 'join' ? ['--join', manager.url] : []
    const worker = await start(['--role', 'worker', ...common, ...joining])
    const since = performance.now()
    await worker.seen(/phase=managed/)
    managed[way].push(performance.now() - since)
    ready.push(manager.readyMs, worker.readyMs)
    await Promise.all([end(worker), end(manager)])
    const again = await start(['--role', 'manager', ...common])
    starts.first.push(manager.readyMs)
    starts.later.push(again.readyMs)
    await end(again)
    await rm(join(state, '..'), { recursive: true, force: true, maxRetries: 5 })
  }
}
const figures: readonly (readonly [string, readonly number[], number])[] = [
  ['node ready after its start', ready, 0.5],
  ['worker managed after it is ready, by mDNS', managed.mDNS, 1],
  ['worker managed after it is ready, by --join', managed.join, 0.3],
]
for (const [what, spans, goal] of figures)
  report({
    what: `${what}, median`,
    value: median(spans) / 1000,
    unit: 's',
    goal: ['<=', goal],
    note: `worst ${(Math.max(...spans) / 1000).toFixed(2)} s of ${spans.length}`,
  })
const [first, later] = [median(starts.first), median(starts.later)]
report({
  what: 'the first start, which makes the mesh, over a later one',
  value: (first - later) / 1000,
  unit: 's',
  goal: ['<=', 1],
  note: `${(first / 1000).toFixed(2)} s and ${(later / 1000).toFixed(2)} s`,
})
