// Output and input of tasks, relayed: a client speaks of a task, the manager knows where
// it is. A reader may come before the start and waits for it; while the task runs its
// worker is read; afterwards the outcome holds the bytes, or names where they are.

import type { Either } from 'fp-ts/lib/Either.js'
import {
  type AnswerOf,
  type Captured,
  DATA_BYTES,
  type OutputData,
  type RequestOf,
  type Respond,
} from '../../protocol/index.ts'
import type { AskFailure } from '../failures.ts'
import { whereOf } from '../machines/entitlement.ts'
import { isClosed, resultOf, type Task, tellingAttempt } from '../machines/task-record.ts'
import type { Peer } from '../ports.ts'
import type { Kernel } from './manager-kernel.ts'
import type { ManagerWorkers } from './manager-workers.ts'

type LogRead = RequestOf<'TaskLogRead'>
type Input = RequestOf<'TaskInput'>

const empty = new Uint8Array(0)
/** Added to a relayed wait, for the way. */
const RELAY_MS = 5_000
/** Output that could not be read now is asked for again after this. */
const AGAIN_MS = 1_000
/** How long a reader waits at most while the task's worker is out of reach. */
const AWAY_MS = 500

export class ManagerLogs {
  readonly #kernel: Kernel
  readonly #workers: ManagerWorkers

  constructor(kernel: Kernel, workers: ManagerWorkers) {
    this.#kernel = kernel
    this.#workers = workers
  }

  read(body: LogRead, respond: Respond<'TaskLogRead'>, from: Peer): void {
    const task = this.#kernel.find(body.task_id, whereOf(from, 'read'))
    if (task === undefined) {
      respond('NotFound', {})
      return
    }
    const { config, deps } = this.#kernel
    const untilMs = deps.clock.now() + Math.min(body.wait_ms, config.maxWaitMs)
    this.#read(task, body, respond, from, untilMs)
  }

  #read(
    task: Task,
    body: LogRead,
    respond: Respond<'TaskLogRead'>,
    from: Peer,
    untilMs: number,
  ): void {
    const { deps } = this.#kernel
    if (isClosed(task)) {
      this.#readClosed(task, body, respond)
      return
    }
    const leftMs = Math.max(0, untilMs - deps.clock.now())
    const again = () => this.#read(task, body, respond, from, untilMs)
    const followed = body.attempt ?? task.attempt
    const nothing = () => {
      const attempt = Math.min(followed, task.attempt)
      const { offset } = body
      respond('TaskOutputData', { offset, data: empty, eof: false, lost: 0, attempt })
    }
    const there = followed > task.attempt ? undefined : this.#whereabouts(task)
    if (there === undefined) {
      // With its worker suspect nothing moves when that is back: asked again soon.
      const isAway = task.state === 'accepted' || task.state === 'running'
      const waitMs =
        isAway && followed <= task.attempt ? Math.min(leftMs, AWAY_MS) : leftMs
      this.#whenMoved(task, from, waitMs, again, nothing)
      return
    }
    const { task_id, fd, max } = body
    const { attempt } = task
    const offset = startOf(task, body)
    const ask = { rel: there.rel, task_id, attempt, fd, offset, max, wait_ms: leftMs }
    const timeoutMs = leftMs + RELAY_MS
    deps.mesh.ask(there.peerId, 'TaskOutputRead', ask, timeoutMs, (outcome) => {
      if (outcome._tag === 'Right' && outcome.right.kind === 'TaskOutputData') {
        const { body: read } = outcome.right
        // Stopped because another copy succeeded: that one's output is what counts.
        const isOther = read.eof && isClosed(task) && tellingAttempt(task) !== attempt
        return isOther ? again() : respond('TaskOutputData', { ...read, attempt })
      }
      // Not started there yet, or ended and on its way here: it moves, or the time ends.
      const waitMs = Math.max(0, untilMs - deps.clock.now())
      if (isClosed(task)) return again()
      if (isCrowded(outcome))
        return respond('Error', { code: 'busy', retry_after_ms: AGAIN_MS })
      this.#whenMoved(task, from, waitMs, again, nothing)
    })
  }

  #whereabouts(task: Task): { peerId: string; rel: string } | undefined {
    if (task.state !== 'accepted' && task.state !== 'running') return undefined
    return task.worker && this.#workers.reach(task.worker.nodeId)
  }

  /** Once, when the task moves; or, when the time is over, `otherwise`. */
  #whenMoved(
    task: Task,
    from: Peer,
    ms: number,
    then: () => void,
    otherwise: () => void,
  ): void {
    const { waits } = this.#kernel
    if (ms <= 0 || !waits.hasPlace(from)) {
      otherwise()
      return
    }
    const wait = waits.onTasks(from, [task], ms, {
      wake: () => {
        waits.end(wait)
        then()
      },
      expire: otherwise,
    })
  }

  /** The output of the run that counts, under its own number. */
  #readClosed(task: Task, body: LogRead, respond: Respond<'TaskLogRead'>): void {
    const result = resultOf(task)
    const captured = body.fd === 1 ? result?.stdout : result?.stderr
    const { max } = body
    const attempt = tellingAttempt(task)
    // Of any other run nothing can be read any more: it is read from its beginning.
    const offset = (body.attempt ?? attempt) === attempt ? body.offset : 0
    if (captured === undefined || hasHadAll(task, body)) {
      respond('TaskOutputData', { offset, data: empty, eof: true, lost: 0, attempt })
      return
    }
    if (captured.inline !== undefined) {
      const part = slice(captured.inline, captured, offset, max)
      respond('TaskOutputData', { ...part, attempt })
      return
    }
    const there = task.heldBy === undefined ? undefined : this.#workers.reach(task.heldBy)
    if (there === undefined && this.#workers.mayReturn(task.heldBy ?? '')) {
      respond('Error', { code: 'busy', retry_after_ms: AGAIN_MS })
      return
    }
    if (captured.ref === undefined || there === undefined) {
      respond('NotFound', {})
      return
    }
    const ask = { ref: captured.ref, offset, max: Math.min(max, DATA_BYTES) }
    this.#kernel.deps.mesh.ask(there.peerId, 'BlobRead', ask, 10_000, (outcome) => {
      if (outcome._tag === 'Right' && outcome.right.kind === 'BlobData')
        return respond('TaskOutputData', { ...outcome.right.body, attempt })
      if (outcome._tag === 'Right' && outcome.right.kind === 'NotFound')
        return respond('NotFound', {})
      // A slow link, or one that broke: the bytes are still where they were.
      respond('Error', { code: 'busy', retry_after_ms: AGAIN_MS })
    })
  }

  input(body: Input, respond: Respond<'TaskInput'>, from: Peer): void {
    const task = this.#kernel.find(body.task_id, whereOf(from, 'tasks:run'))
    if (task === undefined || isClosed(task) || task.closing !== undefined) {
      respond('NotFound', {})
      return
    }
    const { attempt = task.attempt } = body
    if (attempt < task.attempt) {
      respond('NotMine', {}) // another one is to have it, from the first byte
      return
    }
    const { config, deps } = this.#kernel
    const again = () => this.input(body, respond, from)
    const busy = () => respond('Error', { code: 'busy', retry_after_ms: 1_000 })
    // A program that has not started reads nothing yet.
    const isThere = task.state === 'running' && attempt === task.attempt
    const there = isThere ? this.#whereabouts(task) : undefined
    if (there === undefined) {
      this.#whenMoved(task, from, config.maxWaitMs, again, busy)
      return
    }
    const { task_id, offset, data, eof } = body
    const ask = { task_id, offset, data, eof, rel: there.rel, attempt: task.attempt }
    deps.mesh.ask(there.peerId, 'TaskInput', ask, config.maxWaitMs, (outcome) => {
      if (outcome._tag === 'Left' || outcome.right.kind === 'NotMine') return busy()
      if (outcome.right.kind === 'Error') return respond('Error', outcome.right.body)
      respond(outcome.right.kind, {})
    })
  }
}

/** Does a slow link have no room for more, for now? */
const isCrowded = (outcome: Either<AskFailure, AnswerOf<'TaskOutputRead'>>): boolean =>
  outcome._tag === 'Right' &&
  outcome.right.kind === 'Error' &&
  (outcome.right.body.code === 'busy' || outcome.right.body.code === 'deadline')

/** Who followed an earlier attempt begins with the new one. */
const startOf = (task: Task, { attempt = task.attempt, offset }: LogRead): number =>
  attempt < task.attempt ? 0 : offset

/** Was it at the end of the run that counts, and waits for another that will never be? */
const hasHadAll = (task: Task, { attempt, offset }: LogRead): boolean => {
  if (attempt === undefined) return false
  const last = tellingAttempt(task)
  if (attempt > task.attempt) return last === task.attempt
  return attempt === last + 1 && offset === 0
}

const slice = (
  bytes: Uint8Array,
  { lost }: Captured,
  offset: number,
  max: number,
): OutputData => {
  const end = Math.min(bytes.byteLength, offset + Math.min(max, DATA_BYTES))
  const data = bytes.subarray(Math.min(offset, end), end)
  return { offset, data, eof: end >= bytes.byteLength, lost: lost ?? 0 }
}
