// A load: a mesh of a given size with a given amount of work, and faults that strike it at
// even distances. It is turned into a scenario; what comes of it is measured in measure.ts.

import type { TaskRequest } from '../../protocol/index.ts'
import { managerDefaults } from '../machines/manager-config.ts'
import type { FaultName } from './load-faults.ts'
import { addressOf } from './programs.ts'
import { SimRandom } from './random.ts'
import type { ClientSpec, Fault, ManagerSpec, Scenario, WorkerSpec } from './scenario.ts'

export interface Load {
  readonly workers: number
  readonly cores: number
  readonly tasks: number
  readonly taskMs: number
  readonly managers: number
  readonly faults: readonly FaultName[]
  readonly seed: number
}

/** When the first task is handed in: by then all workers are managed. */
export const BEGIN_MS = 5_000
/** Each task takes up to this part longer or shorter than is said. */
const SPREAD = 0.1
/** Open tasks of one client: what src/client has, and enough for every core. */
const windowOf = ({ workers, cores, managers }: Load): number =>
  Math.max(4_096, Math.ceil((4 * workers * cores) / managers))
/** Of workers, one in so many is struck by each fault that is named; of managers, one. */
const STRUCK = 100
const MOST_STRIKES = 20
/** A local network. */
const DELAYS = { leastMs: 0.1, spreadMs: 0.3, spikes: 0 }
/** What comes so closely together is dealt with together, as a busy event loop does. */
const CHUNK_MS = 0.5
const SLOT_MS = 1
const CLOCK = { rate: 1, wallOffsetMs: 0 }
const DISK = { leastMs: 0, spreadMs: 0 }

/** How long it takes at best: every core busy from the first task to the last. */
export const idealMs = ({ tasks, taskMs, workers, cores }: Load): number =>
  Math.max(taskMs, (tasks * taskMs) / (workers * cores))

/** A load as a scenario. Each manager has its share of the workers and of the tasks. */
export const loadScenario = (load: Load): Scenario => {
  const { pingMs, workerLeaseMs, managerLeaseMs } = managerDefaults
  const config = { pingMs, workerLeaseMs, managerLeaseMs }
  const { seed, taskMs } = load
  const random = new SimRandom(seed, 'load')
  const node = (name: string) => ({ name, nodeId: random.hex(16), clock: CLOCK })
  const managers = Array.from({ length: load.managers }, (_, index): ManagerSpec => {
    const ledgerId = random.hex(5)
    return { ...node(`manager-${index + 1}`), disk: DISK, ledgerId, config }
  })
  const own = (index: number) => managers[index % managers.length]?.name ?? ''
  const workers = Array.from({ length: load.workers }, (_, index): WorkerSpec => {
    const kept = { outputCapBytes: 1024 * 1024, killGraceMs: 5_000 }
    const name = `worker-${index + 1}`
    return {
      ...node(name),
      disk: DISK,
      cores: load.cores,
      managers: [own(index)],
      ...kept,
    }
  })
  const clients = managers.map(({ name }, index): ClientSpec => {
    const tasks = share(load.tasks, load.managers, index)
    const flood = {
      atMs: BEGIN_MS,
      tasks,
      request: requestOf(load),
      window: windowOf(load),
    }
    return { ...node(`client-${index + 1}`), manager: name, batches: [], flood }
  })
  const program = { runMs: taskMs * (1 - SPREAD), spreadMs: 2 * taskMs * SPREAD }
  return {
    seed,
    delays: DELAYS,
    chunkMs: CHUNK_MS,
    slotMs: SLOT_MS,
    wire: 0,
    spawnMs: 0,
    streamBytes: 64 * 1024,
    managers,
    workers,
    clients,
    programs: [program],
    faults: loadFaults(load, { managers, workers, random }),
    healMs: Number.MAX_SAFE_INTEGER,
    restMs: Number.MAX_SAFE_INTEGER,
  }
}

const share = (all: number, parts: number, index: number): number =>
  Math.floor(all / parts) + (index < all % parts ? 1 : 0)

const requestOf = ({ taskMs }: Load): TaskRequest => ({
  job_addr: taskMs === 0 ? 'noop:' : addressOf(0),
  arguments: [],
  timeout_ms: 0,
  output: 'none',
})

interface Nodes {
  readonly managers: readonly ManagerSpec[]
  readonly workers: readonly WorkerSpec[]
  readonly random: SimRandom
}

/** Every fault strikes at even distances between a twentieth and nine tenths of the run. */
const loadFaults = (load: Load, nodes: Nodes): readonly Fault[] => {
  const lengthMs = idealMs(load)
  const planned = load.faults.flatMap((name) => {
    const strikes = Math.ceil(Math.min(load.workers / STRUCK, MOST_STRIKES))
    return Array.from({ length: name === 'manager' ? 1 : strikes }, () => name)
  })
  return planned.map((name, index) => {
    const part = 0.05 + (0.85 * (index + 0.5)) / planned.length
    return faultOf(name, Math.round(BEGIN_MS + lengthMs * part), nodes)
  })
}

const faultOf = (name: FaultName, atMs: number, nodes: Nodes): Fault => {
  const { managers, workers, random } = nodes
  const worker = random.pick(workers)
  const node = worker.name
  const manager = worker.managers?.[0] ?? ''
  const dies = { atMs, what: 'crash', silent: false, kept: 1 } as const
  switch (name) {
    case 'crash':
      return { ...dies, node, downMs: 5_000 }
    case 'power':
      return { ...dies, node, downMs: 60_000, silent: true, kept: 0 }
    case 'freeze':
      return { atMs, what: 'freeze', node, forMs: 30_000 }
    case 'cut':
      return { atMs, what: 'cut', from: manager, to: node }
    case 'partition': {
      const first = random.int(0, workers.length - 1)
      const some = Array.from(
        { length: Math.ceil(workers.length / 10) },
        (_, index) => workers[(first + index) % workers.length]?.name ?? node,
      )
      const from = managers.map((one) => one.name)
      return { atMs, what: 'partition', from, to: some, both: true, forMs: 30_000 }
    }
    case 'slow':
      return { atMs, what: 'slow', from: manager, to: node, times: 100, forMs: 30_000 }
    case 'disk':
      return { atMs, what: 'full', node, forMs: 30_000 }
    case 'manager':
      return { ...dies, node: random.pick(managers).name, downMs: 2_000 }
  }
}
