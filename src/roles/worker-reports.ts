// Worker reports: tells the manager that a task was started. Told once; again only if the
// manager could not take it, or was not there, and the task still runs. Outcomes go by worker-delivery.ts.

import type { AnswerOf, LedgerId, Rel, TaskId } from '../../protocol/index.ts'
import type { Entry, TaskEffect } from '../machines/worker-task.ts'
import { ledgerOf } from '../machines/worker-task.ts'
import type { Log, Mesh } from '../ports.ts'
import type { WorkerLink } from './worker-link.ts'
import type { WorkerTimers } from './worker-timers.ts'

export interface ReportsPorts {
  readonly mesh: Mesh
  readonly log: Log
  readonly link: WorkerLink
  readonly timers: WorkerTimers
  readonly entry: (taskId: TaskId) => Entry | undefined
  readonly isClosed: () => boolean
}

type Started = TaskEffect & { readonly kind: 'report-started' }

/** How long an answer is waited for. */
const ANSWER_MS = 10_000
const AGAIN_MS = 1000

export class WorkerReports {
  readonly #ports: ReportsPorts
  /** Of what started when there was no manager to tell; at most one for each task. */
  readonly #untold = new Map<TaskId, Started>()

  constructor(ports: ReportsPorts) {
    this.#ports = ports
  }

  started(report: Started): void {
    const { taskId, attempt, atMs, pid } = report
    const target = this.#ports.link.target(ledgerOf(taskId))
    if (target === undefined) {
      // An inventory will tell it, but not the one that may be on its way.
      this.#untold.set(taskId, report)
      return
    }
    const { nodeId, rel } = target
    const body = {
      rel,
      task_id: taskId,
      attempt,
      at_ms: atMs,
      ...(pid !== undefined && { pid }),
    }
    this.#ports.mesh.ask(nodeId, 'TaskStarted', body, ANSWER_MS, (outcome) =>
      this.#answered(report, rel, outcome._tag === 'Right' ? outcome.right : undefined),
    )
  }

  /** A manager has taken this worker: tells what it may not have heard of. */
  flush(ledgerId: LedgerId): void {
    for (const [taskId, report] of [...this.#untold]) {
      if (ledgerOf(taskId) !== ledgerId) continue
      this.#untold.delete(taskId)
      this.#again(report)
    }
  }

  #answered(
    report: Started,
    rel: Rel,
    answer: AnswerOf<'TaskStarted'> | undefined,
  ): void {
    const { link, log, isClosed } = this.#ports
    if (answer?.kind === 'Ack' || isClosed()) return
    if (answer?.kind === 'NotMine') {
      link.dispatch({ kind: 'not-mine', rel })
      return
    }
    if (answer?.kind === 'Error' && answer.body.code === 'malformed') {
      log.error('started-malformed', { task: report.taskId })
      return
    }
    this.#ports.timers.after(AGAIN_MS, () => this.#again(report))
  }

  #again(report: Started): void {
    const entry = this.#ports.entry(report.taskId)
    if (entry?.kind === 'running' && entry.task.attempt === report.attempt) {
      this.started(report)
    }
  }
}
