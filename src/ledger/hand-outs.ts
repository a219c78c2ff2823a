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
  const all = handOuts.slice()
  for (const its of ran) {
    let index = all.length - 1
    while (index >= 0 && !isOf(all[index], its)) index -= 1
    const known = all[index]
    if (known !== undefined) all[index] = { ...known, ran: its }
  }
  return all
}

const isOf = (
  one: Recalled | undefined,
  { attempt, nodeId }: Pick<Recalled, 'attempt' | 'nodeId'>,
): boolean => one?.attempt === attempt && one.nodeId === nodeId
