// Worker delivery: brings outcomes to the manager whose ledger they belong to. Each is
// recorded before it is sent and leaves only when the table of tasks says so. What fails
// is sent again after the next accepted ManagerRequest, or after 1 s doubling to 30 s.

import type {
  AnswerOf,
  Assignment,
  LedgerId,
  NodeId,
  Outcome,
  Rel,
  TaskId,
} from '../../protocol/index.ts'
import { Fifo } from '../machines/fifo.ts'
import { ledgerOf } from '../machines/worker-task.ts'
import type { Ask, Cancel, Clock, Log, Outbox, Undelivered } from '../ports.ts'

/** Where outcomes of a ledger go now. */
export interface Target {
  readonly nodeId: NodeId
  readonly rel: Rel
}

export interface DeliveryPorts {
  readonly clock: Clock
  readonly ask: Ask
  readonly outbox: Outbox
  readonly log: Log
  /** The manager that serves that ledger, if we are its worker now. */
  readonly target: (ledgerId: LedgerId) => Target | undefined
  readonly acked: (taskId: TaskId, attempt: number) => void
  readonly notMine: (rel: Rel) => void
  /** An outcome is recorded that no manager of ours will take. */
  readonly foreign: (ledgerId: LedgerId) => void
}

/** How long an answer is waited for. */
const ANSWER_MS = 10_000
const RETRY_MS = { first: 1000, most: 30_000 }
/** Outcomes on their way at once: half of what a peer takes, so that the rest gets through. */
const WINDOW = 512

interface Parcel extends Undelivered {
  state: 'recording' | 'waiting' | 'ready' | 'sent' | 'parked'
  tries: number
  retry: Cancel | undefined
}

type Answer = AnswerOf<'TaskCompleted'> | AnswerOf<'TaskError'>

export class WorkerDelivery {
  readonly #ports: DeliveryPorts
  readonly #parcels = new Map<TaskId, Parcel>()
  /** To be sent, in order. May hold parcels that are ready no longer. */
  readonly #ready = new Fifo<Parcel>()
  #open = 0
  #isClosed = false

  constructor(ports: DeliveryPorts) {
    this.#ports = ports
  }

  /** Nothing is left that could be delivered. */
  get isEmpty(): boolean {
    for (const { state } of this.#parcels.values()) if (state !== 'parked') return false
    return true
  }

  /** Outcomes that were refused as malformed: our own bug, to be shown. */
  get parked(): number {
    let count = 0
    for (const { state } of this.#parcels.values()) if (state === 'parked') count += 1
    return count
  }

  /** The recorded outcomes of a ledger. */
  outcomesOf(ledgerId: LedgerId): readonly Undelivered[] {
    return [...this.#parcels.values()].filter(
      ({ task, state }) =>
        ledgerOf(task.task_id) === ledgerId &&
        state !== 'recording' &&
        state !== 'parked',
    )
  }

  /** Takes an outcome: records it, then sends it. */
  put(task: Assignment, outcome: Outcome): void {
    this.#forget(task.task_id)
    const parcel: Parcel = {
      task,
      outcome,
      state: 'recording',
      tries: 0,
      retry: undefined,
    }
    this.#parcels.set(task.task_id, parcel)
    this.#ports.outbox.putOutcome({ task, outcome })
    this.#record(parcel)
  }

  /** Takes what an earlier life left; it is recorded already. */
  restore({ task, outcome }: Undelivered): void {
    const parcel: Parcel = { task, outcome, state: 'waiting', tries: 0, retry: undefined }
    this.#parcels.set(task.task_id, parcel)
  }

  #record(parcel: Parcel): void {
    this.#ports.outbox.sync((isDurable) => {
      if (!this.#isCurrent(parcel)) return // dropped meanwhile
      if (isDurable) {
        this.#makeReady(parcel)
        this.#pump()
        return
      }
      this.#ports.log.error('outcome-not-recorded', { task: parcel.task.task_id })
      this.#retryLater(parcel, () => {
        const { task, outcome } = parcel
        this.#ports.outbox.putOutcome({ task, outcome })
        this.#record(parcel)
      })
    })
  }

  resend(taskId: TaskId): void {
    const parcel = this.#parcels.get(taskId)
    if (parcel === undefined) return
    if (parcel.state === 'waiting') this.#makeReady(parcel)
    this.#pump()
  }

  discard(taskId: TaskId): void {
    if (this.#forget(taskId)) this.#ports.outbox.removeOutcome(taskId)
  }

  #forget(taskId: TaskId): boolean {
    const parcel = this.#parcels.get(taskId)
    if (parcel === undefined) return false
    parcel.retry?.()
    return this.#parcels.delete(taskId)
  }

  /** A manager of that ledger has accepted us: everything goes (again). */
  flush(ledgerId: LedgerId): void {
    for (const parcel of this.#parcels.values()) {
      const isOurs = ledgerOf(parcel.task.task_id) === ledgerId
      if (isOurs && parcel.state === 'waiting') this.#makeReady(parcel)
    }
    this.#pump()
  }

  close(): void {
    this.#isClosed = true
    for (const { retry } of this.#parcels.values()) retry?.()
  }

  #isCurrent(parcel: Parcel): boolean {
    return !this.#isClosed && this.#parcels.get(parcel.task.task_id) === parcel
  }

  #makeReady(parcel: Parcel): void {
    parcel.retry?.()
    parcel.retry = undefined
    parcel.state = 'ready'
    this.#ready.push(parcel)
  }

  #pump(): void {
    while (this.#open < WINDOW) {
      const parcel = this.#ready.first
      if (parcel === undefined) return
      this.#ready.shift()
      if (parcel.state === 'ready' && this.#isCurrent(parcel)) this.#sendOrWait(parcel)
    }
  }

  #sendOrWait(parcel: Parcel): void {
    const ledgerId = ledgerOf(parcel.task.task_id)
    const target = this.#ports.target(ledgerId)
    if (target !== undefined) {
      this.#send(parcel, target)
      return
    }
    parcel.state = 'waiting' // until a manager of its ledger accepts us
    this.#ports.foreign(ledgerId)
  }

  #send(parcel: Parcel, { nodeId, rel }: Target): void {
    const { task, outcome } = parcel
    const { task_id, attempt } = task
    parcel.state = 'sent'
    this.#open += 1
    if (outcome.kind === 'Completed') {
      const body = { rel, task_id, attempt, result: outcome.result }
      this.#ports.ask(nodeId, 'TaskCompleted', body, ANSWER_MS, (answer) =>
        this.#settled(parcel, rel, answer._tag === 'Right' ? answer.right : undefined),
      )
      return
    }
    const { error, result } = outcome
    const body = { rel, task_id, attempt, error, ...(result && { result }) }
    this.#ports.ask(nodeId, 'TaskError', body, ANSWER_MS, (answer) =>
      this.#settled(parcel, rel, answer._tag === 'Right' ? answer.right : undefined),
    )
  }

  #settled(parcel: Parcel, rel: Rel, answer: Answer | undefined): void {
    this.#open -= 1
    if (this.#isCurrent(parcel)) this.#judge(parcel, rel, answer)
    this.#pump()
  }

  #judge(parcel: Parcel, rel: Rel, answer: Answer | undefined): void {
    const { task_id: taskId, attempt } = parcel.task
    switch (answer?.kind) {
      case 'Ack':
        this.#ports.acked(taskId, attempt)
        return
      case 'NotMine':
        // A new relationship flushes it, unless that has begun already: so it waits for both.
        this.#sendLater(parcel)
        this.#ports.notMine(rel)
        return
      case 'Error':
        if (answer.body.code === 'malformed') {
          // Never again: three of them would cost the connection.
          parcel.state = 'parked'
          const { path } = answer.body
          this.#ports.log.error('outcome-malformed', { task: taskId, attempt, path })
          return
        }
    }
    this.#sendLater(parcel)
  }

  #sendLater(parcel: Parcel): void {
    this.#retryLater(parcel, () => {
      this.#makeReady(parcel)
      this.#pump()
    })
  }

  #retryLater(parcel: Parcel, again: () => void): void {
    const afterMs = Math.min(RETRY_MS.first * 2 ** parcel.tries, RETRY_MS.most)
    parcel.tries = Math.min(parcel.tries + 1, 16)
    parcel.state = parcel.state === 'recording' ? 'recording' : 'waiting'
    parcel.retry = this.#ports.clock.after(afterMs, again)
  }
}
