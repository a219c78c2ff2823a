// The task table's state and its few primitive moves: into a queue, to a worker, into an
// outcome. Everything that happens (tasks.ts) is told in these; each keeps the counters of
// worker and batch true, and no other code changes them.

import type { ErrorKind, Outcome, TaskState } from '../../protocol/index.ts'
import type { Change, Closed, RanAs, Submission, Submitted } from '../records.ts'
import { DueHeap } from './due-heap.ts'
import { errorText } from './error-text.ts'
import type { ManagerConfig } from './manager-config.ts'
import { occupy } from './placement.ts'
import type { TaskEffect } from './task-events.ts'
import { TaskQueue } from './task-queue.ts'
import {
  type Batch,
  type CancelTicket,
  type HandOut,
  heldBytes,
  isClosed,
  isSent,
  NO_TICKETS,
  resultOf,
  type Task,
  type Worker,
} from './task-record.ts'
import { Room } from './worker-room.ts'

export class TaskCore {
  readonly config: ManagerConfig
  readonly prefix: string
  readonly tasks = new Map<number, Task>()
  readonly batches = new Map<string, Batch>()
  readonly keys = new Map<
    string,
    { readonly change: Submitted; left: number; durable: boolean }
  >()
  readonly workers = new Map<string, Worker>()
  /** The last task that repeats one, by sequence. */
  readonly retriedAs = new Map<number, number>()
  readonly room: Room
  /**
   * Workers for which time alone brings something: an abort to be said again, the end of a
   * pause, the end of waiting for one that is lost. Some may be in without need.
   */
  readonly restless = new Set<Worker>()
  readonly queue = new TaskQueue()
  readonly due = new DueHeap()
  nextSeq = 1
  /** How many workers there ever were. */
  workersSeen = 0
  /** Where placement stopped looking, if it did not get through. */
  resumeAt = 0
  /** Not closed, those whose outcome is being recorded included. */
  open = 0
  closedBytes = 0
  #effects: TaskEffect[] = []
  /** Closed tasks in the order of their closing, linked through `previous` and `next`. */
  #oldest: Task | undefined
  #newest: Task | undefined
  #closed = 0

  constructor(config: ManagerConfig, ledgerId: string) {
    this.config = config
    this.room = new Room(config)
    this.prefix = `${ledgerId}-`
  }

  get closed(): number {
    return this.#closed
  }

  find(id: string): Task | undefined {
    if (!id.startsWith(this.prefix)) return undefined
    return this.tasks.get(Number(id.slice(this.prefix.length)))
  }

  effect(effect: TaskEffect): void {
    this.#effects.push(effect)
  }

  takeEffects(): readonly TaskEffect[] {
    const effects = this.#effects
    if (effects.length > 0) this.#effects = []
    return effects
  }

  record(change: Change): void {
    this.effect({ kind: 'record', change })
  }

  /** The one place where a task's state changes, so that the counts stay true. */
  setState(task: Task, state: TaskState): void {
    const by = Number(state === 'running') - Number(task.state === 'running')
    task.batch.running += by
    if (task.worker !== undefined) task.worker.running += by
    task.state = state
    if (task.watched) this.effect({ kind: 'moved', task })
  }

  /** Takes it out of whatever place it has. */
  detach(task: Task): void {
    this.queue.remove(task)
    this.due.remove(task)
    const { worker } = task
    if (worker === undefined) return
    if (task.state === 'running') {
      worker.running -= 1
      task.batch.running -= 1
      task.state = 'accepted' // closing shows as running no more
    }
    worker.tasks.delete(task)
    occupy(worker, task.need, -1)
    // The last exclusive task that it was remembered for.
    if (worker.status === 'lost' && worker.tasks.size === 0) this.restless.add(worker)
    task.worker = undefined
    this.room.changed(worker)
  }

  enqueue(task: Task, where: 'front' | 'back'): void {
    this.detach(task)
    this.setState(task, 'queued')
    if (where === 'back') this.queue.push(task)
    else this.queue.pushFront(task)
  }

  /** Gives it a place at a worker; it leaves when that is durable. */
  assign(task: Task, worker: Worker, wallMs: number): void {
    this.detach(task)
    this.setState(task, 'queued')
    task.worker = worker
    task.resent = 0
    worker.tasks.add(task)
    occupy(worker, task.need, 1)
    this.room.changed(worker)
    const { seq, attempt } = task
    const { nodeId, bootId, hostName, address } = worker
    const change: Change = {
      kind: 'assigned',
      seq,
      attempt,
      nodeId,
      bootId,
      hostName,
      ...(address === undefined ? {} : { address }),
      atMs: wallMs,
    }
    task.change = change
    this.record(change)
  }

  /** Waits again, as a new attempt. */
  requeue(
    task: Task,
    at: { nowMs: number; wallMs: number },
    ended: string,
    delayMs = 0,
  ): void {
    this.endHandOut(task, ended, at.wallMs)
    this.detach(task)
    task.attempt += 1
    const { seq, attempt, failures, losses } = task
    const change: Change = {
      kind: 'requeued',
      seq,
      attempt,
      failures,
      losses,
      notBeforeMs: delayMs > 0 ? at.wallMs + delayMs : 0,
      ...ranOf(task),
    }
    task.change = change
    this.record(change)
    if (delayMs === 0) this.enqueue(task, 'front')
    else this.delay(task, at.nowMs, delayMs)
  }

  /** Waits, and only then in the queue; at its end. */
  delay(task: Task, nowMs: number, delayMs: number): void {
    if (delayMs <= 0) {
      this.enqueue(task, 'back')
      return
    }
    this.setState(task, 'queued')
    this.due.set(task, nowMs + delayMs, 'retry')
  }

  /** Decides its outcome; it is closed when that is durable. */
  close(
    task: Task,
    state: 'completed' | 'failed' | 'aborted',
    outcome: Outcome,
    wallMs: number,
  ): void {
    // Where it had succeeded was noted; another copy is of no use any more.
    const ended = outcome.kind === 'Error' ? errorText(outcome.error) : 'Aborted'
    this.endHandOut(task, ended, wallMs)
    this.detach(task)
    const { seq, attempt, failures, losses } = task
    const change: Change = {
      kind: 'closed',
      seq,
      attempt,
      state,
      outcome,
      failures,
      losses,
      endedMs: wallMs,
      ...ranOf(task),
    }
    task.closing = change
    task.change = change
    this.record(change)
  }

  /** Its present hand-out is over, for this reason; unless one was noted. */
  endHandOut(task: Task, ended: string, wallMs: number): void {
    const last = task.handOuts.at(-1)
    if (last?.attempt !== task.attempt || last.ended !== undefined) return
    last.ended = ended
    last.endedMs = wallMs
  }

  fail(task: Task, error: ErrorKind, wallMs: number): void {
    this.close(task, 'failed', { kind: 'Error', error }, wallMs)
  }

  /** Its outcome is durable. */
  finish(task: Task, nowMs: number): void {
    if (task.closing === undefined || isClosed(task)) return
    this.setState(task, task.closing.state)
    this.open -= 1
    task.batch.open -= 1
    if (task.state === 'failed') task.batch.failed += 1
    task.batch.log.push(task)
    this.#link(task, nowMs + this.config.keepClosedMs)
    this.closedBytes += heldBytes(task)
    this.effect({ kind: 'closed', task })
    task.copyAt?.outgoingAborts.push(task)
    task.copyAt = undefined
    for (const ticket of task.tickets) this.leave(ticket)
    task.tickets = NO_TICKETS
  }

  /** At a start: its outcome is on record; nobody is told of it again. */
  restoreClosed(
    task: Task,
    closed: Closed,
    { nowMs, wallMs }: { readonly nowMs: number; readonly wallMs: number },
  ): void {
    task.closing = closed
    task.state = closed.state
    task.heldBy = task.handOuts.at(-1)?.nodeId
    this.open -= 1
    task.batch.open -= 1
    if (task.state === 'failed') task.batch.failed += 1
    task.batch.log.push(task)
    // The wall clock may have been set since: never longer than from now.
    const { keepClosedMs } = this.config
    const leftMs = Math.min(closed.endedMs + keepClosedMs - wallMs, keepClosedMs)
    this.#link(task, nowMs + leftMs)
    this.closedBytes += heldBytes(task)
  }

  leave(ticket: CancelTicket): void {
    ticket.left -= 1
    if (ticket.left === 0) this.effect({ kind: 'cancelled', ticket })
  }

  /** One loss more; the last one closes it. Does the task live on? */
  lose(task: Task, wallMs: number): boolean {
    task.losses += 1
    if (task.losses < this.config.maxLosses) return true
    this.fail(task, { kind: 'WorkerLost' }, wallMs)
    return false
  }

  /** A copy at this worker has to end; sent until acknowledged. */
  abort(worker: Worker, task: Task, attempt: number, ticket?: CancelTicket): void {
    if (worker.status === 'lost') return
    const earlier = worker.aborting.get(task)?.tickets ?? NO_TICKETS
    if (ticket !== undefined) ticket.left += 1
    const tickets = ticket === undefined ? earlier : [...earlier, ticket]
    worker.aborting.set(task, { attempt, tickets })
  }

  /** The copy at this worker need not end any more. */
  spare(worker: Worker, task: Task): void {
    const abort = worker.aborting.get(task)
    if (abort === undefined) return
    worker.aborting.delete(task)
    for (const ticket of abort.tickets) this.leave(ticket)
  }

  /** Sends the aborts whose tasks are closed for good, or wait again. */
  flushAborts(worker: Worker): void {
    if (worker.status !== 'managing' || worker.outgoingAborts.length === 0) return
    const tasks = worker.outgoingAborts
    worker.outgoingAborts = []
    this.effect({ kind: 'abort', worker, tasks })
  }

  forgetWorker(worker: Worker): void {
    this.workers.delete(worker.nodeId)
    this.restless.delete(worker)
  }

  /** Nothing is left at this worker that could be stopped. */
  releaseAborts(worker: Worker): void {
    for (const { tickets } of worker.aborting.values())
      for (const ticket of tickets) this.leave(ticket)
    worker.aborting.clear()
    worker.outgoingAborts = []
  }

  /** When the oldest closed task is to be forgotten; Infinity: there is none. */
  get oldestUntilMs(): number {
    return this.#oldest?.dueMs ?? Number.POSITIVE_INFINITY
  }

  /** Forgets closed tasks beyond what is kept: the oldest of all, and what was read. */
  retire(nowMs: number, read?: Batch): void {
    const { keepClosed, keepClosedBytes, keepRead } = this.config
    const seqs: number[] = []
    const refs = new Map<string, string[]>()
    while (read !== undefined && read.read - read.dropped > keepRead) {
      const task = read.log[read.retired]
      if (task === undefined) break
      seqs.push(task.seq)
      this.#forget(task, refs)
    }
    while (
      this.#closed > keepClosed ||
      this.closedBytes > keepClosedBytes ||
      this.oldestUntilMs <= nowMs
    ) {
      const task = this.#oldest
      if (task === undefined) break
      seqs.push(task.seq)
      this.#forget(task, refs)
    }
    if (seqs.length > 0) this.effect({ kind: 'retire', seqs, refs })
  }

  /** A reader has what closed in the batch before `cursor`. */
  read(batch: Batch, cursor: number, nowMs: number): void {
    const end = batch.dropped + batch.log.length - batch.retired
    batch.read = Math.max(batch.read, Math.min(cursor, end))
    this.retire(nowMs, batch)
  }

  #link(task: Task, untilMs: number): void {
    task.dueMs = untilMs
    task.previous = this.#newest
    if (this.#newest === undefined) this.#oldest = task
    else this.#newest.next = task
    this.#newest = task
    this.#closed += 1
  }

  #unlink(task: Task): void {
    const { previous, next } = task
    if (previous === undefined) this.#oldest = next
    else previous.next = next
    if (next === undefined) this.#newest = previous
    else next.previous = previous
    task.previous = undefined
    task.next = undefined
    this.#closed -= 1
  }

  #forget(task: Task, refs: Map<string, string[]>): void {
    this.#unlink(task)
    this.tasks.delete(task.seq)
    this.retriedAs.delete(task.seq)
    this.closedBytes -= heldBytes(task)
    const result = resultOf(task)
    const nodeId = task.heldBy ?? ''
    for (const ref of [result?.stdout?.ref, result?.stderr?.ref])
      if (ref !== undefined) refs.set(nodeId, [...(refs.get(nodeId) ?? []), ref])
    this.#forgetFromBatch(task)
    const key = this.keys.get(task.submission.key)
    if (key === undefined) return
    key.left -= 1
    if (key.left > 0) return
    this.keys.delete(task.submission.key)
    const { submissions } = task.batch
    const index = submissions.indexOf(key.change) // nearly always the first
    if (index >= 0) submissions.splice(index, 1)
  }

  // The log of a batch is in the order of closing, as retirement is: the first goes.
  #forgetFromBatch(task: Task): void {
    const { batch } = task
    batch.log[batch.retired] = undefined
    batch.dropped += 1
    batch.retired += 1
    if (batch.retired > 256 && batch.retired * 2 > batch.log.length) {
      batch.log = batch.log.slice(batch.retired)
      batch.retired = 0
    }
    if (batch.open === 0 && batch.log.length === batch.retired)
      this.batches.delete(batch.label)
  }

  /** Its submission is durable: what it repeats knows it. */
  noteRetries({ first, retryOf = [] }: Submission): void {
    for (const [index, seq] of retryOf.entries())
      if (this.tasks.has(seq)) this.retriedAs.set(seq, first + index)
  }

  /** Is a copy of it, sent or maybe sent, at its worker? */
  hasCopy(task: Task): boolean {
    return task.worker !== undefined && isSent(task)
  }
}

/** What is known of its hand-outs and not on record: for the change that is made now. */
const ranOf = ({ handOuts }: Task): { readonly ran?: readonly RanAs[] } => {
  let ran: RanAs[] | undefined
  for (const handOut of handOuts) {
    if (handOut.isTold === true || handOut.ended === undefined) continue
    handOut.isTold = true
    const its = ranAs(handOut)
    if (ran === undefined) ran = [its]
    else ran.push(its)
  }
  return ran === undefined ? NOTHING_RAN : { ran }
}

const NOTHING_RAN = {}

// Field by field: this is once for every task, and spreading costs more than it seems.
const ranAs = ({ attempt, nodeId, ended, startedMs, endedMs, pid }: HandOut): RanAs => {
  const ran: { -readonly [K in keyof RanAs]: RanAs[K] } = { attempt, nodeId }
  if (ended !== undefined) ran.ended = ended
  if (startedMs !== undefined) ran.startedMs = startedMs
  if (endedMs !== undefined) ran.endedMs = endedMs
  if (pid !== undefined) ran.pid = pid
  return ran
}
