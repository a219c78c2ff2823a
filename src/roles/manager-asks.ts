// What a manager asks of its workers about tasks: TasksExecute, TasksAbord, TasksPing. Each
// answer, or its absence, goes back to the table as an event.

import type { AnswerOf, Assignment, Kind, RequestOf } from '../../protocol/index.ts'
import { TASKS_PER_MESSAGE } from '../../protocol/index.ts'
import type { Task, Worker } from '../machines/task-record.ts'
import type { Settle } from '../ports.ts'
import { assignmentBytes, assignmentOf } from './manager-assignments.ts'
import type { Kernel } from './manager-kernel.ts'

/** Asks in the worker's relationship as it is now; says nothing if there is none. */
export type AskWorker = <K extends Kind>(
  worker: Worker,
  kind: K,
  body: RequestOf<K>,
  timeoutMs: number,
  settle: Settle<K>,
) => void

const MAX_EXECUTE_BYTES = 64 * 1024
const none: readonly never[] = []

export class WorkerAsks {
  readonly #kernel: Kernel
  readonly #ask: AskWorker

  constructor(kernel: Kernel, ask: AskWorker) {
    this.#kernel = kernel
    this.#ask = ask
  }

  /** TasksExecute, in messages of at most 256 tasks and 64 KiB (or one task alone). */
  execute(worker: Worker, tasks: readonly Task[]): void {
    let sent: Assignment[] = []
    let bytes = 0
    for (const task of tasks) {
      const assignment = assignmentOf(task)
      const size = assignmentBytes(assignment)
      const isFull = sent.length >= TASKS_PER_MESSAGE || bytes + size > MAX_EXECUTE_BYTES
      if (sent.length > 0 && isFull) {
        this.#execute(worker, sent)
        sent = []
        bytes = 0
      }
      sent.push(assignment)
      bytes += size
    }
    if (sent.length > 0) this.#execute(worker, sent)
  }

  /** TasksAbord. Its Ack comes when the process groups are gone: the largest grace, and 5 s. */
  abort(worker: Worker, tasks: readonly Task[]): void {
    const { rel } = worker
    const listed = tasks.slice(0, 1000).flatMap((task) => {
      const abort = worker.aborting.get(task)
      return abort === undefined ? [] : [{ task_id: task.id, attempt: abort.attempt }]
    })
    if (tasks.length > 1000) this.abort(worker, tasks.slice(1000))
    if (listed.length === 0) return
    const { killGraceMs } = this.#kernel.config
    const graces = tasks.map(({ request }) => request.kill_grace_ms ?? killGraceMs)
    const timeoutMs = graces.reduce((a, b) => Math.max(a, b), 0) + 5_000
    this.#ask(worker, 'TasksAbord', { rel, tasks: listed }, timeoutMs, (outcome) => {
      if (outcome._tag === 'Right' && outcome.right.kind === 'Ack')
        return this.#kernel.run({ kind: 'abort-acked', worker, tasks: listed })
      const { nowMs } = this.#kernel.at()
      this.#kernel.run({ kind: 'abort-unanswered', worker, nowMs })
    })
  }

  /** TasksPing. */
  askStatus(worker: Worker, tasks: readonly Task[]): void {
    const { rel } = worker
    const ids = tasks.slice(0, 1000).map(({ id }) => id)
    if (tasks.length > 1000) this.askStatus(worker, tasks.slice(1000))
    const { askMs } = this.#kernel.config
    this.#ask(worker, 'TasksPing', { rel, tasks: ids }, askMs, (outcome) => {
      if (outcome._tag === 'Right' && outcome.right.kind === 'TasksPong') {
        const statuses = outcome.right.body.tasks_status
        return this.#kernel.run({
          kind: 'statuses',
          worker,
          statuses,
          ...this.#kernel.at(),
        })
      }
      const again = (): void =>
        this.#kernel.run({ kind: 'unanswered', worker, sent: tasks.map(assignmentOf) })
      // Silent while the socket lives: asked again, for what still has no word at all.
      if (outcome._tag === 'Left' && outcome.left.kind === 'timeout') again()
      // An Error says no more than silence does, but may come at once.
      if (outcome._tag === 'Right' && outcome.right.kind === 'Error')
        this.#kernel.deps.clock.after(askMs, again)
    })
  }

  #execute(worker: Worker, sent: readonly Assignment[]): void {
    const { deps, config } = this.#kernel
    const { rel, bootId } = worker
    const body = { rel, epoch: deps.ledger.epoch, boot: bootId, tasks: [...sent] }
    this.#ask(worker, 'TasksExecute', body, config.askMs, (outcome) => {
      if (outcome._tag === 'Right') return this.#onExecuted(worker, sent, outcome.right)
      // Disconnected: it may be there; the inventory will tell.
      const { kind } = outcome.left
      if (kind === 'timeout' || kind === 'protocol')
        this.#kernel.run({ kind: 'unanswered', worker, sent })
    })
  }

  #onExecuted(
    worker: Worker,
    sent: readonly Assignment[],
    answer: AnswerOf<'TasksExecute'>,
  ): void {
    const { run, at } = this.#kernel
    switch (answer.kind) {
      case 'Ack':
        run({ kind: 'accepted', worker, sent, refused: none, ...at() })
        return
      case 'TasksRefused': {
        const { refused } = answer.body
        run({ kind: 'accepted', worker, sent, refused, ...at() })
        return
      }
      case 'NotMine':
        return // the relationship has heard it
      case 'Error':
        this.#onExecuteError(worker, sent, answer.body)
        return
    }
  }

  #onExecuteError(
    worker: Worker,
    sent: readonly Assignment[],
    {
      code,
      path,
      retry_after_ms,
    }: { code: string; path?: string; retry_after_ms?: number },
  ): void {
    const { run, at, deps } = this.#kernel
    if (code === 'deadline' || code === 'internal') {
      run({ kind: 'unanswered', worker, sent })
      return
    }
    if (code !== 'malformed') {
      run({
        kind: 'rejected',
        worker,
        sent,
        retryAfterMs: retry_after_ms,
        ...at(),
      })
      return
    }
    deps.log.error('execute-malformed', { worker: worker.hostName, path })
    // One bad task must not take the others with it: each goes again on its own.
    const [only] = sent
    if (only === undefined) return
    if (sent.length > 1) {
      for (const one of sent) this.#execute(worker, [one])
      return
    }
    const refused = [{ task_id: only.task_id, reason: 'invalid' as const }]
    run({ kind: 'accepted', worker, sent, refused, ...at() })
  }
}
