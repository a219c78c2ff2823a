// Placing queued tasks, once per turn, and what falls due.

import { choose, toReserve } from './placement.ts'
import type { TaskCore } from './task-core.ts'
import type { TaskEvent } from './task-events.ts'
import type { Shape } from './task-queue.ts'
import type { Task, Worker } from './task-record.ts'
import { overrun } from './task-sending.ts'

type Of<K extends TaskEvent['kind']> = Extract<TaskEvent, { kind: K }>
interface At {
  readonly nowMs: number
  readonly wallMs: number
}

export const place = (core: TaskCore, at: At): void => {
  const from = core.resumeAt
  core.resumeAt = 0
  if (core.queue.size === 0) return
  const shapes = core.queue.shapes()
  const first = from < shapes.length ? from : 0
  const end = Math.min(shapes.length, first + core.config.shapesPerTurn)
  const reserved = new Map<Worker, Shape>()
  for (let i = first; i < end; i++) {
    const shape = shapes[i]
    if (shape !== undefined) placeShape(core, shape, reserved, at)
  }
  if (end < shapes.length) core.resumeAt = end
}

const placeShape = (
  core: TaskCore,
  shape: Shape,
  reserved: Map<Worker, Shape>,
  at: At,
): void => {
  const { config, workers, room } = core
  const placing = { room, config, reserved, nowMs: at.nowMs }
  for (;;) {
    const task = shape.head
    if (task === undefined) break
    const worker = choose(shape, placing)
    if (worker === undefined) break
    shape.blockedSinceMs = undefined
    shape.reserved = undefined
    core.assign(task, worker, at.wallMs)
  }
  if (shape.size === 0) return
  shape.blockedSinceMs ??= at.nowMs
  if (at.nowMs - shape.blockedSinceMs < config.reserveAfterMs) return
  shape.reserved = toReserve(shape, workers.values(), reserved)
  if (shape.reserved !== undefined) reserved.set(shape.reserved, shape)
}

export const onTick = (core: TaskCore, at: Of<'tick'>): void => {
  core.retire(at.nowMs)
  const asked = new Map<Worker, Task[]>()
  for (;;) {
    const task = core.due.first
    if (task === undefined || task.dueMs > at.nowMs) break
    onDue(core, task, asked, at)
  }
  for (const [worker, tasks] of asked) core.effect({ kind: 'ask', worker, tasks })
  for (const worker of core.restless) {
    core.flushAborts(worker)
    if (worker.abortAgainAtMs <= at.nowMs) abortAgain(core, worker)
    if (worker.status === 'lost') onLongLost(core, worker, at)
    else if (isAtRest(worker, at.nowMs)) core.restless.delete(worker)
  }
}

const isAtRest = ({ abortAgainAtMs, busyUntilMs }: Worker, nowMs: number): boolean =>
  abortAgainAtMs === Number.POSITIVE_INFINITY && busyUntilMs <= nowMs

const onDue = (core: TaskCore, task: Task, asked: Map<Worker, Task[]>, at: At): void => {
  if (task.dueFor === 'retry') {
    core.enqueue(task, 'front')
    return
  }
  const { worker } = task
  if (worker === undefined) {
    core.due.remove(task)
    return
  }
  // Deadlines stand still while the worker is suspect, and go on after it was reconciled.
  const isAway = worker.status !== 'managing'
  const suspendedMs = worker.suspendedMs + (isAway ? at.nowMs - worker.suspectAtMs : 0)
  const pausedMs = suspendedMs - task.suspendedMs
  if (isAway || pausedMs > 0) {
    task.suspendedMs = suspendedMs
    const soonestMs = isAway ? at.nowMs + 1_000 : 0
    core.due.set(task, Math.max(task.dueMs + pausedMs, soonestMs), 'deadline')
    return
  }
  if (task.dueFor === 'overdue') {
    overrun(core, task, at)
    return
  }
  core.due.set(task, at.nowMs + core.config.askMs, 'overdue')
  const tasks = asked.get(worker)
  if (tasks === undefined) asked.set(worker, [task])
  else tasks.push(task)
}

/** Every abort that still waits for its Ack, but for those whose record is not durable yet. */
export const abortAgain = (core: TaskCore, worker: Worker): void => {
  worker.abortAgainAtMs = Number.POSITIVE_INFINITY
  worker.outgoingAborts = [...worker.aborting.keys()].filter(
    (task) => task.copyAt !== worker,
  )
  core.flushAborts(worker)
}

/** Not back after ten leases: the losses count, and the worker is forgotten. */
const onLongLost = (core: TaskCore, worker: Worker, at: At): void => {
  if (at.nowMs < worker.lostAtMs + 10 * core.config.managerLeaseMs) return
  countPendingLosses(core, worker, at.wallMs)
  // Exclusive tasks that it has wait for it, however long that takes.
  if (worker.tasks.size > 0) core.restless.delete(worker)
  else core.forgetWorker(worker)
}

export const countPendingLosses = (
  core: TaskCore,
  worker: Worker,
  wallMs: number,
): void => {
  const pending = [...worker.lossPending]
  worker.lossPending.clear()
  for (const task of pending) {
    if (task.closing !== undefined || core.tasks.get(task.seq) !== task) continue
    const { worker: where, attempt } = task
    const hadCopy = core.hasCopy(task)
    if (core.lose(task, wallMs) || where === undefined || !hadCopy) continue
    core.abort(where, task, attempt)
    task.copyAt = where
  }
}
