// Many seeds of the simulator, one after the other:
//
//   npm run test:sim                  20,000 seeds
//   SIM_SEEDS=500 npm run test:sim    so many
//   SIM_SEED=4711 npm run test:sim    that one; if it fails, shrunk, and kept as JSON
//
// The first failures are shrunk and printed, each with the line that reproduces it.

import { writeFileSync } from 'node:fs'
import { drawScenario } from '../../src/sim/draw.ts'
import { report, shrink } from '../../src/sim/shrink.ts'
import { type Summary, simulate } from '../../src/sim/simulate.ts'

const SEEDS = 20_000
/** So many are simulated a second time: the same seed gives the same history. */
const TWICE = 200
/** More of them say little. */
const SHRUNK = 3

const print = (text: string): void => void process.stdout.write(`${text}\n`)

const numberOf = (name: string): number | undefined => {
  const text = process.env[name]
  if (text === undefined) return undefined
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < 0)
    throw new TypeError(`Expected ${name} to be a natural number, got \`${text}\``)
  return number
}

const fail = (seed: number): void => {
  const small = shrink(drawScenario(seed))
  print(`\n${report(seed, small, simulate(small).violations)}`)
  if (numberOf('SIM_SEED') === undefined) return
  const file = `sim-${seed}.json`
  writeFileSync(file, `${JSON.stringify(small, undefined, 1)}\n`)
  print(`the scenario, as small as it got, is in ${file}`)
}

const only = numberOf('SIM_SEED')
const from = only ?? numberOf('SIM_FROM') ?? 1
const count = only === undefined ? (numberOf('SIM_SEEDS') ?? SEEDS) : 1
const beganMs = performance.now()
const total = { faults: 0, tasks: 0, starts: 0, asks: 0, events: 0, worldMs: 0 }
let failed = 0
for (let seed = from; seed < from + count; seed++) {
  // What a world's parts left to promises holds it until they have had their turn.
  await undefined
  const isTwice = seed - from < TWICE
  const summary: Summary = simulate(seed, { isUndigested: !isTwice })
  total.faults += summary.faults
  total.tasks += summary.tasks
  total.starts += summary.starts
  total.asks += summary.asks
  total.events += summary.events
  total.worldMs += summary.restedMs
  if (isTwice && simulate(seed).digest !== summary.digest) {
    failed += 1
    print(`SIM_SEED=${seed} npm run test:sim   # another history the second time`)
  }
  if (summary.violations.length === 0) continue
  failed += 1
  if (failed <= SHRUNK) fail(seed)
  else print(`SIM_SEED=${seed} npm run test:sim   # ${summary.violations[0]}`)
}
const seconds = (performance.now() - beganMs) / 1000
print(
  [
    `${count} seeds, ${failed} of them with violations, in ${seconds.toFixed(1)} s`,
    `${total.faults} faults, ${total.tasks} tasks, ${total.starts} starts, ${total.asks} requests, ${total.events} events`,
    `${(total.worldMs / 3_600_000).toFixed(1)} hours of the world's time; ${Math.min(count, TWICE)} seeds twice`,
  ].join('\n'),
)
if (failed > 0) process.exitCode = 1
