// What a mesh does with a load: how fast, what it costs its managers, how long it takes to
// recover from faults. Throughput and recovery are of the simulated time and always the same
// for a seed; the cost is real processor time of the manager's own code, on this machine.

import { planFaults } from './faults.ts'
import { BEGIN_MS, idealMs, type Load, loadScenario } from './load.ts'
import { Recovery } from './recovery.ts'
import { World } from './world.ts'

export interface Measured {
  readonly load: Load
  /** From the first task handed in to the last outcome told, of the simulated time. */
  readonly tookMs: number
  readonly tasksPerSecond: number
  /** Against every core busy from the first task to the last. */
  readonly ofIdeal: number
  /** Tasks that ran again, as their outcomes tell, and those that did not succeed. */
  readonly again: number
  readonly failed: number
  /** The longest and the middle recovery; undefined: no fault struck anything. */
  readonly worstMs: number | undefined
  readonly middleMs: number | undefined
  /** Microseconds of real time for each task, of all managers together. */
  readonly managerUs: number
}

/** Tells that it never ends: with so much more time than it should need. */
const PATIENCE_MS = 24 * 3_600_000

export interface MeasureOptions {
  /** Milliseconds of a real clock; read at each turn, so it must be quick. */
  readonly stopwatch: () => number
  /** Milliseconds that this process has had a processor, on any number of them. */
  readonly processor: () => number
  /** Called now and then, with the tasks that are over; throws to end it. */
  readonly progress?: (done: number) => void
}

/** How much simulated time passes between looks. */
const LOOK_MS = 1_000

/** Runs a load to its end. Throws if it never comes to one. */
export const measure = (load: Load, options: MeasureOptions): Measured => {
  const recovery = new Recovery()
  const violations: string[] = []
  const world = new World(loadScenario(load), {
    stopwatch: options.stopwatch,
    watch: recovery,
    violation: (what) => violations.push(what),
  })
  recovery.plan(world)
  planFaults(world)
  world.run(BEGIN_MS - 1)
  const began = {
    busyMs: busyMs(world),
    clockMs: options.stopwatch(),
    processorMs: options.processor(),
  }
  const floods = () => world.clients.flatMap(({ client }) => client?.flood ?? [])
  const untilMs = BEGIN_MS + 10 * idealMs(load) + PATIENCE_MS
  while (world.clients.some(({ client }) => client?.isDone !== true)) {
    if (violations.length > 0) throw new Error(violations.join(', '))
    if (world.schedule.nowMs > untilMs)
      throw new Error('the simulated mesh came to no end')
    world.run(world.schedule.nowMs + LOOK_MS)
    options.progress?.(sum(floods().map(({ done }) => done)))
  }
  const tookMs = Math.max(...floods().map(({ lastMs }) => lastMs)) - BEGIN_MS
  // What others took of the machine meanwhile, they took of each turn alike.
  const had = Math.min(
    1,
    (options.processor() - began.processorMs) / (options.stopwatch() - began.clockMs),
  )
  const took = [...recovery.tookMs].sort((a, b) => a - b)
  return {
    load,
    tookMs,
    tasksPerSecond: load.tasks / (tookMs / 1000),
    ofIdeal: idealMs(load) / tookMs,
    again: sum(floods().map(({ ranAgain }) => ranAgain)),
    failed: sum(floods().map(({ failed }) => failed)),
    worstMs: took.at(-1),
    middleMs: took[Math.floor(took.length / 2)],
    managerUs: ((busyMs(world) - began.busyMs) * had * 1000) / load.tasks,
  }
}

const busyMs = (world: World): number => sum(world.managers.map((node) => node.busyMs))

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
