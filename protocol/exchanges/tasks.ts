// Tasks: what a manager says to its worker about work, and what the worker tells of it.
// (Source: the manager/worker protocol's Tasks*, Task* messages.)

import * as t from 'io-ts'
import { exchange } from '../exchange.ts'
import {
  Attempt,
  BootId,
  Bytes,
  fields,
  List,
  Milliseconds,
  OpenWord,
  Pid,
  Rel,
  TaskId,
  Text,
  Uint,
} from '../scalars.ts'
import {
  Assignment,
  BlobRef,
  DATA_BYTES,
  ErrorKind,
  TASKS_PER_MESSAGE,
  TaskAttempt,
  TaskResult,
  TaskStatus,
} from '../task.ts'

/**
 * A stretch of output. `lost`: bytes before `offset + data` that a cap dropped; `eof`:
 * nothing follows; `attempt`: which one wrote it, said to clients.
 */
export const OutputData = fields(
  {
    offset: Uint,
    data: Bytes(DATA_BYTES),
    eof: t.boolean,
    lost: Uint,
  },
  { attempt: Attempt },
)
export type OutputData = t.TypeOf<typeof OutputData>

/**
 * Why a worker refuses a task. busy, draining: elsewhere, costs nothing. unsupported-kind,
 * specs, forbidden: this worker is no candidate for it. invalid, conflict: the task fails.
 * stale-attempt: the worker knows a later attempt. A reason of a newer worker is read as
 * busy: it costs the task nothing, and the worker is asked again after `retry_after_ms`.
 */
export const RefusalReason = OpenWord(
  'RefusalReason',
  [
    'busy',
    'draining',
    'unsupported-kind',
    'specs',
    'forbidden',
    'invalid',
    'conflict',
    'stale-attempt',
  ],
  'busy',
)
export type RefusalReason = t.TypeOf<typeof RefusalReason>

const Ack = fields({})
const NotMine = fields({})

export const tasks = {
  TasksExecute: exchange({
    direction: 'manager -> worker',
    about: 'Assigns tasks. Those not listed in TasksRefused are accepted.',
    request: fields({
      rel: Rel,
      epoch: Uint,
      /** The worker's boot that it is meant for: a rebooted worker answers NotMine. */
      boot: BootId,
      tasks: List(Assignment, TASKS_PER_MESSAGE),
    }),
    answers: {
      Ack,
      /** Decided (the seed's TODO): a reason for each refused task, the rest is accepted. */
      TasksRefused: fields({
        refused: List(
          fields(
            { task_id: TaskId, reason: RefusalReason },
            /** For people: what exactly is refused. */
            { retry_after_ms: Milliseconds, message: Text(255) },
          ),
          TASKS_PER_MESSAGE,
        ),
      }),
      NotMine,
    },
  }),
  TasksPing: exchange({
    direction: 'manager -> worker',
    about: 'Asks the state of tasks; the answer has one entry for each.',
    request: fields({ rel: Rel, tasks: List(TaskId, 1000) }),
    answers: {
      TasksPong: fields({ tasks_status: List(t.tuple([TaskId, TaskStatus]), 1000) }),
      NotMine,
    },
  }),
  // The seed's spelling, kept on the wire.
  TasksAbord: exchange({
    direction: 'manager -> worker',
    about:
      'Stops tasks up to the given attempt. The Ack comes when their process groups are gone.',
    priority: true,
    waits: true,
    request: fields({
      rel: Rel,
      /** A bare TaskId means every attempt so far. */
      tasks: List(t.union([TaskAttempt, TaskId]), 1000),
    }),
    answers: { Ack, NotMine },
  }),
  TaskStarted: exchange({
    direction: 'worker -> manager',
    about: 'The task was started. Decided (datetime type): Unix milliseconds.',
    request: fields(
      { rel: Rel, task_id: TaskId, attempt: Attempt, at_ms: Milliseconds },
      { pid: Pid },
    ),
    answers: { Ack, NotMine },
  }),
  TaskError: exchange({
    direction: 'worker -> manager',
    about: 'The task did not succeed; with the output that there was.',
    request: fields(
      { rel: Rel, task_id: TaskId, attempt: Attempt, error: ErrorKind },
      { result: TaskResult },
    ),
    answers: { Ack, NotMine },
  }),
  TaskCompleted: exchange({
    direction: 'worker -> manager',
    about: 'The task succeeded; its result inline or as an address.',
    request: fields({ rel: Rel, task_id: TaskId, attempt: Attempt, result: TaskResult }),
    answers: { Ack, NotMine },
  }),
  TaskOutputRead: exchange({
    direction: 'manager -> worker',
    about:
      'Reads output from an offset, which acknowledges all before it. Waits up to wait_ms.',
    waits: true,
    data: 'answer',
    request: fields({
      rel: Rel,
      task_id: TaskId,
      attempt: Attempt,
      fd: t.union([t.literal(1), t.literal(2)]),
      offset: Uint,
      /** At most this many bytes; 0 only keeps a paused reader's place. */
      max: Uint,
      wait_ms: Milliseconds,
    }),
    answers: { TaskOutputData: OutputData, NotFound: fields({}), NotMine },
  }),
  BlobRead: exchange({
    direction: 'peers',
    about: 'Reads a stored blob (a result too large to travel inline) from an offset.',
    data: 'answer',
    request: fields({ ref: BlobRef, offset: Uint, max: Uint }),
    answers: { BlobData: OutputData, NotFound: fields({}) },
  }),
  BlobRelease: exchange({
    direction: 'peers',
    about: 'The blobs are no longer needed.',
    request: fields({ refs: List(BlobRef, 1000) }),
    answers: { Ack },
  }),
}
