// Chaos: the real binary under kill -9, SIGSTOP and broken connections, judged by the same
// checker as simulated histories:
//
//   npm run test:chaos                                    2,000 tasks, 150 faults
//   CHAOS_ROUNDS=20 CHAOS_SEED=7 CHAOS_TASKS=100 CHAOS_FAULTS=20 npm run test:chaos

import { chaosRound } from './round.ts'

const {
  CHAOS_ROUNDS = '1',
  CHAOS_SEED = '1',
  CHAOS_TASKS = '2000',
  CHAOS_FAULTS = '150',
} = process.env
const print = (text: string): void => void process.stdout.write(`${text}\n`)

const listed = (counts: ReadonlyMap<string, number>): string =>
  [...counts].map(([what, count]) => `${count} ${what}`).join(', ')

for (let i = 0; i < Number(CHAOS_ROUNDS); i++) {
  const seed = Number(CHAOS_SEED) + i
  const startMs = performance.now()
  const { faults, starts, ended, violations } = await chaosRound({
    seed,
    tasks: Number(CHAOS_TASKS),
    faults: Number(CHAOS_FAULTS),
    longestS: 0.3,
  })
  const seconds = Math.round((performance.now() - startMs) / 1000)
  print(`seed ${seed}: ${CHAOS_FAULTS} faults (${listed(faults)}) in ${seconds} s`)
  print(`  ${CHAOS_TASKS} tasks (${listed(ended)}), ${starts} starts`)
  print(`  ${violations.length} violations`)
  for (const { rule, says } of violations) print(`  ${rule}: ${says}`)
  if (violations.length > 0) process.exitCode = 1
}
