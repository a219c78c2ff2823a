// Hand-outs: what a ledger remembers of where a task was, and how it went there.

import type { Assigned, Closed, Recalled, Requeued } from '../records.ts'

/** Hand-outs that are remembered of one task; older ones are dropped. */
const KEPT = 16

export const withHandOut = (
  before: readonly Recalled[],
  handOut: Assigned,
): readonly Recalled[] => [...before.slice(1 - KEPT), handOut]

/** With what a change tells of them. */
export const withRuns = (
  handOuts: readonly Recalled[],
  { ran = [] }: Requeued | Closed,
): readonly Recalled[] => {
  if (ran.length === 0) return handOuts
  const all = [...handOuts]
  for (const { attempt, nodeId, ...its } of ran) {
    const index = all.findLastIndex(
      (one) => one.attempt === attempt && one.nodeId === nodeId,
    )
    const known = all[index]
    if (known !== undefined) all[index] = { ...known, ran: its }
  }
  return all
}
