// What becomes of an assignment: acknowledged, refused by reason, or not answered; and
// what a worker says when it is asked (TasksPong).

import type { Assignment, TaskStatus } from '../../protocol/index.ts'
import { noteMisfit } from './claims.ts'
import { bootOf } from './placement.ts'
import type { TaskCore } from './task-core.ts'
import type { Refusal, TaskEvent } from './task-events.ts'
import { begin, countFailure } from './task-outcomes.ts'
import { NOT_THERE, type Task, type Worker } from './task-record.ts'

type Of<K extends TaskEvent['kind']> = Extract<TaskEvent, { kind: K }>
interface At {
  readonly nowMs: number
  readonly wallMs: number
}

export const onAccepted = (core: TaskCore, event: Of<'accepted'>): void => {
  const { worker, sent, refused } = event
  const isAllBusy =
    sent.length > 0 &&
    refused.length === sent.length &&
    refused.every(({ reason }) => reason === 'busy')
  worker.busyInARow = isAllBusy ? worker.busyInARow + 1 : 0
  for (const refusal of refused) {
    const assignment = sent.find(({ task_id }) => task_id === refusal.task_id)
    const task = assignment && stillSent(core, worker, assignment)
    if (task !== undefined) onRefusal(core, worker, task, refusal, event)
  }
  for (const assignment of sent) {
    const task = stillSent(core, worker, assignment)
    const isRefused = refused.some(({ task_id }) => task_id === assignment.task_id)
    if (task !== undefined && !isRefused) core.setState(task, 'accepted')
  }
}

/** The task, if this hand-out is still the one that waits for the worker's word. */
const stillSent = (
  core: TaskCore,
  worker: Worker,
  { task_id, attempt }: Assignment,
): Task | undefined => {
  const task = core.find(task_id)
  const isIt =
    task?.worker === worker && task.attempt === attempt && task.state === 'sent'
  return isIt ? task : undefined
}

const onRefusal = (
  core: TaskCore,
  worker: Worker,
  task: Task,
  { reason, message, retry_after_ms }: Refusal,
  at: At,
): void => {
  switch (reason) {
    case 'busy':
    case 'draining': {
      const { busyMs, drainingMs } = core.config
      const awayMs = retry_after_ms ?? (reason === 'busy' ? busyMs : drainingMs)
      leaveAlone(core, worker, awayMs, at)
      core.endHandOut(task, reason, at.wallMs)
      core.enqueue(task, 'front')
      return
    }
    case 'unsupported-kind':
    case 'specs':
    case 'forbidden':
      if (reason !== 'forbidden')
        noteMisfit(worker, task.need, reason === 'unsupported-kind')
      core.endHandOut(task, message ?? reason, at.wallMs)
      core.detach(task)
      task.excluded = exclusions(task, worker, message ?? reason)
      core.enqueue(task, 'front')
      return
    case 'invalid':
    case 'conflict':
      core.fail(
        task,
        {
          kind: 'Refused',
          reason: `${worker.hostName} refused it: ${message ?? reason}`,
        },
        at.wallMs,
      )
      return
    case 'stale-attempt': // it knows a later one; what it says of it decides
      task.resent = 1
      core.effect({ kind: 'ask', worker, tasks: [task] })
      return
  }
}

/** With this worker's life, and without its earlier ones. */
const exclusions = (
  { excluded = new Map() }: Task,
  worker: Worker,
  why: string,
): ReadonlyMap<string, string> => {
  const others = [...excluded].filter(([boot]) => !boot.startsWith(`${worker.nodeId} `))
  return new Map([...others, [bootOf(worker), why]])
}

/** So often it may be busy, as workers are now and then, before it is asked less often. */
const BUSY_AT_FIRST = 3

/** Longer each time that it took nothing: who claims more than it takes gets less. */
const leaveAlone = (core: TaskCore, worker: Worker, ms: number, at: At): void => {
  const doublings = Math.min(Math.max(0, worker.busyInARow - BUSY_AT_FIRST), 20)
  const longest = Math.max(ms, core.config.busyMaxMs)
  const awayMs = Math.min(ms * 2 ** doublings, longest)
  worker.busyUntilMs = Math.max(worker.busyUntilMs, at.nowMs + awayMs)
  core.restless.add(worker)
}

export const onRejected = (core: TaskCore, event: Of<'rejected'>): void => {
  const { worker, sent, retryAfterMs } = event
  worker.busyInARow += 1
  leaveAlone(core, worker, retryAfterMs ?? core.config.busyMs, event)
  // From the last to the first, so that they stand in the queue as they stood before.
  for (let i = sent.length - 1; i >= 0; i--) {
    const assignment = sent[i]
    const task = assignment && stillSent(core, worker, assignment)
    if (task === undefined) continue
    core.endHandOut(task, 'not taken', event.wallMs)
    core.enqueue(task, 'front')
  }
}

export const onStatuses = (core: TaskCore, event: Of<'statuses'>): void => {
  const { worker } = event
  for (const [taskId, status] of event.statuses) {
    const task = core.find(taskId)
    if (task?.worker === worker && core.hasCopy(task))
      onStatus(core, worker, task, status.kind, event)
  }
  core.flushAborts(worker)
}

const onStatus = (
  core: TaskCore,
  worker: Worker,
  task: Task,
  status: TaskStatus['kind'],
  at: At,
): void => {
  const isOverdue = task.dueFor === 'overdue'
  switch (status) {
    case 'Unknown':
      onMissing(core, worker, task, at)
      return
    case 'Pending':
      if (task.state === 'sent') core.setState(task, 'accepted')
      return
    case 'Started':
      if (isOverdue) overrun(core, task, at)
      else if (task.state !== 'running') begin(core, task, at)
      return
    case 'Error':
    case 'Completed': // the outcome itself is on its way, with its attempt
      if (isOverdue) core.due.set(task, at.nowMs + core.config.askMs, 'deadline')
      return
  }
}

/**
 * Its worker, in the same boot, does not know it. Never acknowledged: sent again as it is;
 * if it was, or if the worker knows a later attempt, only a new attempt can help.
 */
const onMissing = (core: TaskCore, worker: Worker, task: Task, at: At): void => {
  if (task.state === 'sent' && task.resent < 1) {
    task.resent += 1
    core.effect({ kind: 'execute', worker, tasks: [task] })
    return
  }
  core.requeue(task, at, NOT_THERE)
}

/** Longer than its limit, its grace and more: stopped, and counted as its own failure. */
export const overrun = (core: TaskCore, task: Task, at: At): void => {
  const { worker, attempt } = task
  if (worker === undefined) return
  core.abort(worker, task, attempt)
  worker.outgoingAborts.push(task)
  core.restless.add(worker)
  const error = { kind: 'TimedOut' } as const
  // An exclusive task may still run there: that it is told to end is no proof that it did.
  if (task.request.exclusive === true) core.fail(task, error, at.wallMs)
  else countFailure(core, task, error, at)
}
