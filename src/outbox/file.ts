// File outbox: what a worker must not forget when it dies, in a journal in its own folder.
//
// What was accepted and not started is good only as long as the machine stays up: a power
// cut may have taken the record of its start, and no attempt is ever started twice. Its
// manager hears that it is gone, and gives it out again under the next number. Outcomes
// are good for ever: one that was acknowledged already is told once more, and ignored.

import { join } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { Assignment, TaskId } from '../../protocol/index.ts'
import type { Clock, Log, Outbox, Undelivered } from '../ports.ts'
import { ForeignJournalError, Journal } from './journal.ts'

export interface FileOutboxOptions {
  /** The worker's own folder, which nobody else writes to. */
  readonly directory: string
  readonly machineBoot: string
  readonly clock: Clock
  readonly log: Log
}

/** Opens it; a file that it cannot read is named, with the remedy. Throws what the system says of a disk. */
export const openFileOutbox = ({
  directory,
  ...options
}: FileOutboxOptions): Either<string, Outbox> => {
  const path = join(directory, 'outbox')
  try {
    return E.right(outboxOf(Journal.open({ ...options, path })))
  } catch (error) {
    if (error instanceof ForeignJournalError) return E.left(error.message)
    throw error
  }
}

const outboxOf = ({
  journal,
  values,
  isSameBoot,
}: ReturnType<typeof Journal.open>): Outbox => {
  return {
    load: () => {
      const pending: Assignment[] = []
      const outcomes: Undelivered[] = []
      for (const [name, value] of values) {
        // What this file itself has put there, whole by its checksum.
        if (name.startsWith(OUTCOME)) outcomes.push(value as Undelivered)
        else if (isSameBoot) pending.push(value as Assignment)
        else journal.remove(name)
      }
      return { pending, outcomes }
    },
    putPending: (task) => journal.put(pendingOf(task.task_id), task),
    removePending: (taskId) => journal.remove(pendingOf(taskId)),
    putOutcome: ({ task, outcome }) =>
      journal.put(outcomeOf(task.task_id), { task, outcome }),
    removeOutcome: (taskId) => journal.remove(outcomeOf(taskId)),
    sync: (done) => journal.sync(done),
    close: () => journal.close(),
  }
}

const OUTCOME = 'o'
const outcomeOf = (taskId: TaskId): string => OUTCOME + taskId
const pendingOf = (taskId: TaskId): string => `p${taskId}`
