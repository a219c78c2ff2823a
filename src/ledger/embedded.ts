// The embedded ledger: a manager's tasks in LMDB, in its own folder.
//
// Each commit is one transaction, conditional on the epoch: all of it or nothing, on disk
// before it is told, and nothing any more once another holder has taken over. Only a full
// disk is no reason to stop: nothing of that commit was applied, and it may be tried again.

import { statfsSync } from 'node:fs'
import { join } from 'node:path'
import type { LedgerId } from '../../protocol/index.ts'
import type { CommitResult, Ledger } from '../ports.ts'
import type { Change, Closed, Forgotten, RecordedTask, Submission } from '../records.ts'
import { Ballast } from './ballast.ts'
import { withHandOut, withRuns } from './hand-outs.ts'
import {
  closedAs,
  FORGOTTEN,
  FRESH,
  packState,
  type State,
  unpackState,
} from './states.ts'
import type { Store } from './store.ts'
import { fromValue, toValue } from './values.ts'

export interface EmbeddedOptions {
  readonly store: Store
  readonly id: LedgerId
  readonly epoch: number
  readonly directory: string
  /** Bytes of the disk that are left for outcomes: below, nothing new is taken. Default: spareOf. */
  readonly hasRoom?: () => boolean
  /** Called when it was closed in good order. */
  readonly onClosed?: () => void
}

/** Shorter than the work that waits at a worker of short tasks lasts (COVER_MS of worker-room.ts). */
const GATHER_MS = 15
/** So many retired tasks are removed along with a commit. */
const RETIRED_AT_ONCE = 2_000
/** Room that only outcomes may take: this, or this part of the disk, whichever is less. */
const SPARE_BYTES = 256 * 1024 * 1024
const SPARE_PART = 0.05

/** Is there room for new tasks, besides what their outcomes need? */
export const hasSpace = (directory: string): boolean => {
  const { bavail, blocks, bsize } = statfsSync(directory)
  return bavail * bsize > Math.min(SPARE_BYTES, blocks * bsize * SPARE_PART)
}

/** A submission of which something is left, and how much. */
interface Held {
  readonly submission: Submission
  left: number
}

/** A task as it is on record. */
interface Found {
  readonly seq: number
  readonly submission: Submission
  readonly state: State
}

/** What a commit writes; taken into the memory of this ledger when it is durable. */
interface Batch {
  readonly submissions: readonly Submission[]
  readonly states: Map<number, State>
  readonly retired: readonly number[]
}

export const createEmbeddedLedger = (options: EmbeddedOptions): Ledger =>
  new EmbeddedLedger(options)

class EmbeddedLedger implements Ledger {
  readonly id: LedgerId
  readonly epoch: number
  readonly gatherMs = GATHER_MS
  readonly #options: EmbeddedOptions
  readonly #store: Store
  /** By the sequence of its first task, in that order. */
  readonly #held = new Map<number, Held>()
  readonly #keys = new Map<string, Submission>()
  /** States of open tasks that have one: what a change changes is not read first. */
  readonly #states = new Map<number, State>()
  /** Of each batch of which something is left: submissions, and forgotten tasks. */
  readonly #submissions = new Map<string, number>()
  readonly #forgotten = new Map<string, Forgotten>()
  #retired: number[] = []
  #next = 1
  #order = 1
  #open = 0
  #closed = 0
  #dead: CommitResult | undefined
  readonly #ballast: Ballast
  #underWay: Promise<void> = Promise.resolve()

  constructor(options: EmbeddedOptions) {
    this.id = options.id
    this.epoch = options.epoch
    this.#options = options
    this.#store = options.store
    const { directory } = options
    this.#ballast = new Ballast(directory, join(directory, 'ballast'))
    for (const { key, value } of this.#store.labels.getRange({}))
      this.#forgotten.set(key, unpackForgotten(fromValue(value, `the batch ${key}`)))
    for (const { key, value } of this.#store.batches.getRange({})) {
      // What toValue was given, whole by its checksum.
      const submission = fromValue(value, `the submission of task ${key}`) as Submission
      this.#hold(submission)
    }
    this.#next = Math.max(this.#next, Number(this.#store.meta.get('next') ?? 1))
  }

  #hold(submission: Submission): void {
    const { first, key, batch, tasks } = submission
    this.#held.set(first, { submission, left: tasks.length })
    this.#submissions.set(batch, (this.#submissions.get(batch) ?? 0) + 1)
    this.#keys.set(key, submission)
    this.#next = Math.max(this.#next, first + tasks.length)
  }

  /** The closed tasks in the order of their closing, then the open ones. */
  async *replay(): AsyncIterable<RecordedTask> {
    const closed: Found[] = []
    const open: Found[] = []
    const states = this.#allStates()
    for (const [first, held] of this.#held)
      for (let index = 0; index < held.submission.tasks.length; index += 1) {
        const seq = first + index
        const found = this.#takeUp(seq, held, states.get(seq))
        if (found?.state.closed !== undefined) closed.push(found)
        else if (found !== undefined) open.push(found)
      }
    closed.sort((a, b) => (a.state.order ?? 0) - (b.state.order ?? 0))
    this.#order = (closed.at(-1)?.state.order ?? 0) + 1
    this.#open = open.length
    this.#closed = closed.length
    for (const found of closed) yield recordedOf(found)
    for (const found of open) yield recordedOf(found)
  }

  /** In one walk: to look each of them up costs several times as much. */
  #allStates(): ReadonlyMap<number, State | typeof FORGOTTEN> {
    const states = new Map<number, State | typeof FORGOTTEN>()
    for (const { key, value } of this.#store.states.getRange({})) {
      const packed = fromValue(value, `the state of task ${key}`)
      states.set(key, packed === FORGOTTEN ? FORGOTTEN : unpackState(key, packed))
    }
    return states
  }

  /** Undefined: it is forgotten. */
  #takeUp(
    seq: number,
    held: Held,
    state: State | typeof FORGOTTEN | undefined,
  ): Found | undefined {
    if (state === FORGOTTEN) {
      held.left -= 1
      return undefined
    }
    if (state !== undefined && state.closed === undefined) this.#states.set(seq, state)
    return { seq, submission: held.submission, state: state ?? FRESH }
  }

  commit(changes: readonly Change[], settle: (result: CommitResult) => void): void {
    const before = this.#underWay
    this.#underWay = before.then(async () => settle(await this.#commit(changes)))
  }

  nextSequence(): number {
    return this.#next
  }

  task(seq: number): RecordedTask | undefined {
    return this.#found(seq)[0]
  }

  byKey(key: string): Submission | undefined {
    return this.#keys.get(key)
  }

  list(before: number, limit: number): readonly RecordedTask[] {
    const found: RecordedTask[] = []
    for (
      let seq = Math.min(before, this.#next) - 1;
      seq > 0 && found.length < limit;
      seq--
    )
      found.push(...this.#found(seq))
    return found
  }

  retire(seqs: readonly number[]): void {
    for (const seq of seqs) this.#retired.push(seq)
  }

  forgotten(batch: string): Forgotten {
    return this.#forgotten.get(batch) ?? NONE_FORGOTTEN
  }

  stats(): { readonly open: number; readonly closed: number } {
    return { open: this.#open, closed: this.#closed }
  }

  async close(): Promise<void> {
    await this.#underWay
    // What a full disk does not let it forget, the next life has once more.
    let last: CommitResult = { kind: 'durable' }
    while (
      last.kind === 'durable' &&
      this.#dead === undefined &&
      this.#retired.length > 0
    )
      last = await this.#commit([])
    if (this.#dead?.kind === 'failed' && this.#dead.reason === CLOSED) return
    const isWhole = this.#dead === undefined
    this.#dead ??= { kind: 'failed', reason: CLOSED }
    await this.#store.root.close()
    if (isWhole) this.#options.onClosed?.()
  }

  #found(seq: number): RecordedTask[] {
    const submission = this.#submissionOf(seq)
    if (submission === undefined) return []
    const state = this.#states.get(seq) ?? this.#read(seq) ?? FRESH
    return state === FORGOTTEN ? [] : [recordedOf({ seq, submission, state })]
  }

  #read(seq: number): State | typeof FORGOTTEN | undefined {
    const packed = this.#packed(seq)
    return packed === undefined || packed === FORGOTTEN
      ? packed
      : unpackState(seq, packed)
  }

  #packed(seq: number): unknown {
    const value = this.#store.states.get(seq)
    return value === undefined ? undefined : fromValue(value, `the state of task ${seq}`)
  }

  #submissionOf(seq: number): Submission | undefined {
    const { batches } = this.#store
    for (const first of batches.getKeys({ start: seq, reverse: true, limit: 1 })) {
      const submission = this.#held.get(first)?.submission
      if (submission !== undefined && seq < first + submission.tasks.length)
        return submission
    }
    return undefined
  }

  /** How it was closed, if it was and is not forgotten. */
  #closedAs(seq: number): Closed['state'] | undefined {
    const packed = this.#packed(seq)
    return packed === undefined || packed === FORGOTTEN ? undefined : closedAs(packed)
  }

  async #commit(changes: readonly Change[]): Promise<CommitResult> {
    if (this.#dead !== undefined) return this.#dead
    const { directory, hasRoom = () => hasSpace(directory) } = this.#options
    const isMore = changes.some(({ kind }) => kind === 'submitted')
    if (isMore && !hasRoom()) return FULL
    const batch = this.#batchOf(changes)
    const forgetting = this.#forgettingOf(batch.retired)
    try {
      const isMine = await this.#store.meta.ifVersion('epoch', this.epoch, () => {
        this.#write(batch)
        forgetting.write()
      })
      if (!isMine) {
        this.#dead = { kind: 'fenced' }
        return this.#dead
      }
    } catch (error) {
      const result = this.#failed(error)
      const isFreed = result.kind === 'full' && this.#ballast.release()
      return isFreed ? await this.#commit(changes) : result
    }
    this.#take(batch)
    forgetting.take()
    this.#ballast.restore()
    return { kind: 'durable' }
  }

  /** Nothing of it is in the store. Only a full disk may be tried again. */
  #failed(error: unknown): CommitResult {
    const { commitError } = error as { commitError?: Promise<unknown> }
    commitError?.catch(() => undefined)
    const { bavail, bsize } = statfsSync(this.#options.directory)
    if (bavail * bsize < FULL_BYTES) return FULL
    const reason = error instanceof Error ? error.message : String(error)
    this.#dead = { kind: 'failed', reason: `the ledger could not be written: ${reason}` }
    return this.#dead
  }

  #batchOf(changes: readonly Change[]): Batch {
    const submissions: Submission[] = []
    const states = new Map<number, State>()
    let order = this.#order
    for (const change of changes) {
      if (change.kind === 'submitted') {
        submissions.push(change.submission)
        continue
      }
      const { seq } = change
      const before = states.get(seq) ?? this.#states.get(seq) ?? this.#readOpen(seq)
      if (before === undefined || before.closed !== undefined) continue // the first outcome stays
      states.set(seq, changed(before, change, order))
      if (change.kind === 'closed') order += 1
    }
    return { submissions, states, retired: this.#retired.slice(0, RETIRED_AT_ONCE) }
  }

  /** Not in memory: it waits for its first attempt, or is closed. */
  #readOpen(seq: number): State | undefined {
    const state = this.#read(seq)
    return state === FORGOTTEN ? undefined : (state ?? FRESH)
  }

  #write({ submissions, states }: Batch): void {
    const { meta, batches, states: its } = this.#store
    for (const submission of submissions)
      void batches.put(submission.first, toValue(submission))
    for (const [seq, state] of states) void its.put(seq, toValue(packState(state)))
    const last = submissions.at(-1)
    if (last !== undefined) void meta.put('next', last.first + last.tasks.length)
  }

  #take({ submissions, states, retired }: Batch): void {
    for (const submission of submissions) {
      this.#hold(submission)
      this.#open += submission.tasks.length
    }
    for (const [seq, state] of states) {
      if (state.order === undefined) this.#states.set(seq, state)
      else {
        this.#states.delete(seq)
        this.#order = Math.max(this.#order, state.order + 1)
        this.#open -= 1
        this.#closed += 1
      }
    }
    this.#retired = this.#retired.slice(retired.length)
  }

  /** Takes closed tasks out: a mark for each, and all of a submission with its last. */
  #forgettingOf(seqs: readonly number[]) {
    const left = new Map<Held, number>()
    const labels = new Map<string, Forgotten>()
    const marked: number[] = []
    for (const seq of seqs) {
      const first = this.#submissionOf(seq)?.first
      const held = first === undefined ? undefined : this.#held.get(first)
      const state = held === undefined ? undefined : this.#closedAs(seq)
      if (held === undefined || state === undefined) continue
      left.set(held, (left.get(held) ?? held.left) - 1)
      const { batch } = held.submission
      const { closed, failed } = labels.get(batch) ?? this.forgotten(batch)
      const isFailed = state === 'failed'
      labels.set(batch, { closed: closed + 1, failed: failed + Number(isFailed) })
      marked.push(seq)
    }
    const ended = [...left].flatMap(([held, count]) => (count > 0 ? [] : [held]))
    const submissions = new Map<string, number>()
    for (const { submission } of ended) {
      const { batch } = submission
      const before = submissions.get(batch) ?? this.#submissions.get(batch) ?? 1
      submissions.set(batch, before - 1)
    }
    const isOver = (label: string): boolean => submissions.get(label) === 0
    const { batches, states, labels: counts } = this.#store
    return {
      write: () => {
        for (const seq of marked) void states.put(seq, FORGOTTEN_VALUE)
        for (const { submission } of ended) {
          void batches.remove(submission.first)
          for (const index of submission.tasks.keys())
            void states.remove(submission.first + index)
        }
        for (const [label, count] of labels)
          if (isOver(label)) void counts.remove(label)
          else void counts.put(label, toValue(packForgotten(count)))
      },
      take: () => {
        for (const [held, count] of left) held.left = count
        for (const { submission } of ended) {
          this.#held.delete(submission.first)
          this.#keys.delete(submission.key)
        }
        for (const [label, count] of labels) this.#forgotten.set(label, count)
        for (const [label, count] of submissions) this.#submissions.set(label, count)
        for (const label of labels.keys()) {
          if (!isOver(label)) continue
          this.#forgotten.delete(label)
          this.#submissions.delete(label)
        }
        this.#closed -= marked.length
      },
    }
  }
}

const CLOSED = 'the ledger is closed'
/** A commit that fails with less than this left failed for want of it. */
const FULL_BYTES = 4 * 1024 * 1024
const FULL: CommitResult = { kind: 'full' }
const FORGOTTEN_VALUE = toValue(FORGOTTEN)
const NONE_FORGOTTEN: Forgotten = { closed: 0, failed: 0 }

/** A number alone where none had failed, as it nearly always is. */
const packForgotten = ({ closed, failed }: Forgotten) =>
  failed === 0 ? closed : [closed, failed]

const unpackForgotten = (packed: unknown): Forgotten => {
  if (!Array.isArray(packed)) return { closed: Number(packed), failed: 0 }
  return { closed: Number(packed[0]), failed: Number(packed[1]) }
}

const changed = (
  before: State,
  change: Exclude<Change, { kind: 'submitted' }>,
  order: number,
): State => {
  switch (change.kind) {
    case 'assigned': {
      const assigned = withHandOut(before.assigned, change)
      return { ...before, attempt: change.attempt, notBeforeMs: 0, assigned }
    }
    case 'requeued': {
      const { attempt, failures, losses, notBeforeMs } = change
      const assigned = withRuns(before.assigned, change)
      return { ...before, attempt, failures, losses, notBeforeMs, assigned }
    }
    case 'closed': {
      const { attempt, failures, losses } = change
      const ended = { attempt, failures, losses, notBeforeMs: 0 }
      const assigned = withRuns(before.assigned, change)
      return { ...before, ...ended, assigned, closed: change, order }
    }
  }
}

const recordedOf = ({ seq, submission, state }: Found): RecordedTask => {
  const request = submission.tasks[seq - submission.first]
  if (request === undefined) throw new Error(`task ${seq} has no body`)
  const { attempt, failures, losses, notBeforeMs, assigned, closed } = state
  // Field by field, as in states.ts: a start makes a hundred thousand of them.
  return closed === undefined
    ? { seq, submission, request, attempt, failures, losses, notBeforeMs, assigned }
    : {
        seq,
        submission,
        request,
        attempt,
        failures,
        losses,
        notBeforeMs,
        assigned,
        closed,
      }
}
