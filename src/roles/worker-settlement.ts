// Worker settlement: hands outcomes over to a manager that this worker does not serve (any
// more), by ManagerRequest with `settle`. Each round is one page of at most 64 KiB; what
// the manager has recorded it names in `drop`, and while it does, the next round follows.
// The last page lists all that is here of that ledger besides, and says so (`more` false):
// what it does not list is not here, and need not be waited for.

import type { InventoryEntry, LedgerId, TaskAttempt } from '../../protocol/index.ts'
import { INVENTORY_PAGE } from '../../protocol/index.ts'
import type { Manager } from '../machines/relationship-state.ts'
import type { Cancel, Clock, Mesh, Undelivered } from '../ports.ts'
import type { Specs } from './worker-link.ts'

export interface SettlementPorts {
  readonly clock: Clock
  readonly mesh: Mesh
  readonly specs: Specs
  readonly outcomesOf: (ledgerId: LedgerId) => readonly Undelivered[]
  /** Is this manager to be settled with: connected, and not (to be) served by us? */
  readonly isForeign: (manager: Manager) => boolean
  /** What of that ledger is not over; undefined: that cannot be told now. */
  readonly openOf: (ledgerId: LedgerId) => readonly InventoryEntry[] | undefined
  /** Was its ledger ever served in this life? */
  readonly wasServed: (ledgerId: LedgerId) => boolean
  readonly drop: (tasks: readonly TaskAttempt[]) => void
}

const PAGE_BYTES = 64 * 1024
/** What an entry takes besides its output. */
const ENTRY_BYTES = 512
const ANSWER_MS = 10_000
/** After a round that brought nothing. */
const AGAIN_MS = 30_000

export class WorkerSettlement {
  readonly #ports: SettlementPorts
  /** Connections with a round under way, or waiting for the next one. */
  readonly #busy = new Set<number>()
  /** Connections whose manager has heard from us at all. */
  readonly #told = new Set<number>()
  readonly #timers = new Set<Cancel>()

  constructor(ports: SettlementPorts) {
    this.#ports = ports
  }

  /** Hands over what there is for that manager, if it is not ours. */
  consider(manager: Manager): void {
    const { connection, ledgerId } = manager
    if (this.#busy.has(connection) || !this.#ports.isForeign(manager)) return
    const outcomes = this.#ports.outcomesOf(ledgerId)
    const isNews = this.#ports.wasServed(ledgerId) && !this.#told.has(connection)
    if (outcomes.length === 0 && !isNews) return
    this.#busy.add(connection)
    const body = { ...this.#ports.specs, ...this.#page(ledgerId, outcomes), settle: true }
    this.#ports.mesh.ask(manager.nodeId, 'ManagerRequest', body, ANSWER_MS, (outcome) => {
      this.#busy.delete(connection)
      const answer = outcome._tag === 'Right' ? outcome.right : undefined
      if (answer?.kind === 'ManagerAnswer') {
        this.#told.add(connection)
        const { accepted, rel, drop = [] } = answer.body
        if (accepted && rel !== undefined) this.#decline(manager, rel)
        this.#ports.drop(drop)
        if (drop.length > 0) {
          this.consider(manager)
          return
        }
      }
      this.#later(manager)
    })
  }

  #page(ledgerId: LedgerId, outcomes: readonly Undelivered[]) {
    const tasks = page(outcomes)
    const open = this.#ports.openOf(ledgerId)
    const isAll = open !== undefined && tasks.length === outcomes.length
    if (!isAll || tasks.length + open.length > INVENTORY_PAGE)
      return { tasks, more: true }
    return { tasks: [...tasks, ...open], more: false }
  }

  /** It mistook the settlement for a request. */
  #decline({ nodeId }: Manager, rel: string): void {
    const body = { rel, reason: 'settled only' }
    this.#ports.mesh.ask(nodeId, 'ManagerBye', body, ANSWER_MS, () => undefined)
  }

  #later(manager: Manager): void {
    this.#busy.add(manager.connection)
    const cancel = this.#ports.clock.after(AGAIN_MS, () => {
      this.#timers.delete(cancel)
      this.#busy.delete(manager.connection)
      this.consider(manager)
    })
    this.#timers.add(cancel)
  }

  close(): void {
    for (const cancel of this.#timers) cancel()
    this.#timers.clear()
  }
}

/** As many outcomes as fit; one always does. */
const page = (outcomes: readonly Undelivered[]): InventoryEntry[] => {
  const entries: InventoryEntry[] = []
  let bytes = 0
  for (const { task, outcome } of outcomes) {
    bytes += ENTRY_BYTES + outputBytes(outcome.result)
    if (entries.length > 0 && bytes > PAGE_BYTES) break
    const { task_id, attempt } = task
    entries.push({ task_id, attempt, status: outcome.kind, outcome })
    if (entries.length === INVENTORY_PAGE) break
  }
  return entries
}

const outputBytes = (result: Undelivered['outcome']['result']): number =>
  (result?.stdout?.inline?.length ?? 0) + (result?.stderr?.inline?.length ?? 0)
