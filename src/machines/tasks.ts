// Tasks, the manager's side: the table of all tasks, from submission to outcome.
//
//   arriving -> queued -> sent -> accepted -> running -> completed | failed | aborted
//
// | event                  | in              | does
// | submitted is durable   | arriving        | queued
// | place                  | queued          | assigned; sent when that is durable
// | acknowledged / refused | sent            | accepted / by reason queued or failed
// | rejected (busy)        | sent            | queued, the worker left alone for a while
// | unanswered             | sent            | stays; asked for (TasksPing), or the inventory tells
// | started                | sent, accepted  | running, with a deadline if it has a time limit
// | completed, any attempt | open            | closed; other copies are aborted
// | error, current attempt | open            | own failure: again after a back-off, or failed
// | error, old attempt     | open            | ignored
// | deadline               | running         | asked for; still running or silent: aborted, TimedOut
// | status Unknown         | at that worker  | as not in the inventory
// | worker lost, reborn    | at that worker  | queued as a new attempt; the third loss fails it;
//                                              exclusive: only when it was reborn
// | cancel                 | open            | aborted; copies are stopped
// | too many failed        | open, its batch | as cancelled
// | anything               | closed          | acknowledged, ignored
//
// Durable before visible: a move makes a change (`record`); what may be seen of it happens
// when the change comes back as `durable` and is still the task's last one.

import type { TaskSummary } from '../../protocol/index.ts'
import type { Forgotten, Submission } from '../records.ts'
import type { ManagerConfig } from './manager-config.ts'
import { occupy } from './placement.ts'
import { TaskCore } from './task-core.ts'
import type { TaskEffect, TaskEvent } from './task-events.ts'
import { onCompleted, onError, onStarted } from './task-outcomes.ts'
import { onTick, place } from './task-placing.ts'
import { type Batch, handOutOf, type Task, type Worker } from './task-record.ts'
import { onAccepted, onRejected, onStatuses } from './task-sending.ts'
import {
  newTask,
  onCancel,
  onDurable,
  onNotStored,
  onSubmit,
  rememberKey,
  stopFailed,
} from './task-submitting.ts'
import {
  onBornElsewhere,
  onLost,
  onReconcile,
  onSettle,
  onSuspect,
  restoredWorker,
} from './task-workers.ts'

/** A worker that did not acknowledge an abort is told again after this. */
const ABORT_AGAIN_MS = 2_000

export class TaskTable {
  readonly #core: TaskCore

  /** `firstSeq`: the first sequence that the ledger has not given out. */
  constructor(config: ManagerConfig, ledgerId: string, firstSeq = 1) {
    this.#core = new TaskCore(config, ledgerId)
    this.#core.nextSeq = firstSeq
  }

  apply(event: TaskEvent): readonly TaskEffect[] {
    this.#on(event)
    return this.#core.takeEffects()
  }

  #on(event: TaskEvent): void {
    const core = this.#core
    switch (event.kind) {
      case 'restored':
        restore(core, event)
        return
      case 'began':
        for (const batch of core.batches.values()) stopFailed(core, batch, event)
        return
      case 'submit':
        onSubmit(core, event)
        return
      case 'durable':
        onDurable(core, event)
        return
      case 'not-stored':
        onNotStored(core, event.change)
        return
      case 'place':
        place(core, event)
        return
      case 'tick':
        onTick(core, event)
        return
      case 'reconcile':
        onReconcile(core, event)
        return
      case 'settle':
        onSettle(core, event)
        return
      case 'suspect':
        onSuspect(core, event.worker, event.nowMs)
        return
      case 'reborn':
        onBornElsewhere(core, event)
        return
      case 'lost':
        onLost(core, event)
        return
      case 'accepted':
        onAccepted(core, event)
        return
      case 'rejected':
        onRejected(core, event)
        return
      case 'unanswered':
        onUnanswered(core, event)
        return
      case 'statuses':
        onStatuses(core, event)
        return
      case 'started':
        onStarted(core, event)
        return
      case 'completed':
        onCompleted(core, event)
        return
      case 'error':
        onError(core, event)
        return
      case 'read':
        core.read(event.batch, event.cursor, event.nowMs)
        return
      case 'cancel':
        onCancel(core, event)
        return
      case 'abort-acked':
        onAbortAcked(core, event)
        return
      case 'abort-unanswered':
        event.worker.abortAgainAtMs = event.nowMs + ABORT_AGAIN_MS
        core.restless.add(event.worker)
        return
    }
  }

  /** Something waits that placement has not looked at yet. */
  get wantsPlacing(): boolean {
    return this.#core.resumeAt > 0
  }

  find(id: string): Task | undefined {
    return this.#core.find(id)
  }

  at(seq: number): Task | undefined {
    return this.#core.tasks.get(seq)
  }

  /** What a task repeats, and what repeats it: the fields of its summary. */
  retriesOf({ seq, submission }: Task): Pick<TaskSummary, 'retry_of' | 'retried_as'> {
    const { prefix, retriedAs } = this.#core
    const from = submission.retryOf?.[seq - submission.first]
    const by = retriedAs.get(seq)
    return {
      ...(from !== undefined && { retry_of: prefix + from }),
      ...(by !== undefined && { retried_as: prefix + by }),
    }
  }

  /** Is a submission with this key known? */
  hasKey(key: string): boolean {
    return this.#core.keys.has(key)
  }

  /** The submission with this key, if one of its tasks is known. */
  submission(key: string): Submission | undefined {
    return this.#core.keys.get(key)?.change.submission
  }

  batch(label: string): Batch | undefined {
    return this.#core.batches.get(label)
  }

  worker(nodeId: string): Worker | undefined {
    return this.#core.workers.get(nodeId)
  }

  workers(): IterableIterator<Worker> {
    return this.#core.workers.values()
  }

  tasks(): IterableIterator<Task> {
    return this.#core.tasks.values()
  }

  batches(): IterableIterator<Batch> {
    return this.#core.batches.values()
  }

  /** The first sequence not given out. */
  get nextSeq(): number {
    return this.#core.nextSeq
  }

  /** Workers that are kept free for other tasks than this one. */
  keptFrom(task: Task): ReadonlySet<Worker> {
    const kept = new Set<Worker>()
    for (const shape of this.#core.queue.shapes())
      if (shape.reserved !== undefined && shape !== task.shape) kept.add(shape.reserved)
    return kept
  }

  /** No task below it is known any more. */
  get oldestSeq(): number {
    for (const seq of this.#core.tasks.keys()) return seq // in order of submission
    return this.#core.nextSeq
  }

  /** The sequence in an id of this ledger; undefined: it is of another one. */
  seqOf(id: string): number | undefined {
    const { prefix } = this.#core
    return id.startsWith(prefix) ? Number(id.slice(prefix.length)) : undefined
  }

  /** Not closed yet. */
  get open(): number {
    return this.#core.open
  }

  get counts(): {
    readonly open: number
    readonly queued: number
    readonly running: number
    readonly closed: number
  } {
    const { open, queue, closed, workers } = this.#core
    let running = 0
    for (const worker of workers.values()) running += worker.running
    return { open, queued: queue.size, running, closed }
  }

  /** When `tick` next has something to do; Infinity: never. */
  nextDueMs(nowMs: number): number {
    const core = this.#core
    const { oldestUntilMs } = core
    let due = Math.min(core.due.first?.dueMs ?? oldestUntilMs, oldestUntilMs)
    for (const worker of core.restless) {
      if (worker.aborting.size > 0 && worker.status === 'managing')
        due = Math.min(due, worker.abortAgainAtMs)
      if (worker.busyUntilMs > nowMs && core.queue.size > 0)
        due = Math.min(due, worker.busyUntilMs)
      if (worker.status === 'lost')
        due = Math.min(due, worker.lostAtMs + 10 * core.config.managerLeaseMs)
    }
    return due
  }
}

const onUnanswered = (
  core: TaskCore,
  { worker, sent }: Extract<TaskEvent, { kind: 'unanswered' }>,
): void => {
  const tasks = sent
    .map(({ task_id }) => core.find(task_id))
    .filter((task) => task?.worker === worker && task.state === 'sent')
    .filter((task) => task !== undefined)
  if (tasks.length > 0 && worker.status === 'managing')
    core.effect({ kind: 'ask', worker, tasks })
}

const onAbortAcked = (
  core: TaskCore,
  { worker, tasks }: Extract<TaskEvent, { kind: 'abort-acked' }>,
): void => {
  for (const { task_id, attempt } of tasks) {
    // By its number: of each the id would be made anew, and the task may be forgotten.
    const seq = Number(task_id.slice(core.prefix.length))
    for (const [task, abort] of worker.aborting) {
      if (task.seq !== seq || abort.attempt > attempt) continue
      worker.aborting.delete(task)
      for (const ticket of abort.tickets) core.leave(ticket)
      break
    }
  }
}

const NOTHING: Forgotten = { closed: 0, failed: 0 }

/** At a start: what the ledger says, before any worker is back. */
const restore = (
  core: TaskCore,
  event: Extract<TaskEvent, { kind: 'restored' }>,
): void => {
  const { task: recorded, nowMs, wallMs, forgotten = NOTHING } = event
  const { submission, seq, assigned } = recorded
  core.nextSeq = Math.max(core.nextSeq, submission.first + submission.tasks.length)
  const isFirst = !core.batches.has(submission.batch)
  rememberKey(core, submission)
  const task = newTask(core, submission, seq, recorded.request)
  task.attempt = recorded.attempt
  task.shownAttempt = recorded.attempt
  task.failures = recorded.failures
  task.losses = recorded.losses
  task.handOuts = assigned.map(handOutOf)
  if (isFirst) {
    task.batch.dropped = forgotten.closed
    task.batch.failed = forgotten.failed
  }
  if (recorded.closed !== undefined) {
    core.restoreClosed(task, recorded.closed, event)
    return
  }
  const last = assigned.at(-1)
  if (last === undefined || last.attempt < task.attempt) {
    const { retryMaxMs } = core.config
    // The wall clock may have been set meanwhile: never longer than a back-off can be.
    core.delay(task, nowMs, Math.min(recorded.notBeforeMs - wallMs, retryMaxMs))
    return
  }
  const worker = restoredWorker(core, last, nowMs)
  task.worker = worker
  worker.tasks.add(task)
  occupy(worker, task.need, 1)
  core.room.changed(worker)
  core.setState(task, 'sent')
}
