// Client: what a command line, a face or an embedding program asks a manager.
//
// Submission is idempotent by `key`. Closed tasks of a batch form a log in the order in
// which they closed: TasksWait reads it by cursor, so a client that comes back misses
// none and sees none twice, and waiting for 100,000 tasks costs no list of ids.

import * as t from 'io-ts'
import { exchange } from '../exchange.ts'
import {
  Attempt,
  Bytes,
  fields,
  HostName,
  List,
  Milliseconds,
  TaskId,
  Text,
  Uint,
} from '../scalars.ts'
import {
  AttemptRecord,
  DATA_BYTES,
  NodeInfo,
  TASKS_PER_MESSAGE,
  TaskDone,
  TaskRequest,
  TaskResult,
  TaskState,
  TaskSummary,
} from '../task.ts'
import { OutputData } from './tasks.ts'

const Ack = fields({})
const NotFound = fields({})
const Fd = t.union([t.literal(1), t.literal(2)])

const Submitted = fields({ task_ids: List(TaskId, 1000) })
const Refused = fields(
  { reason: Text(64), message: Text(1024) },
  { retry_after_ms: Milliseconds },
)

export const client = {
  TasksSubmit: exchange({
    direction: 'client -> manager',
    scope: 'tasks:run',
    about:
      'Hands in tasks; answered when their record is durable. The same key again: the same ids.',
    request: fields(
      { key: Text(64), tasks: List(TaskRequest, TASKS_PER_MESSAGE) },
      {
        /** Groups submissions for TasksWait and TasksCancel; default: the key. */
        batch: Text(64),
        /**
         * Once more than so many tasks of the batch have failed, what is open of it is
         * aborted, and further submissions are refused as `stopped`. Of several that are
         * said for one batch the least holds. Default: any number may fail.
         */
        max_fails: Uint,
      },
    ),
    answers: { TasksSubmitted: Submitted, Refused },
  }),
  TasksList: exchange({
    direction: 'client -> manager, hub',
    scope: 'read',
    about:
      'Tasks, newest first, a page at a time. A hub tells those of all managers, one manager after the other.',
    request: fields(
      { limit: Uint },
      {
        after: TaskId,
        states: List(TaskState, 16),
        host_name: HostName,
        batch: Text(64),
      },
    ),
    answers: {
      TaskList: fields({ tasks: List(TaskSummary, 1000) }, { next: TaskId }),
    },
  }),
  TaskShow: exchange({
    direction: 'client -> manager',
    scope: 'read',
    about: 'Everything known of one task.',
    request: fields({ task_id: TaskId }),
    answers: {
      TaskRecord: fields(
        {
          summary: TaskSummary,
          request: TaskRequest,
          attempts: List(AttemptRecord, 64),
          failures: Uint,
          losses: Uint,
        },
        { result: TaskResult },
      ),
      NotFound,
    },
  }),
  TasksWait: exchange({
    direction: 'client -> manager',
    scope: 'read',
    about:
      'Waits until one of the tasks (or of the batch) has closed; several at once if several have.',
    waits: true,
    request: fields(
      {
        /** How many of the log were seen; 0 at first, then `cursor`. */
        after: Uint,
        wait_ms: Milliseconds,
      },
      {
        batch: Text(64),
        /** Instead of a batch. The answer then lists those of them that are closed; `after` is ignored. */
        task_ids: List(TaskId, 1000),
      },
    ),
    answers: {
      TasksDone: fields({
        done: List(TaskDone, 1000),
        cursor: Uint,
        /** Of the batch (or list): not yet closed, and of those running. */
        open: Uint,
        running: Uint,
      }),
      NotFound,
    },
  }),
  TasksCancel: exchange({
    direction: 'client -> manager',
    scope: 'tasks:run',
    about:
      'Aborts open tasks, by id or by batch. Answered when their process groups are gone.',
    waits: true,
    request: fields({}, { task_ids: List(TaskId, 1000), batch: Text(64) }),
    answers: { TasksCancelled: fields({ aborted: Uint, closed: Uint, unknown: Uint }) },
  }),
  TasksRetry: exchange({
    direction: 'client -> manager',
    scope: 'tasks:run',
    about: 'Submits closed tasks again, under new ids.',
    request: fields({ key: Text(64), task_ids: List(TaskId, TASKS_PER_MESSAGE) }),
    answers: { TasksSubmitted: Submitted, Refused },
  }),
  TasksExplain: exchange({
    direction: 'client -> manager',
    scope: 'read',
    about: 'Why a task is where it is: a reason for each node.',
    request: fields({ task_id: TaskId }),
    answers: {
      TaskReasons: fields({
        state: TaskState,
        summary: Text(1024),
        nodes: List(
          fields({ host_name: HostName, candidate: t.boolean, reason: Text(255) }),
          1000,
        ),
      }),
      NotFound,
    },
  }),
  TaskInput: exchange({
    direction: 'client, manager -> manager, worker',
    scope: 'tasks:run',
    about:
      'Bytes for the stdin of a running task, from an offset. Answered when there is room for more. `attempt`: the one that the offset counts for; a later one is waited for.',
    waits: true,
    data: 'request',
    request: fields(
      { task_id: TaskId, offset: Uint, data: Bytes(DATA_BYTES), eof: t.boolean },
      /** `rel` is given by the manager to its worker; so is `attempt`, where the client left it out. */
      { rel: Text(32), attempt: Attempt },
    ),
    /**
     * NotFound: the task is closed, or that attempt reads no input any more. NotMine: a later
     * attempt runs, or will, and needs all of it from the first byte.
     */
    answers: { Ack, NotFound, NotMine: fields({}) },
  }),
  TaskLogRead: exchange({
    direction: 'client -> manager',
    scope: 'read',
    about:
      "Reads a task's output by offset, before its start, while it runs and after its end. `attempt`: the one that is followed, once bytes of it have come; if the answer is of another one (a later one, or an earlier one that succeeded after all), it is its beginning. One that has not begun is waited for.",
    waits: true,
    data: 'answer',
    request: fields(
      { task_id: TaskId, fd: Fd, offset: Uint, max: Uint, wait_ms: Milliseconds },
      { attempt: Attempt },
    ),
    answers: { TaskOutputData: OutputData, NotFound },
  }),
  NodesList: exchange({
    direction: 'client -> manager, hub',
    scope: 'read',
    about: 'The nodes that this one knows, itself first.',
    request: fields({}),
    answers: { NodesListed: fields({ nodes: List(NodeInfo, 10_000) }) },
  }),
}
