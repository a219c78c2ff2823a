// Workers as the task table sees them: they come with an inventory, are suspected, are lost.
//
// The inventory settles every doubt about what is where. A loss is counted once for a task
// and a boot of its worker, and only when that boot is surely gone.

import type { InventoryEntry, TaskAttempt } from '../../protocol/index.ts'
import type { Assigned } from '../records.ts'
import type { TaskCore } from './task-core.ts'
import type { TaskEvent, WorkerClaims } from './task-events.ts'
import { begin, onCompleted, onError } from './task-outcomes.ts'
import { abortAgain, countPendingLosses } from './task-placing.ts'
import {
  isClosed,
  NOT_THERE,
  type Task,
  WORKER_LEFT,
  type Worker,
} from './task-record.ts'
import { noPlaces } from './worker-room.ts'

type Of<K extends TaskEvent['kind']> = Extract<TaskEvent, { kind: K }>

/** The record of a worker; made suspect, without a connection, if there is none. */
export const workerFor = (
  core: TaskCore,
  { nodeId, hostName, bootId }: Pick<Assigned, 'nodeId' | 'hostName' | 'bootId'>,
  nowMs: number,
): Worker => {
  let worker = core.workers.get(nodeId)
  if (worker !== undefined) return worker
  worker = {
    nodeId,
    hostName,
    address: undefined,
    bootId,
    rel: '',
    status: 'suspect',
    sinceMs: nowMs,
    cores: 0,
    memory: 0,
    kinds: undefined,
    labels: {},
    resources: {},
    tasks: new Set(),
    usedCores: 0,
    usedMemory: 0,
    usedResources: new Map(),
    coreless: 0,
    running: 0,
    done: 0,
    failed: 0,
    meanRunMs: undefined,
    misfits: [],
    busyInARow: 0,
    busyUntilMs: 0,
    suspendedMs: 0,
    suspectAtMs: nowMs,
    lossPending: new Set(),
    lostAtMs: 0,
    restoredMs: 0,
    aborting: new Map(),
    abortAgainAtMs: Number.POSITIVE_INFINITY,
    outgoing: [],
    outgoingAborts: [],
    room: noPlaces(core.workersSeen++),
  }
  core.workers.set(nodeId, worker)
  return worker
}

/** At a start: the worker of a hand-out; of all of them, the newest names its boot. */
export const restoredWorker = (
  core: TaskCore,
  assigned: Assigned,
  nowMs: number,
): Worker => {
  const worker = workerFor(core, assigned, nowMs)
  if (assigned.atMs >= worker.restoredMs) {
    worker.restoredMs = assigned.atMs
    worker.bootId = assigned.bootId
  }
  return worker
}

export const onReconcile = (core: TaskCore, event: Of<'reconcile'>): void => {
  const { claims, inventory, nowMs } = event
  const worker = workerFor(core, claims, nowMs)
  const reborn = event.reborn || worker.bootId !== claims.bootId
  if (reborn) onReborn(core, worker, event)
  else worker.lossPending.clear() // that boot is back: nothing was lost with it
  takeClaims(worker, claims, nowMs)
  core.room.changed(worker)
  const drops: TaskAttempt[] = []
  const seen = new Set<Task>()
  for (const entry of inventory)
    reconcileEntry(core, worker, entry, { drops, seen, event })
  for (const task of newestFirst(worker))
    if (!seen.has(task) && core.hasCopy(task))
      onUnseen(core, worker, task, { ...event, reborn })
  core.effect({ kind: 'drop', drops })
  // After the ManagerAnswer, so that the worker knows the relationship that they speak of.
  const outgoing = worker.outgoing
  worker.outgoing = []
  if (outgoing.length > 0) core.effect({ kind: 'execute', worker, tasks: outgoing })
  abortAgain(core, worker)
}

const takeClaims = (worker: Worker, claims: WorkerClaims, nowMs: number): void => {
  if (worker.status !== 'managing') worker.suspendedMs += nowMs - worker.suspectAtMs
  if (worker.status !== 'managing') worker.sinceMs = nowMs
  worker.status = 'managing'
  worker.address = claims.address
  worker.bootId = claims.bootId
  worker.rel = claims.rel
  worker.cores = claims.cores
  worker.memory = claims.memory
  worker.kinds = claims.kinds
  worker.labels = claims.labels ?? {}
  worker.resources = claims.resources ?? {}
  worker.busyUntilMs = 0
}

/** Nothing of the old boot runs any more, and what was not sent yet was meant for it. */
const onReborn = (core: TaskCore, worker: Worker, at: Of<'reconcile'>): void => {
  core.releaseAborts(worker)
  countPendingLosses(core, worker, at.wallMs)
  takeBackUnsent(core, worker)
  worker.meanRunMs = undefined
  worker.misfits = []
  worker.busyInARow = 0
}

/** What waited for the end of the boot that is over: exclusive tasks alone. */
export const onBornElsewhere = (core: TaskCore, event: Of<'reborn'>): void => {
  const { worker, bootId, wallMs } = event
  if (worker.status !== 'lost' || worker.bootId === bootId) return
  worker.bootId = bootId
  for (const task of newestFirst(worker))
    if (core.lose(task, wallMs)) core.requeue(task, event, 'WorkerLost')
}

/** Put to the front one by one, they stand in the queue in the order in which they came. */
const newestFirst = (worker: Worker): Task[] => [...worker.tasks].reverse()

const takeBackUnsent = (core: TaskCore, worker: Worker): void => {
  for (const task of newestFirst(worker)) {
    if (core.hasCopy(task)) continue
    task.change = undefined // so that nothing is sent when it becomes durable
    core.enqueue(task, 'front')
  }
}

interface Reconciling {
  readonly drops: TaskAttempt[]
  readonly seen: Set<Task>
  readonly event: Of<'reconcile'>
}

const reconcileEntry = (
  core: TaskCore,
  worker: Worker,
  entry: InventoryEntry,
  reconciling: Reconciling,
): void => {
  const { task_id, attempt } = entry
  const task = core.find(task_id)
  if (task === undefined || isClosed(task)) reconciling.drops.push({ task_id, attempt })
  else if (task.closing !== undefined && isOver(entry))
    return // until that is on record it may still be needed
  else if (task.closing?.state === 'aborted') reconciling.drops.push({ task_id, attempt })
  else if (task.worker === worker && core.hasCopy(task))
    takeStatus(core, worker, task, entry, reconciling)
  else if (task.worker !== worker)
    reconcileElsewhere(core, worker, task, entry, reconciling)
  // else it is on its way here, and that adopts what is here
}

const isOver = ({ status }: InventoryEntry): boolean =>
  status === 'Error' || status === 'Completed' || status === 'Ending'

/** Believed to wait, or to be elsewhere. What is over comes by the outbox; what ends cannot be adopted. */
const reconcileElsewhere = (
  core: TaskCore,
  worker: Worker,
  task: Task,
  entry: InventoryEntry,
  { drops, event }: Reconciling,
): void => {
  const { task_id, attempt, status } = entry
  if (isOver(entry) && (task.worker === undefined || status === 'Completed')) return
  if (isAdoptable(task)) core.assign(task, worker, event.wallMs)
  else drops.push({ task_id, attempt })
}

/** Here, as believed; under an older number, the current one is sent again (it is not seen). */
const takeStatus = (
  core: TaskCore,
  worker: Worker,
  task: Task,
  { attempt, status, at_ms: atMs }: InventoryEntry,
  { seen, event }: Reconciling,
): void => {
  if (attempt !== task.attempt && status !== 'Completed') return
  seen.add(task)
  // Its success comes by the outbox: an abort of that attempt would drop it there.
  if (status === 'Completed') core.spare(worker, task)
  if (status === 'Started' && task.state !== 'running')
    begin(core, task, event, Math.min(atMs ?? event.wallMs, event.wallMs))
  else if (task.state === 'sent') core.setState(task, 'accepted')
}

/** It waits for a worker: the copy that was found takes its current number. */
const isAdoptable = (task: Task): boolean =>
  task.worker === undefined &&
  task.closing === undefined &&
  task.change?.kind !== 'submitted'

/** Believed here, but the worker does not have it. */
const onUnseen = (
  core: TaskCore,
  worker: Worker,
  task: Task,
  event: Of<'reconcile'>,
): void => {
  if (isGone(task, event)) {
    if (core.lose(task, event.wallMs)) core.requeue(task, event, 'WorkerLost')
    return
  }
  if (task.state === 'sent') worker.outgoing.push(task)
  else core.requeue(task, event, NOT_THERE)
}

/**
 * Did the boot that it was handed to end with it? At a manager's start the worker's boot is
 * the one of its newest hand-out, but this one may have been for an earlier boot, which
 * refused it or never got it: the boot that is there now has no record of it.
 */
const isGone = (task: Task, { reborn, claims }: Of<'reconcile'>): boolean =>
  task.handOuts.at(-1)?.bootId !== claims.bootId && (reborn || task.state === 'sent')

/** Outcomes of a worker that serves another manager now: recorded, then all may be dropped. */
export const onSettle = (core: TaskCore, event: Of<'settle'>): void => {
  const { nodeId, nowMs, wallMs } = event
  for (const { task_id: taskId, attempt, outcome } of event.inventory) {
    if (outcome === undefined) continue
    const common = { nodeId, taskId, attempt, nowMs, wallMs }
    if (outcome.kind === 'Completed')
      onCompleted(core, { ...common, kind: 'completed', result: outcome.result })
    else {
      const { error, result } = outcome
      onError(core, { ...common, kind: 'error', error, result })
    }
  }
  const drops = event.inventory.flatMap(({ task_id, attempt, outcome }) =>
    outcome === undefined ? [] : [{ task_id, attempt }],
  )
  core.effect({ kind: 'drop', drops })
  if (event.isWhole) takeBackUnlisted(core, event)
}

/** A worker that serves another manager has, in the same boot, nothing of them. */
const takeBackUnlisted = (core: TaskCore, event: Of<'settle'>): void => {
  const worker = core.workers.get(event.nodeId)
  if (worker === undefined || worker.status === 'managing') return
  if (worker.bootId !== event.bootId) return
  const listed = new Set(event.inventory.map(({ task_id }) => task_id))
  for (const task of newestFirst(worker))
    if (core.hasCopy(task) && !listed.has(task.id)) core.requeue(task, event, NOT_THERE)
}

export const onSuspect = (core: TaskCore, worker: Worker, nowMs: number): void => {
  if (worker.status !== 'managing') return
  worker.status = 'suspect'
  worker.sinceMs = nowMs
  worker.suspectAtMs = nowMs
  core.room.changed(worker)
}

export const onLost = (core: TaskCore, event: Of<'lost'>): void => {
  const { worker, cost, nowMs, wallMs } = event
  if (worker.status === 'managing') worker.suspectAtMs = nowMs
  worker.status = 'lost'
  worker.sinceMs = nowMs
  worker.lostAtMs = nowMs
  core.room.changed(worker)
  core.restless.add(worker)
  core.releaseAborts(worker)
  takeBackUnsent(core, worker)
  for (const task of newestFirst(worker)) {
    // Its worker may be alive, and its programs: it waits for that worker's next boot.
    if (task.request.exclusive === true && cost !== 'none') continue
    if (cost === 'certain' && !core.lose(task, wallMs)) continue
    if (cost === 'pending') worker.lossPending.add(task)
    core.requeue(task, event, cost === 'none' ? WORKER_LEFT : 'WorkerLost')
  }
  // It left in good order: nothing of it is awaited.
  if (cost === 'none' && worker.lossPending.size === 0) core.forgetWorker(worker)
}
