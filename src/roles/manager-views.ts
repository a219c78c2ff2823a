// What clients see of tasks and nodes: the table's records in the words of the protocol.

import type {
  AttemptRecord,
  NodeInfo,
  TaskDone,
  TaskSummary,
} from '../../protocol/index.ts'
import { errorText } from '../machines/error-text.ts'
import type { ManagerConfig } from '../machines/manager-config.ts'
import { explainWorker } from '../machines/placement.ts'
import {
  type Batch,
  errorOf,
  type HandOut,
  inlineBytes,
  isClosed,
  resultOf,
  type Task,
  type Worker,
} from '../machines/task-record.ts'
import type { TaskTable } from '../machines/tasks.ts'

/** An answer's worth of data, so that control never stands long behind it. */
export const PAGE_BYTES = 64 * 1024

/** The hand-out that a task's record is about: the one that brought the outcome, or the last. */
const telling = (task: Task): HandOut | undefined =>
  task.heldBy !== undefined && isClosed(task)
    ? task.handOuts.findLast(({ nodeId }) => nodeId === task.heldBy)
    : task.worker === undefined && !isClosed(task)
      ? undefined
      : task.handOuts.at(-1)

/** Where a task is, or ended; undefined: nowhere. */
export const hostOf = (task: Task): string | undefined => telling(task)?.hostName

export const summaryOf = (
  task: Task,
  table: Pick<TaskTable, 'retriesOf'>,
): TaskSummary => {
  const { id, state, shownAttempt: attempt, submission, request, batch } = task
  const handOut = telling(task)
  const error = isClosed(task) ? errorOf(task) : undefined
  const result = isClosed(task) ? resultOf(task) : undefined
  return {
    task_id: id,
    state,
    attempt,
    submitted_ms: submission.atMs,
    command: commandOf(task),
    batch: batch.label,
    ...(request.name !== undefined && { name: request.name }),
    ...(handOut !== undefined && { host_name: handOut.hostName }),
    ...(handOut?.startedMs !== undefined && { started_ms: handOut.startedMs }),
    ...(isClosed(task) && { ended_ms: task.closing?.endedMs ?? 0 }),
    ...(result !== undefined && { run_ms: result.run_ms }),
    ...(result?.exit_code !== undefined && { exit_code: result.exit_code }),
    ...(error !== undefined && { error }),
    ...table.retriesOf(task),
  }
}

/** The program and its arguments, as a person reads them; cut at the field's limit. */
const commandOf = ({ request }: Task): string => {
  let command = request.job_addr.replace(/^exec:/, '')
  for (const argument of request.arguments) {
    if (command.length > 512) break
    command += ` ${argument}`
  }
  return command.slice(0, 512)
}

export const doneOf = (task: Task): TaskDone => {
  const handOut = telling(task)
  const error = errorOf(task)
  const result = resultOf(task)
  return {
    task_id: task.id,
    state: task.state,
    attempt: task.attempt,
    submitted_ms: task.submission.atMs,
    ended_ms: task.closing?.endedMs ?? 0,
    ...(handOut !== undefined && { host_name: handOut.hostName }),
    ...(handOut?.startedMs !== undefined && { started_ms: handOut.startedMs }),
    ...(error !== undefined && { error }),
    ...(result !== undefined && { result }),
  }
}

/** About how much a TaskDone takes on the wire. */
export const doneBytes = (task: Task): number => 400 + inlineBytes(task)

/** A page of closed tasks: at most 1,000, and at most 64 KiB unless one alone is larger. */
export const donePage = (tasks: Iterable<Task>): TaskDone[] => {
  const done: TaskDone[] = []
  let bytes = 0
  for (const task of tasks) {
    bytes += doneBytes(task)
    if (done.length > 0 && (bytes > PAGE_BYTES || done.length >= 1000)) break
    done.push(doneOf(task))
  }
  return done
}

/** The batch's log from a cursor on; what was forgotten is skipped. */
export function* logFrom(batch: Batch, cursor: number): Generator<Task> {
  const from = Math.max(0, cursor - batch.dropped) + batch.retired
  for (let i = from; i < batch.log.length; i++) {
    const task = batch.log[i]
    if (task !== undefined) yield task
  }
}

export const attemptsOf = (task: Task): AttemptRecord[] =>
  task.handOuts.map(
    ({ attempt, hostName, nodeId, sentMs, startedMs, endedMs, ended, pid }) => ({
      attempt,
      host_name: hostName,
      node_id: nodeId,
      sent_ms: sentMs,
      ...(startedMs !== undefined && { started_ms: startedMs }),
      ...(endedMs !== undefined && { ended_ms: endedMs }),
      ...(ended !== undefined && { ended: ended.slice(0, 255) }),
      ...(pid !== undefined && { pid }),
    }),
  )

const statesOfWorkers = { managing: 'managed', suspect: 'suspect', lost: 'lost' } as const

/** A worker as NodesList says it. `sinceWallMs`: since when it is in that state. */
export const nodeOf = (worker: Worker, sinceWallMs: number): NodeInfo => ({
  node_id: worker.nodeId,
  boot_id: worker.bootId,
  host_name: worker.hostName,
  role: 'worker',
  state: statesOfWorkers[worker.status],
  since_ms: sinceWallMs,
  cores: worker.cores,
  memory: worker.memory,
  free_slots: Math.max(0, worker.cores - worker.usedCores),
  running: worker.running,
  queued: worker.tasks.size - worker.running,
  done: worker.done,
  failed: worker.failed,
  labels: worker.labels,
  ...(worker.kinds !== undefined && { kinds: [...worker.kinds] }),
})

export interface Explanation {
  readonly summary: string
  readonly nodes: { host_name: string; candidate: boolean; reason: string }[]
}

/** By what a task's place is explained. */
export interface Explaining {
  readonly table: Pick<TaskTable, 'workers' | 'keptFrom'>
  readonly config: ManagerConfig
  readonly nowMs: number
  /** Workers that are connected, and not to be managed by this manager. */
  readonly declining: readonly { readonly hostName: string; readonly declines: string }[]
}

export const explain = (
  task: Task,
  { table, config, nowMs, declining }: Explaining,
): Explanation => {
  if (isClosed(task)) return { summary: howItEnded(task), nodes: [] }
  const { worker } = task
  if (task.closing !== undefined)
    return { summary: 'its outcome is being recorded', nodes: [] }
  if (worker !== undefined) return { summary: whereIt(task, worker), nodes: [] }
  const nodes = []
  const kept = table.keptFrom(task)
  let candidates = 0
  for (const one of table.workers()) {
    if (one.status === 'lost' || nodes.length >= 1000) continue
    const its = explainWorker(task.need, one, task.excluded, config, nowMs)
    if (its.candidate) candidates += 1
    const isKept = its.candidate && kept.has(one)
    const reason = isKept ? 'is kept free for a larger task' : its.reason
    nodes.push({ host_name: one.hostName, ...its, reason: reason.slice(0, 255) })
  }
  for (const { hostName: host_name, declines } of declining) {
    if (nodes.length >= 1000) break
    const reason = `declines: ${declines}`.slice(0, 255)
    nodes.push({ host_name, candidate: false, reason })
  }
  return { summary: whyWaits(task, nodes.length, candidates, nowMs), nodes }
}

const howItEnded = (task: Task): string => {
  const handOut = telling(task)
  const where = handOut === undefined ? '' : ` on ${handOut.hostName}`
  const error = errorOf(task)
  if (error === undefined) return `it succeeded${where}`
  if (error.kind === 'Aborted')
    return error.reason === undefined
      ? `it was cancelled${where}`
      : `it was cancelled${where}: ${error.reason}`
  return `it failed${where}: ${errorText(error)}`
}

/** A task at a worker that is lost is exclusive: any other is taken back. */
const ABSENCES = {
  managing: '',
  suspect: '; its connection is lost, it may come back',
  lost: '; that worker is lost: being exclusive, it runs again only when the worker has started anew, or as a retry once it was cancelled',
} as const

const whereIt = (task: Task, { hostName, status }: Worker): string => {
  const lost = ABSENCES[status]
  if (task.state === 'running') return `it runs on ${hostName}${lost}`
  if (task.state === 'accepted') return `it waits at ${hostName} for a free slot${lost}`
  return `it is on its way to ${hostName}${lost}`
}

const whyWaits = (
  task: Task,
  workers: number,
  candidates: number,
  nowMs: number,
): string => {
  if (task.dueFor === 'retry')
    return `attempt ${task.attempt} begins in ${Math.max(0, Math.ceil((task.dueMs - nowMs) / 1000))} s, after ${task.failures} failed`
  if (task.change?.kind === 'submitted') return 'it is being recorded'
  if (workers === 0) return 'no worker is connected'
  if (candidates === 0) return 'no worker can run it'
  return `it waits for room; ${candidates} of ${workers} workers can run it`
}
