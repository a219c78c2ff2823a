// Submitting: tasks go to the manager in pages, several of them under way, each with a key
// of its own under the submission's key. A page sent twice (the answer was lost) is
// answered with the same ids; a busy manager is asked again after the time it names.

import { randomBytes } from 'node:crypto'
import type { TaskRequest } from '../../protocol/index.ts'
import { ClientError } from './failures.ts'
import type { Asks } from './link.ts'
import { pagesOf, type Tasks } from './pages.ts'
import { pause } from './pause.ts'

export interface SubmitOptions {
  /**
   * The same key again submits nothing and gives the same ids: choose one to repeat a
   * submission safely (the same tasks in the same order). At most 48 characters;
   * default: random.
   */
  readonly key?: string
  /** Groups tasks for wait and cancel; default: the key. At most 64 characters. */
  readonly batch?: string
  /** Once more tasks of the batch than this have failed, what is open of it is aborted. */
  readonly maxFails?: number
  readonly signal?: AbortSignal
}

/** What each of its pages is submitted with. */
interface Submitting {
  readonly key: string
  readonly batch: string
  readonly maxFails?: number
  readonly signal?: AbortSignal | undefined
}

/** Pages that may be under way at once: enough to hide the round trip. */
const WINDOW = 4
/** A manager that takes nothing for so long is told of, and then again. */
const WAITING_MS = { first: 3_000, again: 30_000 }
/** Pause before a busy manager that named no time is asked again, doubling. */
const BUSY_MS = 50
const BUSY_MAX_MS = 2_000

/** Random per process: asking the system for each key would cost more than a small task's rest. */
let keyPrefix: string | undefined
let keys = 0

/** A new key that no other submission has. */
export const newKey = (): string => {
  keyPrefix ??= randomBytes(12).toString('base64url')
  keys += 1
  return `${keyPrefix}-${keys.toString(36)}`
}

/** Checks what the caller gave; throws a RangeError. */
export const keyOf = (options: SubmitOptions): Omit<Submitting, 'signal'> => {
  const key = options.key ?? newKey()
  const batch = options.batch ?? key
  if (key === '' || key.length > 48)
    throw new RangeError(`Expected \`key\` to have 1 to 48 characters, got ${key.length}`)
  if (batch === '' || batch.length > 64)
    throw new RangeError(
      `Expected \`batch\` to have 1 to 64 characters, got ${batch.length}`,
    )
  const { maxFails } = options
  if (maxFails !== undefined && !(Number.isSafeInteger(maxFails) && maxFails >= 0))
    throw new RangeError(`Expected \`maxFails\` to be 0 or more, got ${maxFails}`)
  return { key, batch, ...(maxFails !== undefined && { maxFails }) }
}

/** Hands in one page; the ids in the order of its tasks. */
export const submitPage = async (
  link: Asks,
  { key, batch, maxFails }: Omit<Submitting, 'signal'>,
  tasks: readonly TaskRequest[],
  signal?: AbortSignal,
): Promise<readonly string[]> => {
  let tellAtMs = performance.now() + WAITING_MS.first
  for (let attempt = 0; ; attempt++) {
    const answer = await link.ask(
      'TasksSubmit',
      {
        key,
        batch,
        tasks: [...tasks],
        ...(maxFails !== undefined && { max_fails: maxFails }),
      },
      { timeoutMs: 20_000, signal },
    )
    if (answer.kind === 'TasksSubmitted') return answer.body.task_ids
    const { reason, message, retry_after_ms } = answer.body
    // A manager that closes has a successor, or the connection ends with it.
    if (!['busy', 'closing'].includes(reason) && retry_after_ms === undefined)
      throw new ClientError({
        kind: 'rejected',
        exchange: 'TasksSubmit',
        code: reason,
        message,
      })
    if (performance.now() >= tellAtMs) {
      tellAtMs = performance.now() + WAITING_MS.again
      link.waiting?.(message)
    }
    await pause(
      retry_after_ms ?? Math.min(BUSY_MAX_MS, BUSY_MS * 2 ** Math.min(attempt, 10)),
      signal,
    )
  }
}

/** A page that the manager has recorded: the ids of tasks `first` and following. */
export interface SubmittedPage {
  readonly first: number
  readonly taskIds: readonly string[]
}

export interface SubmitAllOptions extends Submitting {
  /** Awaited before each page: keeps a submission from running far ahead of the work. */
  readonly gate?: (() => Promise<void> | undefined) | undefined
  /** Told at once of a page that failed, while the source may be silent for long. */
  readonly onFailure?: ((error: unknown) => void) | undefined
}

/** Hands in all tasks; calls `onPage` as pages are recorded, in any order. */
export const submitAll = async (
  link: Asks,
  tasks: Tasks,
  options: SubmitAllOptions,
  onPage: (page: SubmittedPage) => void,
): Promise<number> => {
  const underWay = new Set<Promise<void>>()
  let failure: { readonly error: unknown } | undefined
  let count = 0
  let number = 0
  for await (const page of pagesOf(tasks)) {
    await options.gate?.()
    while (underWay.size >= WINDOW && failure === undefined) await Promise.race(underWay)
    if (failure !== undefined || options.signal?.aborted) break
    const first = count
    const key = number === 0 ? options.key : `${options.key}.${number}`
    const sending: Promise<void> = submitPage(
      link,
      { ...options, key },
      page,
      options.signal,
    ).then(
      (taskIds) => {
        underWay.delete(sending)
        onPage({ first, taskIds })
      },
      (error: unknown) => {
        underWay.delete(sending)
        failure ??= { error }
        options.onFailure?.(error)
      },
    )
    underWay.add(sending)
    count += page.length
    number++
  }
  await Promise.all(underWay)
  if (failure !== undefined) throw failure.error
  if (options.signal?.aborted) throw new ClientError({ kind: 'aborted' })
  return count
}
