// Ten minutes of mixed load with faults (`node dist/bench/soak.js 60`: so many seconds): does
// the memory of manager and worker grow, or the number of their descriptors and timers?
// They are asked by the inspector, after a collection of their garbage.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { type Client, connect, type TaskRequest } from '../src/index.ts'
import { Relay } from '../test/chaos/relay.ts'
import { binary, said } from './support/mesh.ts'
import { report } from './support/report.ts'

const SECONDS = Number(process.argv[2] ?? 600)
/** Ended tasks, and outputs that did not fit into them, are kept up to a bound: filled first. */
const FILL = { batches: 55, tasks: 2_000, outputs: 1_100 }
const SAMPLES = 20
const MIB = 2 ** 20

interface Sample {
  readonly atMs: number
  readonly heapBytes: number
  readonly descriptors: number
  readonly timers: number
}

/** A node that can be looked into. */
class Watched {
  readonly child: ChildProcess
  readonly samples: Sample[] = []
  readonly #inspector: WebSocket
  #asked = 0

  private constructor(child: ChildProcess, inspector: WebSocket) {
    this.child = child
    this.#inspector = inspector
  }

  static async start(...flags: readonly string[]): Promise<Watched> {
    const args = ['--inspect=127.0.0.1:0', binary, '--no-mdns', ...flags]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const [, url = ''] = await said(child, /listening on (ws:\S+)/)
    const inspector = new WebSocket(url)
    await once(inspector, 'open')
    return new Watched(child, inspector)
  }

  async sample(): Promise<void> {
    await this.#ask('HeapProfiler.collectGarbage')
    const { usedSize } = await this.#ask('Runtime.getHeapUsage')
    const expression =
      'process.getActiveResourcesInfo().filter((name) => name === "Timeout").length'
    const { result } = await this.#ask('Runtime.evaluate', { expression })
    this.samples.push({
      atMs: performance.now(),
      heapBytes: Number(usedSize),
      descriptors: readdirSync(`/proc/${this.child.pid}/fd`).length,
      timers: Number((result as { value: number }).value),
    })
  }

  #ask(method: string, params = {}): Promise<Record<string, unknown>> {
    this.#asked += 1
    const id = this.#asked
    this.#inspector.send(JSON.stringify({ id, method, params }))
    return new Promise((resolve) => {
      const hear = (data: Buffer) => {
        const answer = JSON.parse(data.toString())
        if (answer.id !== id) return
        this.#inspector.off('message', hear)
        resolve(answer.result)
      }
      this.#inspector.on('message', hear)
    })
  }

  async close(): Promise<void> {
    this.#inspector.terminate()
    this.child.kill('SIGKILL')
    await once(this.child, 'exit')
  }
}

/** By least squares, a minute. */
const slope = (samples: readonly Sample[], of: (sample: Sample) => number): number => {
  const minutes = samples.map(({ atMs }) => atMs / 60_000)
  const values = samples.map(of)
  const mean = (all: readonly number[]) => all.reduce((a, b) => a + b, 0) / all.length
  const [x, y] = [mean(minutes), mean(values)]
  const above = minutes.reduce((sum, at, n) => sum + (at - x) * ((values[n] ?? 0) - y), 0)
  return above / minutes.reduce((sum, at) => sum + (at - x) ** 2, 0)
}

const task = (program: string, ...more: readonly string[]): TaskRequest => ({
  job_addr: program,
  arguments: [...more],
  timeout_ms: 0,
})

const finish = async (client: Client, tasks: readonly TaskRequest[]): Promise<void> => {
  for await (const _ of client.runAll(tasks));
}

/** A little of everything that is asked of a mesh. */
const load = async (client: Client, until: () => boolean): Promise<number> => {
  let rounds = 0
  while (!until()) {
    await finish(client, Array(2_000).fill(task('noop:')))
    await finish(client, Array(40).fill(task('exec:true')))
    await finish(client, Array(10).fill({ ...task('exec:false'), retries: 0 }))
    const big = task('exec:head', '-c', '1000000', '/dev/zero')
    const [id = ''] = await client.submit([big])
    for await (const _ of client.output(id));
    const run = await client.run({ ...task('exec:cat'), stdin_live: true })
    await run.stdin.write(Buffer.from('hello'))
    await run.stdin.end()
    await run.done
    const waiting = await client.submit(Array(50).fill(task('exec:sleep', '5')))
    await client.explain(waiting[49] ?? '')
    await client.cancel(waiting)
    for await (const _ of client.tasks({ limit: 100 }));
    await client.nodes()
    rounds += 1
  }
  return rounds
}

const state = await mkdtemp(join(tmpdir(), 'manyhands-bench-'))
const where = ['--state', state]
const manager = await Watched.start('--role', 'manager', '--name', 'm', ...where)
const [, port = ''] = await said(manager.child, /wss:\/\/127\.0\.0\.1:(\d+)/)
const relay = await Relay.to(Number(port))
const worker = await Watched.start(
  ...['--role', 'worker', '--name', 'w1', '--cores', '1', ...where],
  ...['--no-local', '--join', `127.0.0.1:${relay.port}`],
)
const startOther = () =>
  spawn(
    process.execPath,
    [binary, '--role', 'worker', '--name', 'w2', '--cores', '1', '--no-mdns', ...where],
    { stdio: 'ignore' },
  )
let other = startOther()
await said(worker.child, /phase=managed/)
const client = await connect({ state, discoverMs: 0 })
let faults = 0
try {
  for (let n = 0; n < FILL.batches; n += 1)
    await finish(client, Array(FILL.tasks).fill(task('noop:')))
  const kept = task('exec:head', '-c', '40000', '/dev/zero')
  const onWorker = { ...kept, requires: { host_name: 'w1' } }
  await finish(client, Array(FILL.outputs).fill(onWorker))
  const untilMs = performance.now() + SECONDS * 1_000
  const isOver = () => performance.now() > untilMs
  const faulting = (async () => {
    for (let n = 0; !isOver(); n += 1) {
      await pause(Math.min(10_000, SECONDS * 100))
      faults += 1
      if (n % 2 === 0) relay.break('cut')
      else {
        other.kill('SIGKILL')
        other = startOther()
      }
    }
  })()
  const sampling = (async () => {
    while (!isOver()) {
      await pause((SECONDS * 1_000) / SAMPLES)
      await manager.sample()
      await worker.sample()
    }
  })()
  const rounds = await load(client, isOver)
  await Promise.all([faulting, sampling])
  for (const [name, { samples }] of [
    ['manager', manager],
    ['worker', worker],
  ] as const) {
    // The first third is warm-up.
    const kept = samples.slice(Math.floor(samples.length / 3))
    const ends = `${((kept[0]?.heapBytes ?? 0) / MIB).toFixed(1)} to ${((kept.at(-1)?.heapBytes ?? 0) / MIB).toFixed(1)} MiB in ${SECONDS} s, ${rounds} rounds, ${faults} faults`
    report({
      what: `heap of the ${name} under mixed load with faults, after warm-up`,
      value: slope(kept, ({ heapBytes }) => heapBytes / MIB),
      unit: 'MiB/min',
      goal: ['<=', 1],
      note: ends,
    })
    for (const what of ['descriptors', 'timers'] as const) {
      const values = kept.map((sample) => sample[what])
      report({
        what: `${what} of the ${name}, its growth`,
        value: slope(kept, (sample) => sample[what]),
        unit: '/min',
        goal: ['<=', 1],
        note: `${Math.min(...values)} to ${Math.max(...values)}`,
      })
    }
  }
} finally {
  await client.close()
  relay.close()
  other.kill('SIGKILL')
  await worker.close()
  await manager.close()
  await rm(state, { recursive: true, force: true })
}
