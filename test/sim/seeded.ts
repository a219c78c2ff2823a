// All seeded bugs, two at a time: which seed finds each, and by which rule.
//
//   npm run test:sim                                   after the seeds
//   npx tsc -b && node dist/test/sim/seeded.js         without them
//   SIM_BUG=lease node dist/test/sim/seeded.js         those with that word in their name
//
// With SIM_SEED or SIM_SEEDS none are hunted: those ask for seeds of their own.

import { hunt } from './hunt.ts'
import { seededBugs } from './seeded-bugs.ts'

const SEEDS = 2_000
const MEDIAN = 200
const AT_ONCE = 2

const print = (text: string): void => void process.stdout.write(`${text}\n`)

const { SIM_BUG: word = '', SIM_SEED, SIM_SEEDS } = process.env
const isAsked = SIM_SEED === undefined && SIM_SEEDS === undefined
const bugs = isAsked ? seededBugs.filter(({ name }) => name.includes(word)) : []
const left = [...bugs]
const seedsOf: number[] = []

const next = async (): Promise<void> => {
  for (let bug = left.shift(); bug !== undefined; bug = left.shift()) {
    const found = await hunt(bug, SEEDS)
    seedsOf.push(found?.seed ?? Number.POSITIVE_INFINITY)
    const where =
      found === undefined
        ? `NOT found in ${SEEDS} seeds`
        : `found at seed ${found.seed} by ${found.violation.split('\n')[0]?.slice(0, 160)}`
    print(`${bug.name}: ${where}`)
  }
}

await Promise.all(Array.from({ length: AT_ONCE }, next))
const sorted = seedsOf.sort((a, b) => a - b)
const median = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0
const unfound = sorted.filter((seed) => seed === Number.POSITIVE_INFINITY).length
if (bugs.length > 0)
  print(`${bugs.length} seeded bugs, ${unfound} not found, median seed ${median}`)
if (unfound > 0 || median > MEDIAN) process.exitCode = 1
