// What workers tell of tasks: started, completed, error.
//
// An outcome counts only from a node to which that attempt was handed, and only the current
// attempt may close a task with an error, while a success of any attempt does. Everything
// else is acknowledged and changes nothing: the worker must be able to forget it.

import type { ErrorKind, Outcome, TaskResult } from '../../protocol/index.ts'
import { backOffMs } from './back-off.ts'
import { errorText } from './error-text.ts'
import type { TaskCore } from './task-core.ts'
import type { TaskEvent } from './task-events.ts'
import { isClosed, type Task, wasHandedTo } from './task-record.ts'

type Of<K extends TaskEvent['kind']> = Extract<TaskEvent, { kind: K }>

export const onStarted = (core: TaskCore, event: Of<'started'>): void => {
  const task = core.find(event.taskId)
  if (task === undefined || task.worker !== event.worker) return
  if (task.attempt !== event.attempt) return
  if (task.state === 'sent' || task.state === 'accepted') begin(core, task, event)
}

/** It runs; from here its time limit is watched. */
export const begin = (
  core: TaskCore,
  task: Task,
  at: {
    readonly nowMs: number
    readonly wallMs: number
    readonly pid?: number | undefined
  },
  startedMs = at.wallMs,
): void => {
  const handOut = task.handOuts.at(-1)
  if (handOut !== undefined) {
    handOut.startedMs = startedMs
    if (at.pid !== undefined) handOut.pid = at.pid
  }
  core.setState(task, 'running')
  const { timeout_ms, kill_grace_ms } = task.request
  if (timeout_ms === 0) return
  const { killGraceMs, deadlineSlackMs } = core.config
  task.suspendedMs = task.worker?.suspendedMs ?? 0
  const allowedMs = timeout_ms + (kill_grace_ms ?? killGraceMs) + deadlineSlackMs
  core.due.set(task, at.nowMs + allowedMs, 'deadline')
}

export const onCompleted = (core: TaskCore, event: Of<'completed'>): void => {
  const task = opened(core, event)
  if (task === undefined) return
  const { nodeId, attempt, result } = event
  noteEnd(task, event, 'completed')
  const { worker } = task
  if (worker !== undefined && worker.nodeId === nodeId) noteRun(task, result, 'done')
  const elsewhere = worker?.nodeId !== nodeId || attempt !== task.attempt
  if (worker !== undefined && elsewhere && core.hasCopy(task)) {
    core.abort(worker, task, task.attempt)
    task.copyAt = worker
  }
  task.heldBy = nodeId
  core.close(task, 'completed', { kind: 'Completed', result }, event.wallMs)
  core.effect({ kind: 'ack', when: 'durable' })
}

export const onError = (core: TaskCore, event: Of<'error'>): void => {
  const task = opened(core, event)
  if (task === undefined) return
  const { nodeId, attempt, error, result } = event
  const isCurrent =
    attempt === task.attempt &&
    (task.worker === undefined || (task.worker.nodeId === nodeId && core.hasCopy(task)))
  if (!isCurrent) {
    // What made its attempt an old one may not be on record yet: until then, it is not old.
    core.effect({ kind: 'ack', when: task.change === undefined ? 'now' : 'durable' })
    return
  }
  noteEnd(task, event, errorText(error))
  if (task.worker !== undefined) noteRun(task, result, 'failed')
  task.heldBy = nodeId
  countFailure(core, task, error, event, result)
  core.effect({ kind: 'ack', when: 'durable' })
}

/** An own failure: again after a back-off while retries last, else failed. */
export const countFailure = (
  core: TaskCore,
  task: Task,
  error: ErrorKind,
  at: { readonly nowMs: number; readonly wallMs: number },
  result?: TaskResult,
): void => {
  // Stopped by its worker's doing, not by its own: costs nothing.
  if (error.kind === 'Aborted') {
    core.requeue(task, at, errorText(error))
    return
  }
  // Its worker lives, but lost the run: no failure of its own, but it may be what kills
  // whoever holds it, so the losses are counted as those of workers are.
  if (error.kind === 'WorkerLost') {
    if (core.lose(task, at.wallMs)) core.requeue(task, at, error.kind)
    return
  }
  task.failures += 1
  const outcome: Outcome = { kind: 'Error', error }
  if (task.failures > (task.request.retries ?? 0)) {
    core.close(
      task,
      'failed',
      result === undefined ? outcome : { ...outcome, result },
      at.wallMs,
    )
    return
  }
  core.requeue(task, at, errorText(error), backOffMs(task, core.config))
}

/** The open task that an outcome counts for; if there is none, the Ack is arranged. */
const opened = (
  core: TaskCore,
  event: Of<'completed'> | Of<'error'>,
): Task | undefined => {
  const { nodeId, taskId, attempt } = event
  const task = core.find(taskId)
  if (task !== undefined && wasHandedTo(task, nodeId, attempt)) {
    if (task.closing === undefined) return task
    // The outcome it brings may be the one that is being recorded.
    core.effect({ kind: 'ack', when: isClosed(task) ? 'now' : 'durable' })
    return undefined
  }
  if (task !== undefined)
    core.effect({ kind: 'note', event: 'outcome-from-stranger', taskId, nodeId })
  core.effect({ kind: 'ack', when: 'now' })
  return undefined
}

const noteEnd = (
  task: Task,
  { nodeId, attempt, wallMs }: Of<'completed'> | Of<'error'>,
  ended: string,
): void => {
  for (const handOut of task.handOuts) {
    if (handOut.nodeId !== nodeId || handOut.attempt !== attempt) continue
    handOut.endedMs = wallMs
    handOut.ended = ended
    handOut.isTold = false
  }
}

const noteRun = (
  { worker }: Task,
  result: TaskResult | undefined,
  counter: 'done' | 'failed',
): void => {
  if (worker === undefined) return
  worker[counter] += 1
  // What ended has left room.
  worker.busyInARow = 0
  if (result === undefined) return
  const { run_ms: runMs } = result
  const mean = worker.meanRunMs ?? runMs
  // Quick to believe that tasks are long (a long one blocks what waits behind it), slow to
  // believe that they are short.
  worker.meanRunMs = runMs > mean ? (mean + runMs) / 2 : 0.9 * mean + 0.1 * runMs
}
