// Running: one run of a task, from its free slot to its exit. The lease is looked at before
// each start; what runs over its time is ended by the ladder TERM, grace, KILL; the exit
// makes the outcome. Events of an earlier run mean nothing.

import type { TaskId } from '../../protocol/index.ts'
import type { Cause, EntryOf, EventOf, TaskEffect } from './worker-task.ts'
import { none, outcomeOf } from './worker-task.ts'
import type { WorkerTaskCore } from './worker-task-core.ts'

/** Longer waits are cut in pieces: no clock takes more. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

export const onPrepared = (
  core: WorkerTaskCore,
  { taskId, run, nowMs }: EventOf<'prepared'>,
): readonly TaskEffect[] => {
  const entry = core.ofRun(taskId, run)
  if (entry?.kind !== 'preparing') return none // aborted meanwhile
  if (!core.mayStart(nowMs)) return backToPending(core, entry, nowMs)
  return [{ kind: 'start', task: entry.task, run }]
}

/** The lease ended while the program was fetched: kept, not started. */
const backToPending = (
  core: WorkerTaskCore,
  entry: EntryOf<'preparing'>,
  nowMs: number,
): readonly TaskEffect[] => {
  const { task, run } = entry
  core.enqueue(task)
  const { task_id: taskId } = task
  const gone: TaskEffect = { kind: 'gone', taskId, run, isSilent: true }
  return core.pump(nowMs, [gone, { kind: 'pend', task }])
}

export const onUnprepared = (
  core: WorkerTaskCore,
  event: EventOf<'unprepared'>,
): readonly TaskEffect[] => {
  const { taskId, run, error, nowMs } = event
  const entry = core.ofRun(taskId, run)
  if (entry?.kind !== 'preparing') return none // aborted meanwhile
  const outcome = { kind: 'Error', error } as const
  core.set(taskId, { kind: 'finished', task: entry.task, outcome })
  return core.pump(nowMs, [
    { kind: 'gone', taskId, run, isSilent: true },
    { kind: 'outcome', task: entry.task, outcome },
  ])
}

export const onGo = (
  core: WorkerTaskCore,
  { taskId, run, nowMs }: EventOf<'go'>,
): readonly TaskEffect[] => {
  const entry = core.ofRun(taskId, run)
  if (entry?.kind !== 'preparing') return none // aborted meanwhile
  if (!core.mayStart(nowMs)) return backToPending(core, entry, nowMs)
  const { task } = entry
  core.set(taskId, {
    kind: 'running',
    task,
    run,
    startedAtMs: undefined,
    pid: undefined,
    limitAtMs: undefined,
  })
  return [{ kind: 'spawn', task, run }]
}

export const onStarted = (
  core: WorkerTaskCore,
  { taskId, run, nowMs, atMs, pid }: EventOf<'started'>,
): readonly TaskEffect[] => {
  const entry = core.ofRun(taskId, run)
  if (entry?.kind === 'ending') core.set(taskId, { ...entry, startedAtMs: atMs })
  if (entry?.kind !== 'running') return none // ended before the system said so
  const { attempt, timeout_ms: timeoutMs } = entry.task
  const limitAtMs = timeoutMs === 0 ? undefined : nowMs + timeoutMs
  core.set(taskId, { ...entry, startedAtMs: atMs, pid, limitAtMs })
  const report: TaskEffect = { kind: 'report-started', taskId, attempt, atMs, pid }
  if (limitAtMs === undefined) return [report]
  const afterMs = Math.min(timeoutMs, LONGEST_TIMER_MS)
  return [report, { kind: 'timer', taskId, run, afterMs }]
}

export const onExited = (
  core: WorkerTaskCore,
  { taskId, run, nowMs, end, result }: EventOf<'exited'>,
): readonly TaskEffect[] => {
  const entry = core.ofRun(taskId, run)
  if (entry?.kind !== 'running' && entry?.kind !== 'ending') return none // told twice
  if (entry.kind === 'ending' && entry.isSilent) return silentExit(core, entry, nowMs)
  const { task } = entry
  const outcome =
    entry.kind === 'running'
      ? outcomeOf(end, result)
      : ({ kind: 'Error', error: entry.cause, result } as const)
  core.set(taskId, { kind: 'finished', task, outcome })
  return core.pump(nowMs, [
    { kind: 'gone', taskId, run, isSilent: false },
    { kind: 'outcome', task, outcome },
  ])
}

const silentExit = (
  core: WorkerTaskCore,
  entry: EntryOf<'ending'>,
  nowMs: number,
): readonly TaskEffect[] => {
  const { run, next, task } = entry
  const { task_id: taskId } = task
  if (next === undefined) core.bury(task, { isFence: true, nowMs })
  else if (entry.isNextReady) core.enqueue(next)
  else core.set(taskId, { kind: 'pending', task: next, isReady: false })
  return core.pump(nowMs, [{ kind: 'gone', taskId, run, isSilent: true }])
}

export const onTimer = (
  core: WorkerTaskCore,
  { taskId, run, nowMs }: EventOf<'timer'>,
): readonly TaskEffect[] => {
  const entry = core.ofRun(taskId, run)
  if (entry?.kind === 'running' && entry.limitAtMs !== undefined) {
    if (nowMs >= entry.limitAtMs) {
      return endRun(core, entry, { cause: { kind: 'TimedOut' }, isSilent: false, nowMs })
    }
    return [timerAt(taskId, run, entry.limitAtMs, nowMs)]
  }
  if (entry?.kind !== 'ending') return none // it ended by itself meanwhile
  if (nowMs < entry.killAtMs) return [timerAt(taskId, run, entry.killAtMs, nowMs)]
  return [{ kind: 'signal', taskId, run, signal: 'SIGKILL' }]
}

interface Ending {
  readonly cause: Cause
  /** Nobody wants to hear of it. */
  readonly isSilent: boolean
  readonly nowMs: number
}

/** TERM now, KILL after the task's grace. */
export const endRun = (
  core: WorkerTaskCore,
  entry: EntryOf<'running'>,
  { cause, isSilent, nowMs }: Ending,
): readonly TaskEffect[] => {
  const { task, run, startedAtMs } = entry
  const { task_id: taskId } = task
  const killAtMs = nowMs + (task.kill_grace_ms ?? core.limits.killGraceMs)
  core.set(taskId, {
    kind: 'ending',
    task,
    run,
    startedAtMs,
    cause,
    isSilent,
    killAtMs,
    next: undefined,
    isNextReady: false,
  })
  return [
    { kind: 'signal', taskId, run, signal: 'SIGTERM' },
    timerAt(taskId, run, killAtMs, nowMs),
  ]
}

const timerAt = (
  taskId: TaskId,
  run: number,
  atMs: number,
  nowMs: number,
): TaskEffect => ({
  kind: 'timer',
  taskId,
  run,
  afterMs: Math.min(Math.max(0, atMs - nowMs), LONGEST_TIMER_MS),
})
