// Worker tasks: every task that a worker holds, from its acceptance to the Ack of its
// outcome. Pending -> (preparing) Running -> Ending(cause) -> finished (outbox) -> Tombstone.
//
// | event        | in                | does                                                 |
// | execute      | absent, room      | pending, recorded                                    |
// |              | same attempt      | accepted, nothing started; finished: sent again      |
// |              | higher attempt    | pending, running: adopted; success: sent again; ending: waits; else anew |
// |              | lower / other content | stale-attempt / conflict                         |
// | slot free    | pending, in order | lease checked; prepare, record, spawn                |
// | timer        | running           | TERM, grace, KILL; cause TimedOut -> ending          |
// | abort        | pending / running / finished / absent | tombstone / the same ladder, silent / dropped, tombstone / fence |
// | exited       | running, ending   | outcome, or nothing if silent; the next attempt waits its turn |
// | acked        | finished          | tombstone                                            |
// | orphan       | running           | KILL what asked for it, reported as Aborted          |
// | forget       | any               | pending and finished dropped, running ended silently |
// | release      | pending           | dropped                                              |
//
// A class over a private table, pure to the outside: time comes in the events, `apply`
// returns what is to be done. The rows are told in worker-task-taking.ts (execute and its
// record), worker-task-running.ts (slot to exit) and worker-task-ending.ts (the rest).
// Tasks that need cores start strictly in the order of their acceptance, so a wide task is
// not overtaken for ever by narrow ones.

import type {
  Assignment,
  InventoryEntry,
  LedgerId,
  TaskId,
  TaskStatus,
} from '../../protocol/index.ts'
import type { Entry, EntryOf, TaskEffect, TaskEvent } from './worker-task.ts'
import { inventoryLine, isUnrecorded, ledgerOf, none, statusOf } from './worker-task.ts'
import type { TaskLimits } from './worker-task-core.ts'
import { WorkerTaskCore } from './worker-task-core.ts'
import {
  onAbort,
  onAcked,
  onEndAll,
  onForget,
  onOrphan,
  onRelease,
} from './worker-task-ending.ts'
import {
  onExited,
  onGo,
  onPrepared,
  onStarted,
  onTimer,
  onUnprepared,
} from './worker-task-running.ts'
import { onExecute, onPersisted, onUnpersisted } from './worker-task-taking.ts'

export class WorkerTasks {
  readonly #core: WorkerTaskCore

  constructor(limits: TaskLimits) {
    this.#core = new WorkerTaskCore(limits)
  }

  get freeSlots(): number {
    return this.#core.freeSlots
  }
  /** Tasks that hold a slot. */
  get running(): number {
    return this.#core.occupancy.running
  }
  get pending(): number {
    return this.#core.occupancy.pending
  }
  /** Outcomes that wait for their Ack. */
  get finished(): number {
    return this.#core.occupancy.finished
  }
  get isDraining(): boolean {
    return this.#core.isDraining
  }
  get tombstones(): number {
    return this.#core.tombstones.size
  }

  get(taskId: TaskId): Entry | undefined {
    return this.#core.get(taskId)
  }
  entries(): IterableIterator<Entry> {
    return this.#core.entries()
  }
  hasWork(ledgerId: LedgerId): boolean {
    return this.#core.hasWork(ledgerId)
  }
  status(taskId: TaskId): TaskStatus {
    return statusOf(this.#core.get(taskId))
  }
  /** May it still be refused, because its record is not durable yet? */
  isUnrecorded(taskId: TaskId): boolean {
    const entry = this.#core.get(taskId)
    return entry !== undefined && isUnrecorded(entry)
  }
  /** Is there one of that ledger whose record is not durable yet? */
  hasUnrecorded(ledgerId: LedgerId): boolean {
    for (const entry of this.#core.entries())
      if (isUnrecorded(entry) && ledgerOf(entry.task.task_id) === ledgerId) return true
    return false
  }
  /** Is that attempt (or a later one) here, or over? */
  knows({ task_id: taskId, attempt }: Assignment, nowMs: number): boolean {
    const stone = this.#core.tombstones.get(taskId, nowMs)
    return this.#core.get(taskId) !== undefined || (stone?.attempt ?? 0) >= attempt
  }
  /** What there is of a ledger, without output. */
  inventory(ledgerId: LedgerId): readonly InventoryEntry[] {
    const lines: InventoryEntry[] = []
    for (const entry of this.#core.entries()) {
      if (ledgerOf(entry.task.task_id) !== ledgerId) continue
      const line = inventoryLine(entry)
      if (line !== undefined) lines.push(line)
    }
    return lines
  }

  /** Takes back what an earlier life of this worker left on disk. */
  restore(left: {
    readonly pending: readonly Assignment[]
    readonly outcomes: readonly EntryOf<'finished'>[]
  }): void {
    for (const task of left.pending) this.#core.enqueue(task)
    for (const entry of left.outcomes) this.#core.set(entry.task.task_id, entry)
  }

  apply(event: TaskEvent): readonly TaskEffect[] {
    const core = this.#core
    switch (event.kind) {
      case 'execute':
        return onExecute(core, event)
      case 'persisted':
        return onPersisted(core, event)
      case 'unpersisted':
        return onUnpersisted(core, event)
      case 'prepared':
        return onPrepared(core, event)
      case 'unprepared':
        return onUnprepared(core, event)
      case 'go':
        return onGo(core, event)
      case 'started':
        return onStarted(core, event)
      case 'exited':
        return onExited(core, event)
      case 'timer':
        return onTimer(core, event)
      case 'abort':
        return onAbort(core, event)
      case 'acked':
        return onAcked(core, event)
      case 'lease':
        core.leaseUntilMs = event.untilMs
        return core.pump(event.nowMs, [])
      case 'orphan':
        return onOrphan(core, event)
      case 'forget':
        return onForget(core, event)
      case 'release':
        return onRelease(core, event)
      case 'drain':
        core.isDraining = true
        return none
      case 'end-all':
        return onEndAll(core, event)
    }
  }
}
