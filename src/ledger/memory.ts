// The memory ledger: a ledger without a disk, for meshes whose tasks may die with their
// manager, and for tests, which can make it fail, be fenced, be full, or forget.
//
// It keeps the promise of the port all the same: a commit settles after it was made, and
// nothing of it can be read before. It does so in a microtask: there is no disk to wait
// for, and what the manager then sends leaves in the same write as its other answers.

import type { LedgerId } from '../../protocol/index.ts'
import type { CommitResult, Ledger } from '../ports.ts'
import type {
  Change,
  Closed,
  Forgotten,
  Recalled,
  RecordedTask,
  Submission,
} from '../records.ts'
import { withHandOut, withRuns } from './hand-outs.ts'

export interface MemoryLedgerOptions {
  /** 10 lower-case letters and digits, new at every start: what it held is gone. */
  readonly id: LedgerId
  readonly epoch?: number
  /** Runs `fn` after the commit has returned; default: a microtask. */
  readonly later?: (fn: () => void) => void
}

/** A ledger whose next commits a test can spoil. */
export interface MemoryLedger extends Ledger {
  /** What `replay` gives, at once. */
  restorable(): readonly RecordedTask[]
  /** Commits settle so from now on; undefined: they work again (not after failed or fenced). */
  spoil(result: CommitResult | undefined): void
  /** What a power cut does: commits that have not settled never will. */
  forgetUnsettled(): void
}

interface OpenRow {
  readonly kind: 'open'
  readonly submission: Submission
  attempt: number
  failures: number
  losses: number
  notBeforeMs: number
  assigned: readonly Recalled[]
}
interface ClosedRow {
  readonly kind: 'closed'
  readonly submission: Submission
  readonly closed: Closed
  readonly assigned: readonly Recalled[]
}
type Row = OpenRow | ClosedRow

const none: Forgotten = { closed: 0, failed: 0 }
const durable: CommitResult = { kind: 'durable' }
/** Shared by all tasks that were not assigned yet: most of a long queue. */
const nowhere: readonly Recalled[] = []

export const createMemoryLedger = (options: MemoryLedgerOptions): MemoryLedger => {
  const later = options.later ?? queueMicrotask
  const rows = new Map<number, Row>()
  const keys = new Map<string, { readonly submission: Submission; left: number }>()
  /** The closed tasks in the order of their closing. */
  const closings = new Set<number>()
  const forgotten = new Map<string, Forgotten>()
  const idle: (() => void)[] = []
  let next = 1
  let closed = 0
  let underWay = 0
  let generation = 0
  let spoiled: CommitResult | undefined
  let dead: CommitResult | undefined

  const submit = (submission: Submission) => {
    keys.set(submission.key, { submission, left: submission.tasks.length })
    next = Math.max(next, submission.first + submission.tasks.length)
    for (let i = 0; i < submission.tasks.length; i++) {
      const seq = submission.first + i
      rows.set(seq, {
        kind: 'open',
        submission,
        attempt: 1,
        failures: 0,
        losses: 0,
        notBeforeMs: 0,
        assigned: nowhere,
      })
    }
  }

  const applyToTask = (change: Exclude<Change, { kind: 'submitted' }>) => {
    const row = rows.get(change.seq)
    if (row === undefined || row.kind === 'closed') return // the first outcome stays
    if (change.kind === 'closed') {
      const { submission } = row
      const assigned = withRuns(row.assigned, change)
      rows.set(change.seq, { kind: 'closed', submission, closed: change, assigned })
      closings.add(change.seq)
      closed += 1
      return
    }
    row.attempt = change.attempt
    if (change.kind === 'assigned') {
      row.assigned = withHandOut(row.assigned, change)
      row.notBeforeMs = 0
      return
    }
    row.assigned = withRuns(row.assigned, change)
    row.failures = change.failures
    row.losses = change.losses
    row.notBeforeMs = change.notBeforeMs
  }

  const apply = (changes: readonly Change[]) => {
    for (const change of changes) {
      if (change.kind === 'submitted') submit(change.submission)
      else applyToTask(change)
    }
  }

  const judge = (changes: readonly Change[]): CommitResult => {
    const result = dead ?? spoiled ?? durable
    if (result.kind === 'durable') apply(changes)
    else if (result.kind !== 'full') dead = result
    return result
  }

  const drop = (seq: number, { submission, closed: its }: ClosedRow) => {
    const { batch } = submission
    rows.delete(seq)
    closings.delete(seq)
    const before = forgotten.get(batch) ?? none
    const failed = before.failed + Number(its.state === 'failed')
    forgotten.set(batch, { closed: before.closed + 1, failed })
    closed -= 1
    const key = keys.get(submission.key)
    if (key === undefined) return
    key.left -= 1
    if (key.left === 0) keys.delete(submission.key)
  }

  const restorable = (): readonly RecordedTask[] => {
    const tasks: RecordedTask[] = []
    for (const seq of closings) {
      const row = rows.get(seq)
      if (row !== undefined) tasks.push(recorded(seq, row))
    }
    for (const [seq, row] of rows) if (row.kind === 'open') tasks.push(recorded(seq, row))
    return tasks
  }

  return {
    id: options.id,
    epoch: options.epoch ?? 1,
    async *replay() {
      yield* restorable()
    },
    restorable,
    commit: (changes, settle) => {
      const mine = generation
      underWay += 1
      later(() => {
        if (mine !== generation) return
        underWay -= 1
        settle(judge(changes))
        if (underWay === 0) for (const wake of idle.splice(0)) wake()
      })
    },
    nextSequence: () => next,
    task: (seq) => {
      const row = rows.get(seq)
      return row && recorded(seq, row)
    },
    byKey: (key) => keys.get(key)?.submission,
    list: (before, limit) => {
      const found: RecordedTask[] = []
      for (let seq = Math.min(before, next) - 1; seq > 0 && found.length < limit; seq--) {
        const row = rows.get(seq)
        if (row) found.push(recorded(seq, row))
      }
      return found
    },
    retire: (seqs) => {
      for (const seq of seqs) {
        const row = rows.get(seq)
        if (row?.kind === 'closed') drop(seq, row)
      }
    },
    forgotten: (batch) => forgotten.get(batch) ?? none,
    stats: () => ({ open: rows.size - closed, closed }),
    close: async () => {
      if (underWay > 0) await new Promise<void>((done) => idle.push(done))
      dead ??= { kind: 'failed', reason: 'the ledger is closed' }
    },
    spoil: (result) => {
      spoiled = result
    },
    forgetUnsettled: () => {
      generation += 1
      underWay = 0
      for (const wake of idle.splice(0)) wake()
    },
  }
}

const recorded = (seq: number, row: Row): RecordedTask => {
  const { submission } = row
  const request = submission.tasks[seq - submission.first]
  if (request === undefined) throw new Error(`task ${seq} has no body`)
  const { attempt, failures, losses } = row.kind === 'open' ? row : row.closed
  const task = { seq, submission, request, attempt, failures, losses }
  return row.kind === 'open'
    ? { ...task, notBeforeMs: row.notBeforeMs, assigned: row.assigned }
    : { ...task, notBeforeMs: 0, assigned: row.assigned, closed: row.closed }
}
