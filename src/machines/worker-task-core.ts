// Worker task core: what a worker holds, and the few primitive moves of it: an entry is
// set, removed, buried, queued, given a free slot. Each keeps the counts true, and no other
// code writes them. What happens to a task (worker-tasks.ts) is told in these moves.

import type { Assignment, LedgerId, TaskId } from '../../protocol/index.ts'
import { Fifo } from './fifo.ts'
import { coresOf, Occupancy } from './occupancy.ts'
import { TOMBSTONES, Tombstones } from './tombstones.ts'
import type { Entry, TaskEffect } from './worker-task.ts'
import { ledgerOf } from './worker-task.ts'

/** What bounds a worker's table. */
export interface TaskLimits {
  readonly cores: number
  readonly memoryBytes: number
  readonly resources: Readonly<Record<string, number>>
  /** Most tasks that run at a time, those that need no core too; default: 256 beside the cores. */
  readonly running?: number
  /** Most tasks that wait for a slot; above: `busy`. */
  readonly pending: number
  /** Most outcomes that wait for their Ack; above: `busy`. */
  readonly finished: number
  /** Between TERM and KILL where the task does not say. */
  readonly killGraceMs: number
  readonly tombstones?: typeof TOMBSTONES
}

export class WorkerTaskCore {
  readonly limits: TaskLimits
  readonly occupancy: Occupancy
  readonly tombstones: Tombstones
  /** Nothing is started from then on. */
  leaseUntilMs = Number.NEGATIVE_INFINITY
  isDraining = false
  readonly #entries = new Map<TaskId, Entry>()
  /** How many entries there are of each ledger. */
  readonly #held = new Map<LedgerId, number>()
  /** Ready to start; those that need no core do not stand behind those that wait for one. */
  readonly #queue = new Fifo<TaskId>()
  readonly #coreless = new Fifo<TaskId>()
  #runs = 0

  constructor(limits: TaskLimits) {
    this.limits = limits
    this.occupancy = new Occupancy(limits)
    this.tombstones = new Tombstones(limits.tombstones ?? TOMBSTONES)
  }

  get(taskId: TaskId): Entry | undefined {
    return this.#entries.get(taskId)
  }

  entries(): IterableIterator<Entry> {
    return this.#entries.values()
  }

  hasWork(ledgerId: LedgerId): boolean {
    return this.#held.has(ledgerId)
  }

  get freeSlots(): number {
    return this.isDraining ? 0 : this.occupancy.freeCores
  }

  /** Those for which a slot is free do not count as waiting. */
  get isFull(): boolean {
    const { pending, finished } = this.limits
    const { occupancy } = this
    return occupancy.pending >= pending + this.freeSlots || occupancy.finished >= finished
  }

  mayStart(nowMs: number): boolean {
    return !this.isDraining && nowMs < this.leaseUntilMs
  }

  /** The entry, if that run is still its current one. */
  ofRun(taskId: TaskId, run: number): Entry | undefined {
    const entry = this.#entries.get(taskId)
    return entry !== undefined && 'run' in entry && entry.run === run ? entry : undefined
  }

  /** Its record is durable: it waits for a slot, in the order in which it came here. */
  enqueue(task: Assignment): void {
    this.set(task.task_id, { kind: 'pending', task, isReady: true })
    const queue = coresOf(task) === 0 ? this.#coreless : this.#queue
    queue.push(task.task_id)
  }

  /** Gives free slots to waiting tasks, in order, while the lease lasts; adds to `effects`. */
  pump(nowMs: number, effects: TaskEffect[]): readonly TaskEffect[] {
    if (!this.mayStart(nowMs)) return effects
    this.#drainQueue(this.#coreless, effects)
    this.#drainQueue(this.#queue, effects)
    return effects
  }

  #drainQueue(queue: Fifo<TaskId>, effects: TaskEffect[]): void {
    for (let taskId = queue.first; taskId !== undefined; taskId = queue.first) {
      const entry = this.#entries.get(taskId)
      const isWaiting = entry?.kind === 'pending' && entry.isReady
      if (isWaiting && !this.occupancy.hasRoom(entry.task)) return
      queue.shift()
      if (!isWaiting) continue // aborted, or started under an earlier place in the queue
      this.#runs += 1
      this.set(taskId, { kind: 'preparing', task: entry.task, run: this.#runs })
      effects.push({ kind: 'prepare', task: entry.task, run: this.#runs })
    }
  }

  /** Applies to each entry of a ledger (of all: undefined). */
  each(
    ledgerId: LedgerId | undefined,
    what: (entry: Entry) => readonly TaskEffect[],
  ): readonly TaskEffect[] {
    const effects: TaskEffect[] = []
    for (const entry of [...this.#entries.values()]) {
      if (ledgerId !== undefined && ledgerOf(entry.task.task_id) !== ledgerId) continue
      for (const effect of what(entry)) effects.push(effect)
    }
    return effects
  }

  /** Over: a tombstone stands for it. */
  bury(
    task: Assignment,
    { isFence, nowMs }: { readonly isFence: boolean; readonly nowMs: number },
  ): void {
    this.remove(task.task_id)
    this.tombstones.put(task.task_id, task.attempt, isFence, nowMs)
  }

  /** The one place that writes an entry, so that the counts are right. */
  set(taskId: TaskId, entry: Entry): void {
    const before = this.#entries.get(taskId)
    if (before !== undefined) this.occupancy.count(before, -1)
    else {
      const ledgerId = ledgerOf(taskId)
      this.#held.set(ledgerId, (this.#held.get(ledgerId) ?? 0) + 1)
    }
    this.#entries.set(taskId, entry)
    this.occupancy.count(entry, 1)
  }

  remove(taskId: TaskId): void {
    const before = this.#entries.get(taskId)
    if (before === undefined) return
    this.occupancy.count(before, -1)
    this.#entries.delete(taskId)
    const ledgerId = ledgerOf(taskId)
    const left = (this.#held.get(ledgerId) ?? 1) - 1
    if (left === 0) this.#held.delete(ledgerId)
    else this.#held.set(ledgerId, left)
  }
}
