// Ports: the small interfaces through which decisions reach the outside. The parts that
// implement them do not know each other; node.ts joins them, tests and simulators hand in
// their own.

import type { Either } from 'fp-ts/lib/Either.js'
import type {
  AnswerOf,
  Assignment,
  BootId,
  HostName,
  Introduction,
  Kind,
  LedgerId,
  NodeId,
  NodeType,
  Outcome,
  OutputData,
  OutputPolicy,
  RequestOf,
  Rights,
  Signal,
  SignedRequest,
  TaskId,
} from '../protocol/index.ts'
import type { AskFailure, JobFailure } from './failures.ts'
import type { Account, Change, Forgotten, RecordedTask, Submission } from './records.ts'

/** Ends a timer; calling it late or twice does nothing. */
export type Cancel = () => void

export interface Clock {
  /** Monotonic milliseconds: every deadline runs on it. */
  now(): number
  /** Unix milliseconds, for display and for the wire. */
  wall(): number
  /** Calls `fn` once, `ms` from now. Does not keep the process alive. */
  after(ms: number, fn: () => void): Cancel
}

/** Random values, so that decisions stay repeatable: 0 <= fraction() < 1; ids in hex. */
export interface Random {
  fraction(): number
  hex(bytes: number): string
}

export type Settle<K extends Kind> = (outcome: Either<AskFailure, AnswerOf<K>>) => void

/**
 * Sends a request to a connected node. `settle` is called exactly once, synchronously in
 * the turn in which the answer arrived and before the next frame is looked at; never
 * before `ask` returns.
 */
export type Ask = <K extends Kind>(
  to: NodeId,
  kind: K,
  body: RequestOf<K>,
  timeoutMs: number,
  settle: Settle<K>,
) => void

/** A connected node, introduced and proven. The object is the connection's: another connection, another object. */
export interface Peer {
  readonly nodeId: NodeId
  readonly bootId: BootId
  readonly hostName: HostName
  readonly role: NodeType
  readonly introduction: Introduction
  /** The far end's IP address. */
  readonly remoteAddress: string
  /** Where it listens, as dialled or as stated; undefined if it only dials. */
  readonly address: string | undefined
  /** What a client may do. */
  readonly rights?: Rights
  /** What the issuer of its certificate says of it. */
  readonly issued?: Readonly<Record<string, string>>
}

/** How a node's connection ended. */
export interface Loss {
  /** By FIN, RST or a close frame, so that dialling its port tells whether it lives. */
  readonly clean: boolean
  /** It was taken out of the mesh: what it was given is nobody's, and it will not be back. */
  readonly isExpelled?: true
}

/** What a role may ask of the mesh. */
export interface Mesh {
  readonly ask: Ask
  /** Ends the connection to a node at once; the role hears `peerLost`. */
  terminate(nodeId: NodeId, why: string): void
  /** Dials a lost peer again now instead of after its back-off. */
  redial(nodeId: NodeId): void
  /** Dials an address (Peer.address) once; if it comes to a connection, the role hears `peerConnected`. */
  dial(address: string): void
  /** Is a connection to that port refused (nobody listens)? Told once, never inside the call. */
  isRefused(host: string, port: number, settle: (isRefused: boolean) => void): void
}

/** A client that has signed, by its certificate. */
export interface Signer {
  readonly nodeId: NodeId
  readonly hostName: HostName
  readonly rights: Rights
}

/** A request whose signature is right. `content`: the same for the same kind and body alone. */
export interface Verified {
  readonly request: SignedRequest
  readonly signer: Signer
  readonly content: string
}

/**
 * Whether a client of this mesh signed these bytes; of what they say nothing is judged yet. Never throws.
 */
export type VerifySigned = (signed: {
  readonly s: Uint8Array
  readonly sig: Uint8Array
  readonly cert_id: string
  readonly cert?: Uint8Array | undefined
}) => Verified | { readonly fault: string } | 'certificate-needed'

/** One line per event: a fixed name, and fields. Never payloads, never secrets. */
export interface Log {
  info(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  error(event: string, fields?: LogFields): void
  debug(event: string, fields?: LogFields): void
}
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

/**
 * What must be told later of who did what: a fixed name and fields, of everything that
 * executes, signals, changes the membership or is refused. Never the value of an argument
 * or a variable, never input, never a secret.
 */
export interface Audit {
  /** Never throws, and never waits. */
  record(event: string, fields?: AuditFields): void
}
export type AuditFields = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>

/** How a descriptor's output ended up. `sha256` of the bytes kept; `lost` dropped by the cap. */
export interface KeptOutput {
  readonly size: number
  readonly lost: number
  readonly sha256: string
}

/** A program to run. Paths are absolute; the environment is complete (nothing is inherited). */
export interface RunSpec {
  readonly program: string
  /** What the program is told that it is (argv[0]); default: its path. */
  readonly calledAs?: string
  readonly arguments: readonly string[]
  readonly directory: string
  readonly environment: Readonly<Record<string, string>>
  /** Who it runs as, without further groups or a way to gain privileges; default: as the node. */
  readonly account?: Account
  /** Bytes given in full; 'live' = written by Run.write; undefined = empty. */
  readonly stdin?: Uint8Array | 'live'
  readonly output: OutputPolicy
  /** Most bytes kept per descriptor by `capture`; first and last parts are kept. */
  readonly outputCapBytes: number
}

/** How a run ended. Exactly one of exitCode, signal, spawnError. */
export interface RunEnd {
  readonly exitCode?: number
  /** 'SIGKILL', …; 'launcher-lost' when the helper that held the process died. */
  readonly signal?: string
  readonly spawnError?: { readonly code: string; readonly reason: string }
  readonly runMs: number
  readonly stdout: KeptOutput
  readonly stderr: KeptOutput
  /** A left-over child held a pipe open past the exit; what it wrote later is lost. */
  readonly lostTail: boolean
}

/** Called in this order: started at most once, then ended exactly once, never inside `start`. */
export interface RunEvents {
  started(pid: number): void
  ended(end: RunEnd): void
}

/** A running (or ended, and not yet released) program. */
export interface Run {
  /** Signals the process group. Once ended it does nothing. */
  kill(signal: Signal): void
  /** Output from `offset`; waits up to `waitMs` for data or eof. After the end too, until `release`. */
  read(
    fd: 1 | 2,
    offset: number,
    max: number,
    waitMs: number,
    settle: (data: OutputData) => void,
  ): void
  /** Live stdin. `settle(false)`: the program reads no more. Called when there is room for more. */
  write(
    offset: number,
    data: Uint8Array,
    eof: boolean,
    settle: (open: boolean) => void,
  ): void
  /** Turns a `stream` nobody reads into a `capture`, so that the program is not blocked for ever. */
  detach(): void
  /** The kept output is no longer needed: frees memory and files. */
  release(): void
}

/** The one place that starts processes. */
export interface Runner {
  start(spec: RunSpec, events: RunEvents): Run
  /** Kills every group it started, and its helpers. */
  close(): Promise<void>
}

/** A job that is ready to run. */
export interface PreparedJob {
  readonly program: string
  /** Put before the task's arguments. */
  readonly leading: readonly string[]
  /** What the program is told that it is; default: its path. */
  readonly calledAs?: string
}

/** Turns a job's address into a program on this machine: searches PATH, downloads, verifies, caches. */
export interface Jobs {
  /** Why the owner of this machine does not let a job run; undefined: it may. At once. */
  objection(jobAddress: string): string | undefined
  /**
   * At once where it can (a program that is there), else when fetched. Never throws or
   * rejects. `signal` is called only if there is something that could be aborted.
   */
  prepare(
    jobAddress: string,
    settle: (result: Either<JobFailure, PreparedJob>) => void,
    signal?: () => AbortSignal,
  ): void
}

/**
 * What became of a commit. `full`: nothing of it was applied, what was durable stays, and it
 * may be tried again. After `fenced` (another holder has a higher epoch) and `failed` every
 * later commit fails too: stop.
 */
export type CommitResult =
  | { readonly kind: 'durable' }
  | { readonly kind: 'full' }
  | { readonly kind: 'fenced' }
  | { readonly kind: 'failed'; readonly reason: string }

/** Where a manager's tasks survive it. Reads see only what is durable. */
export interface Ledger {
  readonly id: LedgerId
  /** Grown at each start or take-over; every commit is conditional on it. */
  readonly epoch: number
  /**
   * Milliseconds that a commit should begin after the one before, where many tasks are
   * open: each costs the disk, however little is in it. Undefined: none costs anything.
   */
  readonly gatherMs?: number
  /** The closed tasks in the order of their closing, then the open ones by sequence; before any commit. */
  replay(): AsyncIterable<RecordedTask>
  /**
   * All or nothing; commits take effect in call order. `settle` is called once, after
   * the changes are safe, never before `commit` returns.
   */
  commit(changes: readonly Change[], settle: (result: CommitResult) => void): void
  /** The first sequence that was never given out. */
  nextSequence(): number
  task(seq: number): RecordedTask | undefined
  /** The submission with this idempotency key. */
  byKey(key: string): Submission | undefined
  /** Tasks below `before`, newest first. */
  list(before: number, limit: number): readonly RecordedTask[]
  /** These closed tasks are no longer asked for; the engine drops them when it suits it. */
  retire(seqs: readonly number[]): void
  /** The closed tasks of a batch that were retired: its log counts on from them. */
  forgotten(batch: string): Forgotten
  stats(): { readonly open: number; readonly closed: number }
  /** Waits for commits under way. */
  close(): Promise<void>
}

/** A finished task whose outcome its manager has not acknowledged. */
export interface Undelivered {
  readonly task: Assignment
  readonly outcome: Outcome
}

/**
 * What a worker must not forget when it dies: the tasks that it has accepted and not yet
 * started, and the outcomes that are not yet acknowledged. Writes are queued in order;
 * `sync` says when all before it are durable, so that many share one flush.
 */
export interface Outbox {
  /** What an earlier life left. Called once, before anything else. */
  load(): {
    readonly pending: readonly Assignment[]
    readonly outcomes: readonly Undelivered[]
  }
  /** Accepted; replaces an earlier attempt of the task. */
  putPending(task: Assignment): void
  /** Started or dropped: after a restart it is not to be started. */
  removePending(taskId: TaskId): void
  /** Replaces an earlier outcome of the task. */
  putOutcome(undelivered: Undelivered): void
  removeOutcome(taskId: TaskId): void
  /** Calls `done` once, perhaps at once; false: not durable (a full disk), the writes are undone or unknown. */
  sync(done: (isDurable: boolean) => void): void
  close(): Promise<void>
}
