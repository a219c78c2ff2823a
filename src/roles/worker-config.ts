// Worker configuration: every option of the worker's role with its unit, its default and
// why. The composition root fills it in; the role reads nothing of the process.

import type { BootId, HostName, NodeId } from '../../protocol/index.ts'
import type { Capacity } from '../machines/admission.ts'
import { TOMBSTONES } from '../machines/tombstones.ts'
import { ITSELF } from '../machines/users.ts'

export interface WorkerConfig extends Capacity {
  readonly nodeId: NodeId
  readonly bootId: BootId
  readonly hostName: HostName
  /** Bits per second, as a claim for placement. */
  readonly networkSpeed?: number
  /** Node ids or host names that may manage it; undefined: any manager of the mesh. */
  readonly managers?: readonly string[]
  /** PATH, HOME, LANG, TZ: what every program gets. Nothing of the node's own environment. */
  readonly environment: Readonly<Record<string, string>>
  /** Where a program runs whose task names no directory: absolute, shared by all of them. */
  readonly directory: string
  /** Between TERM and KILL, for tasks that do not say. */
  readonly killGraceMs: number
  /** Kept of each descriptor by `capture`. */
  readonly outputCapBytes: number
  /** Tasks that run at a time, those that need no core too; default: 256 beside the cores. */
  readonly runningLimit?: number
  /** Tasks that may wait for a slot; above it is `busy`. */
  readonly pendingLimit: number
  /** Outcomes that may wait for their Ack; above it new work is `busy`. */
  readonly outcomeLimit: number
  readonly tombstones: typeof TOMBSTONES
  /** A `stream` that nobody reads for so long turns into a `capture`. */
  readonly unreadStreamMs: number
  /** Output that did not fit its outcome, kept for BlobRead: whichever is reached first ends it. */
  readonly retention: Retention
}

/** How much ended output is kept, and for how long. The oldest goes first. */
export interface Retention {
  readonly ageMs: number
  readonly count: number
  readonly bytes: number
}

/** The defaults of everything that has one. */
export const WORKER_DEFAULTS = {
  labels: {},
  resources: {},
  kinds: ['exec', 'https', 'file', 'noop'],
  isLimited: false,
  users: ITSELF,
  /** As service managers do it: long enough to save a file, short enough to wait for. */
  killGraceMs: 5000,
  outputCapBytes: 64 * 1024 * 1024,
  /** Managers send what is free and as much again; four messages full leave room for tiny tasks. */
  pendingLimit: 1024,
  /** At 32 KiB inline at most, 320 MB in the worst case. */
  outcomeLimit: 10_000,
  tombstones: TOMBSTONES,
  unreadStreamMs: 30_000,
  retention: { ageMs: 3_600_000, count: 1000, bytes: 4 * 1024 ** 3 },
} as const satisfies Partial<WorkerConfig>

/** Throws at the first option that no worker can run with. */
export const checkWorkerConfig = (config: WorkerConfig): void => {
  const atLeastOne = ['cores', 'memoryBytes', 'pendingLimit', 'outcomeLimit'] as const
  for (const name of atLeastOne) {
    const value = config[name]
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new TypeError(
        `Expected the \`${name}\` option to be a positive integer, got \`${value}\``,
      )
    }
  }
  const { runningLimit = 1 } = config
  if (!Number.isSafeInteger(runningLimit) || runningLimit < 1) {
    throw new TypeError(
      `Expected the \`runningLimit\` option to be a positive integer, got \`${runningLimit}\``,
    )
  }
  if (!config.directory.startsWith('/')) {
    throw new TypeError(
      `Expected the \`directory\` option to be an absolute path, got \`${config.directory}\``,
    )
  }
}
