// Chaos: the real binary under kill -9, SIGSTOP and broken connections, judged by the same
// checker as simulated histories:
//
//   npm run test:chaos                            three rounds
//   CHAOS_ROUNDS=20 CHAOS_SEED=7 npm run test:chaos
//
// A round is a mesh of its own: one manager, three workers, a relay before each of them, and
// tasks whose programs write down when they start and end. The history is made of those lines
// and of what the client was told; between processes its order is only as good as their clocks,
// so the rules that need more are left out.

import { checkHistory } from '../../src/sim/checker.ts'
import { SimRandom } from '../../src/sim/random.ts'
import { historyOf } from './history.ts'
import { startMesh } from './mesh.ts'

const FAULTS_MS = 8_000
const TASKS = 40

const { CHAOS_ROUNDS = '3', CHAOS_SEED = '1' } = process.env
const print = (text: string): void => void process.stdout.write(`${text}\n`)
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const round = async (seed: number): Promise<number> => {
  const random = new SimRandom(seed, 'chaos')
  const mesh = await startMesh(3)
  try {
    const lasting = Array.from({ length: TASKS }, () => random.between(0.05, 1.5))
    const taskIds = await mesh.submit(lasting)
    const untilMs = Date.now() + FAULTS_MS
    const faults = new Map<string, number>()
    while (Date.now() < untilMs) {
      await pause(random.between(50, 700))
      const worker = random.pick(mesh.workers)
      const forMs = random.spread(50, 3_000)
      const what = random.pick([
        'kill',
        'stop',
        'cut',
        'stall',
        'half',
        'manager',
        'kill manager',
      ] as const)
      const isManagers = what === 'manager' || what === 'kill manager'
      if (what === 'manager') await mesh.stopManager(Math.min(forMs, 700))
      if (what === 'kill manager') await mesh.killManager(Math.min(forMs, 700))
      if (isManagers || worker.harm(what, forMs))
        faults.set(what, (faults.get(what) ?? 0) + 1)
    }
    for (const worker of mesh.workers) worker.heal()
    const told = await mesh.outcomes(taskIds)
    const history = await historyOf(mesh, taskIds, told)
    const violations = checkHistory(history, {
      order: 'own',
      // What a ledger requeued, a client does not see; nor when a killed process was gone.
      except: ['reruns-shown', 'start-alive'],
    })
    const starts = history.filter(({ kind }) => kind === 'started').length
    print(
      `seed ${seed}: ${listed(faults)}, ${TASKS} tasks, ${starts} starts, ${violations.length} violations`,
    )
    for (const { rule, says } of violations) print(`  ${rule}: ${says}`)
    return violations.length
  } finally {
    await mesh.close()
  }
}

const listed = (faults: ReadonlyMap<string, number>): string =>
  [...faults].map(([what, count]) => `${count} ${what}`).join(', ')

let failed = 0
for (let i = 0; i < Number(CHAOS_ROUNDS); i++)
  failed += await round(Number(CHAOS_SEED) + i)
if (failed > 0) process.exitCode = 1
