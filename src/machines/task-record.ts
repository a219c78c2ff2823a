// What a manager's table holds: tasks, the batches they belong to, and the workers they
// are at. Plain records that the table alone changes; everybody else reads.

import type {
  ErrorKind,
  TaskAttempt,
  TaskRequest,
  TaskResult,
  TaskState,
} from '../../protocol/index.ts'
import type {
  Assigned,
  Change,
  Closed,
  Recalled,
  Submission,
  Submitted,
} from '../records.ts'
import type { Misfit } from './claims.ts'
import type { Need } from './placement.ts'
import type { Shape } from './task-queue.ts'
import type { RoomPlaces } from './worker-room.ts'

/** One durable hand-out. Only a node that is in this list may say how the task ended. */
export interface HandOut
  extends Pick<Assigned, 'attempt' | 'nodeId' | 'hostName' | 'bootId'> {
  readonly sentMs: number
  startedMs?: number
  pid?: number
  endedMs?: number
  ended?: string
  /** Its end is on record, or on its way there. */
  isTold?: boolean
}

/**
 * A task is in exactly one place: arriving (its submission is not durable yet), in a queue
 * (`shape`), delayed (`dueFor: 'retry'`), at a worker, closing, or closed.
 */
export interface Task {
  readonly seq: number
  readonly id: string
  readonly request: TaskRequest
  readonly submission: Submission
  readonly batch: Batch
  readonly need: Need
  state: TaskState
  attempt: number
  /** The attempt by what is durable: the one that is shown. */
  shownAttempt: number
  failures: number
  losses: number
  /** Where it holds its place; while `state` is still queued, its assignment is not durable. */
  worker: Worker | undefined
  /** The last change that is not durable yet; an earlier one that settles is superseded. */
  change: Change | undefined
  /** The outcome, from when it is decided; `state` tells whether it is durable. */
  closing: Closed | undefined
  /** Replaced as a whole: most tasks have one, and an array that grows has room for 17. */
  handOuts: readonly HandOut[]
  /** The node that brought the outcome, and keeps what did not travel with it. */
  heldBy: string | undefined
  /** Where a copy has to be stopped once the outcome is durable. */
  copyAt: Worker | undefined
  /** Lives of workers (`bootOf`) that refused it for good, with the reason. */
  excluded: ReadonlyMap<string, string> | undefined
  /** How often this hand-out was sent again because its worker did not know it. */
  resent: number
  /** Somebody wants to hear when it moves. */
  watched: boolean
  /** The TasksCancel that wait until it is closed for good. */
  tickets: readonly CancelTicket[]
  // Its place in a queue, or among the closed; and in the heap of due times.
  shape: Shape | undefined
  previous: Task | undefined
  next: Task | undefined
  /** Once closed: until when it is kept at most. */
  dueMs: number
  heapIndex: number
  dueFor: 'nothing' | 'retry' | 'deadline' | 'overdue'
  /** Its worker's `suspendedMs` when the deadline was set. */
  suspendedMs: number
}

/**
 * Tasks that were submitted under one label, and the log of those that have closed, in the
 * order in which they closed. `dropped` of them are forgotten; `retired` of those still
 * stand at the beginning of `log`, so the entry with cursor c is log[c - dropped + retired].
 */
export interface Batch {
  readonly label: string
  /** With which the ids of its tasks begin. */
  readonly prefix: string
  readonly submissions: Submitted[]
  log: (Task | undefined)[]
  /** Of its log, what a reader has gone past, as a cursor. */
  read: number
  dropped: number
  retired: number
  open: number
  running: number
  /** How many of it ever failed; more than `maxFails` end it. */
  failed: number
  maxFails: number
  /** They did. */
  isStopped: boolean
}

/** One TasksCancel: answered when `left` is 0. */
export interface CancelTicket {
  aborted: number
  closed: number
  unknown: number
  left: number
}

export interface Worker {
  readonly nodeId: string
  readonly hostName: string
  /** Where it can be dialled; recorded with each hand-out. */
  address: string | undefined
  bootId: string
  rel: string
  status: 'managing' | 'suspect' | 'lost'
  sinceMs: number
  cores: number
  memory: number
  /** Undefined: it did not say, so anything may be tried. */
  kinds: readonly string[] | undefined
  labels: Readonly<Record<string, string>>
  resources: Readonly<Record<string, number>>
  readonly tasks: Set<Task>
  usedCores: number
  usedMemory: number
  readonly usedResources: Map<string, number>
  /** Tasks here that take no core. */
  coreless: number
  running: number
  done: number
  failed: number
  /** How long its tasks run, lately; undefined at first. */
  meanRunMs: number | undefined
  /** What it refused although by its claims it could run it, in this life. */
  misfits: readonly Misfit[]
  /** Answers in a row by which it took nothing because it was busy. */
  busyInARow: number
  /** It said busy: leave it alone until then. */
  busyUntilMs: number
  /** Time spent suspect, for deadlines that pause. */
  suspendedMs: number
  suspectAtMs: number
  /** A loss to be counted for these, unless this boot returns; since when. */
  readonly lossPending: Set<Task>
  lostAtMs: number
  /** At a manager's start: when the newest hand-out that named `bootId` was made. */
  restoredMs: number
  /** Copies to stop here, sent again until acknowledged. */
  readonly aborting: Map<Task, Abort>
  /** An abort went unanswered: when to say it again; Infinity: none did. */
  abortAgainAtMs: number
  /** Gathered in one turn, to leave in one message. */
  outgoing: Task[]
  outgoingAborts: Task[]
  /** Where it stands among those that have room. */
  readonly room: RoomPlaces
}

export interface Abort {
  readonly attempt: number
  /** The TasksCancel that wait for its Ack. */
  readonly tickets: readonly CancelTicket[]
}

/** How a hand-out ends whose worker lives and does not have it. */
export const NOT_THERE = 'not there'
/** How one ends whose worker left in good order. */
export const WORKER_LEFT = 'its worker left'

/** Of tasks that nobody cancels: nearly all. */
export const NO_TICKETS: readonly CancelTicket[] = []

export const isClosed = (task: Task): boolean =>
  task.state === 'completed' || task.state === 'failed' || task.state === 'aborted'

/** Its assignment is durable, so a copy may be at its worker. */
export const isSent = (task: Task): boolean =>
  task.state === 'sent' || task.state === 'accepted' || task.state === 'running'

export const handOutOf = ({
  attempt,
  nodeId,
  hostName,
  bootId,
  atMs,
  ran,
}: Recalled): HandOut => ({
  attempt,
  nodeId,
  hostName,
  bootId,
  sentMs: atMs,
  ...(ran !== undefined && { ...ran, isTold: ran.ended !== undefined }),
})

/** Was this hand-out ever made durable? Newest first, since that is nearly always it. */
export const wasHandedTo = (task: Task, nodeId: string, attempt: number): boolean => {
  for (let i = task.handOuts.length - 1; i >= 0; i--) {
    const handOut = task.handOuts[i]
    if (handOut?.attempt === attempt && handOut.nodeId === nodeId) return true
  }
  return false
}

/** The attempt whose run brought the outcome: a success of an earlier copy counts too. */
export const tellingAttempt = ({ attempt, handOuts, state }: Task): number => {
  if (state !== 'completed') return attempt
  return handOuts.findLast(({ ended }) => ended === 'completed')?.attempt ?? attempt
}

export const errorOf = (task: Task): ErrorKind | undefined =>
  task.closing?.outcome.kind === 'Error' ? task.closing.outcome.error : undefined

export const resultOf = (task: Task): TaskResult | undefined =>
  task.closing?.outcome.result

/** Bytes of output that a closed task keeps in memory. */
export const inlineBytes = (task: Task): number => {
  const result = resultOf(task)
  if (result === undefined) return 0
  return (
    (result.stdout?.inline?.byteLength ?? 0) + (result.stderr?.inline?.byteLength ?? 0)
  )
}

/** What the records of a closed task take, its hand-out and outcome included: about. */
const RECORD_BYTES = 1_000

/** Memory that a closed task keeps: its records, its body, the output that it brought. */
export const heldBytes = (task: Task): number => {
  const { arguments: words, stdin, env } = task.request
  let bytes = RECORD_BYTES + inlineBytes(task) + (stdin?.byteLength ?? 0)
  for (const word of words) bytes += 40 + word.length
  for (const name in env) bytes += 80 + name.length + (env[name]?.length ?? 0)
  return bytes
}

export const taskAttempt = (task: Task, attempt: number): TaskAttempt => ({
  task_id: task.id,
  attempt,
})
