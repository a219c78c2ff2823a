// The table's side of clients: tasks come in, become durable, and are cancelled.

import type { ErrorKind, TaskRequest } from '../../protocol/index.ts'
import type { Change, Submission, Submitted } from '../records.ts'
import { isSameValue } from './same-value.ts'
import type { TaskCore } from './task-core.ts'
import type { TaskEvent } from './task-events.ts'
import {
  type Batch,
  type CancelTicket,
  handOutOf,
  isClosed,
  type Task,
  type Worker,
} from './task-record.ts'
import { TaskRow } from './task-row.ts'

type Of<K extends TaskEvent['kind']> = Extract<TaskEvent, { kind: K }>

export const onSubmit = (core: TaskCore, event: Of<'submit'>): void => {
  const known = core.keys.get(event.key)
  if (known !== undefined) {
    onResubmit(core, event, known)
    return
  }
  if (core.open + event.tasks.length > core.config.maxOpen) {
    core.effect({
      kind: 'refuse',
      reason: 'busy',
      message: `${core.open} tasks are open, the most is ${core.config.maxOpen}`,
      retryAfterMs: 1_000,
    })
    return
  }
  const { key, batch, tasks, wallMs, maxFails, retryOf } = event
  const failed = core.batches.get(batch)?.failed ?? 0
  const limit = Math.min(core.batches.get(batch)?.maxFails ?? MANY, maxFails ?? MANY)
  if (failed > limit) {
    const message = `the batch ${batch} has ended: ${failed} of its tasks failed, at most ${limit} may; name another batch`
    core.effect({ kind: 'refuse', reason: 'stopped', message })
    return
  }
  const submission: Submission = {
    ...{ first: core.nextSeq, key, batch, tasks, atMs: wallMs },
    ...(maxFails !== undefined && { maxFails }),
    ...(retryOf !== undefined && { retryOf }),
  }
  const change: Submitted = { kind: 'submitted', submission }
  core.nextSeq += tasks.length
  for (const [index, request] of tasks.entries())
    newTask(core, submission, submission.first + index, request).change = change
  const isDurable = tasks.length === 0 // nothing to remember of it
  if (!isDurable) core.keys.set(key, { change, left: tasks.length, durable: false })
  if (!isDurable) batchFor(core, batch).submissions.push(change)
  core.effect({ kind: 'taken', change, isDurable })
  if (!isDurable) core.record(change)
}

const MANY = Number.POSITIVE_INFINITY

type Asked = Pick<Submission, 'batch' | 'tasks'> & {
  readonly maxFails?: number | undefined
}

/** Does a submission under a known key ask for what that key stands for? */
export const isSameSubmission = (one: Asked, other: Asked): boolean =>
  one.batch === other.batch &&
  one.maxFails === other.maxFails &&
  isSameValue(one.tasks, other.tasks)

/** What a key that stands for other tasks is answered. */
export const KEY_TAKEN = 'the same key was used for other tasks'

const onResubmit = (
  core: TaskCore,
  event: Of<'submit'>,
  known: { readonly change: Submitted; readonly durable: boolean },
): void => {
  if (isSameSubmission(known.change.submission, event)) {
    core.effect({ kind: 'taken', change: known.change, isDurable: known.durable })
    return
  }
  core.effect({ kind: 'refuse', reason: 'conflict', message: KEY_TAKEN })
}

const batchFor = (core: TaskCore, label: string): Batch => {
  let batch = core.batches.get(label)
  if (batch === undefined) {
    batch = {
      label,
      prefix: core.prefix,
      submissions: [],
      log: [],
      read: 0,
      dropped: 0,
      retired: 0,
      open: 0,
      running: 0,
      failed: 0,
      maxFails: MANY,
      isStopped: false,
    }
    core.batches.set(label, batch)
  }
  return batch
}

/** At a start: a resubmission must find the ids that its key got in an earlier life. */
export const rememberKey = (core: TaskCore, submission: Submission): void => {
  const known = core.keys.get(submission.key)
  if (known !== undefined) {
    known.left += 1
    return
  }
  const change: Submitted = { kind: 'submitted', submission }
  core.keys.set(submission.key, { change, left: 1, durable: true })
  batchFor(core, submission.batch).submissions.push(change)
  // What it repeats had ended before it was handed in, and is restored before it.
  core.noteRetries(submission)
}

/** Older ones of a task are forgotten. */
const HAND_OUTS_KEPT = 64

/** A task that has no place yet. */
export const newTask = (
  core: TaskCore,
  submission: Submission,
  seq: number,
  request: TaskRequest,
): Task => {
  const batch = batchFor(core, submission.batch)
  batch.maxFails = Math.min(batch.maxFails, submission.maxFails ?? MANY)
  const task = new TaskRow(seq, request, submission, batch)
  core.tasks.set(seq, task)
  core.open += 1
  batch.open += 1
  return task
}

export const onDurable = (core: TaskCore, event: Of<'durable'>): void => {
  const workers = new Set<Worker>()
  for (const change of event.changes) {
    if (change.kind === 'submitted') onSubmitted(core, change)
    else onTaskChange(core, change, { workers, event })
  }
  for (const worker of workers) {
    const tasks = worker.outgoing
    worker.outgoing = []
    if (tasks.length > 0) core.effect({ kind: 'execute', worker, tasks })
    core.flushAborts(worker)
  }
  core.retire(event.nowMs)
}

const onSubmitted = (core: TaskCore, change: Submitted): void => {
  const { submission } = change
  const known = core.keys.get(submission.key)
  if (known !== undefined) known.durable = true
  for (let i = 0; i < submission.tasks.length; i++) {
    const task = core.tasks.get(submission.first + i)
    if (task?.change !== change) continue // cancelled meanwhile
    task.change = undefined
    core.enqueue(task, 'back')
  }
  core.noteRetries(submission)
  core.effect({ kind: 'submitted', submission })
}

const onTaskChange = (
  core: TaskCore,
  change: Exclude<Change, Submitted>,
  { workers, event }: { readonly workers: Set<Worker>; readonly event: Of<'durable'> },
): void => {
  const task = core.tasks.get(change.seq)
  if (task === undefined) return
  task.shownAttempt = change.attempt
  if (task.change !== change) return // a later change has taken its place
  task.change = undefined
  if (change.kind === 'closed') {
    if (task.copyAt !== undefined) workers.add(task.copyAt)
    core.finish(task, event.nowMs)
    if (change.state === 'failed') stopFailed(core, task.batch, event)
    return
  }
  const { worker } = task
  if (change.kind !== 'assigned' || worker === undefined) return
  task.handOuts = task.handOuts.slice(1 - HAND_OUTS_KEPT).concat(handOutOf(change))
  core.setState(task, 'sent')
  // To a suspect worker nothing is sent; its inventory will tell that it never came.
  if (worker.status !== 'managing') return
  worker.outgoing.push(task)
  workers.add(worker)
}

/** The ledger had no room for it: as if it had never been submitted. */
export const onNotStored = (core: TaskCore, change: Submitted): void => {
  const { submission } = change
  core.keys.delete(submission.key)
  const batch = core.batches.get(submission.batch)
  for (let i = 0; i < submission.tasks.length; i++) {
    const task = core.tasks.get(submission.first + i)
    if (task === undefined) continue
    core.detach(task)
    core.tasks.delete(task.seq)
    core.open -= 1
    task.batch.open -= 1
    for (const ticket of task.tickets) core.leave(ticket)
  }
  if (batch === undefined) return
  batch.submissions.splice(batch.submissions.indexOf(change), 1)
  if (batch.submissions.length === 0) core.batches.delete(batch.label)
}

/** The ticket arrives with `unknown` counted and `left` 1; it is left once here. */
export const onCancel = (core: TaskCore, event: Of<'cancel'>): void => {
  const { ticket } = event
  for (const task of event.tasks) {
    if (isClosed(task)) {
      ticket.closed += 1
      continue
    }
    // Closed is what is on record as closed: before, a restart may find it open.
    ticket.left += 1
    task.tickets = [...task.tickets, ticket]
    if (task.closing !== undefined) {
      ticket.closed += 1
      continue
    }
    ticket.aborted += 1
    abortTask(core, task, { kind: 'Aborted' }, { wallMs: event.wallMs, ticket })
  }
  core.leave(ticket)
}

const abortTask = (
  core: TaskCore,
  task: Task,
  error: ErrorKind,
  { wallMs, ticket }: { readonly wallMs: number; readonly ticket?: CancelTicket },
): void => {
  const { worker, attempt } = task
  if (worker !== undefined && core.hasCopy(task)) {
    core.abort(worker, task, attempt, ticket)
    task.copyAt = worker
  }
  core.close(task, 'aborted', { kind: 'Error', error }, wallMs)
}

/** Too many of a batch have failed: what is open of it is aborted. */
export const stopFailed = (
  core: TaskCore,
  batch: Batch,
  { wallMs }: { readonly wallMs: number },
): void => {
  const { failed, maxFails } = batch
  if (batch.isStopped || failed <= maxFails) return
  batch.isStopped = true
  const reason = `${failed} tasks of its batch failed, at most ${maxFails} may`
  for (const { submission } of batch.submissions)
    for (const index of submission.tasks.keys()) {
      const task = core.tasks.get(submission.first + index)
      if (task !== undefined && task.closing === undefined)
        abortTask(core, task, { kind: 'Aborted', reason }, { wallMs })
    }
}
