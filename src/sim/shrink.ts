// Shrinks a failing scenario: leaves out faults, and then batches of work, as long as it
// still fails in the same way (delta debugging). What is left is short enough to be read.

import { describe } from './faults.ts'
import type { Scenario } from './scenario.ts'
import { simulate } from './simulate.ts'

/** Simulations that it may take. */
const MOST_TRIES = 400

/** The name of the rule that a violation breaks. */
export const ruleOf = (violation: string): string => violation.split(':')[0] ?? violation

/** The smallest scenario found that breaks the same rule as `scenario` does first. */
export const shrink = (scenario: Scenario, mostTries = MOST_TRIES): Scenario => {
  const [first] = simulate(scenario).violations
  if (first === undefined) return scenario
  const rule = ruleOf(first)
  let left = mostTries
  const fails = (smaller: Scenario): boolean => {
    left -= 1
    return simulate(smaller).violations.some((one) => ruleOf(one) === rule)
  }
  let small = scenario
  const take = (smaller: Scenario): boolean => {
    if (left <= 0 || !fails(smaller)) return false
    small = smaller
    return true
  }
  lessOf(small.faults, (faults) => take({ ...small, faults }))
  for (const [index, { batches }] of small.clients.entries())
    lessOf(batches, (fewer) => {
      const clients = small.clients.map((client, at) =>
        at === index ? { ...client, batches: fewer } : client,
      )
      return take({ ...small, clients })
    })
  lessOf(small.faults, (faults) => take({ ...small, faults }))
  return small
}

/** Leaves out ever smaller parts of a list, as long as `take` takes what is left. */
const lessOf = <T>(all: readonly T[], take: (list: readonly T[]) => boolean): void => {
  let list = all
  for (let size = Math.ceil(list.length / 2); size >= 1; size = Math.floor(size / 2))
    for (let at = 0; at < list.length; ) {
      const without = [...list.slice(0, at), ...list.slice(at + size)]
      if (take(without)) list = without
      else at += size
    }
}

/** A failure as it is printed: the line that reproduces it, what is left of its faults, what it broke. */
export const report = (
  seed: number,
  small: Scenario,
  violations: readonly string[],
): string => {
  const faults = small.faults.map((fault) => `  ${fault.atMs} ms: ${describe(fault)}`)
  return [
    `SIM_SEED=${seed} npm run test:sim`,
    `faults that are needed (${small.faults.length}):`,
    ...faults,
    'what it broke:',
    ...violations.slice(0, 10).map((violation) => `  ${violation}`),
  ].join('\n')
}
