// Memory outbox: keeps what it is given for as long as it lives. For tests, and for workers
// that need not outlive themselves; everything is as durable at once as it will ever be.

import type { Assignment, TaskId } from '../../protocol/index.ts'
import type { Outbox, Undelivered } from '../ports.ts'

/** An outbox in memory. Given to a second worker, it plays the disk that survives the first. */
export const memoryOutbox = (): Outbox => {
  const pending = new Map<TaskId, Assignment>()
  const outcomes = new Map<TaskId, Undelivered>()
  return {
    load: () => ({ pending: [...pending.values()], outcomes: [...outcomes.values()] }),
    putPending: (task) => void pending.set(task.task_id, task),
    removePending: (taskId) => void pending.delete(taskId),
    putOutcome: (undelivered) => void outcomes.set(undelivered.task.task_id, undelivered),
    removeOutcome: (taskId) => void outcomes.delete(taskId),
    sync: (done) => done(true),
    close: () => Promise.resolve(),
  }
}
