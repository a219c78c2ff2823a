// Processes: starting, stopping and watching programs on a host by name. (Source: the
// BlueZero process manager's start_process, stop_process, query_process_status and
// list_active_processes; a face translates their words and texts into these.)
//
// Every exchange may be repeated: a start by its key, reads and input by offset, the rest
// because doing it twice is doing it once.

import * as t from 'io-ts'
import { exchange } from '../exchange.ts'
import { ProcessId, ProcessInfo, ProcessRef, ProcessSpec, Signal } from '../process.ts'
import {
  Attempt,
  Bytes,
  fields,
  List,
  Milliseconds,
  Pid,
  Text,
  Uint,
  Word,
} from '../scalars.ts'
import { DATA_BYTES } from '../task.ts'
import { OutputData } from './tasks.ts'

const Ack = fields({})
const NotFound = fields({})

export const processes = {
  ProcessStart: exchange({
    direction: 'client -> any',
    scope: 'processes',
    isHere: true,
    feature: 'processes',
    about:
      'Starts a program. Answered when the operating system has it. The same key again: the same process.',
    request: fields({ spec: ProcessSpec }, { key: Text(64) }),
    answers: {
      ProcessStarted: fields({ pid: Pid, process_id: ProcessId }),
      /** `reason`: the system's code (ENOENT, EACCES, …), `forbidden`, `busy` or `invalid`. */
      Refused: fields({ reason: Text(64), message: Text(1024) }),
    },
  }),
  ProcessStop: exchange({
    direction: 'client -> any',
    scope: 'processes',
    isHere: true,
    feature: 'processes',
    about:
      'Stops a process for good: INT, after 5 s TERM, after 5 s more KILL, to its group. Answered at once; a second stop changes nothing.',
    request: fields({}, ProcessRef),
    answers: { Ack, NotFound },
  }),
  ProcessQuery: exchange({
    direction: 'client -> any',
    scope: 'read',
    isHere: true,
    feature: 'processes',
    about: 'What is known of a process. One that ended is known for a while.',
    request: fields({}, ProcessRef),
    answers: { ProcessStatus: ProcessInfo, NotFound },
  }),
  ProcessWait: exchange({
    direction: 'client -> any',
    scope: 'read',
    isHere: true,
    feature: 'processes',
    about:
      'Waits until a process is ready, or has ended for good; or until wait_ms is over.',
    waits: true,
    request: fields(
      { until: Word('ProcessMoment', ['ready', 'exited']), wait_ms: Milliseconds },
      ProcessRef,
    ),
    answers: { ProcessStatus: ProcessInfo, NotFound },
  }),
  ProcessList: exchange({
    direction: 'client -> any',
    scope: 'read',
    isHere: true,
    feature: 'processes',
    about:
      'The processes that run; with `all` those too that wait or have ended. A page at a time, by process_id.',
    request: fields({}, { all: t.boolean, after: ProcessId }),
    answers: {
      ProcessesList: fields(
        {
          /** Of all that run, ascending; on each page. */
          pids: List(Pid, 10_000),
          processes: List(ProcessInfo, 1000),
        },
        { next: ProcessId },
      ),
    },
  }),
  ProcessSignal: exchange({
    direction: 'client -> any',
    scope: 'processes',
    isHere: true,
    feature: 'processes',
    about: 'Sends a signal to the process group, and nothing else: its policy stays.',
    request: fields({ signal: Signal }, ProcessRef),
    answers: { Ack, NotFound },
  }),
  ProcessInput: exchange({
    direction: 'client -> any',
    scope: 'processes',
    isHere: true,
    feature: 'processes',
    about:
      'Bytes for the stdin of a process, from an offset. Answered when there is room for more.',
    waits: true,
    data: 'request',
    request: fields(
      { offset: Uint, data: Bytes(DATA_BYTES), eof: t.boolean },
      ProcessRef,
    ),
    /** NotFound: it has ended, or reads no input any more. */
    answers: { Ack, NotFound },
  }),
  ProcessOutputRead: exchange({
    direction: 'client -> any',
    scope: 'read',
    isHere: true,
    feature: 'processes',
    about:
      'Reads what a process wrote, by offset, while it runs and for a while after. `run`: the one that is followed (default: the last); of a later one the answer is its beginning.',
    waits: true,
    data: 'answer',
    request: fields(
      {
        fd: t.union([t.literal(1), t.literal(2)]),
        offset: Uint,
        max: Uint,
        wait_ms: Milliseconds,
      },
      { ...ProcessRef, run: Attempt },
    ),
    answers: { TaskOutputData: OutputData, NotFound },
  }),
}
