// What the parts of a manager share: its ports, its table, and the way to tell the table
// what happened.

import type { LedgerId, NodeInfo, Where } from '../../protocol/index.ts'
import type { ManagerConfig } from '../machines/manager-config.ts'
import type { TaskEffect, TaskEvent } from '../machines/task-events.ts'
import type { Task } from '../machines/task-record.ts'
import type { TaskTable } from '../machines/tasks.ts'
import type { Clock, Ledger, Log, Mesh, Peer, Random } from '../ports.ts'
import type { Events } from './events.ts'
import type { Waits } from './manager-waits.ts'

export interface ManagerDeps {
  readonly clock: Clock
  readonly random: Random
  readonly mesh: Mesh
  readonly ledger: Ledger
  readonly log: Log
  /** How NodesList shows this node. */
  readonly self: Pick<NodeInfo, 'node_id' | 'boot_id' | 'host_name'> &
    Partial<Pick<NodeInfo, 'address' | 'pid' | 'version' | 'features'>>
  readonly config?: Partial<ManagerConfig>
  /** Runs `fn` when what came in together has been dealt with: a microtask, or a simulator's turn. */
  readonly soon: (fn: () => void) => void
  /** Where what happens is told. */
  readonly events?: Pick<Events, 'tell' | 'skip' | 'isWanted'>
  /** The ledger failed, or another manager took it over: this one must end. */
  readonly stopped?: (why: string) => void
}

/** Somebody connected. */
export interface Contact {
  readonly sinceMs: number
  /** A worker's reason not to be managed by this manager. */
  declines?: string
}

export interface Kernel {
  readonly deps: ManagerDeps
  readonly config: ManagerConfig
  readonly ledgerId: LedgerId
  readonly table: TaskTable
  /** A task that is known, and the business of a scope that holds there. */
  readonly find: (taskId: string, where: Where) => Task | undefined
  readonly waits: Waits
  /** Everybody connected. */
  readonly peers: Map<Peer, Contact>
  /** When it began, by the monotonic clock. */
  readonly sinceMs: number
  isClosing: boolean
  /** Applies an event and performs its effects; `own` may take an effect for itself. */
  run(event: TaskEvent, own?: (effect: TaskEffect) => boolean): void
  /** Asks for the end of the turn: placement, commit, long polls, timers. */
  turn(): void
  /** Calls `ack` once all that is recorded by now is durable. */
  afterCommit(ack: () => void): void
  /** Now, by both clocks. */
  at(): { readonly nowMs: number; readonly wallMs: number }
}
