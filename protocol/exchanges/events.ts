// Events: what happens at a node, in order, for whoever shows or reacts to it.
//
// They are news, not records: the last some thousand are kept, in memory. Who reads by the
// cursor that came with the last answer misses none of them, or is told so (`reset`).

import * as t from 'io-ts'
import { exchange } from '../exchange.ts'
import { ProcessId } from '../process.ts'
import {
  Attempt,
  fields,
  HostName,
  List,
  Milliseconds,
  NodeType,
  Pid,
  TaskId,
  Text,
  Uint,
  Word,
} from '../scalars.ts'

/** What events are about. */
export const Topic = Word('Topic', ['nodes', 'processes', 'tasks'])
export type Topic = t.TypeOf<typeof Topic>

/**
 * One thing that happened on `host_name`, or to it. Names: `node-connected`, `node-lost`;
 * `process-started`, `process-ready`, `process-ended` (a run; with `restart_ms` another one
 * follows); `task-submitted`, `task-started`, `task-closed`. More may come: who does not know
 * one passes over it.
 */
export const Event = fields(
  { topic: Topic, name: Text(64), at_ms: Milliseconds, host_name: HostName },
  {
    /** The cursor after this one, at the node that tells it. */
    id: Text(64),
    role: NodeType,
    node_id: Text(100),
    process_id: ProcessId,
    pid: Pid,
    run: Attempt,
    exit_code: Uint,
    signal: Text(32),
    restart_ms: Milliseconds,
    task_id: TaskId,
    attempt: Attempt,
    batch: Text(64),
    /** Of a closed task. */
    state: Text(16),
    /** What it runs, or why it happened. */
    about: Text(512),
  },
)
export type Event = t.TypeOf<typeof Event>

/** Events in one answer, at most. */
export const EVENTS_PAGE = 500

export const events = {
  EventsRead: exchange({
    direction: 'client -> any',
    scope: 'read',
    feature: 'events',
    about:
      "Events after the cursor `after`; without it none, and the cursor of now. Waits `wait_ms` for the next one. A hub's are those of all its nodes.",
    waits: true,
    request: fields(
      { wait_ms: Milliseconds },
      {
        /** The `next` of an earlier answer. */
        after: Text(64),
        /** Default: all. */
        topics: List(Topic, 8),
      },
    ),
    answers: {
      Events: fields(
        { events: List(Event, EVENTS_PAGE), next: Text(64) },
        {
          /** Some are missing between these and `after`: what is known has to be read anew. */
          reset: t.boolean,
        },
      ),
    },
  }),
}
