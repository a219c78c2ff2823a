// The disks of a world: what outlives a process, and what does not. A write is durable some
// time after it was given; a crash loses what is not, or all of it but a first part (a write
// that was torn counts as none). A full disk takes nothing, until it has room again.

import type { Assignment, LedgerId, TaskId, TaskRequest } from '../../protocol/index.ts'
import { createMemoryLedger, type MemoryLedger } from '../ledger/memory.ts'
import type { CommitResult, Ledger, Outbox, Undelivered } from '../ports.ts'
import type { Change, RecordedTask } from '../records.ts'
import type { Life } from './life.ts'
import type { SimRandom } from './random.ts'
import type { Planned } from './schedule.ts'

/** How long a write takes to be durable; 0: at once, as in memory. */
export interface DiskSpeed {
  readonly leastMs: number
  readonly spreadMs: number
}

/** Faults add up, but a write that takes hours proves nothing. */
const MOST_TIMES = 100

/** One machine's disk. */
export class Disk {
  readonly #random: SimRandom
  readonly #speed: DiskSpeed
  isFull = false
  slowness = 1
  #lastMs = 0

  constructor(random: SimRandom, speed: DiskSpeed) {
    this.#random = random
    this.#speed = speed
  }

  get isInstant(): boolean {
    return this.#speed.leastMs === 0 && this.#speed.spreadMs === 0
  }

  /** When what is written now will be durable: in the order of the writes. */
  durableAtMs(nowMs: number): number {
    const { leastMs, spreadMs } = this.#speed
    const times = Math.min(this.slowness, MOST_TIMES)
    const takesMs = (leastMs + this.#random.fraction() * spreadMs) * times
    this.#lastMs = Math.max(this.#lastMs, nowMs + takesMs)
    return this.#lastMs
  }
}

/** A ledger with what a simulation wants to know of it. */
export interface SimLedger extends Ledger {
  readonly restorable: () => readonly RecordedTask[]
}

interface Commit {
  readonly changes: readonly Change[]
  readonly planned: Planned
}

/** The ledger of one machine, through all lives of its manager. */
export class LedgerStore {
  readonly disk: Disk
  readonly #told: (life: Life, changes: readonly Change[]) => void
  #id: LedgerId
  #epoch = 0
  #log: (readonly Change[])[] = []
  #open: Commit[] = []
  #memory: MemoryLedger | undefined
  readonly #keepsLog: boolean
  /** How the commits of this life fail from now on, and whether the first is stored. */
  failing: { readonly how: 'failed' | 'fenced'; readonly isStored: boolean } | undefined
  /** A commit has failed. */
  hasFailed = false
  /** Of the submissions on record. */
  readonly keys = new Set<string>()

  constructor(
    disk: Disk,
    options: {
      readonly id: LedgerId
      /** Without it nothing can be begun again: for worlds whose managers never die. */
      readonly keepsLog: boolean
      /** Hears what is durable, when it is. */
      readonly told: (life: Life, changes: readonly Change[]) => void
    },
  ) {
    this.disk = disk
    this.#id = options.id
    this.#keepsLog = options.keepsLog
    this.#told = options.told
  }

  get id(): LedgerId {
    return this.#id
  }

  /** Of the life that opened it last. */
  get epoch(): number {
    return this.#epoch
  }

  /** How many tasks are open, by what is durable. */
  get openCount(): number {
    return this.#memory?.stats().open ?? 0
  }

  /** Nothing is being written. */
  get isIdle(): boolean {
    return this.#open.length === 0
  }

  openTasks(): readonly RecordedTask[] {
    const all = this.#memory?.list(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER) ?? []
    return all.filter(({ closed }) => closed === undefined).reverse()
  }

  requestOf(seq: number): TaskRequest | undefined {
    return this.#memory?.task(seq)?.request
  }

  /** The disk was lost: another ledger begins. */
  renew(id: LedgerId): void {
    this.#id = id
    this.#epoch = 0
    this.#log = []
    this.keys.clear()
  }

  /** The next life reads what there is. */
  open(life: Life): SimLedger {
    this.#epoch += 1
    this.failing = undefined
    this.hasFailed = false
    const memory = createMemoryLedger({
      id: this.#id,
      epoch: this.#epoch,
      later: (act) => act(),
    })
    for (const changes of this.#log) memory.commit(changes, () => undefined)
    this.#memory = memory
    return {
      ...memory,
      commit: (changes, settle) => this.#commit(life, memory, changes, settle),
    }
  }

  #commit(
    life: Life,
    memory: MemoryLedger,
    changes: readonly Change[],
    settle: (result: CommitResult) => void,
  ): void {
    if (this.disk.isInstant) {
      const result = this.#store(life, memory, changes)
      life.soon(() => settle(result))
      return
    }
    const { schedule } = life
    const planned = schedule.at(this.disk.durableAtMs(schedule.nowMs), () => {
      this.#open.shift()
      const result = this.#store(life, memory, changes)
      life.hear(() => settle(result))
    })
    this.#open.push({ changes, planned })
  }

  #store(life: Life, memory: MemoryLedger, changes: readonly Change[]): CommitResult {
    const { failing } = this
    if (failing === undefined) return this.#put(life, memory, changes)
    if (failing.isStored && !this.hasFailed) this.#put(life, memory, changes)
    this.hasFailed = true
    return failing.how === 'fenced'
      ? { kind: 'fenced' }
      : { kind: 'failed', reason: 'EIO' }
  }

  #put(life: Life, memory: MemoryLedger, changes: readonly Change[]): CommitResult {
    if (this.disk.isFull) return { kind: 'full' }
    // The tables of a manager keep their changes: what is stored must not be theirs to change.
    if (this.#keepsLog) this.#log.push([...changes])
    memory.commit(changes, () => undefined)
    for (const change of changes)
      if (change.kind === 'submitted') this.#submitted(change.submission.key)
    this.#told(life, changes)
    return { kind: 'durable' }
  }

  #submitted(key: string): void {
    if (this.keys.has(key)) throw new Error(`the submission ${key} is on record twice`)
    this.keys.add(key)
  }

  /** Power or process is gone: of what is under way, this first part is durable. */
  crash(life: Life, keptFraction: number): void {
    const open = this.#open
    this.#open = []
    const keepsNone = this.disk.isFull || this.hasFailed
    const kept = keepsNone ? 0 : Math.round(open.length * keptFraction)
    for (const [index, { changes, planned }] of open.entries()) {
      life.schedule.cancel(planned)
      if (index < kept && this.#memory !== undefined)
        this.#put(life, this.#memory, changes)
    }
  }
}

type Write = (store: OutboxStore) => void

/** The outbox of one machine, through all lives of its worker. */
export class OutboxStore {
  readonly disk: Disk
  readonly pending = new Map<TaskId, Assignment>()
  readonly outcomes = new Map<TaskId, Undelivered>()
  #unsynced: Write[] = []
  #syncs: Planned[] = []
  /** Of all writes, how many are no longer among the unsynced. */
  #settled = 0

  constructor(disk: Disk) {
    this.disk = disk
  }

  open(life: Life): Outbox {
    const write = (change: Write): void => {
      if (this.disk.isInstant && !this.disk.isFull) change(this)
      else this.#unsynced.push(change)
    }
    return {
      load: () => ({
        pending: [...this.pending.values()],
        outcomes: [...this.outcomes.values()],
      }),
      putPending: (task) => write(({ pending }) => void pending.set(task.task_id, task)),
      removePending: (taskId) => write(({ pending }) => void pending.delete(taskId)),
      putOutcome: (one) =>
        write(({ outcomes }) => void outcomes.set(one.task.task_id, one)),
      removeOutcome: (taskId) => write(({ outcomes }) => void outcomes.delete(taskId)),
      sync: (done) => this.#sync(life, done),
      close: () => Promise.resolve(),
    }
  }

  #sync(life: Life, done: (isDurable: boolean) => void): void {
    if (this.disk.isInstant) {
      done(this.#store(this.#unsynced.length))
      return
    }
    const { schedule } = life
    const mark = this.#settled + this.#unsynced.length
    const planned = schedule.at(this.disk.durableAtMs(schedule.nowMs), () => {
      this.#syncs.shift()
      const isDurable = this.#store(mark - this.#settled)
      life.hear(() => done(isDurable))
    })
    this.#syncs.push(planned)
  }

  #store(count: number): boolean {
    const writes = this.#unsynced.splice(0, count)
    this.#settled += writes.length
    if (this.disk.isFull) return false // they are undone
    for (const write of writes) write(this)
    return true
  }

  crash(life: Life, keptFraction: number): void {
    for (const planned of this.#syncs.splice(0)) life.schedule.cancel(planned)
    const kept = this.disk.isFull ? 0 : Math.round(this.#unsynced.length * keptFraction)
    const writes = this.#unsynced
    this.#unsynced = []
    for (const write of writes.slice(0, kept)) write(this)
  }
}
