// Yardstick: BullMQ on a redis-server of its own that syncs every write (`appendfsync
// always`), with one producer that adds jobs in bulk and two worker processes.

import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { modulesFolder, peerPath } from '../support/peers.ts'
import { connectWhenUp, freePort } from './beanstalkd.ts'

/** As our client: pages of so many, so many pages under way. */
const IN_BULK = 256
const PAGES = 4
/** Jobs that one worker process takes at once: of 16 to 256, this was the fastest. */
const CONCURRENCY = 64
const QUEUE = 'bench'

/** What is used of the package, which is not one of ours. */
interface BullMQ {
  readonly Queue: new (
    name: string,
    options: object,
  ) => {
    addBulk(jobs: readonly object[]): Promise<unknown>
    close(): Promise<void>
  }
  readonly Worker: new (
    name: string,
    process: () => Promise<void>,
    options: object,
  ) => {
    on(event: 'completed', heard: () => void): void
    on(event: 'error', heard: (error: Error) => void): void
  }
}

const bullmq = (): BullMQ => createRequire(join(modulesFolder, 'x.js'))('bullmq')

const consume = (port: number): void => {
  const connection = { host: '127.0.0.1', port }
  const { Worker } = bullmq()
  const worker = new Worker(QUEUE, async () => undefined, {
    connection,
    concurrency: CONCURRENCY,
    removeOnComplete: { count: 1_000 },
  })
  let untold = 0
  worker.on('completed', () => {
    if (untold === 0)
      setTimeout(() => {
        process.send?.(untold)
        untold = 0
      }, 5)
    untold += 1
  })
  worker.on('error', (error) => {
    throw error
  })
  process.send?.(0)
}

const produce = async (port: number, count: number): Promise<void> => {
  const { Queue } = bullmq()
  const queue = new Queue(QUEUE, { connection: { host: '127.0.0.1', port } })
  let left = count
  const pages = Array.from({ length: PAGES }, async () => {
    while (left > 0) {
      const size = Math.min(left, IN_BULK)
      left -= size
      await queue.addBulk(Array(size).fill({ name: 'noop', data: {} }))
    }
  })
  await Promise.all(pages)
  await queue.close()
}

/** So many jobs from the first that is added to the last that is completed: how many a second. */
export const bullmqRate = async (count: number): Promise<number> => {
  const directory = await mkdtemp(join(tmpdir(), 'manyhands-bench-'))
  const port = await freePort()
  const flags = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory]
  const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '']
  const server = spawn('redis-server', [...flags, ...durable], {
    stdio: 'ignore',
    env: { PATH: peerPath },
  })
  const self = fileURLToPath(import.meta.url)
  try {
    ;(await connectWhenUp(port)).destroy()
    let done = 0
    let finish: () => void = () => undefined
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    const workers = [1, 2].map(() => fork(self, [String(port)]))
    await Promise.all(workers.map((worker) => once(worker, 'message')))
    for (const worker of workers)
      worker.on('message', (more) => {
        done += Number(more)
        if (done === count) finish()
      })
    const start = performance.now()
    await produce(port, count)
    await finished
    const rate = count / ((performance.now() - start) / 1000)
    for (const worker of workers) worker.kill('SIGKILL')
    return rate
  } finally {
    server.kill('SIGKILL')
    await once(server, 'exit')
    await rm(directory, { recursive: true, force: true })
  }
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url))
  consume(Number(process.argv[2]))
