// The table's side of clients: tasks come in, become durable, and are cancelled.

import type { TaskRequest } from '../../protocol/index.ts'
import type { Change, Submission, Submitted } from '../records.ts'
import { needOf } from './placement.ts'
import { isSameValue } from './same-value.ts'
import type { TaskCore } from './task-core.ts'
import type { TaskEvent } from './task-events.ts'
import {
  type Batch,
  type HandOut,
  handOutOf,
  isClosed,
  NO_TICKETS,
  type Task,
  type Worker,
} from './task-record.ts'

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
      message: `${core.open} tasks are open, the most is ${core.config.maxOpen}`,
      retryAfterMs: 1_000,
    })
    return
  }
  const { key, batch, tasks, wallMs } = event
  const submission: Submission = { first: core.nextSeq, key, batch, tasks, atMs: wallMs }
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

type Asked = Pick<Submission, 'batch' | 'tasks'>

/** Does a submission under a known key ask for what that key stands for? */
export const isSameSubmission = (one: Asked, other: Asked): boolean =>
  one.batch === other.batch && isSameValue(one.tasks, other.tasks)

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
  core.effect({
    kind: 'refuse',
    message: KEY_TAKEN,
    retryAfterMs: undefined,
  })
}

const batchFor = (core: TaskCore, label: string): Batch => {
  let batch = core.batches.get(label)
  if (batch === undefined) {
    batch = {
      label,
      submissions: [],
      log: [],
      read: 0,
      dropped: 0,
      retired: 0,
      open: 0,
      running: 0,
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
}

const noHandOuts: readonly HandOut[] = []
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
  const task: Task = {
    seq,
    id: core.prefix + seq,
    request,
    submission,
    batch,
    need: needOf(request),
    state: 'queued',
    attempt: 1,
    shownAttempt: 1,
    failures: 0,
    losses: 0,
    worker: undefined,
    change: undefined,
    closing: undefined,
    handOuts: noHandOuts,
    heldBy: undefined,
    copyAt: undefined,
    excluded: undefined,
    resent: 0,
    watched: false,
    tickets: NO_TICKETS,
    shape: undefined,
    previous: undefined,
    next: undefined,
    dueMs: 0,
    heapIndex: -1,
    dueFor: 'nothing',
    suspendedMs: 0,
  }
  core.tasks.set(seq, task)
  core.open += 1
  batch.open += 1
  return task
}

export const onDurable = (core: TaskCore, event: Of<'durable'>): void => {
  const workers = new Set<Worker>()
  for (const change of event.changes) {
    if (change.kind === 'submitted') onSubmitted(core, change)
    else onTaskChange(core, change, workers)
  }
  for (const worker of workers) {
    const tasks = worker.outgoing
    worker.outgoing = []
    if (tasks.length > 0) core.effect({ kind: 'execute', worker, tasks })
    core.flushAborts(worker)
  }
  core.retire()
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
  core.effect({ kind: 'submitted', submission })
}

const onTaskChange = (
  core: TaskCore,
  change: Exclude<Change, Submitted>,
  workers: Set<Worker>,
): void => {
  const task = core.tasks.get(change.seq)
  if (task === undefined) return
  task.shownAttempt = change.attempt
  if (task.change !== change) return // a later change has taken its place
  task.change = undefined
  if (change.kind === 'closed') {
    if (task.copyAt !== undefined) workers.add(task.copyAt)
    core.finish(task)
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
    const { worker, attempt } = task
    if (worker !== undefined && core.hasCopy(task)) {
      core.abort(worker, task, attempt, ticket)
      task.copyAt = worker
    }
    const error = { kind: 'Aborted' } as const
    core.close(task, 'aborted', { kind: 'Error', error }, event.wallMs)
  }
  core.leave(ticket)
}
