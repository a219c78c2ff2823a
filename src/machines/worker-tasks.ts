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
// returns what is to be done. Tasks that need cores start strictly in the order of their
// acceptance, so a wide task is not overtaken for ever by narrow ones.

import type {
  Assignment,
  InventoryEntry,
  LedgerId,
  TaskId,
  TaskStatus,
} from '../../protocol/index.ts'
import { isSameContent } from './admission.ts'
import { Fifo } from './fifo.ts'
import { coresOf, Occupancy } from './occupancy.ts'
import { TOMBSTONES, Tombstones } from './tombstones.ts'
import type { Cause, Entry, TaskEffect, TaskEvent } from './worker-task.ts'
import { inventoryLine, ledgerOf, outcomeOf, statusOf } from './worker-task.ts'

/** What bounds a worker's table. */
export interface TaskLimits {
  readonly cores: number
  readonly memoryBytes: number
  readonly resources: Readonly<Record<string, number>>
  /** Most tasks that wait for a slot; above: `busy`. */
  readonly pending: number
  /** Most outcomes that wait for their Ack; above: `busy`. */
  readonly finished: number
  /** Between TERM and KILL where the task does not say. */
  readonly killGraceMs: number
  readonly tombstones?: typeof TOMBSTONES
}

const none: readonly TaskEffect[] = []
/** Longer waits are cut in pieces: no clock takes more. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

type EntryOf<K extends Entry['kind']> = Entry & { readonly kind: K }
type EventOf<K extends TaskEvent['kind']> = TaskEvent & { readonly kind: K }

export class WorkerTasks {
  readonly #limits: TaskLimits
  readonly #entries = new Map<TaskId, Entry>()
  readonly #tombstones: Tombstones
  /** How many entries there are of each ledger. */
  readonly #held = new Map<LedgerId, number>()
  /** Ready to start; those that need no core do not stand behind those that wait for one. */
  readonly #queue = new Fifo<TaskId>()
  readonly #coreless = new Fifo<TaskId>()
  #runs = 0
  #leaseUntilMs = Number.NEGATIVE_INFINITY
  #isDraining = false
  readonly #occupancy: Occupancy

  constructor(limits: TaskLimits) {
    this.#limits = limits
    this.#occupancy = new Occupancy(limits)
    this.#tombstones = new Tombstones(limits.tombstones ?? TOMBSTONES)
  }

  get freeSlots(): number {
    return this.#isDraining ? 0 : this.#occupancy.freeCores
  }
  /** Tasks that hold a slot. */
  get running(): number {
    return this.#occupancy.running
  }
  get pending(): number {
    return this.#occupancy.pending
  }
  /** Outcomes that wait for their Ack. */
  get finished(): number {
    return this.#occupancy.finished
  }
  get isDraining(): boolean {
    return this.#isDraining
  }
  get tombstones(): number {
    return this.#tombstones.size
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
  status(taskId: TaskId): TaskStatus {
    return statusOf(this.#entries.get(taskId))
  }
  /** What there is of a ledger, without output. */
  inventory(ledgerId: LedgerId): readonly InventoryEntry[] {
    const lines: InventoryEntry[] = []
    for (const entry of this.#entries.values()) {
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
    for (const task of left.pending) this.#enqueue(task)
    for (const entry of left.outcomes) this.#set(entry.task.task_id, entry)
  }

  apply(event: TaskEvent): readonly TaskEffect[] {
    switch (event.kind) {
      case 'execute':
        return this.#execute(event.task, event.nowMs)
      case 'persisted':
        return this.#persisted(event)
      case 'unpersisted':
        return event.tasks.flatMap((task) => this.#unpersisted(task))
      case 'prepared':
        return this.#prepared(event)
      case 'unprepared':
        return this.#unprepared(event)
      case 'go':
        return this.#go(event)
      case 'started':
        return this.#started(event)
      case 'exited':
        return this.#exited(event)
      case 'timer':
        return this.#timer(event)
      case 'abort':
        return this.#abort(event)
      case 'acked':
        return this.#acked(event)
      case 'lease':
        this.#leaseUntilMs = event.untilMs
        return this.#pump(event.nowMs, [])
      case 'orphan':
        this.#leaseUntilMs = Number.NEGATIVE_INFINITY
        return this.#each(event.ledgerId, (entry) => this.#orphan(entry, event.nowMs))
      case 'forget':
        return this.#forget(event)
      case 'release':
        this.#leaseUntilMs = Number.NEGATIVE_INFINITY
        return this.#each(event.ledgerId, (entry) => this.#unstart(entry))
      case 'drain':
        this.#isDraining = true
        return none
      case 'end-all':
        return this.#each(undefined, (entry) => this.#endAll(entry, event.nowMs))
    }
  }

  #execute(task: Assignment, nowMs: number): readonly TaskEffect[] {
    const taskId = task.task_id
    const stone = this.#tombstones.get(taskId, nowMs)
    if (stone !== undefined && stone.attempt >= task.attempt) {
      const isSame = stone.attempt === task.attempt && !stone.isFence
      return isSame ? none : refuse(taskId, 'stale-attempt')
    }
    const entry = this.#entries.get(taskId)
    if (entry === undefined) return this.#accept(task)
    const known = entry.kind === 'ending' && entry.next ? entry.next : entry.task
    if (known.attempt > task.attempt) return refuse(taskId, 'stale-attempt')
    if (!isSameContent(known, task)) return refuse(taskId, 'conflict')
    if (known.attempt === task.attempt) return this.#again(entry)
    return this.#adopt(entry, task)
  }

  /** A task that is not known, or whose earlier attempt left nothing. */
  #accept(task: Assignment): readonly TaskEffect[] {
    if (this.#isDraining) return refuse(task.task_id, 'draining')
    if (this.#isFull()) return refuse(task.task_id, 'busy')
    this.#set(task.task_id, { kind: 'pending', task, isReady: false })
    return [{ kind: 'pend', task }]
  }

  /** Those for which a slot is free do not count as waiting. */
  #isFull(): boolean {
    const { pending, finished } = this.#limits
    return this.pending >= pending + this.freeSlots || this.finished >= finished
  }

  /** The same attempt once more: never a second start. */
  #again(entry: Entry): readonly TaskEffect[] {
    const { task_id: taskId } = entry.task
    if (entry.kind === 'finished') return [{ kind: 'resend', taskId }]
    if (entry.kind === 'ending' && entry.isSilent && entry.next === undefined) {
      return refuse(taskId, 'stale-attempt') // aborted: that attempt is over
    }
    return startedReport(entry)
  }

  #adopt(entry: Entry, task: Assignment): readonly TaskEffect[] {
    const { task_id: taskId } = task
    switch (entry.kind) {
      case 'pending': // recorded under its new number before it is acknowledged
        this.#set(taskId, { ...entry, task })
        return [{ kind: 'pend', task }]
      case 'preparing': // not recorded: it must not look pending once it is started
        this.#set(taskId, { ...entry, task })
        return none
      case 'running': {
        const adopted = { ...entry, task }
        this.#set(taskId, adopted)
        return startedReport(adopted)
      }
      case 'ending':
        if (this.#isDraining) return refuse(taskId, 'draining')
        if (entry.next === undefined && this.#isFull()) return refuse(taskId, 'busy')
        this.#set(taskId, { ...entry, isSilent: true, next: task, isNextReady: false })
        return [{ kind: 'pend', task }]
      case 'finished': {
        const { outcome } = entry
        if (outcome.kind === 'Completed') {
          this.#set(taskId, { ...entry, task })
          return [{ kind: 'outcome', task, outcome }]
        }
        if (this.#isDraining) return refuse(taskId, 'draining')
        this.#remove(taskId)
        const accepted = this.#accept(task)
        if (accepted[0]?.kind === 'refuse') {
          this.#set(taskId, entry)
          return accepted
        }
        return [{ kind: 'discard', taskId, isDelivered: false }, ...accepted]
      }
    }
  }

  #persisted({ tasks, nowMs }: EventOf<'persisted'>): readonly TaskEffect[] {
    for (const task of tasks) {
      const entry = this.#entries.get(task.task_id)
      if (entry?.kind === 'ending' && entry.next?.attempt === task.attempt) {
        this.#set(task.task_id, { ...entry, isNextReady: true })
      }
      if (entry?.kind !== 'pending' || entry.isReady) continue
      if (entry.task.attempt === task.attempt) this.#enqueue(entry.task)
    }
    return this.#pump(nowMs, [])
  }

  #enqueue(task: Assignment): void {
    this.#set(task.task_id, { kind: 'pending', task, isReady: true })
    const queue = coresOf(task) === 0 ? this.#coreless : this.#queue
    queue.push(task.task_id)
  }

  /** Its record could not be written: it was never accepted. */
  #unpersisted({ task_id: taskId, attempt }: Assignment): readonly TaskEffect[] {
    const entry = this.#entries.get(taskId)
    if (entry?.kind === 'ending' && entry.next?.attempt === attempt) {
      this.#set(taskId, { ...entry, next: undefined })
      return [{ kind: 'unpend', taskId }]
    }
    if (entry?.kind !== 'pending' || entry.task.attempt !== attempt) return none
    this.#remove(taskId)
    return [{ kind: 'unpend', taskId }]
  }

  /** Gives free slots to waiting tasks, in order, while the lease lasts. */
  #pump(nowMs: number, effects: TaskEffect[]): readonly TaskEffect[] {
    if (this.#isDraining || nowMs >= this.#leaseUntilMs) return effects
    this.#drainQueue(this.#coreless, effects)
    this.#drainQueue(this.#queue, effects)
    return effects
  }

  #drainQueue(queue: Fifo<TaskId>, effects: TaskEffect[]): void {
    for (let taskId = queue.first; taskId !== undefined; taskId = queue.first) {
      const entry = this.#entries.get(taskId)
      const isWaiting = entry?.kind === 'pending' && entry.isReady
      if (isWaiting && !this.#occupancy.hasRoom(entry.task)) return
      queue.shift()
      if (!isWaiting) continue // aborted, or started under an earlier place in the queue
      this.#runs += 1
      this.#set(taskId, { kind: 'preparing', task: entry.task, run: this.#runs })
      effects.push({ kind: 'prepare', task: entry.task, run: this.#runs })
    }
  }

  #prepared({ taskId, run, nowMs }: EventOf<'prepared'>): readonly TaskEffect[] {
    const entry = this.#ofRun(taskId, run)
    if (entry?.kind !== 'preparing') return none // aborted meanwhile
    if (!this.#mayStart(nowMs)) return this.#backToPending(entry, nowMs)
    return [{ kind: 'start', task: entry.task, run }]
  }

  #mayStart(nowMs: number): boolean {
    return !this.#isDraining && nowMs < this.#leaseUntilMs
  }

  /** The lease ended while the program was fetched: kept, not started. */
  #backToPending(entry: EntryOf<'preparing'>, nowMs: number): readonly TaskEffect[] {
    const { task, run } = entry
    this.#enqueue(task)
    const { task_id: taskId } = task
    const gone: TaskEffect = { kind: 'gone', taskId, run, isSilent: true }
    return this.#pump(nowMs, [gone, { kind: 'pend', task }])
  }

  #unprepared(event: EventOf<'unprepared'>): readonly TaskEffect[] {
    const { taskId, run, error, nowMs } = event
    const entry = this.#ofRun(taskId, run)
    if (entry?.kind !== 'preparing') return none // aborted meanwhile
    const outcome = { kind: 'Error', error } as const
    this.#set(taskId, { kind: 'finished', task: entry.task, outcome })
    return this.#pump(nowMs, [
      { kind: 'gone', taskId, run, isSilent: true },
      { kind: 'outcome', task: entry.task, outcome },
    ])
  }

  #go({ taskId, run, nowMs }: EventOf<'go'>): readonly TaskEffect[] {
    const entry = this.#ofRun(taskId, run)
    if (entry?.kind !== 'preparing') return none // aborted meanwhile
    if (!this.#mayStart(nowMs)) return this.#backToPending(entry, nowMs)
    const { task } = entry
    this.#set(taskId, {
      kind: 'running',
      task,
      run,
      startedAtMs: undefined,
      pid: undefined,
      limitAtMs: undefined,
    })
    return [{ kind: 'spawn', task, run }]
  }

  #started({ taskId, run, nowMs, atMs, pid }: EventOf<'started'>): readonly TaskEffect[] {
    const entry = this.#ofRun(taskId, run)
    if (entry?.kind === 'ending') this.#set(taskId, { ...entry, startedAtMs: atMs })
    if (entry?.kind !== 'running') return none // ended before the system said so
    const { attempt, timeout_ms: timeoutMs } = entry.task
    const limitAtMs = timeoutMs === 0 ? undefined : nowMs + timeoutMs
    this.#set(taskId, { ...entry, startedAtMs: atMs, pid, limitAtMs })
    const report: TaskEffect = { kind: 'report-started', taskId, attempt, atMs, pid }
    if (limitAtMs === undefined) return [report]
    const afterMs = Math.min(timeoutMs, LONGEST_TIMER_MS)
    return [report, { kind: 'timer', taskId, run, afterMs }]
  }

  #exited({ taskId, run, nowMs, end, result }: EventOf<'exited'>): readonly TaskEffect[] {
    const entry = this.#ofRun(taskId, run)
    if (entry?.kind !== 'running' && entry?.kind !== 'ending') return none // told twice
    if (entry.kind === 'ending' && entry.isSilent) return this.#silentExit(entry, nowMs)
    const { task } = entry
    const outcome =
      entry.kind === 'running'
        ? outcomeOf(end, result)
        : ({ kind: 'Error', error: entry.cause, result } as const)
    this.#set(taskId, { kind: 'finished', task, outcome })
    return this.#pump(nowMs, [
      { kind: 'gone', taskId, run, isSilent: false },
      { kind: 'outcome', task, outcome },
    ])
  }

  #silentExit(entry: EntryOf<'ending'>, nowMs: number): readonly TaskEffect[] {
    const { run, next, task } = entry
    const { task_id: taskId } = task
    if (next === undefined) this.#bury(task, true, nowMs)
    else if (entry.isNextReady) this.#enqueue(next)
    else this.#set(taskId, { kind: 'pending', task: next, isReady: false })
    return this.#pump(nowMs, [{ kind: 'gone', taskId, run, isSilent: true }])
  }

  #timer({ taskId, run, nowMs }: EventOf<'timer'>): readonly TaskEffect[] {
    const entry = this.#ofRun(taskId, run)
    if (entry?.kind === 'running' && entry.limitAtMs !== undefined) {
      if (nowMs >= entry.limitAtMs) {
        return this.#end(entry, { kind: 'TimedOut' }, { isSilent: false, nowMs })
      }
      return [timerAt(taskId, run, entry.limitAtMs, nowMs)]
    }
    if (entry?.kind !== 'ending') return none // it ended by itself meanwhile
    if (nowMs < entry.killAtMs) return [timerAt(taskId, run, entry.killAtMs, nowMs)]
    return [{ kind: 'signal', taskId, run, signal: 'SIGKILL' }]
  }

  /** TERM now, KILL after the task's grace. */
  #end(
    entry: EntryOf<'running'>,
    cause: Cause,
    { isSilent, nowMs }: { readonly isSilent: boolean; readonly nowMs: number },
  ): readonly TaskEffect[] {
    const { task, run, startedAtMs } = entry
    const { task_id: taskId } = task
    const killAtMs = nowMs + (task.kill_grace_ms ?? this.#limits.killGraceMs)
    this.#set(taskId, {
      kind: 'ending',
      task,
      run,
      startedAtMs,
      cause,
      isSilent,
      killAtMs,
      next: undefined,
      isNextReady: false,
    })
    return [
      { kind: 'signal', taskId, run, signal: 'SIGTERM' },
      timerAt(taskId, run, killAtMs, nowMs),
    ]
  }

  #abort({ taskId, attempt, nowMs }: EventOf<'abort'>): readonly TaskEffect[] {
    const entry = this.#entries.get(taskId)
    if (entry === undefined) {
      // A fence: that attempt may still be on its way. A bare id knows of none to fence.
      if (attempt !== undefined) this.#tombstones.put(taskId, attempt, true, nowMs)
      return none
    }
    const upTo = attempt ?? Number.MAX_SAFE_INTEGER
    if (entry.kind === 'ending' && entry.next !== undefined) {
      if (entry.next.attempt > upTo) return none // a later one: not meant
      this.#tombstones.put(taskId, entry.next.attempt, true, nowMs)
      this.#set(taskId, { ...entry, next: undefined })
      return [
        { kind: 'unpend', taskId },
        { kind: 'dropped', taskId },
      ]
    }
    if (entry.task.attempt > upTo) return none // a later one: not meant
    return this.#abortEntry(entry, nowMs)
  }

  #abortEntry(entry: Entry, nowMs: number): readonly TaskEffect[] {
    const { task } = entry
    const { task_id: taskId } = task
    switch (entry.kind) {
      case 'pending':
        this.#bury(task, true, nowMs)
        return this.#pump(nowMs, [
          { kind: 'unpend', taskId },
          { kind: 'dropped', taskId },
        ])
      case 'preparing':
        this.#bury(task, true, nowMs)
        return this.#pump(nowMs, [
          { kind: 'unpend', taskId },
          { kind: 'gone', taskId, run: entry.run, isSilent: true },
        ])
      case 'running': {
        const cause = { kind: 'Aborted', reason: 'asked by the manager' } as const
        return this.#end(entry, cause, { isSilent: true, nowMs })
      }
      case 'ending': // the ladder runs already; from here on nobody wants to hear of it
        this.#set(taskId, { ...entry, isSilent: true })
        return none
      case 'finished':
        this.#bury(task, true, nowMs)
        return [{ kind: 'discard', taskId, isDelivered: false }]
    }
  }

  #acked({ taskId, attempt, nowMs }: EventOf<'acked'>): readonly TaskEffect[] {
    const entry = this.#entries.get(taskId)
    if (entry?.kind !== 'finished' || entry.task.attempt !== attempt) return none // another attempt's
    this.#bury(entry.task, false, nowMs)
    return [{ kind: 'discard', taskId, isDelivered: true }]
  }

  #orphan(entry: Entry, nowMs: number): readonly TaskEffect[] {
    if (entry.task.on_orphan !== 'kill' || entry.kind !== 'running') return none
    const { task_id: taskId } = entry.task
    const cause = { kind: 'Aborted', reason: 'the manager was lost' } as const
    this.#end(entry, cause, { isSilent: false, nowMs })
    return [{ kind: 'signal', taskId, run: entry.run, signal: 'SIGKILL' }]
  }

  #forget({ ledgerId, nowMs }: EventOf<'forget'>): readonly TaskEffect[] {
    this.#leaseUntilMs = Number.NEGATIVE_INFINITY
    return this.#each(ledgerId, (entry) => [
      ...this.#unstart(entry),
      ...this.#forgetStarted(entry, nowMs),
    ])
  }

  #forgetStarted(entry: Entry, nowMs: number): readonly TaskEffect[] {
    const { kind } = entry
    if (kind === 'pending' || kind === 'preparing') return none // unstarted above
    if (kind === 'ending') {
      this.#set(entry.task.task_id, { ...entry, isSilent: true, next: undefined })
      return none
    }
    return this.#abortEntry(entry, nowMs)
  }

  /** Forgets what was not started; no tombstone: it may come again. */
  #unstart(entry: Entry): readonly TaskEffect[] {
    const { task_id: taskId } = entry.task
    if (entry.kind === 'pending' || entry.kind === 'preparing') {
      this.#remove(taskId)
      const over: TaskEffect =
        entry.kind === 'pending'
          ? { kind: 'dropped', taskId }
          : { kind: 'gone', taskId, run: entry.run, isSilent: true }
      return [{ kind: 'unpend', taskId }, over]
    }
    if (entry.kind !== 'ending' || entry.next === undefined) return none
    this.#set(taskId, { ...entry, next: undefined })
    return [
      { kind: 'unpend', taskId },
      { kind: 'dropped', taskId },
    ]
  }

  /** A draining worker's grace is over: what runs is ended and reported, the rest goes back. */
  #endAll(entry: Entry, nowMs: number): readonly TaskEffect[] {
    if (entry.kind !== 'running') return this.#unstart(entry)
    const cause = { kind: 'Aborted', reason: 'the worker is leaving' } as const
    return this.#end(entry, cause, { isSilent: false, nowMs })
  }

  /** Applies to each entry of a ledger (of all: undefined). */
  #each(
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

  #ofRun(taskId: TaskId, run: number): Entry | undefined {
    const entry = this.#entries.get(taskId)
    return entry !== undefined && 'run' in entry && entry.run === run ? entry : undefined
  }

  #bury(task: Assignment, isFence: boolean, nowMs: number): void {
    this.#remove(task.task_id)
    this.#tombstones.put(task.task_id, task.attempt, isFence, nowMs)
  }

  /** The one place that writes an entry, so that the counts are right. */
  #set(taskId: TaskId, entry: Entry): void {
    const before = this.#entries.get(taskId)
    if (before !== undefined) this.#occupancy.count(before, -1)
    else {
      const ledgerId = ledgerOf(taskId)
      this.#held.set(ledgerId, (this.#held.get(ledgerId) ?? 0) + 1)
    }
    this.#entries.set(taskId, entry)
    this.#occupancy.count(entry, 1)
  }

  #remove(taskId: TaskId): void {
    const before = this.#entries.get(taskId)
    if (before === undefined) return
    this.#occupancy.count(before, -1)
    this.#entries.delete(taskId)
    const ledgerId = ledgerOf(taskId)
    const left = (this.#held.get(ledgerId) ?? 1) - 1
    if (left === 0) this.#held.delete(ledgerId)
    else this.#held.set(ledgerId, left)
  }
}

/** Says (again) that a task runs: its manager may not know, or not under this number. */
const startedReport = (entry: Entry): readonly TaskEffect[] => {
  if (entry.kind !== 'running' || entry.startedAtMs === undefined) return none
  const { task, startedAtMs: atMs, pid } = entry
  const { task_id: taskId, attempt } = task
  return [{ kind: 'report-started', taskId, attempt, atMs, pid }]
}

const refuse = (
  taskId: TaskId,
  reason: (TaskEffect & { kind: 'refuse' })['reason'],
): readonly TaskEffect[] => [{ kind: 'refuse', taskId, reason }]

const timerAt = (
  taskId: TaskId,
  run: number,
  atMs: number,
  nowMs: number,
): TaskEffect => ({
  kind: 'timer',
  taskId,
  run,
  afterMs: Math.min(Math.max(0, atMs - nowMs), LONGEST_TIMER_MS),
})
