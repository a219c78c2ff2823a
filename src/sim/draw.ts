// Draws a scenario from a seed: how large the mesh is, what it is given to do, and which mix
// of faults comes over it. Spans are small (leases of seconds), so that a run is short.

import type { TaskRequest } from '../../protocol/index.ts'
import { addressOf, type Program } from './programs.ts'
import { SimRandom } from './random.ts'
import type {
  BatchSpec,
  ClientSpec,
  ClockSpec,
  Fault,
  ManagerSpec,
  Scenario,
  WorkerSpec,
} from './scenario.ts'

/** After everything has healed: back-offs, ten leases and the longest program, with room. */
const REST_MS = 900_000
const HOUR_MS = 3_600_000

/** The scenario of a seed; the same for ever, while this generator stays as it is. */
export const drawScenario = (seed: number): Scenario => {
  const random = new SimRandom(seed, 'scenario')
  // A close mesh: one manager, few workers, long tasks with time limits, and a connection
  // that keeps breaking. There adoption, overruns and late aborts happen, elsewhere hardly.
  const isClose = random.chance(0.3)
  // In some of them, what is ended takes long to end: its manager has given it up and assigns
  // it again meanwhile, to the same worker.
  const isLingering = isClose && random.chance(0.25)
  // Short ones for what happens around a start and an end, long ones for what happens between.
  const longestMs = isClose ? 7_000 : random.pick([200, 2_000, 6_000])
  const programs = Array.from({ length: random.int(3, 8) }, () =>
    drawProgram(random, { longestMs, isClose, isLingering }),
  )
  const managers = drawManagers(random, isClose)
  const workers = drawWorkers(random, managers, { isClose, isLingering })
  const healMs = random.spread(2_000, 12_000)
  const clients = drawClients(random, {
    managers,
    workers,
    programs,
    healMs,
    isClose,
    isLingering,
  })
  const nodes = { managers, workers, clients, healMs, isClose, isLingering }
  const terms = new SimRandom(seed, 'terms')
  return {
    seed,
    delays: {
      leastMs: random.between(0.1, 5),
      spreadMs: random.pick([1, 5, 50]),
      spikes: random.pick([0, 0, 0.02]),
    },
    chunkMs: random.pick([0, 0.5, 5]),
    wire: random.chance(0.2) ? random.pick([0.2, 0.2, 0.2, 1]) : 0,
    slotMs: 0,
    spawnMs: 5,
    streamBytes: random.pick([64, 512]),
    managers: withReturns(terms, managers),
    workers,
    clients: withTerms(terms, clients),
    programs,
    faults: drawFaults(random, nodes),
    healMs,
    restMs: healMs + REST_MS,
  }
}

/** Some wait longer than a lease for the workers of an earlier life. */
const withReturns = (
  random: SimRandom,
  managers: readonly ManagerSpec[],
): readonly ManagerSpec[] =>
  managers.map((manager) => ({
    ...manager,
    config: { ...manager.config, returnMs: random.pick([0, 12_000]) },
  }))

/** What some seeds ask for besides: tasks that run alone, batches that end when some fail. */
const withTerms = (
  random: SimRandom,
  clients: readonly ClientSpec[],
): readonly ClientSpec[] => {
  const [exclusive, limited] = [random.pick([0, 0, 0.5]), random.pick([0, 0.4])]
  return clients.map((client) => ({
    ...client,
    batches: client.batches.map((batch) => ({
      ...batch,
      tasks: batch.tasks.map((task) =>
        random.chance(exclusive) ? { ...task, exclusive: true } : task,
      ),
      ...(random.chance(limited) ? { maxFails: random.int(0, 2) } : {}),
    })),
  }))
}

/** Beside a good clock a bad one: as far off as a worker's lease and its manager's allow. */
const drawClock = (random: SimRandom): ClockSpec => ({
  rate: random.pick([1, 1, random.between(0.99, 1.01), random.between(0.9, 1.1)]),
  wallOffsetMs: random.pick([0, random.int(-HOUR_MS, HOUR_MS)]),
})

const drawDisk = (random: SimRandom) =>
  random.pick([
    { leastMs: 0, spreadMs: 0 },
    { leastMs: 0.5, spreadMs: 2 },
    { leastMs: 1, spreadMs: 40 },
  ])

interface Flavour {
  readonly isClose: boolean
  readonly isLingering: boolean
}

const drawProgram = (
  random: SimRandom,
  { longestMs, isClose, isLingering }: Flavour & { readonly longestMs: number },
): Program => {
  const program: Program = {
    runMs: random.spread(longestMs / 100, longestMs),
    spreadMs: random.pick([0, 10, 500]),
  }
  if (random.chance(0.05)) return { ...program, spawnError: 'EACCES' }
  if (random.chance(0.1)) {
    const fetchMs = random.spread(1, 1_000)
    return { ...program, fetchMs, fetchFails: random.chance(0.3) }
  }
  const end = random.pick<Partial<Program>>([
    {},
    {},
    {},
    {},
    {},
    { exitCode: 3 },
    { failures: 1 },
    { failures: 2 },
    { ignoresTerm: true },
  ])
  const output = random.chance(0.5)
    ? { bytes: random.spread(1, 2_000), parts: random.int(1, 5) }
    : {}
  const input = random.chance(0.15) ? { readsInput: true } : {}
  const isStubborn = isClose && random.chance(isLingering ? 0.8 : 0.4)
  const stubborn: Partial<Program> = isStubborn ? { ignoresTerm: true } : {}
  const lingering: Partial<Program> = isStubborn && isLingering ? { runMs: 30_000 } : {}
  return { ...program, ...end, ...output, ...input, ...stubborn, ...lingering }
}

const drawManagers = (random: SimRandom, isClose: boolean): readonly ManagerSpec[] =>
  Array.from({ length: isClose ? 1 : random.pick([1, 1, 1, 1, 2, 2, 3]) }, (_, index) => {
    const pingMs = isClose ? 500 : random.pick([400, 1_000, 2_000])
    return {
      name: `m${index + 1}`,
      nodeId: random.hex(16),
      clock: drawClock(random),
      disk: drawDisk(random),
      ledgerId: random.hex(5),
      config: {
        pingMs,
        workerLeaseMs: 3 * pingMs,
        managerLeaseMs: 4 * pingMs,
        askMs: isClose ? 100 : random.pick([100, 1_000, 10_000]),
        deadlineSlackMs: isClose ? 50 : random.pick([50, 500]),
        killGraceMs: 200,
        retryFirstMs: random.pick([50, 500]),
        retryMaxMs: 2_000,
        busyMs: 100,
        drainingMs: 500,
        prefetchBelowMs: random.pick([0, 250]),
        reserveAfterMs: random.pick([200, 5_000]),
      },
    }
  })

/** Each manager has a worker of its own; the others take whichever comes. */
const drawWorkers = (
  random: SimRandom,
  managers: readonly ManagerSpec[],
  { isClose, isLingering }: Flavour,
): readonly WorkerSpec[] =>
  Array.from(
    { length: managers.length + random.pick(isClose ? [0, 0, 1] : [0, 0, 1, 2, 3]) },
    (_, index) => {
      const own = managers[index]
      return {
        name: `w${index + 1}`,
        nodeId: random.hex(16),
        clock: drawClock(random),
        disk: drawDisk(random),
        cores: random.int(isLingering ? 2 : 1, 3),
        ...(own === undefined ? {} : { managers: [own.name] }),
        outputCapBytes: random.pick([100, 1_000, 100_000]),
        killGraceMs: 200,
        // Each manager's own worker has what its tasks may ask for.
        resources: { gpu: own === undefined ? random.int(0, 2) : 2 },
        labels: { zone: own === undefined ? random.pick(['a', 'b']) : 'a' },
      }
    },
  )

interface Around extends Flavour {
  readonly managers: readonly ManagerSpec[]
  readonly workers: readonly WorkerSpec[]
  readonly programs: readonly Program[]
  readonly healMs: number
}

const drawClients = (random: SimRandom, around: Around): readonly ClientSpec[] => {
  const timed = around.isClose ? 0.7 : random.pick([0, 0.2, 0.8])
  const choosy = random.pick([0, 0, 0.3])
  return around.managers.map(({ name: manager }, index) => ({
    name: `c${index + 1}`,
    nodeId: random.hex(16),
    clock: drawClock(random),
    manager,
    batches: Array.from({ length: random.int(1, 3) }, () =>
      drawBatch(random, around, { timed, choosy, own: around.workers[index] }),
    ),
  }))
}

interface Tasks {
  /** How many have a time limit, and how many ask for more than a core. */
  readonly timed: number
  readonly choosy: number
  /** Can run all of them. */
  readonly own: WorkerSpec | undefined
}

const drawBatch = (
  random: SimRandom,
  { programs, healMs, isLingering }: Around,
  mix: Tasks,
): BatchSpec => {
  const count = random.spread(1, 7)
  const tasks = Array.from({ length: count }, () =>
    drawTask(random, { ...mix, programs, isLingering }),
  )
  const atMs = random.int(0, Math.floor(healMs * 0.7))
  const soonMs = () => random.spread(5, 5_000)
  const some = (share: number) =>
    tasks.flatMap((_, index) => (random.chance(share) ? [index] : []))
  const cancel = random.chance(0.35)
    ? {
        afterMs: soonMs(),
        ...(random.chance(0.5) ? { tasks: [random.int(0, count - 1)] } : {}),
      }
    : undefined
  const retried = random.chance(0.2) ? some(0.5) : []
  const retry = { afterMs: soonMs(), tasks: retried }
  return {
    atMs,
    tasks,
    ...(random.chance(0.1) ? { twice: true } : {}),
    ...(cancel === undefined ? {} : { cancel }),
    ...(retried.length === 0 ? {} : { retry }),
    reads: some(0.2),
    shows: some(0.1).map((task) => ({ afterMs: soonMs(), task })),
  }
}

interface TaskMix extends Tasks {
  readonly programs: readonly Program[]
  readonly isLingering: boolean
}

/** Each of it often alone: what is never asked for together with anything is met too. */
const drawRequires = (
  random: SimRandom,
  own: WorkerSpec,
): NonNullable<TaskRequest['requires']> => ({
  ...(random.chance(0.5) ? { cores: random.int(0, own.cores) } : {}),
  ...(random.chance(0.4) ? { resources: { gpu: random.int(1, 2) } } : {}),
  ...(random.chance(0.3) ? { labels: { zone: 'a' } } : {}),
  ...(random.chance(0.1) ? { host_name: own.name } : {}),
})

const drawTask = (random: SimRandom, mix: TaskMix): TaskRequest => {
  const index = random.int(0, mix.programs.length - 1)
  const isLive = mix.programs[index]?.readsInput === true && random.chance(0.8)
  return {
    job_addr: addressOf(index),
    ...(isLive ? { stdin_live: true } : {}),
    ...drawTerms(random, mix),
  }
}

const drawTerms = (
  random: SimRandom,
  { timed, choosy, own, isLingering }: TaskMix,
): Omit<TaskRequest, 'job_addr'> => ({
  arguments: [],
  timeout_ms: random.chance(timed) ? random.spread(50, 2_000) : 0,
  ...(random.chance(0.5) ? { retries: random.int(1, 3) } : {}),
  ...(random.chance(0.2) ? { output: random.pick(['none', 'stream'] as const) } : {}),
  ...(random.chance(0.2) ? { on_orphan: 'kill' as const } : {}),
  ...(random.chance(isLingering ? 0.8 : 0.3)
    ? { kill_grace_ms: isLingering ? random.int(5_000, 20_000) : random.spread(1, 1_500) }
    : {}),
  ...(random.chance(0.1) ? { priority: random.int(-1, 3) } : {}),
  ...(own !== undefined && random.chance(choosy)
    ? { requires: drawRequires(random, own) }
    : {}),
})

interface Nodes extends Flavour {
  readonly managers: readonly ManagerSpec[]
  readonly workers: readonly WorkerSpec[]
  readonly clients: readonly ClientSpec[]
  readonly healMs: number
}

const KINDS: readonly Fault['what'][] = [
  'crash',
  'stop',
  'freeze',
  'cut',
  'half-open',
  'partition',
  'slow',
  'full',
  'slow-disk',
  'wall',
  'launcher',
  'stray',
  'again',
  'ledger',
]

/** What befalls a close mesh. */
const BREAKS: readonly Fault['what'][] = [
  'partition',
  'partition',
  'freeze',
  'cut',
  'half-open',
  'crash',
  'again',
]

/** What makes a worker be away for longer than its manager waits. */
const ABSENCES: readonly Fault['what'][] = ['partition', 'half-open', 'freeze', 'cut']

const drawFaults = (random: SimRandom, nodes: Nodes): readonly Fault[] => {
  // Each seed has its own mix: some kinds often, some not at all.
  const mix = KINDS.flatMap((what) =>
    Array.from({ length: random.pick([0, 0, 1, 1, 3]) }, () => what),
  )
  const breaks = nodes.isLingering ? ABSENCES : BREAKS
  const kinds = nodes.isClose ? breaks : mix.length === 0 ? KINDS : mix
  const count = random.int(5, nodes.isLingering ? 8 : 23)
  const longestMs = nodes.isClose ? 4_000 : random.pick([500, 3_000, 8_000])
  const faults = Array.from({ length: count }, () =>
    drawFault(random, nodes, random.pick(kinds), longestMs),
  )
  return faults.sort((a, b) => a.atMs - b.atMs)
}

const drawFault = (
  random: SimRandom,
  nodes: Nodes,
  what: Fault['what'],
  longestMs: number,
): Fault => {
  const { managers, workers, clients, healMs } = nodes
  const atMs = random.int(1, healMs)
  const forMs = random.spread(nodes.isLingering ? 1_500 : 10, longestMs)
  const node = random.pick([...managers, ...workers]).name
  const manager = random.pick(managers).name
  const worker = random.pick(workers).name
  const far = random.chance(0.85) ? worker : random.pick(clients).name
  const [from, to] = random.chance(0.5) ? [manager, far] : [far, manager]
  switch (what) {
    case 'crash': {
      const kept = random.pick([0, random.fraction(), 1])
      const client = random.pick(clients).name
      if (random.chance(0.1))
        return { atMs, what, node: client, downMs: forMs, silent: false, kept }
      const isManager = managers.some(({ name }) => name === node)
      const isLost = isManager && random.chance(0.15)
      const silent = random.chance(0.25)
      const crash = { atMs, what, node, downMs: forMs, silent, kept }
      return isLost ? { ...crash, newLedger: random.hex(5) } : crash
    }
    case 'stop': {
      const graceMs = random.spread(1, 2_000)
      return { atMs, what, node, graceMs, downMs: forMs }
    }
    case 'freeze':
      return { atMs, what, node, forMs }
    case 'cut':
    case 'half-open':
      return { atMs, what, from, to }
    case 'partition':
      return { atMs, what, ...drawSides(random, nodes), both: random.chance(0.6), forMs }
    case 'slow':
      return { atMs, what, from, to, times: random.pick([3, 20, 200]), forMs }
    case 'full':
      return { atMs, what, node, forMs }
    case 'ledger': {
      const how = random.pick(['failed', 'fenced'] as const)
      return { atMs, what, node: manager, how, isStored: random.chance(0.5), forMs }
    }
    case 'slow-disk':
      return { atMs, what, node, times: random.pick([10, 100]), forMs }
    case 'wall':
      return { atMs, what, node, byMs: random.int(-HOUR_MS, HOUR_MS) }
    case 'launcher':
    case 'again':
      return { atMs, what, node: worker }
    case 'stray':
      return { atMs, what, node: worker, isSuccess: random.chance(0.5) }
  }
}

/** A manager and a worker, one node alone, or any division of them all. */
const drawSides = (random: SimRandom, nodes: Nodes) => {
  const { managers, workers, clients, isClose } = nodes
  if (random.chance(isClose ? 0.9 : 0.4)) {
    const pair = [random.pick(managers).name, random.pick(workers).name]
    const [from = '', to = ''] = random.chance(0.5) ? pair : pair.reverse()
    return { from: [from], to: [to] }
  }
  const names = [...managers, ...workers, ...clients].map(({ name }) => name)
  if (random.chance(0.5)) {
    const alone = random.pick(names)
    const others = names.filter((name) => name !== alone)
    return random.chance(0.5)
      ? { from: [alone], to: others }
      : { from: others, to: [alone] }
  }
  const one = names.filter(() => random.chance(0.5))
  return { from: one, to: names.filter((name) => !one.includes(name)) }
}
