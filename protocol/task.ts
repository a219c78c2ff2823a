// Task: the shapes that more than one exchange speaks of.
//
// Decisions that the source protocol leaves open are stated beside the codec they
// concern ("decided:").

import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import {
  Attempt,
  Bytes,
  fields,
  HostName,
  isMapKey,
  List,
  MAP_KEY,
  Milliseconds,
  Pattern,
  TaskId,
  Text,
  Uint,
  Word,
} from './scalars.ts'
import { HostGlob } from './scopes.ts'

/** Output of both descriptors together up to this size travels inside the outcome. */
export const INLINE_BYTES = 32 * 1024
/** The most a data answer carries, so that control never stands long behind data. */
export const DATA_BYTES = 64 * 1024
/** The most tasks in one TasksExecute, TasksSubmit. */
export const TASKS_PER_MESSAGE = 256

/**
 * Where the program is: `exec:NAME`, `exec:/path`, `https:…#sha256=…`, `file:…#sha256=…`,
 * `noop:` (starts nothing, for measuring). Decided: the digest of a download is part of
 * the address, so an address always means the same bytes.
 */
export const JobAddress = Pattern('JobAddress', 4096, /^[a-z][a-z0-9+-]*:/)

/** What becomes of a program's stdout and stderr: thrown away, kept under a cap, or read live. */
export const OutputPolicy = Word('OutputPolicy', ['none', 'capture', 'stream'])
export type OutputPolicy = t.TypeOf<typeof OutputPolicy>

/** A map of at most `max` keys, each one that a frame may carry, and matching `names`. */
const FreeMap = <C extends t.Mixed>(
  name: string,
  value: C,
  max: number,
  names?: RegExp,
) => {
  const isName = (key: string) => isMapKey(key) && names?.test(key) !== false
  const hasGoodNames = (map: object) => {
    const keys = Object.keys(map)
    return keys.length <= max && keys.every(isName)
  }
  const pattern = names && { pattern: names.source }
  return Object.assign(t.refinement(t.record(t.string, value), hasGoodNames, name), {
    schema: { maxProperties: max, propertyNames: { ...MAP_KEY, ...pattern } },
  })
}

/** Environment variables: at most 1,024, names without `=`. */
export const Environment = FreeMap('Environment', Text(128 * 1024), 1024, /^[^=\0]+$/)

/** Names of resources or labels with their values. */
const Labels = FreeMap('Labels', Text(255), 64)
const Resources = FreeMap('Resources', Uint, 64)

/** What a task needs of its worker: cores (default 1), memory in bytes, own resources, labels, a host. */
export const Requires = fields(
  {},
  {
    cores: Uint,
    memory: Uint,
    resources: Resources,
    labels: Labels,
    host_name: HostName,
    /**
     * Said by the manager, by the scopes of the client that submitted; what a client says
     * here is replaced. For each list, the host's name must match one of its patterns.
     */
    within: List(List(HostGlob, 64), 4),
  },
)
export type Requires = t.TypeOf<typeof Requires>

/** The name of a user of a machine. */
export const UserName = Pattern('UserName', 32, /^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$/)

/** The program of a task: what runs, with what, for how long. Shared by submission and assignment. */
const job = {
  required: {
    job_addr: JobAddress,
    arguments: List(Text(128 * 1024), 65_536),
    /** Milliseconds of running; 0 = no limit. */
    timeout_ms: Milliseconds,
  },
  optional: {
    /** Given in full; `stdin_live` instead opens it for TaskInput. Neither: empty. */
    stdin: Bytes(1024 * 1024),
    stdin_live: t.boolean,
    env: Environment,
    /**
     * Said by the manager: the client that submitted has the scope for variables that make
     * other code run. What a client says here is replaced.
     */
    unsafe_env: t.boolean,
    dir: Text(4096),
    /**
     * The user of the worker's machine that it runs as, if the worker's owner lets it:
     * without further groups, and unable to gain privileges. Default: the worker's choice.
     */
    user: UserName,
    /** Between TERM and KILL; default 5,000. */
    kill_grace_ms: Milliseconds,
    /** Default `capture`. */
    output: OutputPolicy,
    /** When the manager is lost for the length of a lease; default `finish`. */
    on_orphan: Word('OnOrphan', ['finish', 'kill']),
    /**
     * Never run again while the worker that was given it may be alive: after that worker is
     * lost it waits for its word or its next boot, or until somebody cancels the task. A
     * worker that gives it up unstarted says so. Default false.
     */
    exclusive: t.boolean,
    requires: Requires,
  },
}

/**
 * A task as a client submits it.
 * `retries`: own failures that are forgiven (default 0). `priority`: higher goes first (default 0).
 */
export const TaskRequest = fields(job.required, {
  ...job.optional,
  retries: Uint,
  priority: t.Int as unknown as t.Type<number>,
  /** Shown in lists; means nothing to the mesh. */
  name: Text(255),
})
export type TaskRequest = t.TypeOf<typeof TaskRequest>

/** A task as a manager assigns it. The digest of everything but `attempt` identifies its content. */
export const Assignment = fields(
  { task_id: TaskId, attempt: Attempt, ...job.required },
  job.optional,
)
export type Assignment = t.TypeOf<typeof Assignment>

/** (task, attempt): one hand-out of a task. */
export const TaskAttempt = fields({ task_id: TaskId, attempt: Attempt })
export type TaskAttempt = t.TypeOf<typeof TaskAttempt>

/** Where a blob is, as its holder names it. */
export const BlobRef = Text(255)

/**
 * One captured descriptor. Up to INLINE_BYTES for both together the bytes are in `inline`,
 * else `ref` is an address for BlobRead at the worker. `size` counts what the program wrote,
 * `lost` what the cap dropped from the middle, `sha256` (hex) is of what was kept.
 * Decided ("result or address to result data?"): both, by size.
 */
export const Captured = fields(
  { size: Uint, sha256: Pattern('Sha256', 64, /^[0-9a-f]{64}$/) },
  { inline: Bytes(INLINE_BYTES), ref: BlobRef, lost: Uint },
)
export type Captured = t.TypeOf<typeof Captured>

/**
 * How a run ended. A descriptor that wrote nothing is left out. `lost_tail`: a left-behind
 * child held a pipe open past the program's exit, what it wrote later is not here.
 */
export const TaskResult = fields(
  { run_ms: Milliseconds },
  { exit_code: Uint, stdout: Captured, stderr: Captured, lost_tail: t.boolean },
)
export type TaskResult = t.TypeOf<typeof TaskResult>

const errorKinds = t.union([
  fields({ kind: t.literal('TimedOut') }),
  fields({ kind: t.literal('DownloadError'), reason: Text(1024) }),
  /** The program ran and ended with a code other than 0, or by a signal. */
  fields({ kind: t.literal('RunningError') }, { exit_code: Uint, signal: Text(32) }),
  /**
   * The program could not be started; `code` as the system's (ENOENT, EACCES, …). `ENODIR`,
   * which no system has: the directory it was to run in is not there, or cannot be used.
   */
  fields({ kind: t.literal('SpawnError'), code: Text(64), reason: Text(1024) }),
  fields({ kind: t.literal('Aborted') }, { reason: Text(1024) }),
  fields({ kind: t.literal('OutputTooLarge') }),
  /**
   * Made by the manager: the task took three workers with it. Said by a worker: it lost the
   * run, not the program failed; the manager counts that as one of the three.
   */
  fields({ kind: t.literal('WorkerLost') }),
  /** A worker refused the task for good (reason `invalid` or `conflict`). Made by the manager. */
  fields({ kind: t.literal('Refused'), reason: Text(1024) }),
  fields({ kind: t.literal('Unknown'), name: Text(64) }),
])
type ErrorKinds = t.TypeOf<typeof errorKinds>

const ErrorKindCodec = new t.Type<ErrorKinds, ErrorKinds, unknown>(
  'ErrorKind',
  errorKinds.is,
  (value, context) => {
    const decoded = errorKinds.validate(value, context)
    if (E.isRight(decoded)) return decoded
    const name = (value as { kind?: unknown } | null)?.kind
    const known = errorKinds.types.some(
      (type) => (type.type.types[0].props.kind as t.LiteralC<string>).value === name,
    )
    if (typeof name !== 'string' || name.length > 64 || known) return decoded
    return E.right({ kind: 'Unknown', name })
  },
  t.identity,
)

/**
 * Why a task did not succeed. A kind of a newer peer decodes as `Unknown{name}`; `known`
 * are those that stay as they are.
 */
export const ErrorKind = Object.assign(ErrorKindCodec, { known: errorKinds })
export type ErrorKind = t.TypeOf<typeof ErrorKind>

/** A worker's word on a task (the seed's TaskStatus; decided: dates are Unix milliseconds). */
export const TaskStatus = t.union([
  fields({ kind: t.literal('Pending') }),
  fields({ kind: t.literal('Started'), at_ms: Milliseconds }),
  fields({ kind: t.literal('Error'), error: ErrorKind }, { result: TaskResult }),
  fields({ kind: t.literal('Completed'), result: TaskResult }),
  fields({ kind: t.literal('Unknown') }),
])
export type TaskStatus = t.TypeOf<typeof TaskStatus>

/** How a task ended, with the output that there was. */
export const Outcome = t.union([
  fields({ kind: t.literal('Completed'), result: TaskResult }),
  fields({ kind: t.literal('Error'), error: ErrorKind }, { result: TaskResult }),
])
export type Outcome = t.TypeOf<typeof Outcome>

/**
 * A line of a worker's inventory: state without output. `Ending` = its process group is
 * being killed. With `settle` the line of a finished task carries its outcome.
 */
export const InventoryEntry = fields(
  {
    task_id: TaskId,
    attempt: Attempt,
    status: Word('InventoryStatus', [
      'Pending',
      'Started',
      'Ending',
      'Error',
      'Completed',
    ]),
  },
  { at_ms: Milliseconds, outcome: Outcome },
)
export type InventoryEntry = t.TypeOf<typeof InventoryEntry>

/** Where a task stands, as its manager says it to clients. */
export const TaskState = Word('TaskState', [
  'queued',
  'sent',
  'accepted',
  'running',
  'completed',
  'failed',
  'aborted',
])
export type TaskState = t.TypeOf<typeof TaskState>

/** One hand-out of a task in its record: where, when, and how it ended (a kind of error, or why it was taken back). */
export const AttemptRecord = fields(
  { attempt: Attempt, host_name: HostName, node_id: Text(100), sent_ms: Milliseconds },
  { started_ms: Milliseconds, ended_ms: Milliseconds, pid: Uint, ended: Text(255) },
)
export type AttemptRecord = t.TypeOf<typeof AttemptRecord>

/** A line of `tasks`. Times are the manager's wall clock, Unix milliseconds. */
export const TaskSummary = fields(
  {
    task_id: TaskId,
    state: TaskState,
    attempt: Uint,
    submitted_ms: Milliseconds,
    command: Text(512),
  },
  {
    host_name: HostName,
    name: Text(255),
    batch: Text(64),
    started_ms: Milliseconds,
    ended_ms: Milliseconds,
    run_ms: Milliseconds,
    exit_code: Uint,
    error: ErrorKind,
    /** Submitted by TasksRetry: the task that it repeats; and the last that repeats this one. */
    retry_of: TaskId,
    retried_as: TaskId,
  },
)
export type TaskSummary = t.TypeOf<typeof TaskSummary>

/** A closed task with its outcome, as TasksWait hands it out. */
export const TaskDone = fields(
  {
    task_id: TaskId,
    state: TaskState,
    attempt: Uint,
    submitted_ms: Milliseconds,
    ended_ms: Milliseconds,
  },
  { host_name: HostName, started_ms: Milliseconds, error: ErrorKind, result: TaskResult },
)
export type TaskDone = t.TypeOf<typeof TaskDone>

/** A node as a manager (or hub) sees it. */
export const NodeInfo = fields(
  {
    node_id: Text(100),
    boot_id: Text(16),
    host_name: HostName,
    role: Word('NodeRole', ['manager', 'worker', 'hub', 'client']),
    /** `self`, `connected`, `managed`, `suspect` (socket lost, lease running), `lost`. */
    state: Text(16),
    since_ms: Milliseconds,
  },
  {
    address: Text(255),
    pid: Uint,
    cores: Uint,
    memory: Uint,
    free_slots: Uint,
    running: Uint,
    done: Uint,
    failed: Uint,
    queued: Uint,
    labels: Labels,
    kinds: List(Text(64), 64),
    version: Text(32),
    /** As its introduction lists them; of who is connected. */
    features: List(Text(64), 256),
  },
)
export type NodeInfo = t.TypeOf<typeof NodeInfo>

export { Labels, Resources }
