// run: one program somewhere in the mesh, as if it ran here: its output as it comes to the
// right descriptors, piped stdin to it, its exit code from us. Ctrl-C ends it there.

import type { TaskDone } from '../../protocol/index.ts'
import type { Client } from '../client/client.ts'
import { isClientError } from '../client/failures.ts'
import { KEPT_BYTES } from '../client/input.ts'
import type { TaskRun } from '../client/run.ts'
import { type Io, type MeshOptions, READER_GONE, Sink, withClient } from './io.ts'
import { complaintOf, EXIT, exitCodeOf, lossesOf } from './outcome.ts'
import { checkCommand, type TaskFlags, taskMaker } from './task-flags.ts'
import { formatSize } from './values.ts'

/** A task that has not begun after this gets a line that says why. */
const PATIENCE_MS = 2_000

export const run = (
  io: Io,
  command: readonly string[],
  options: MeshOptions & TaskFlags,
): Promise<number> => {
  checkCommand('run', command)
  const task = taskMaker({ output: 'stream', ...options }, io.cwd)(command, {
    ...(io.hasInput && { stdin_live: true }),
  })
  const stderr = new Sink(io.stderr)
  let last = 1
  const onAttempt = (attempt: number) => {
    const what = attempt > last ? 'begins' : 'succeeded after all'
    last = attempt
    void stderr.line(`manyhands: attempt ${attempt} ${what}; its output follows`)
  }
  const onInputLost = () =>
    void stderr.line(
      `manyhands: it runs again, and its input was longer than the ${formatSize(KEPT_BYTES)} that are kept for that; the task is cancelled`,
    )
  return withClient(io, options, async (client) =>
    follow(io, client, await client.run(task, { onAttempt, onInputLost })),
  )
}

/** Streams a task until its end; how it ended, as an exit code. */
const follow = async (io: Io, client: Client, task: TaskRun): Promise<number> => {
  const stdout = new Sink(io.stdout)
  const stderr = new Sink(io.stderr)
  const say = (text: string) => stderr.line(`manyhands: ${text}`)
  const interrupts = interruptible(io, task, say)
  const impatience = setTimeout(() => void explainWait(client, task, say), PATIENCE_MS)
  const stopImpatience = () => clearTimeout(impatience)
  if (io.hasInput) void forward(io, task, say)
  const ended = Promise.all([
    pump(task.stdout, stdout, task, stopImpatience),
    pump(task.stderr, stderr, task, stopImpatience),
    task.done,
  ]).then(async ([isRead, , done]) => {
    if (interrupts.happened()) return interrupts.code()
    return isRead ? await conclude(done, say) : READER_GONE
  })
  try {
    return await Promise.race([ended, interrupts.atOnce])
  } finally {
    stopImpatience()
    interrupts.undo()
    io.stdin.destroy() // a silent pipe would keep the process alive
    ended.catch(() => undefined) // after a second Ctrl-C nobody waits for it
  }
}

const conclude = async (
  done: TaskDone,
  say: (text: string) => Promise<boolean>,
): Promise<number> => {
  for (const loss of lossesOf(done)) await say(loss)
  const complaint = complaintOf(done)
  if (complaint !== undefined) await say(complaint)
  return exitCodeOf(done)
}

/** False: nobody reads any more, the task was cancelled for it. */
const pump = async (
  source: AsyncIterable<Uint8Array>,
  sink: Sink,
  task: TaskRun,
  onData: () => void,
): Promise<boolean> => {
  for await (const data of source) {
    onData()
    if (await sink.write(data)) continue
    await task.cancel()
    return false
  }
  return true
}

/** Sends piped input on as the program takes it. */
const forward = async (
  io: Io,
  task: TaskRun,
  say: (text: string) => Promise<boolean>,
): Promise<void> => {
  try {
    for await (const data of io.stdin) if (!(await task.stdin.write(data))) return
    await task.stdin.end()
  } catch (error) {
    // The mesh's failures, and our own end of reading when the task is over, `done` tells.
    const cause = io.stdin.errored
    if (isClientError(error) || cause === null || cause === undefined) return
    // Half an input must not pass for a whole one, and the program would wait for the rest.
    await say(`cannot read stdin (${cause.message}); the task is cancelled`)
    await task.cancel().catch(() => undefined) // a lost mesh: `done` tells
  }
}

/** The first Ctrl-C cancels and waits, the second leaves at once. */
const interruptible = (
  io: Io,
  task: TaskRun,
  say: (text: string) => Promise<boolean>,
): {
  readonly atOnce: Promise<number>
  happened(): boolean
  code(): number
  undo(): void
} => {
  let first: 'SIGINT' | 'SIGTERM' | undefined
  const code = () => (first === 'SIGTERM' ? 143 : EXIT.interrupted)
  let undo: () => void = () => undefined
  const atOnce = new Promise<number>((resolve, reject) => {
    undo = io.onInterrupt((signal) => {
      if (first !== undefined) return resolve(code())
      first = signal
      void say(`cancelling ${task.id}; again to leave at once`)
      task.cancel().catch(reject)
    })
  })
  return { atOnce, happened: () => first !== undefined, code, undo }
}

const explainWait = async (
  client: Client,
  task: TaskRun,
  say: (text: string) => Promise<boolean>,
): Promise<void> => {
  try {
    const { state, summary } = await client.explain(task.id)
    if (state === 'queued')
      await say(`waiting: ${summary} (more: manyhands explain ${task.id})`)
  } catch {
    // It is a courtesy: the task's own way tells what is wrong.
  }
}
