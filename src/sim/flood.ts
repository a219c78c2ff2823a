// A scenario for those who want to know what a mesh would do before they buy it: so many
// workers and tasks, on a local network, with the figures that nodes have by default.

import type { TaskRequest } from '../../protocol/index.ts'
import { managerDefaults } from '../machines/manager-config.ts'
import type { DiskSpeed } from './disks.ts'
import { addressOf } from './programs.ts'
import { SimRandom } from './random.ts'
import type { Fault, Scenario } from './scenario.ts'

export interface FloodOptions {
  readonly workers: number
  /** Of each worker. Default 4. */
  readonly cores?: number
  readonly tasks: number
  /** How long a task runs; default 100, and up to `spreadMs` (default 0) longer. */
  readonly runMs?: number
  readonly spreadMs?: number
  /** Default 1. */
  readonly seed?: number
  /** Default: none, what is written is durable at once. */
  readonly disk?: DiskSpeed
  /** Bytes that each task writes; default 0. */
  readonly bytes?: number
  /** Nodes are m1; w1, w2, …; c1. Default: none. */
  readonly faults?: readonly Fault[]
  /** Tasks open at a time; default: four for each core, 4,096 at least. */
  readonly window?: number
}

const HOUR_MS = 3_600_000
const MEMORY: DiskSpeed = { leastMs: 0, spreadMs: 0 }
const LAN = { leastMs: 0.1, spreadMs: 0.3, spikes: 0 }

/** One manager, one client, and the given workers and tasks. */
export const floodScenario = (options: FloodOptions): Scenario => {
  const { workers, cores = 4, tasks, runMs = 100, spreadMs = 0, bytes = 0 } = options
  const { seed = 1, disk = MEMORY, faults = [] } = options
  const window = options.window ?? Math.max(4_096, 4 * workers * cores)
  const random = new SimRandom(seed, 'flood')
  const clock = { rate: 1, wallOffsetMs: 0 }
  const { pingMs, workerLeaseMs, managerLeaseMs } = managerDefaults
  const request: TaskRequest = { job_addr: addressOf(0), arguments: [], timeout_ms: 0 }
  const healMs = Math.max(0, ...faults.map(({ atMs }) => atMs)) + HOUR_MS
  return {
    seed,
    delays: LAN,
    chunkMs: 0.5,
    wire: 0,
    slotMs: 1,
    spawnMs: 0,
    streamBytes: 1024 * 1024,
    managers: [
      {
        name: 'm1',
        nodeId: random.hex(16),
        clock,
        disk,
        ledgerId: random.hex(5),
        config: { pingMs, workerLeaseMs, managerLeaseMs },
      },
    ],
    workers: Array.from({ length: workers }, (_, index) => ({
      name: `w${index + 1}`,
      nodeId: random.hex(16),
      clock,
      disk,
      cores,
      outputCapBytes: 1024 * 1024,
      killGraceMs: 5_000,
    })),
    clients: [
      {
        name: 'c1',
        nodeId: random.hex(16),
        clock,
        manager: 'm1',
        batches: [],
        flood: { tasks, request, window },
      },
    ],
    programs: [{ runMs, spreadMs, ...(bytes > 0 ? { bytes, parts: 1 } : {}) }],
    faults,
    healMs,
    restMs: 24 * HOUR_MS,
  }
}
