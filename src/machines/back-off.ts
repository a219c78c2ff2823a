// Back-off: how long a task waits before it runs again after a failure of its own. Twice as
// long each time, and up to half of it taken off, by task and failure: tasks that failed
// together, of one broken service, do not all come back to it in the same moment. Drawn from
// the task's number, so that a manager that starts again would draw the same.

import type { ManagerConfig } from './manager-config.ts'

/** Milliseconds before the next attempt, after so many failures. */
export const backOffMs = (
  { seq, failures }: { readonly seq: number; readonly failures: number },
  { retryFirstMs, retryMaxMs }: Pick<ManagerConfig, 'retryFirstMs' | 'retryMaxMs'>,
): number => {
  const wholeMs = Math.min(retryMaxMs, retryFirstMs * 2 ** (failures - 1))
  return Math.ceil(wholeMs * (1 - fraction(seq, failures) / 2))
}

/** Evenly spread over [0, 1), and the same for the same two. */
const fraction = (seq: number, failures: number): number => {
  // The finalizer of MurmurHash3, which scatters neighbours.
  let hash = (Math.imul(seq, 0x9e3779b1) ^ failures) >>> 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}
