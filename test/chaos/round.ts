// A round of chaos: a mesh of its own, one manager, three workers, a relay before each of
// them, and tasks whose programs write down when they start and end. The history is made of
// those lines and of what the client was told; between processes its order is only as good
// as their clocks, so the rules that need more are left out.

import { setTimeout as pause } from 'node:timers/promises'
import { checkHistory, type Violation } from '../../src/sim/checker.ts'
import { SimRandom } from '../../src/sim/random.ts'
import { historyOf } from './history.ts'
import { type ChaosMesh, startMesh } from './mesh.ts'

export interface RoundOptions {
  readonly seed: number
  readonly tasks: number
  /** It goes on until so many have happened, and all tasks have ended. */
  readonly faults: number
  /** The longest task. */
  readonly longestS: number
}

export interface Round {
  readonly faults: ReadonlyMap<string, number>
  readonly starts: number
  /** How many of the tasks ended in which state. */
  readonly ended: ReadonlyMap<string, number>
  readonly violations: readonly Violation[]
}

const WORKERS = 3
/** Longer than a lease (1 s), and shorter. */
const FAULT_MS = { least: 50, most: 3_000 }
const MANAGER_AWAY_MS = 700
const KINDS = ['kill', 'stop', 'cut', 'stall', 'half', 'manager', 'kill manager'] as const

export const chaosRound = async (options: RoundOptions): Promise<Round> => {
  const random = new SimRandom(options.seed, 'chaos')
  const mesh = await startMesh(WORKERS)
  try {
    const lasting = Array.from({ length: options.tasks }, () =>
      random.between(0.03, options.longestS),
    )
    const taskIds = await mesh.submit(lasting)
    const faults = await harm(mesh, random, options.faults)
    for (const worker of mesh.workers) worker.heal()
    const told = await mesh.outcomes(taskIds)
    const history = await historyOf(mesh, taskIds, told)
    const violations = checkHistory(history, {
      order: 'own',
      // What a ledger requeued, a client does not see; nor when a killed process was gone.
      except: ['reruns-shown', 'start-alive'],
    })
    const starts = history.filter(({ kind }) => kind === 'started').length
    const ended = countOf(told.map(({ state }) => state))
    return { faults, starts, ended, violations }
  } finally {
    await mesh.close()
  }
}

const harm = async (
  mesh: ChaosMesh,
  random: SimRandom,
  count: number,
): Promise<ReadonlyMap<string, number>> => {
  const done: string[] = []
  while (done.length < count) {
    await pause(random.between(50, 700))
    const worker = random.pick(mesh.workers)
    const forMs = random.spread(FAULT_MS.least, FAULT_MS.most)
    const what = random.pick(KINDS)
    const awayMs = Math.min(forMs, MANAGER_AWAY_MS)
    if (what === 'manager') await mesh.stopManager(awayMs)
    else if (what === 'kill manager') await mesh.killManager(awayMs)
    // One that suffers already is left alone.
    else if (!worker.harm(what, forMs)) continue
    done.push(what)
  }
  return countOf(done)
}

const countOf = (words: readonly string[]): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}
