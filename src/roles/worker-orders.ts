// Worker orders: what the manager tells its worker to do and to stop. A task is judged by
// what it says and by what is known of it; an abort is answered when it is done.

import type { Assignment, RequestOf, Respond, TaskId } from '../../protocol/index.ts'
import { type Refusal, refusal } from '../machines/admission.ts'
import type { TaskEffect, TaskEvent } from '../machines/worker-task.ts'
import { ledgerOf } from '../machines/worker-task.ts'
import type { WorkerTasks } from '../machines/worker-tasks.ts'
import type { Clock, Jobs, Outbox, Peer } from '../ports.ts'
import type { WorkerConfig } from './worker-config.ts'
import type { WorkerLink } from './worker-link.ts'

export interface OrdersPorts {
  readonly clock: Clock
  readonly outbox: Outbox
  readonly jobs: Jobs
  readonly config: WorkerConfig
  readonly tasks: WorkerTasks
  readonly link: WorkerLink
  readonly perform: (effects: readonly TaskEffect[]) => void
  readonly isClosed: () => boolean
}

/** How long a full worker asks to be left alone. */
const BUSY_RETRY_MS = 200

export class WorkerOrders {
  readonly #ports: OrdersPorts
  /** Aborts that wait until the process groups of their tasks are gone. */
  readonly #aborts = new Map<TaskId, Set<() => void>>()

  constructor(ports: OrdersPorts) {
    this.#ports = ports
  }

  /** Takes tasks, one by one; answered when what was accepted is on record. */
  execute(
    { rel, epoch, boot, tasks }: RequestOf<'TasksExecute'>,
    respond: Respond<'TasksExecute'>,
    from: Peer,
  ): void {
    const isMine =
      this.#ports.link.isFromManager(from, rel) &&
      this.#ports.link.isCurrentEpoch(epoch) &&
      boot === this.#ports.config.bootId
    if (!isMine) {
      respond('NotMine', {})
      return
    }
    const refused: Refused[] = []
    const accepted: Assignment[] = []
    for (const task of tasks) {
      const refusal = this.#take(task)
      if (refusal === undefined) accepted.push(task)
      else refused.push(refusedAs(task.task_id, refusal))
    }
    this.#ports.outbox.sync((isDurable) => {
      if (this.#ports.isClosed()) return
      const nowMs = this.#ports.clock.now()
      // What cannot be recorded was not accepted: elsewhere there may be room. What was
      // here before, and runs or has ended, is: elsewhere it would run a second time.
      if (!isDurable) this.#apply({ kind: 'unpersisted', tasks: accepted })
      for (const task of accepted) {
        if (!this.#holds(task, isDurable))
          refused.push(refusedAs(task.task_id, { reason: 'busy' }))
      }
      if (refused.length === 0) respond('Ack', {})
      else respond('TasksRefused', { refused })
      if (isDurable) this.#apply({ kind: 'persisted', tasks: accepted, nowMs })
    })
  }

  /** Tells the state of tasks: of what is being recorded, when that has come to something. */
  status(
    { rel, tasks: asked }: RequestOf<'TasksPing'>,
    respond: Respond<'TasksPing'>,
    from: Peer,
  ): void {
    const { link, tasks, outbox } = this.#ports
    if (!link.isFromManager(from, rel)) {
      respond('NotMine', {})
      return
    }
    const tell = (): void =>
      respond('TasksPong', { tasks_status: asked.map((id) => [id, tasks.status(id)]) })
    if (asked.some((id) => tasks.isUnrecorded(id))) {
      outbox.sync(() => {
        if (!this.#ports.isClosed()) tell()
      })
    } else tell()
  }

  /**
   * Is that attempt here, though nothing could be recorded of it now? And if its record is
   * durable: it may have been here when it came a second time, and was given up since,
   * because the record of the first time failed.
   */
  #holds(task: Assignment, isDurable: boolean): boolean {
    const { tasks, clock } = this.#ports
    if (isDurable) return tasks.knows(task, clock.now())
    return tasks.get(task.task_id)?.task.attempt === task.attempt
  }

  /** Takes one task, or says why not. */
  #take(task: Assignment): Refusal | undefined {
    const { clock } = this.#ports
    if (ledgerOf(task.task_id) !== this.#ports.link.served) return { reason: 'invalid' }
    const nowMs = clock.now()
    // What is known already was admitted already.
    const isNew = this.#ports.tasks.get(task.task_id) === undefined
    const objection = isNew ? this.#objection(task) : undefined
    if (objection !== undefined) return objection
    const effects = this.#ports.tasks.apply({ kind: 'execute', task, nowMs })
    const [first] = effects
    if (first?.kind === 'refuse') return { reason: first.reason }
    this.#ports.perform(effects)
    return undefined
  }

  /** By what it is, and by what the owner of this machine lets run. */
  #objection(task: Assignment): Refusal | undefined {
    const { config, jobs } = this.#ports
    const byContent = refusal(task, config)
    if (byContent !== undefined || !config.isLimited) return byContent
    const message = jobs.objection(task.job_addr)
    return message === undefined ? undefined : { reason: 'forbidden', message }
  }

  /** Answers when every process group that was meant is gone. */
  abort(
    { rel, tasks }: RequestOf<'TasksAbord'>,
    respond: Respond<'TasksAbord'>,
    from: Peer,
  ): void {
    if (!this.#ports.link.isFromManager(from, rel)) {
      respond('NotMine', {})
      return
    }
    const nowMs = this.#ports.clock.now()
    let open = 1
    const gone = (): void => {
      open -= 1
      if (open === 0 && !this.#ports.isClosed()) respond('Ack', {})
    }
    for (const one of tasks) {
      const taskId = typeof one === 'string' ? one : one.task_id
      const attempt = typeof one === 'string' ? undefined : one.attempt
      this.#apply({ kind: 'abort', taskId, attempt, nowMs })
      const entry = this.#ports.tasks.get(taskId)
      if (entry?.kind !== 'ending' || entry.task.attempt > (attempt ?? Infinity)) continue
      const waiting = this.#aborts.get(taskId) ?? new Set()
      if (waiting.has(gone)) continue // named twice
      open += 1
      this.#aborts.set(taskId, waiting.add(gone))
    }
    gone()
  }

  /** A process group is gone, or a slot free. */
  gone(taskId: TaskId): void {
    const waiting = this.#aborts.get(taskId)
    if (waiting === undefined) return
    this.#aborts.delete(taskId)
    for (const gone of waiting) gone()
  }

  #apply(event: TaskEvent): void {
    this.#ports.perform(this.#ports.tasks.apply(event))
  }
}

interface Refused extends Refusal {
  readonly task_id: TaskId
  readonly retry_after_ms?: number
}

const refusedAs = (task_id: TaskId, { reason, message }: Refusal): Refused => ({
  task_id,
  reason,
  ...(reason === 'busy' && { retry_after_ms: BUSY_RETRY_MS }),
  ...(message !== undefined && { message: message.slice(0, 255) }),
})
