// Simulates one scenario from its beginning to its rest, and says what came of it.

import { type Checker, createChecker } from './checker.ts'
import { Digest } from './digest.ts'
import { drawScenario } from './draw.ts'
import { planFaults } from './faults.ts'
import type { Historian } from './history.ts'
import type { ClockSpec, Scenario } from './scenario.ts'
import { World, type WorldOptions } from './world.ts'

export interface SimulateOptions extends Omit<WorldOptions, 'violation'> {
  /** Without a history: faster, and only what the world itself sees is found. */
  readonly isSilent?: boolean
  /** Without a digest: for who compares none. */
  readonly isUndigested?: boolean
}

/** What came of a simulation. */
export interface Summary {
  readonly seed: number
  /** Of its history: the same scenario, the same digest. Of nothing, if undigested. */
  readonly digest: string
  readonly events: number
  readonly happened: number
  readonly faults: number
  readonly tasks: number
  readonly starts: number
  readonly asks: number
  /** The world's time at which all was at rest. */
  readonly restedMs: number
  readonly violations: readonly string[]
}

/** How often it is asked whether all is at rest. */
const LOOK_MS = 500
/** Beyond that many steps it goes round in circles. */
const MOST_STEPS = 3_000_000

/** Simulates a scenario, or the one of a seed. Never throws: a throw is a violation. */
export const simulate = (
  what: Scenario | number,
  options: SimulateOptions = {},
): Summary => {
  const scenario = typeof what === 'number' ? drawScenario(what) : what
  const violations: string[] = []
  const digest = new Digest()
  const checker = checkerOf(scenario)
  const { historian, isSilent, isUndigested, ...rest } = options
  const pen: Historian = (event) => {
    if (isUndigested === true) digest.count += 1
    else digest.add(event)
    checker.see(event)
    historian?.(event)
  }
  const world = new World(scenario, {
    ...rest,
    ...(isSilent === true ? {} : { historian: pen }),
    violation: (what) => violations.push(what),
  })
  try {
    live(world)
    if (!world.isAtRest) violations.push(`not at rest ${scenario.restMs} ms after all`)
    world.rest()
    for (const { rule, says } of checker.finish()) violations.push(`${rule}: ${says}`)
  } catch (error) {
    violations.push(`threw: ${error instanceof Error ? error.stack : String(error)}`)
  }
  return {
    seed: scenario.seed,
    digest: digest.text,
    events: digest.count,
    happened: world.schedule.happened,
    faults: world.faults,
    tasks: world.tasks,
    starts: world.starts,
    asks: world.asks,
    restedMs: world.schedule.nowMs,
    violations,
  }
}

/** The grace of most tasks, and what it takes to hear of an end. */
const ABORT_MS = 2_500
const HEARING_MS = 1_000
/** From hearing of an end to the first signal: the abort came before. */
const SIGNAL_MS = 100

const checkerOf = ({ managers, workers, clients }: Scenario): Checker => {
  const drift = 2 * Math.max(...[...managers, ...workers].map(driftOf))
  return createChecker({
    drift,
    abortMs: Math.max(ABORT_MS, longestGraceMs(clients) * (1 + drift) + HEARING_MS),
    signalMs: SIGNAL_MS,
    managerLeaseMs: Math.min(...managers.map(({ config }) => config.managerLeaseMs)),
  })
}

const longestGraceMs = (clients: Scenario['clients']): number =>
  Math.max(
    0,
    ...clients.flatMap(({ batches }) =>
      batches.flatMap(({ tasks }) => tasks.map((task) => task.kill_grace_ms ?? 0)),
    ),
  )

const driftOf = ({ clock }: { readonly clock: ClockSpec }): number =>
  Math.abs(clock.rate - 1)

const live = (world: World): void => {
  const { scenario, schedule } = world
  planFaults(world)
  world.run(scenario.healMs)
  while (!world.isAtRest && schedule.nowMs < scenario.restMs) {
    if (schedule.happened > MOST_STEPS) throw new Error('it never comes to rest')
    world.run(schedule.nowMs + LOOK_MS)
  }
}
