// run --each: one task per item, spread over the mesh as one batch. Submission runs a
// bounded way ahead, outcomes come from the batch's log with their output inside, so that
// no task costs a round trip of its own; each task's output is written whole.

import type { Captured, TaskDone, TaskRequest } from '../../protocol/index.ts'
import type { BatchRun } from '../client/batch.ts'
import type { Client } from '../client/client.ts'
import { BatchDisplay } from './batch-display.ts'
import { InputOrder } from './input-order.ts'
import {
  type Io,
  type MeshOptions,
  READER_GONE,
  Sink,
  UsageError,
  withClient,
} from './io.ts'
import { type ItemFlags, itemsOf } from './items.ts'
import { EXIT } from './outcome.ts'
import { commandTemplate } from './placeholders.ts'
import { json, textField } from './table.ts'
import { checkCommand, type TaskFlags, taskMaker } from './task-flags.ts'

export interface EachFlags extends ItemFlags {
  readonly keepOrder?: boolean
  readonly maxFails?: number
  readonly json?: boolean
  readonly quiet?: boolean
}

export const runEach = async (
  io: Io,
  command: readonly string[],
  options: MeshOptions & TaskFlags & EachFlags,
): Promise<number> => {
  checkCommand('run --each', command)
  if (options.output === 'stream')
    throw new UsageError('--output stream is for one task; --each keeps outputs whole')
  const items = await itemsOf(io, options)
  return withClient(io, options, async (client) => {
    const open = new Map<number, string>()
    const tasks = tasksOf(items.each, command, { io, options, open })
    const { maxFails } = options
    const batch = client.runAll(tasks, maxFails === undefined ? {} : { maxFails })
    const display = new BatchDisplay(new Sink(io.stderr), {
      total: items.total,
      progress: () => batch.progress(),
      isQuiet: options.quiet === true,
    })
    const printer = new Printer(client, new Sink(io.stdout), display, open, options)
    return await show(io, { batch, display, printer })
  })
}

/** The tasks of the items, made as they are taken; `open` remembers the items of open ones. */
async function* tasksOf(
  items: AsyncIterable<string> | Iterable<string>,
  command: readonly string[],
  context: {
    readonly io: Io
    readonly options: TaskFlags
    readonly open: Map<number, string>
  },
): AsyncGenerator<TaskRequest> {
  const fill = commandTemplate(command)
  const make = taskMaker(context.options, context.io.cwd)
  let index = 0
  for await (const item of items) {
    context.open.set(index, item)
    index++
    yield make(fill(item, index))
  }
}

interface Shown {
  readonly batch: BatchRun
  readonly display: BatchDisplay
  readonly printer: Printer
}

const show = async (io: Io, { batch, display, printer }: Shown): Promise<number> => {
  let interrupted: 'SIGINT' | 'SIGTERM' | undefined
  let undo: () => void = () => undefined
  const atOnce = new Promise<number>((resolve, reject) => {
    undo = io.onInterrupt((signal) => {
      if (interrupted !== undefined) return resolve(EXIT.interrupted)
      interrupted = signal
      void display.say('cancelling what is open; again to leave at once')
      batch.cancel().catch(reject)
    })
  })
  const work = (async () => {
    for await (const { index, done } of batch) {
      display.count(done)
      if (await printer.print(index, done)) continue
      await batch.cancel()
      return READER_GONE
    }
    await printer.rest()
    const { stopped, submitted } = batch.progress()
    if (stopped !== undefined) await display.stopped(stopped, submitted)
    await display.end()
    if (interrupted !== undefined)
      return interrupted === 'SIGINT' ? EXIT.interrupted : 143
    return batch.progress().failed === 0 ? EXIT.ok : EXIT.failed
  })()
  try {
    return await Promise.race([work, atOnce])
  } finally {
    work.catch(() => undefined) // after a second Ctrl-C nobody waits for it
    undo()
    io.stdin.destroy() // a silent pipe would keep the process alive
    display.stop()
  }
}

/** Writes the outcome of a task: its output, or with --json a line. */
class Printer {
  readonly #client: Client
  readonly #stdout: Sink
  readonly #display: BatchDisplay
  readonly #open: Map<number, string>
  readonly #isJson: boolean
  readonly #order: InputOrder | undefined

  constructor(
    client: Client,
    stdout: Sink,
    display: BatchDisplay,
    open: Map<number, string>,
    flags: EachFlags,
  ) {
    this.#client = client
    this.#stdout = stdout
    this.#display = display
    this.#open = open
    this.#isJson = flags.json === true
    this.#order = flags.keepOrder === true ? new InputOrder() : undefined
  }

  /** False: nobody reads any more. */
  async print(index: number, done: TaskDone): Promise<boolean> {
    if (this.#order === undefined) return await this.#one(index, done)
    for (const [at, next] of this.#order.add(index, done))
      if (!(await this.#one(at, next))) return false
    return true
  }

  /** What still waits for a predecessor that never came (a cancelled batch). */
  async rest(): Promise<void> {
    for (const [at, next] of this.#order?.rest() ?? []) await this.#one(at, next)
  }

  async #one(index: number, done: TaskDone): Promise<boolean> {
    const item = this.#open.get(index) ?? ''
    this.#open.delete(index)
    if (done.error !== undefined) await this.#display.failed(item, done)
    await this.#display.lost(item, done)
    if (this.#isJson) return this.#stdout.line(await this.#line(index, item, done))
    const { result } = done
    if (result?.stderr !== undefined)
      for await (const data of this.#bytes(done, 2, result.stderr))
        await this.#display.pass(data)
    if (result?.stdout === undefined) return true
    await this.#display.clear(this.#stdout)
    for await (const data of this.#bytes(done, 1, result.stdout))
      if (!(await this.#stdout.write(data))) return false
    return true
  }

  /** A descriptor's output: from the outcome, or read where it is kept. */
  async *#bytes(done: TaskDone, fd: 1 | 2, kept: Captured): AsyncGenerator<Uint8Array> {
    if (kept.inline !== undefined) yield kept.inline
    else yield* this.#client.output(done.task_id, { fd })
  }

  async #line(index: number, item: string, done: TaskDone): Promise<string> {
    const { result, error } = done
    const whole = async (fd: 1 | 2, kept: Captured | undefined) => {
      const parts: Uint8Array[] = []
      if (kept !== undefined)
        for await (const part of this.#bytes(done, fd, kept)) parts.push(part)
      return textField(fd === 1 ? 'stdout' : 'stderr', Buffer.concat(parts))
    }
    return json({
      index,
      item,
      task_id: done.task_id,
      state: done.state,
      host_name: done.host_name,
      attempt: done.attempt,
      exit_code:
        result?.exit_code ??
        (error && 'exit_code' in error ? error.exit_code : undefined),
      error,
      submitted_ms: done.submitted_ms,
      started_ms: done.started_ms,
      ended_ms: done.ended_ms,
      run_ms: result?.run_ms,
      ...(await whole(1, result?.stdout)),
      ...(await whole(2, result?.stderr)),
    })
  }
}
