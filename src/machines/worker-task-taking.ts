// Taking: what a worker does with a task that a manager gives it: accepts, refuses or
// adopts it, by what it has of that task already; and what its record, written or not,
// makes of it. No (task, attempt) is ever started twice.

import type { Assignment, TaskId } from '../../protocol/index.ts'
import { isSameContent } from './admission.ts'
import type { Entry, EntryOf, EventOf, TaskEffect } from './worker-task.ts'
import { isUnrecorded, none } from './worker-task.ts'
import type { WorkerTaskCore } from './worker-task-core.ts'

/** Judges a task by what is known of it. The first effect tells a refusal. */
export const onExecute = (
  core: WorkerTaskCore,
  { task, nowMs }: EventOf<'execute'>,
): readonly TaskEffect[] => {
  const taskId = task.task_id
  const stone = core.tombstones.get(taskId, nowMs)
  if (stone !== undefined && stone.attempt >= task.attempt) {
    const isSame = stone.attempt === task.attempt && !stone.isFence
    return isSame ? none : refuse(taskId, 'stale-attempt')
  }
  const entry = core.get(taskId)
  if (entry === undefined) return accept(core, task)
  const known = entry.kind === 'ending' && entry.next ? entry.next : entry.task
  if (known.attempt > task.attempt) return refuse(taskId, 'stale-attempt')
  if (!isSameContent(known, task)) return refuse(taskId, 'conflict')
  if (known.attempt === task.attempt) return again(entry)
  return adopt(core, entry, task)
}

/** A task that is not known, or whose earlier attempt left nothing. */
const accept = (core: WorkerTaskCore, task: Assignment): readonly TaskEffect[] => {
  if (core.isDraining) return refuse(task.task_id, 'draining')
  if (core.isFull) return refuse(task.task_id, 'busy')
  core.set(task.task_id, { kind: 'pending', task, isReady: false })
  return [{ kind: 'pend', task }]
}

/** The same attempt once more: never a second start. */
const again = (entry: Entry): readonly TaskEffect[] => {
  const { task_id: taskId } = entry.task
  if (entry.kind === 'finished') return [{ kind: 'resend', taskId }]
  if (entry.kind === 'ending' && entry.isSilent && entry.next === undefined) {
    return refuse(taskId, 'stale-attempt') // aborted: that attempt is over
  }
  return startedReport(entry)
}

/** A higher attempt of what is here: one copy, under the new number. */
const adopt = (
  core: WorkerTaskCore,
  entry: Entry,
  task: Assignment,
): readonly TaskEffect[] => {
  const { task_id: taskId } = task
  switch (entry.kind) {
    case 'pending': // recorded under its new number before it is acknowledged, or started
      core.set(taskId, { ...entry, task, isReady: false })
      return [{ kind: 'pend', task }]
    case 'preparing': // not recorded: it must not look pending once it is started
      core.set(taskId, { ...entry, task })
      return none
    case 'running': {
      const adopted = { ...entry, task }
      core.set(taskId, adopted)
      return startedReport(adopted)
    }
    case 'ending':
      if (core.isDraining) return refuse(taskId, 'draining')
      if (entry.next === undefined && core.isFull) return refuse(taskId, 'busy')
      core.set(taskId, { ...entry, isSilent: true, next: task, isNextReady: false })
      return [{ kind: 'pend', task }]
    case 'finished':
      return adoptFinished(core, entry, task)
  }
}

/** A success is told again under the new number; after a failure the task starts anew. */
const adoptFinished = (
  core: WorkerTaskCore,
  entry: EntryOf<'finished'>,
  task: Assignment,
): readonly TaskEffect[] => {
  const { outcome } = entry
  const { task_id: taskId } = task
  if (outcome.kind === 'Completed') {
    core.set(taskId, { ...entry, task })
    return [{ kind: 'outcome', task, outcome }]
  }
  if (core.isDraining) return refuse(taskId, 'draining')
  core.remove(taskId)
  const accepted = accept(core, task)
  if (accepted[0]?.kind === 'refuse') {
    core.set(taskId, entry)
    return accepted
  }
  return [{ kind: 'discard', taskId, isDelivered: false }, ...accepted]
}

/** Accepted tasks are on record: from now on they wait for a slot. */
export const onPersisted = (
  core: WorkerTaskCore,
  { tasks, nowMs }: EventOf<'persisted'>,
): readonly TaskEffect[] => {
  for (const task of tasks) {
    const entry = core.get(task.task_id)
    if (entry?.kind === 'ending' && entry.next?.attempt === task.attempt) {
      core.set(task.task_id, { ...entry, isNextReady: true })
    }
    if (entry?.kind !== 'pending' || entry.isReady) continue
    if (entry.task.attempt === task.attempt) core.enqueue(entry.task)
  }
  return core.pump(nowMs, [])
}

export const onUnpersisted = (
  core: WorkerTaskCore,
  { tasks }: EventOf<'unpersisted'>,
): readonly TaskEffect[] => tasks.flatMap((task) => unpersisted(core, task))

/** Its record could not be written: it was never accepted, unless it came before and was. */
const unpersisted = (
  core: WorkerTaskCore,
  { task_id: taskId, attempt }: Assignment,
): readonly TaskEffect[] => {
  const entry = core.get(taskId)
  if (entry === undefined || !isUnrecorded(entry)) return none
  if (entry.kind === 'ending' && entry.next?.attempt === attempt) {
    core.set(taskId, { ...entry, next: undefined })
    return [{ kind: 'unpend', taskId }]
  }
  if (entry.kind !== 'pending' || entry.task.attempt !== attempt) return none
  core.remove(taskId)
  return [{ kind: 'unpend', taskId }]
}

/** Says (again) that a task runs: its manager may not know, or not under this number. */
const startedReport = (entry: Entry): readonly TaskEffect[] => {
  if (entry.kind !== 'running' || entry.startedAtMs === undefined) return none
  const { task, startedAtMs: atMs, pid } = entry
  const { task_id: taskId, attempt } = task
  return [{ kind: 'report-started', taskId, attempt, atMs, pid }]
}

const refuse = (
  taskId: TaskId,
  reason: (TaskEffect & { kind: 'refuse' })['reason'],
): readonly TaskEffect[] => [{ kind: 'refuse', taskId, reason }]
