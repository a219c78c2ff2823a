// A worker's table of tasks that may start work, and a short way to feed it.

import type { Assignment } from '../../protocol/index.ts'
import type { TaskEffect } from '../../src/machines/worker-task.ts'
import type { TaskLimits } from '../../src/machines/worker-task-core.ts'
import { WorkerTasks } from '../../src/machines/worker-tasks.ts'

export const LEDGER = 'aaaaaaaaaa'
export const id = (n: number) => `${LEDGER}-${n}`
export const job = (n: number, more: Partial<Assignment> = {}): Assignment => ({
  task_id: id(n),
  attempt: 1,
  job_addr: 'exec:x',
  arguments: [],
  timeout_ms: 0,
  ...more,
})
export const limits = {
  cores: 1,
  memoryBytes: 100,
  resources: { gpu: 1 },
  pending: 3,
  finished: 10,
  killGraceMs: 5000,
}
export const result = { run_ms: 1, exit_code: 0 }

/** One core by default. */
export const table = (more: Partial<TaskLimits> = {}) => {
  const tasks = new WorkerTasks({ ...limits, ...more })
  tasks.apply({ kind: 'lease', untilMs: 1e9, nowMs: 0 })
  const execute = (task: Assignment, nowMs = 0): readonly TaskEffect[] => [
    ...tasks.apply({ kind: 'execute', task, nowMs }),
    ...tasks.apply({ kind: 'persisted', tasks: [task], nowMs }),
  ]
  const of = (kind: 'prepared' | 'go' | 'timer', n: number, run: number, nowMs = 0) =>
    tasks.apply({ kind, taskId: id(n), run, nowMs })
  const started = (n: number, run: number, nowMs = 0) =>
    tasks.apply({ kind: 'started', taskId: id(n), run, nowMs, atMs: 77, pid: 5 })
  const exited = (n: number, run: number, end: object = { exitCode: 0 }) =>
    tasks.apply({ kind: 'exited', taskId: id(n), run, nowMs: 0, end, result })
  /** Executes task n, and brings it to running as that run. */
  const running = (n: number, run: number, more: Partial<Assignment> = {}) => {
    execute(job(n, more))
    of('prepared', n, run)
    of('go', n, run)
    started(n, run)
  }
  const abort = (n: number, attempt?: number) =>
    tasks.apply({ kind: 'abort', taskId: id(n), attempt, nowMs: 0 })
  const acked = (n: number, attempt = 1) =>
    tasks.apply({ kind: 'acked', taskId: id(n), attempt, isDrop: false, nowMs: 0 })
  const kind = (n: number) => tasks.get(id(n))?.kind
  return { tasks, execute, of, started, exited, running, abort, acked, kind }
}
export const kinds = (effects: readonly TaskEffect[]) => effects.map(({ kind }) => kind)
export const reasons = (effects: readonly TaskEffect[]) =>
  effects.flatMap((one) => (one.kind === 'refuse' ? [one.reason] : []))
