// One task, from submission to outcome. TasksSubmit and the TasksWait for it leave in the
// same turn, so the outcome costs one round trip and not two.

import type { TaskDone, TaskRequest } from '../../protocol/index.ts'
import { ClientError } from './failures.ts'
import { type TaskStdin, taskStdin } from './input.ts'
import type { Asks } from './link.ts'
import { readOutput } from './output.ts'
import { keyOf, type SubmitOptions, submitPage } from './submit.ts'
import { askDone, type DonePage } from './wait.ts'

/** A submitted task. */
export interface TaskRun {
  readonly id: string
  /** What it writes, live; reading starts with the first `next`. */
  readonly stdout: AsyncIterable<Uint8Array>
  readonly stderr: AsyncIterable<Uint8Array>
  /** Its stdin, if the task was submitted with `stdin_live`. */
  readonly stdin: TaskStdin
  /** How it ended; its own failure is a value here. Rejects with a ClientError only. */
  readonly done: Promise<TaskDone>
  /** Aborts it; resolves when its process group is gone. */
  cancel(): Promise<void>
}

export interface RunOptions extends SubmitOptions {
  /** What stdout and stderr yield from now on is another attempt's, from its first byte. */
  readonly onAttempt?: (attempt: number) => void
  /** It runs again and needs the input that was written, of which too much came to be kept: it is cancelled. */
  readonly onInputLost?: () => void
}

/** Submits one task and begins to wait for it, in this turn. */
export const runTask = async (
  link: Asks,
  task: TaskRequest,
  options: RunOptions = {},
): Promise<TaskRun> => {
  const page = keyOf(options)
  const { signal } = options
  const ids = submitPage(link, page, [task], signal)
  // A batch of several runs tells nothing of this one; its own key does when they are one.
  const first = page.batch === page.key ? askDone(link, page.batch, 0, signal) : undefined
  const done = outcomeOf(link, { ids, first, batch: page.batch, signal })
  done.catch(() => undefined) // whoever awaits it hears of it; nobody must
  const [id] = await ids
  if (id === undefined)
    throw new ClientError({
      kind: 'protocol',
      exchange: 'TasksSubmit',
      detail: 'no id for one task',
    })
  let attempt = 1
  const onAttempt = (begun: number) => {
    if (begun === attempt) return // the other descriptor's reader was first
    attempt = begun
    options.onAttempt?.(begun)
  }
  const isRetried = (task.retries ?? 0) > 0
  const read = (fd: 1 | 2) => readOutput(link, id, { fd, signal, isRetried, onAttempt })
  return {
    id,
    stdout: { [Symbol.asyncIterator]: () => read(1) },
    stderr: { [Symbol.asyncIterator]: () => read(2) },
    stdin: taskStdin(link, id, { signal, onLost: options.onInputLost }),
    done,
    async cancel() {
      await link.ask('TasksCancel', { task_ids: [id] }, { timeoutMs: CANCEL_MS })
    },
  }
}

/** An abort is answered when the processes are gone: the grace of the task and more. */
export const CANCEL_MS = 60_000

interface Outcome {
  readonly ids: Promise<readonly string[]>
  readonly first: Promise<DonePage | undefined> | undefined
  readonly batch: string
  readonly signal: AbortSignal | undefined
}

const outcomeOf = async (link: Asks, run: Outcome): Promise<TaskDone> => {
  let [page, [id]] = await Promise.all([run.first, run.ids])
  for (;;) {
    const done = page?.done.find((one) => one.task_id === id)
    if (done !== undefined) return done
    // The first wait may have overtaken the record of the submission, and found no batch.
    page = await askDone(link, run.batch, page?.cursor ?? 0, run.signal)
    if (page === undefined)
      throw new ClientError({ kind: 'not-found', what: `task ${id}` })
  }
}
