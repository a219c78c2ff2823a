// Worker runs: gets programs ready, starts them, signals them, times them, and makes the
// result of a run from how it ended. It decides nothing: the table of tasks does, and
// hears every outcome as an event. `noop:` takes the same way without a process.

import type { Assignment, Captured, TaskId, TaskResult } from '../../protocol/index.ts'
import { INLINE_BYTES } from '../../protocol/index.ts'
import type { JobFailure } from '../failures.ts'
import { userFor } from '../machines/users.ts'
import type { TaskEvent } from '../machines/worker-task.ts'
import { spawnError } from '../machines/worker-task.ts'
import type { Cancel, Clock, Jobs, PreparedJob, Run, RunEnd, Runner } from '../ports.ts'
import type { Account } from '../records.ts'
import type { Fd, KeptOutputs } from './kept-outputs.ts'
import { refOf } from './kept-outputs.ts'
import type { WorkerConfig } from './worker-config.ts'
import { specOf } from './worker-spec.ts'

/** A task that holds a slot. */
export interface Slot {
  readonly taskId: TaskId
  readonly run: number
  /** Attempts from this one on are this run (it may have been adopted under higher ones). */
  readonly firstAttempt: number
  readonly isNoop: boolean
  /** Ends what is fetched for it, if anything is. */
  preparing: AbortController | undefined
  job: PreparedJob | undefined
  program: Run | undefined
  timer: Cancel | undefined
  /** What is left of its output once it has ended. */
  left: { readonly bytes: number; readonly refs: readonly string[] } | undefined
  /** Of a `stream`: how many reads wait, and when the last one came. */
  readers: number
  lastReadMs: number
  watch: Cancel | undefined
  /** Its output is kept under the cap, not held for a reader. */
  isCapture: boolean
  /** Who it runs as; undefined: as the node. */
  account: Account | undefined
}

export interface RunsPorts {
  readonly clock: Clock
  readonly runner: Runner
  readonly jobs: Jobs
  readonly config: WorkerConfig
  readonly outputs: KeptOutputs
  /** Feeds the table of tasks. */
  readonly apply: (event: TaskEvent) => void
  /** The attempt under which a task runs now. */
  readonly attemptOf: (taskId: TaskId) => number | undefined
}

/** What is held of a `stream` at most, both descriptors together. */
const STREAM_BYTES = 2 * 1024 * 1024
const NOOP: PreparedJob = { program: '', leading: [] }
const NOOP_RESULT: TaskResult = { run_ms: 0, exit_code: 0 }
const NOOP_END = { exitCode: 0 }

export class WorkerRuns {
  readonly #ports: RunsPorts
  readonly #slots = new Map<TaskId, Slot>()

  constructor(ports: RunsPorts) {
    this.#ports = ports
  }

  slot(taskId: TaskId): Slot | undefined {
    return this.#slots.get(taskId)
  }

  prepare(task: Assignment, run: number): void {
    const { apply, clock, jobs, config } = this.#ports
    const taskId = task.task_id
    const isNoop = task.job_addr.startsWith('noop:')
    const slot: Slot = {
      taskId,
      run,
      firstAttempt: task.attempt,
      isNoop,
      preparing: undefined,
      job: isNoop ? NOOP : undefined,
      program: undefined,
      timer: undefined,
      left: undefined,
      readers: 0,
      lastReadMs: 0,
      watch: undefined,
      isCapture: task.output !== 'stream',
      account: undefined,
    }
    this.#slots.set(taskId, slot)
    if (isNoop) {
      apply({ kind: 'prepared', taskId, run, nowMs: clock.now() })
      return
    }
    // What waited over a restart may be no longer allowed.
    const judged = userFor(config.users, task.user)
    if ('fault' in judged) {
      const error = spawnError('EPERM', judged.fault)
      apply({ kind: 'unprepared', taskId, run, nowMs: clock.now(), error })
      return
    }
    slot.account = judged.account
    jobs.prepare(
      task.job_addr,
      (result) => {
        if (!this.#isCurrent(slot)) return // aborted meanwhile
        slot.preparing = undefined // an abort that nobody hears costs more than it seems
        const nowMs = clock.now()
        if (result._tag === 'Left') {
          apply({ kind: 'unprepared', taskId, run, nowMs, error: errorOf(result.left) })
          return
        }
        slot.job = result.right
        apply({ kind: 'prepared', taskId, run, nowMs })
      },
      () => {
        slot.preparing = new AbortController()
        return slot.preparing.signal
      },
    )
  }

  spawn(task: Assignment, run: number): void {
    const { apply, clock, runner, config } = this.#ports
    const slot = this.#slots.get(task.task_id)
    if (slot?.run !== run || slot.job === undefined) return
    const { taskId } = slot
    const started = (pid: number | undefined): void =>
      apply({
        kind: 'started',
        taskId,
        run,
        nowMs: clock.now(),
        atMs: clock.wall(),
        pid,
      })
    if (slot.isNoop) {
      started(undefined)
      const nowMs = clock.now()
      apply({ kind: 'exited', taskId, run, nowMs, end: NOOP_END, result: NOOP_RESULT })
      return
    }
    const events = { started, ended: (end: RunEnd) => this.#ended(slot, end) }
    const { job, account } = slot
    slot.program = runner.start(specOf(task, { job, account }, config), events)
    slot.lastReadMs = clock.now()
    if (task.output === 'stream') this.#watch(slot, config.unreadStreamMs)
  }

  /** Turns a stream that nobody reads into a capture. */
  #watch(slot: Slot, afterMs: number): void {
    const { clock, config } = this.#ports
    slot.watch = clock.after(afterMs, () => {
      const idleMs = slot.readers > 0 ? 0 : clock.now() - slot.lastReadMs
      if (idleMs >= config.unreadStreamMs) this.#detach(slot)
      else this.#watch(slot, config.unreadStreamMs - idleMs)
    })
  }

  signal(taskId: TaskId, run: number, signal: 'SIGTERM' | 'SIGKILL'): void {
    const slot = this.#slots.get(taskId)
    if (slot?.run !== run) return
    slot.program?.kill(signal)
    // A paused reader must not keep what is being ended from ending.
    this.#detach(slot)
  }

  #detach(slot: Slot): void {
    slot.isCapture = true
    slot.program?.detach()
  }

  timer(taskId: TaskId, run: number, afterMs: number): void {
    const slot = this.#slots.get(taskId)
    if (slot?.run !== run) return
    const { apply, clock } = this.#ports
    slot.timer?.()
    slot.timer = clock.after(afterMs, () =>
      apply({ kind: 'timer', taskId, run, nowMs: clock.now() }),
    )
  }

  /** The slot is free; its output is kept, unless nobody wants it. */
  gone(taskId: TaskId, run: number, isSilent: boolean): void {
    const slot = this.#slots.get(taskId)
    if (slot?.run !== run) return
    this.#slots.delete(taskId)
    slot.preparing?.abort()
    slot.timer?.()
    slot.watch?.()
    const { program, left } = slot
    if (program === undefined) return
    if (isSilent || left === undefined || left.bytes === 0) {
      program.release()
      return
    }
    const attempt = this.#ports.attemptOf(taskId) ?? slot.firstAttempt
    this.#ports.outputs.keep({ taskId, attempt }, program, left)
  }

  /** Ends everything at once and says nothing. */
  close(): void {
    for (const slot of [...this.#slots.values()]) {
      slot.program?.kill('SIGKILL')
      this.gone(slot.taskId, slot.run, true)
    }
  }

  #isCurrent(slot: Slot): boolean {
    return this.#slots.get(slot.taskId) === slot
  }

  #ended(slot: Slot, end: RunEnd): void {
    slot.timer?.()
    slot.watch?.()
    if (!this.#isCurrent(slot)) return
    const { stdout, stderr } = end
    const size = stdout.size + stderr.size
    if (size === 0 || size > INLINE_BYTES || stdout.lost + stderr.lost > 0) {
      this.#finish(slot, end, undefined, undefined)
      return
    }
    this.#bytes(slot, 1, stdout.size, (out) =>
      this.#bytes(slot, 2, stderr.size, (err) => this.#finish(slot, end, out, err)),
    )
  }

  /** All that a descriptor wrote; undefined if it is not all there any more (a stream that was read). */
  #bytes(
    slot: Slot,
    fd: Fd,
    size: number,
    settle: (bytes: Uint8Array | undefined) => void,
  ): void {
    if (size === 0 || slot.program === undefined) {
      settle(new Uint8Array(0))
      return
    }
    slot.program.read(fd, 0, size, 0, ({ offset, data, lost }) =>
      settle(offset === 0 && lost === 0 && data.length === size ? data : undefined),
    )
  }

  #finish(
    slot: Slot,
    end: RunEnd,
    out: Uint8Array | undefined,
    err: Uint8Array | undefined,
  ): void {
    if (!this.#isCurrent(slot)) return
    const { taskId, run } = slot
    const attempt = this.#ports.attemptOf(taskId) ?? slot.firstAttempt
    const isInline = out !== undefined && err !== undefined
    const refs: string[] = []
    const captured = (fd: Fd): Captured | undefined => {
      const { size, lost, sha256 } = fd === 1 ? end.stdout : end.stderr
      if (size === 0) return undefined
      const kept = { size, sha256, ...(lost === 0 ? {} : { lost }) }
      const inline = fd === 1 ? out : err
      if (isInline && inline !== undefined) return { ...kept, inline }
      const ref = refOf(taskId, attempt, fd)
      refs.push(ref)
      return { ...kept, ref }
    }
    const stdout = captured(1)
    const stderr = captured(2)
    const size = end.stdout.size - end.stdout.lost + end.stderr.size - end.stderr.lost
    // A stream's size counts what its reader has taken long ago.
    const bytes = slot.isCapture ? size : Math.min(size, STREAM_BYTES)
    slot.left = { bytes, refs }
    // Field by field: this is once for every task, and spreading costs more than it seems.
    const result: TaskResult = { run_ms: Math.max(0, Math.round(end.runMs)) }
    if (end.exitCode !== undefined) result.exit_code = end.exitCode
    if (stdout !== undefined) result.stdout = stdout
    if (stderr !== undefined) result.stderr = stderr
    if (end.lostTail) result.lost_tail = true
    const nowMs = this.#ports.clock.now()
    this.#ports.apply({ kind: 'exited', taskId, run, nowMs, end, result })
  }
}

const errorOf = (failure: JobFailure) => {
  const reason = failure.reason.slice(0, 1024)
  switch (failure.kind) {
    case 'download':
      return { kind: 'DownloadError', reason } as const
    case 'spawn':
      return spawnError(failure.code, reason)
    case 'invalid':
      return spawnError('EINVAL', reason)
  }
}
