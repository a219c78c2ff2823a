// Ending: how a worker gets rid of a task otherwise than by its own exit: aborted by the
// manager, acknowledged, lost with the lease, forgotten with its ledger, given back. What
// runs is ended by the ladder and leaves at its real exit; a tombstone or a fence keeps an
// attempt that is over from coming again.

import type { Entry, EventOf, TaskEffect } from './worker-task.ts'
import { none } from './worker-task.ts'
import type { WorkerTaskCore } from './worker-task-core.ts'
import { endRun } from './worker-task-running.ts'

export const onAbort = (
  core: WorkerTaskCore,
  { taskId, attempt, nowMs }: EventOf<'abort'>,
): readonly TaskEffect[] => {
  const entry = core.get(taskId)
  if (entry === undefined) {
    // A fence: that attempt may still be on its way. A bare id knows of none to fence.
    if (attempt !== undefined) core.tombstones.put(taskId, attempt, true, nowMs)
    return none
  }
  const upTo = attempt ?? Number.MAX_SAFE_INTEGER
  if (entry.kind === 'ending' && entry.next !== undefined) {
    if (entry.next.attempt > upTo) return none // a later one: not meant
    core.tombstones.put(taskId, entry.next.attempt, true, nowMs)
    core.set(taskId, { ...entry, next: undefined })
    return [
      { kind: 'unpend', taskId },
      { kind: 'dropped', taskId },
    ]
  }
  if (entry.task.attempt > upTo) return none // a later one: not meant
  return abortEntry(core, entry, nowMs)
}

const abortEntry = (
  core: WorkerTaskCore,
  entry: Entry,
  nowMs: number,
): readonly TaskEffect[] => {
  const { task } = entry
  const { task_id: taskId } = task
  switch (entry.kind) {
    case 'pending':
      core.bury(task, { isFence: true, nowMs })
      return core.pump(nowMs, [
        { kind: 'unpend', taskId },
        { kind: 'dropped', taskId },
      ])
    case 'preparing':
      core.bury(task, { isFence: true, nowMs })
      return core.pump(nowMs, [
        { kind: 'unpend', taskId },
        { kind: 'gone', taskId, run: entry.run, isSilent: true },
      ])
    case 'running': {
      const cause = { kind: 'Aborted', reason: 'asked by the manager' } as const
      return endRun(core, entry, { cause, isSilent: true, nowMs })
    }
    case 'ending': // the ladder runs already; from here on nobody wants to hear of it
      core.set(taskId, { ...entry, isSilent: true })
      return none
    case 'finished':
      core.bury(task, { isFence: true, nowMs })
      return [{ kind: 'discard', taskId, isDelivered: false }]
  }
}

export const onAcked = (
  core: WorkerTaskCore,
  { taskId, attempt, isDrop, nowMs }: EventOf<'acked'>,
): readonly TaskEffect[] => {
  const entry = core.get(taskId)
  if (entry?.kind !== 'finished' || entry.task.attempt !== attempt) return none // another attempt's
  // Asked for again after a drop, it is refused: there is nothing here that could come of it.
  core.bury(entry.task, { isFence: isDrop, nowMs })
  return [{ kind: 'discard', taskId, isDelivered: true }]
}

/** The lease is over: nothing is started, and what asked for it is killed. */
export const onOrphan = (
  core: WorkerTaskCore,
  { ledgerId, nowMs }: EventOf<'orphan'>,
): readonly TaskEffect[] => {
  core.leaseUntilMs = Number.NEGATIVE_INFINITY
  return core.each(ledgerId, (entry) => orphan(core, entry, nowMs))
}

const orphan = (
  core: WorkerTaskCore,
  entry: Entry,
  nowMs: number,
): readonly TaskEffect[] => {
  if (entry.task.on_orphan !== 'kill' || entry.kind !== 'running') return none
  const { task_id: taskId } = entry.task
  const cause = { kind: 'Aborted', reason: 'the manager was lost' } as const
  endRun(core, entry, { cause, isSilent: false, nowMs })
  return [{ kind: 'signal', taskId, run: entry.run, signal: 'SIGKILL' }]
}

export const onForget = (
  core: WorkerTaskCore,
  { ledgerId, nowMs }: EventOf<'forget'>,
): readonly TaskEffect[] => {
  core.leaseUntilMs = Number.NEGATIVE_INFINITY
  return core.each(ledgerId, (entry) => [
    ...unstart(core, entry),
    ...forgetStarted(core, entry, nowMs),
  ])
}

const forgetStarted = (
  core: WorkerTaskCore,
  entry: Entry,
  nowMs: number,
): readonly TaskEffect[] => {
  const { kind } = entry
  if (kind === 'pending' || kind === 'preparing') return none // unstarted above
  if (kind === 'ending') {
    core.set(entry.task.task_id, { ...entry, isSilent: true, next: undefined })
    return none
  }
  return abortEntry(core, entry, nowMs)
}

/** Another manager may be served: what was not started goes, outcomes are kept. */
export const onRelease = (
  core: WorkerTaskCore,
  { ledgerId }: EventOf<'release'>,
): readonly TaskEffect[] => {
  core.leaseUntilMs = Number.NEGATIVE_INFINITY
  return core.each(ledgerId, (entry) =>
    entry.task.exclusive === true ? giveBack(core, entry) : unstart(core, entry),
  )
}

/** Its manager waits for a word of it, whoever is served meanwhile. */
const giveBack = (core: WorkerTaskCore, entry: Entry): readonly TaskEffect[] => {
  if (entry.kind !== 'pending' && entry.kind !== 'preparing') return unstart(core, entry)
  const { task } = entry
  const over = unstart(core, entry)
  const error = {
    kind: 'Aborted',
    reason: 'its worker lost the manager before it started',
  } as const
  const outcome = { kind: 'Error', error } as const
  core.set(task.task_id, { kind: 'finished', task, outcome })
  return [...over, { kind: 'outcome', task, outcome }]
}

/** Forgets what was not started; no tombstone: it may come again. */
const unstart = (core: WorkerTaskCore, entry: Entry): readonly TaskEffect[] => {
  const { task_id: taskId } = entry.task
  if (entry.kind === 'pending' || entry.kind === 'preparing') {
    core.remove(taskId)
    const over: TaskEffect =
      entry.kind === 'pending'
        ? { kind: 'dropped', taskId }
        : { kind: 'gone', taskId, run: entry.run, isSilent: true }
    return [{ kind: 'unpend', taskId }, over]
  }
  if (entry.kind !== 'ending' || entry.next === undefined) return none
  core.set(taskId, { ...entry, next: undefined })
  return [
    { kind: 'unpend', taskId },
    { kind: 'dropped', taskId },
  ]
}

/** A draining worker's grace is over: what runs is ended and reported, the rest goes back. */
export const onEndAll = (
  core: WorkerTaskCore,
  { nowMs }: EventOf<'end-all'>,
): readonly TaskEffect[] => core.each(undefined, (entry) => endAll(core, entry, nowMs))

const endAll = (
  core: WorkerTaskCore,
  entry: Entry,
  nowMs: number,
): readonly TaskEffect[] => {
  if (entry.kind !== 'running') return unstart(core, entry)
  const cause = { kind: 'Aborted', reason: 'the worker is leaving' } as const
  return endRun(core, entry, { cause, isSilent: false, nowMs })
}
