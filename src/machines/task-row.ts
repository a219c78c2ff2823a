// A task's row in the table. There may be a million of them: each field is eight bytes, and
// what can be had from others is not kept, as the id is not.

import type { TaskRequest, TaskState } from '../../protocol/index.ts'
import type { Change, Closed, Submission } from '../records.ts'
import { type Need, needOf } from './placement.ts'
import type { Shape } from './task-queue.ts'
import {
  type Batch,
  type CancelTicket,
  type HandOut,
  NO_TICKETS,
  type Task,
  type Worker,
} from './task-record.ts'

const NO_HAND_OUTS: readonly HandOut[] = []

/** A task that has no place yet. */
export class TaskRow implements Task {
  readonly seq: number
  readonly request: TaskRequest
  readonly submission: Submission
  readonly batch: Batch
  readonly need: Need
  state: TaskState = 'queued'
  attempt = 1
  shownAttempt = 1
  failures = 0
  losses = 0
  worker: Worker | undefined = undefined
  change: Change | undefined = undefined
  closing: Closed | undefined = undefined
  handOuts = NO_HAND_OUTS
  heldBy: string | undefined = undefined
  copyAt: Worker | undefined = undefined
  excluded: ReadonlyMap<string, string> | undefined = undefined
  resent = 0
  watched = false
  tickets: readonly CancelTicket[] = NO_TICKETS
  shape: Shape | undefined = undefined
  previous: Task | undefined = undefined
  next: Task | undefined = undefined
  dueMs = 0
  heapIndex = -1
  dueFor: Task['dueFor'] = 'nothing'
  suspendedMs = 0

  constructor(seq: number, request: TaskRequest, submission: Submission, batch: Batch) {
    this.seq = seq
    this.request = request
    this.submission = submission
    this.batch = batch
    this.need = needOf(request)
  }

  get id(): string {
    return this.batch.prefix + this.seq
  }
}
