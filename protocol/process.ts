// Process: the shapes of a named program on a host, which is no task: it was started there
// by name, stays there, and ends with its node.
//
// `path`, `args`, `pid`, `running` and `exit_code` are the source protocol's own words; a
// request of it, `{path, args}`, is a whole ProcessStart. The rest is ours, and optional.

import * as t from 'io-ts'
import {
  Attempt,
  Bytes,
  fields,
  List,
  Milliseconds,
  Pattern,
  Pid,
  Text,
  Uint,
  Word,
} from './scalars.ts'
import { Environment, Labels, UserName } from './task.ts'

/** Names a process on its node for good, over its restarts: `p` and a number. */
export const ProcessId = Pattern('ProcessId', 17, /^p[1-9][0-9]{0,15}$/)
export type ProcessId = t.TypeOf<typeof ProcessId>

/**
 * Which process: by the pid that it has or had last, by its process_id, or by the key of its
 * start (which who asked for it knows before there is a process). Several: all must fit. None:
 * there is none such.
 */
export const ProcessRef = { pid: Pid, process_id: ProcessId, key: Text(64) }

/** Signals by the names that every system has. */
export const Signal = Word('Signal', [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGKILL',
  'SIGUSR1',
  'SIGUSR2',
  'SIGTERM',
  'SIGCONT',
  'SIGSTOP',
  'SIGWINCH',
])
export type Signal = t.TypeOf<typeof Signal>

/**
 * Whether a program that ended starts again. `on-failure`: unless it ended with code 0.
 * A stop ends it for good under every policy.
 */
export const RestartPolicy = fields(
  { policy: Word('RestartWhen', ['never', 'on-failure', 'always']) },
  {
    /** Restarts in a row at most; default: no limit. A run of 60 s begins a new row. */
    limit: Uint,
    /** Before the first restart, doubling to 60 s; default 1,000. */
    backoff_ms: Milliseconds,
  },
)
export type RestartPolicy = t.TypeOf<typeof RestartPolicy>

/** When a process counts as ready; the first that comes true. None given: once it runs. */
export const Readiness = fields(
  {},
  {
    /** A line of stdout or stderr has this text in it. */
    log: Text(255),
    /** Something accepts connections at this port of the host's loopback. */
    port: Uint,
    /** It ended with code 0. */
    exit: t.boolean,
  },
)
export type Readiness = t.TypeOf<typeof Readiness>

/** What to start. `path`: an absolute path, or a name that is searched in the node's PATH. */
export const ProcessSpec = fields(
  { path: Text(4096) },
  {
    args: List(Text(128 * 1024), 65_536),
    env: Environment,
    dir: Text(4096),
    /** As a task's: the user that it runs as, if the host's owner lets it. */
    user: UserName,
    /** Given in full; `stdin_live` instead opens it for ProcessInput. Neither: empty. */
    stdin: Bytes(512 * 1024),
    stdin_live: t.boolean,
    labels: Labels,
    restart: RestartPolicy,
    ready: Readiness,
    /** Shown in lists instead of the path. */
    name: Text(255),
  },
)
export type ProcessSpec = t.TypeOf<typeof ProcessSpec>

/** Where a process stands. `waiting`: it ended, and starts again at `restart_ms`. */
export const ProcessState = Word('ProcessState', [
  'starting',
  'running',
  'stopping',
  'waiting',
  'exited',
])
export type ProcessState = t.TypeOf<typeof ProcessState>

/**
 * What is known of a process. Times are the node's wall clock. `exit_code`: of the last run
 * that ended; by a signal 128 + its number, and `signal`. `run`: from 1, one more with each
 * restart.
 */
export const ProcessInfo = fields(
  {
    process_id: ProcessId,
    running: t.boolean,
    state: ProcessState,
    ready: t.boolean,
    run: Attempt,
    path: Text(4096),
    /** The path and its arguments, cut after 512 characters. */
    command: Text(512),
  },
  {
    pid: Pid,
    exit_code: Uint,
    signal: Text(32),
    /** Why the last run could not be started. */
    error_message: Text(1024),
    name: Text(255),
    labels: Labels,
    started_ms: Milliseconds,
    ended_ms: Milliseconds,
    restart_ms: Milliseconds,
  },
)
export type ProcessInfo = t.TypeOf<typeof ProcessInfo>
