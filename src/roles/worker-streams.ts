// Worker streams: answers reads of output and writes of input: of a task that waits for
// its slot, that runs, or that has ended; and reads of kept output by its address.

import type { OutputData, RequestOf, Respond, TaskId } from '../../protocol/index.ts'
import { DATA_BYTES } from '../../protocol/index.ts'
import type { Entry } from '../machines/worker-task.ts'
import type { Clock } from '../ports.ts'
import type { KeptOutputs } from './kept-outputs.ts'
import { parseRef } from './kept-outputs.ts'
import type { Slot } from './worker-runs.ts'

export interface StreamsPorts {
  readonly clock: Clock
  readonly outputs: KeptOutputs
  readonly entry: (taskId: TaskId) => Entry | undefined
  readonly slot: (taskId: TaskId) => Slot | undefined
}

const nothing = (offset: number, eof: boolean): OutputData => ({
  offset,
  data: new Uint8Array(0),
  eof,
  lost: 0,
})

/** How long an input waits for its program's start, where managers wait 60 s for the answer. */
const INPUT_WAIT_MS = 30_000
const INPUT_AGAIN_MS = 1_000

type Read = RequestOf<'TaskOutputRead'>
type Input = RequestOf<'TaskInput'>

export class WorkerStreams {
  readonly #ports: StreamsPorts
  /** What waits for a task's program to be started. Bounded by the peers' limits of long polls. */
  readonly #early = new Map<TaskId, Set<() => void>>()

  constructor(ports: StreamsPorts) {
    this.#ports = ports
  }

  read(body: Read, respond: Respond<'TaskOutputRead'>): void {
    const { task_id: taskId, attempt, fd, offset, wait_ms: waitMs } = body
    const entry = this.#ports.entry(taskId)
    const slot = this.#ports.slot(taskId)
    const max = Math.min(body.max, DATA_BYTES)
    if (slot !== undefined && isOfRun(slot, entry, attempt)) {
      if (slot.program === undefined) this.#readEarly(body, respond)
      else this.#readLive(slot, { ...body, max }, respond)
      return
    }
    const kept = this.#ports.outputs.find(taskId, attempt)
    if (kept !== undefined) {
      kept.read(fd, offset, max, waitMs, (data) => respond('TaskOutputData', data))
      return
    }
    if (entry === undefined || attempt < entry.task.attempt) respond('NotFound', {})
    else if (entry.kind === 'finished') this.#readOver(entry, body, respond)
    else this.#readEarly(body, respond)
  }

  /** Nothing of it is kept: it wrote nothing, or its outcome brings what an earlier life kept. */
  #readOver(
    { outcome }: Entry & { readonly kind: 'finished' },
    { fd, offset }: Read,
    respond: Respond<'TaskOutputRead'>,
  ): void {
    const captured = fd === 1 ? outcome.result?.stdout : outcome.result?.stderr
    if (captured === undefined) respond('TaskOutputData', nothing(offset, true))
    else respond('NotFound', {})
  }

  #readLive(slot: Slot, body: Read, respond: Respond<'TaskOutputRead'>): void {
    const { fd, offset, max, wait_ms: waitMs } = body
    const { clock } = this.#ports
    slot.lastReadMs = clock.now()
    if (max === 0) {
      respond('TaskOutputData', nothing(offset, false)) // only keeps its place
      return
    }
    slot.readers += 1
    slot.program?.read(fd, offset, max, waitMs, (data) => {
      slot.readers -= 1
      slot.lastReadMs = clock.now()
      respond('TaskOutputData', data)
    })
  }

  /** Waits for the start for as long as it would wait for data. */
  #readEarly(body: Read, respond: Respond<'TaskOutputRead'>): void {
    if (body.wait_ms === 0) {
      respond('TaskOutputData', nothing(body.offset, false))
      return
    }
    const { clock } = this.#ports
    const askedAtMs = clock.now()
    const leave = this.#whenStarted(body.task_id, () => {
      cancel()
      const waitMs = Math.max(0, body.wait_ms - (clock.now() - askedAtMs))
      this.read({ ...body, wait_ms: waitMs }, respond)
    })
    const cancel = clock.after(body.wait_ms, () => {
      leave()
      respond('TaskOutputData', nothing(body.offset, false))
    })
  }

  input(body: Input, respond: Respond<'TaskInput'>): void {
    const { task_id: taskId, offset, data, eof } = body
    const entry = this.#ports.entry(taskId)
    const isWanted =
      entry !== undefined &&
      entry.kind !== 'finished' &&
      entry.task.stdin_live === true &&
      (body.attempt ?? entry.task.attempt) <= lastAttempt(entry)
    const slot = this.#ports.slot(taskId)
    const isOfIt =
      slot !== undefined && isOfRun(slot, entry, body.attempt ?? slot.firstAttempt)
    const program = isOfIt ? slot.program : undefined
    if (!isWanted) respond('NotFound', {})
    else if (program === undefined) this.#inputEarly(body, respond)
    else {
      program.write(offset, data, eof, (isOpen) =>
        isOpen ? respond('Ack', {}) : respond('NotFound', {}),
      )
    }
  }

  /** Waits for the start, but not for ever: the asker comes again. */
  #inputEarly(body: Input, respond: Respond<'TaskInput'>): void {
    const leave = this.#whenStarted(body.task_id, () => {
      cancel()
      this.input(body, respond)
    })
    const cancel = this.#ports.clock.after(INPUT_WAIT_MS, () => {
      leave()
      respond('Error', { code: 'busy', retry_after_ms: INPUT_AGAIN_MS })
    })
  }

  #whenStarted(taskId: TaskId, fn: () => void): () => void {
    const waiting = this.#early.get(taskId) ?? new Set()
    this.#early.set(taskId, waiting)
    waiting.add(fn)
    return () => {
      waiting.delete(fn)
      if (waiting.size === 0 && this.#early.get(taskId) === waiting) {
        this.#early.delete(taskId)
      }
    }
  }

  /** The task's program is there now, or never will be: who waited is answered. */
  changed(taskId: TaskId): void {
    const waiting = this.#early.get(taskId)
    if (waiting === undefined) return
    this.#early.delete(taskId)
    for (const fn of waiting) fn()
  }

  readBlob(body: RequestOf<'BlobRead'>, respond: Respond<'BlobRead'>): void {
    const at = parseRef(body.ref)
    const run = at && this.#ports.outputs.find(at.taskId, at.attempt)
    if (at === undefined || run === undefined) {
      respond('NotFound', {})
      return
    }
    const max = Math.min(body.max, DATA_BYTES)
    run.read(at.fd, body.offset, max, 0, (data) => respond('BlobData', data))
  }

  releaseBlobs(refs: readonly string[]): void {
    for (const ref of refs) this.#ports.outputs.release(ref)
  }
}

/**
 * Is that attempt the run that holds the slot? It may have been adopted under higher
 * numbers; but a number that waits until that run is gone will be a run of its own.
 */
const isOfRun = (slot: Slot, entry: Entry | undefined, attempt: number): boolean =>
  attempt >= slot.firstAttempt && attempt <= (entry?.task.attempt ?? attempt)

/** The highest attempt that is here, the one that waits for the end of another included. */
const lastAttempt = (entry: Entry): number =>
  entry.kind === 'ending' && entry.next !== undefined
    ? entry.next.attempt
    : entry.task.attempt
