// The worker of a node, made from its parts: what runs programs, and its outbox on disk.
// Loaded only where a worker is started.

import { availableParallelism, totalmem } from 'node:os'
import * as E from 'fp-ts/lib/Either.js'
import { byOf } from './audit/requests.ts'
import { machineBoot } from './identity/lock.ts'
import { issuedLabels } from './machines/claims.ts'
import { userLabels } from './machines/users.ts'
import { openPrograms, placeOf } from './node-programs.ts'
import { CannotStart, type PrepareRole, type RoleParts } from './node-role.ts'
import { openFileOutbox } from './outbox/file.ts'
import type { Outbox } from './ports.ts'
import { Events, type News } from './roles/events.ts'
import { Worker } from './roles/worker.ts'
import { WORKER_DEFAULTS, type WorkerConfig } from './roles/worker-config.ts'

export const prepareWorker: PrepareRole = async (parts) => {
  const { clock, random, log, audit, options, self } = parts
  const config = configOf(parts)
  const isServing = options.processes ?? true
  return {
    introduction: {},
    features: isServing ? ['processes', 'events'] : [],
    about: `${config.cores} cores, ${gibibytes(config.memoryBytes)} GiB`,
    begin: async (mesh) => {
      const outbox = openOutbox(parts)
      const events = new Events(clock, self.boot_id)
      const tell = (news: News): void => events.tell(news)
      const programs = openPrograms(parts, mesh, { isServing, tell })
      const { runner, jobs, processes } = programs
      const worker = new Worker({
        clock,
        random,
        mesh,
        runner,
        jobs,
        outbox,
        log,
        config,
        passedOver: (manager, reason) =>
          audit.record('refused', { ...byOf(manager), reason }),
      })
      return {
        handlers: {
          ...worker.handlers,
          ...(processes && { ...processes.handlers, ...events.handlers }),
        },
        peerConnected: (peer) => worker.peerConnected(peer),
        peerLost: (peer, how) => worker.peerLost(peer, how),
        drain: async (graceMs) => {
          await Promise.all([worker.drain(graceMs), processes?.drain()])
        },
        close: async () => {
          events.close()
          await worker.close()
          await programs.close()
          await outbox.close()
        },
      }
    },
  }
}

const openOutbox = ({ directory, random, clock, log }: RoleParts): Outbox => {
  // Where the system does not say, no start is taken for an earlier one.
  const boot = machineBoot() ?? random.hex(8)
  const outbox = openFileOutbox({ directory, machineBoot: boot, clock, log })
  if (E.isLeft(outbox)) throw new CannotStart(outbox.left)
  return outbox.right
}

const gibibytes = (bytes: number): string => (bytes / 1024 ** 3).toFixed(1)

const configOf = ({ options, self, issued, ...parts }: RoleParts): WorkerConfig => {
  const placed = placeOf({ ...parts, options })
  return {
    ...WORKER_DEFAULTS,
    nodeId: self.node_id,
    bootId: self.boot_id,
    hostName: self.host_name,
    cores: options.cores ?? availableParallelism(),
    memoryBytes: options.memoryBytes ?? totalmem(),
    resources: options.resources,
    outputCapBytes: options.outputCapBytes,
    ...placed,
    labels: { ...options.labels, ...userLabels(placed.users), ...issuedLabels(issued) },
    ...policyOf(options),
  }
}

/** What the owner of this machine lets managers do with it. */
const policyOf = ({ managers, allow, downloads, tasks }: RoleParts['options']) => {
  const isLimited = allow.length > 0
  const kinds: readonly string[] = isLimited ? JUDGED_KINDS : WORKER_DEFAULTS.kinds
  const hasDownloads = downloads ?? !isLimited
  return {
    isLimited,
    kinds: hasDownloads ? kinds : kinds.filter((kind) => kind !== 'https'),
    ...(tasks !== undefined && { runningLimit: tasks }),
    ...(managers.length > 0 && !managers.includes('*') && { managers }),
  }
}

/**
 * Of a limited worker: those whose programs the list can judge, and downloads, which are
 * allowed by themselves. The copy of a file: that runs is not where the list looks.
 */
const JUDGED_KINDS = ['exec', 'https', 'noop']
