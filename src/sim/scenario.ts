// A scenario: everything that a simulation is made from, as data. A seed draws one
// (draw.ts); a failure is kept as one, since what a seed means changes with the generator.

import type { NodeId, TaskRequest } from '../../protocol/index.ts'
import type { ManagerConfig } from '../machines/manager-config.ts'
import type { DiskSpeed } from './disks.ts'
import type { Delays } from './paths.ts'
import type { Program } from './programs.ts'

/** A clock: how fast it runs against the world's, and what its wall clock shows more. */
export interface ClockSpec {
  readonly rate: number
  readonly wallOffsetMs: number
}

interface NodeSpec {
  /** The host name; unique. */
  readonly name: string
  readonly nodeId: NodeId
  readonly clock: ClockSpec
  readonly disk: DiskSpeed
}

export interface ManagerSpec extends NodeSpec {
  readonly ledgerId: string
  /** Figures of its configuration that are not the default. */
  readonly config: Pick<ManagerConfig, 'pingMs' | 'workerLeaseMs' | 'managerLeaseMs'> &
    Partial<ManagerConfig>
}

export interface WorkerSpec extends NodeSpec {
  readonly cores: number
  /** The only managers that it takes, by host name; absent: any. */
  readonly managers?: readonly string[]
  /** Bytes of a captured output that it keeps. */
  readonly outputCapBytes: number
  readonly killGraceMs: number
  /** What tasks may ask for beside cores; absent: nothing. */
  readonly resources?: Readonly<Record<string, number>>
  readonly labels?: Readonly<Record<string, string>>
}

/** Tasks that a client hands in together, and what it does about them. */
export interface BatchSpec {
  readonly atMs: number
  readonly tasks: readonly TaskRequest[]
  /** Ends it when more have failed. */
  readonly maxFails?: number
  /** Submits it a second time at once, with the same key. */
  readonly twice?: boolean
  /** Cancels these (indexes), or all of the batch. */
  readonly cancel?: { readonly afterMs: number; readonly tasks?: readonly number[] }
  /** Follows the output of these. */
  readonly reads?: readonly number[]
  /** Hands these in again once they are over, as tasks of their own. */
  readonly retry?: { readonly afterMs: number; readonly tasks: readonly number[] }
  /** Asks for the record of one of them. */
  readonly shows?: readonly { readonly afterMs: number; readonly task: number }[]
}

/** A great many equal tasks, handed in as fast as the manager takes them. */
export interface FloodSpec {
  /** When it begins; default: at once. */
  readonly atMs?: number
  readonly tasks: number
  readonly request: TaskRequest
  /** Tasks that may be handed in and not yet over. */
  readonly window: number
}

export interface ClientSpec extends Omit<NodeSpec, 'disk'> {
  /** The manager that it speaks to. */
  readonly manager: string
  readonly batches: readonly BatchSpec[]
  readonly flood?: FloodSpec
}

/** What goes wrong, and when. Each ends by itself, at the latest when all heals. */
export type Fault = { readonly atMs: number } & (
  | {
      readonly what: 'crash'
      readonly node: string
      readonly downMs: number
      /** The machine has no power: nobody hears, nothing refuses. */
      readonly silent: boolean
      /** Of what was not durable and not sent, this first part is. */
      readonly kept: number
      /** A manager's disk is lost too: it comes back with this ledger. */
      readonly newLedger?: string
    }
  /** Ended in good order: a worker drains, with this grace for what runs; then it is away. */
  | {
      readonly what: 'stop'
      readonly node: string
      readonly graceMs: number
      readonly downMs: number
    }
  | { readonly what: 'freeze'; readonly node: string; readonly forMs: number }
  /** A connection ends and both ends hear it. */
  | { readonly what: 'cut'; readonly from: string; readonly to: string }
  /** A connection ends, and only `from` hears it. */
  | { readonly what: 'half-open'; readonly from: string; readonly to: string }
  /** Nothing passes from these to those; `both`: nor back. */
  | {
      readonly what: 'partition'
      readonly from: readonly string[]
      readonly to: readonly string[]
      readonly both: boolean
      readonly forMs: number
    }
  | {
      readonly what: 'slow'
      readonly from: string
      readonly to: string
      readonly times: number
      readonly forMs: number
    }
  | { readonly what: 'full'; readonly node: string; readonly forMs: number }
  /**
   * A manager's next commit fails, or another holder has taken its ledger over: it must end,
   * and is started again. What it was told has failed may be on disk all the same.
   */
  | {
      readonly what: 'ledger'
      readonly node: string
      readonly how: 'failed' | 'fenced'
      readonly isStored: boolean
      readonly forMs: number
    }
  | {
      readonly what: 'slow-disk'
      readonly node: string
      readonly times: number
      readonly forMs: number
    }
  | { readonly what: 'wall'; readonly node: string; readonly byMs: number }
  /** The helper that holds a worker's programs dies. */
  | { readonly what: 'launcher'; readonly node: string }
  /** A worker tells how a task ended that it was never given, and that runs elsewhere. */
  | { readonly what: 'stray'; readonly node: string; readonly isSuccess: boolean }
  /** A worker's manager sends it once more what it has. */
  | { readonly what: 'again'; readonly node: string }
)

export interface Scenario {
  /** Chance of everything that is not drawn up front. */
  readonly seed: number
  readonly delays: Delays
  readonly chunkMs: number
  /** Nodes deal with what comes at moments so far apart; 0: with each at its time. */
  readonly slotMs: number
  /** How likely a connection is carried by the protocol's own bytes. */
  readonly wire: number
  /** The longest that a program takes to start; 0: none takes any time. */
  readonly spawnMs: number
  /** Bytes of a stream that a worker holds for its reader. */
  readonly streamBytes: number
  readonly managers: readonly ManagerSpec[]
  readonly workers: readonly WorkerSpec[]
  readonly clients: readonly ClientSpec[]
  readonly programs: readonly Program[]
  readonly faults: readonly Fault[]
  /** When everything heals. */
  readonly healMs: number
  /** By then, all must have come to rest. */
  readonly restMs: number
}
