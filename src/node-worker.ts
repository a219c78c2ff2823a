// The worker of a node, made from its parts: a runner with its launchers, the jobs' cache,
// an outbox in memory. Loaded only where a worker is started.

import { mkdirSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { join } from 'node:path'
import { memoryOutbox } from './ledger/memory-outbox.ts'
import type { PrepareRole, RoleParts } from './node-role.ts'
import { Worker } from './roles/worker.ts'
import { WORKER_DEFAULTS, type WorkerConfig } from './roles/worker-config.ts'
import { createJobs } from './runner/jobs.ts'
import { createRunner } from './runner/runner.ts'

/** What a program gets of the node's own environment. */
const PASSED_ON = ['PATH', 'HOME', 'LANG', 'TZ'] as const
/** Where programs are searched when the node itself was started without a PATH. */
const DEFAULT_PATH = '/usr/local/bin:/usr/bin:/bin'

export const prepareWorker: PrepareRole = async (parts) => {
  const { clock, random, log, directory } = parts
  const config = configOf(parts)
  return {
    introduction: {},
    about: `${config.cores} cores, ${gibibytes(config.memoryBytes)} GiB`,
    begin: async (mesh) => {
      mkdirSync(config.directory, { recursive: true, mode: 0o700 })
      const jobs = createJobs({
        path: pathOf(config),
        directory: join(directory, 'jobs'),
      })
      // After all that may fail: a launcher would be left behind.
      const runner = createRunner({ directory: join(directory, 'runs'), log })
      const outbox = memoryOutbox()
      const worker = new Worker({
        clock,
        random,
        mesh,
        runner,
        jobs,
        outbox,
        log,
        config,
      })
      return {
        handlers: worker.handlers,
        peerConnected: (peer) => worker.peerConnected(peer),
        peerLost: (peer, how) => worker.peerLost(peer, how),
        drain: (graceMs) => worker.drain(graceMs),
        close: async () => {
          await worker.close()
          await runner.close()
          await outbox.close()
        },
      }
    },
  }
}

const gibibytes = (bytes: number): string => (bytes / 1024 ** 3).toFixed(1)

const configOf = ({
  options,
  self,
  environment,
  directory,
}: RoleParts): WorkerConfig => ({
  ...WORKER_DEFAULTS,
  nodeId: self.node_id,
  bootId: self.boot_id,
  hostName: self.host_name,
  cores: options.cores ?? availableParallelism(),
  memoryBytes: options.memoryBytes ?? totalmem(),
  labels: options.labels,
  resources: options.resources,
  environment: environmentOf(environment),
  directory: join(directory, 'work'),
})

const environmentOf = (
  given: RoleParts['environment'],
): Readonly<Record<string, string>> => {
  const passed = PASSED_ON.flatMap((name) => {
    const value = given[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return { PATH: DEFAULT_PATH, ...Object.fromEntries(passed) }
}

const pathOf = ({ environment: { PATH: path = DEFAULT_PATH } }: WorkerConfig): string =>
  path
