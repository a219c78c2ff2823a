// Recorded addresses: where the workers of an earlier life of a manager listened, by its
// ledger. A manager that starts dials them, so that it need not wait for their back-off.

import type { Assigned, RecordedTask } from '../records.ts'

/** Dialled at a start at most; who is left out comes by itself. */
export const MOST_DIALLED = 256

/** The newest address of each node that open tasks were given to; the latest hand-outs first. */
export const recordedAddresses = (
  tasks: readonly RecordedTask[],
  most = MOST_DIALLED,
): readonly string[] => {
  const newest = new Map<string, Assigned>()
  for (const { assigned } of tasks) {
    for (const one of assigned) {
      const known = newest.get(one.nodeId)
      if (known === undefined || one.atMs >= known.atMs) newest.set(one.nodeId, one)
    }
  }
  const latest = [...newest.values()].sort((one, other) => other.atMs - one.atMs)
  return [...new Set(latest.flatMap(({ address }) => address ?? []))].slice(0, most)
}
