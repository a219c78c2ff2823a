// Waiting: reads of closed tasks. A batch's closed tasks are a log that is read by cursor,
// so a broken connection loses none and repeats none; ids are asked for until all closed.

import type { TaskDone } from '../../protocol/index.ts'
import { ClientError } from './failures.ts'
import type { Answered, Asks } from './link.ts'
import { pause } from './pause.ts'

/** How long a manager keeps a wait open before it answers that nothing happened. */
const WAIT_MS = 20_000
/** What the answer may take beyond that. */
const GRACE_MS = 5_000
const IDS_PER_ASK = 1000

export interface WaitOptions {
  readonly signal?: AbortSignal | undefined
}

export type DonePage = Extract<Answered<'TasksWait'>, { kind: 'TasksDone' }>['body']

/** Asks once for what of a batch has closed after `cursor`; undefined: no such batch. */
export const askDone = async (
  link: Asks,
  batch: string,
  after: number,
  signal?: AbortSignal,
): Promise<DonePage | undefined> => {
  const answer = await link.ask(
    'TasksWait',
    { batch, after, wait_ms: WAIT_MS },
    { timeoutMs: WAIT_MS + GRACE_MS, signal },
  )
  return answer.kind === 'TasksDone' ? answer.body : undefined
}

/** The closed tasks of a batch as they close, until none is open. */
export async function* waitForBatch(
  link: Asks,
  batch: string,
  options: WaitOptions = {},
): AsyncGenerator<TaskDone> {
  let cursor = 0
  for (;;) {
    const page = await askDone(link, batch, cursor, options.signal)
    if (page === undefined)
      throw new ClientError({ kind: 'not-found', what: `batch ${batch}` })
    cursor = page.cursor
    yield* page.done
    if (page.open === 0 && page.done.length === 0) return
  }
}

/** The given tasks as they close, each once. */
export async function* waitForTasks(
  link: Asks,
  ids: readonly string[],
  options: WaitOptions = {},
): AsyncGenerator<TaskDone> {
  for (let first = 0; first < ids.length; first += IDS_PER_ASK) {
    const open = new Set(ids.slice(first, first + IDS_PER_ASK))
    while (open.size > 0)
      yield* await askTasks(link, open, { waitMs: WAIT_MS, signal: options.signal })
  }
}

/** Those of the given tasks that have closed by now, each once, in parts. */
export async function* askClosed(
  link: Asks,
  ids: readonly string[],
  signal?: AbortSignal,
): AsyncGenerator<readonly TaskDone[]> {
  for (let first = 0; first < ids.length; first += IDS_PER_ASK) {
    const open = new Set(ids.slice(first, first + IDS_PER_ASK))
    while (open.size > 0) {
      const done = await askTasks(link, open, { waitMs: 0, signal })
      if (done.length === 0) break
      yield done
    }
  }
}

/** Asks once which have closed, and takes them out of `open`. */
const askTasks = async (
  link: Asks,
  open: Set<string>,
  how: { readonly waitMs: number; readonly signal: AbortSignal | undefined },
): Promise<readonly TaskDone[]> => {
  const answer = await link.ask(
    'TasksWait',
    { task_ids: [...open], after: 0, wait_ms: how.waitMs },
    { timeoutMs: how.waitMs + GRACE_MS, signal: how.signal },
  )
  if (answer.kind === 'NotFound')
    throw new ClientError({ kind: 'not-found', what: whatOf(open) })
  return answer.body.done.filter((done) => open.delete(done.task_id))
}

const whatOf = (ids: ReadonlySet<string>): string => {
  const [first] = ids
  return ids.size === 1 ? `task ${first}` : `task (one of ${ids.size}, first ${first})`
}

/** An answer with at least so many outcomes left more behind, or will soon. */
const FULL = 64
/** Too short to be seen, long enough to gather what several workers end meanwhile. */
const JOIN_MS = 20

/**
 * Reads of a busy batch's log that would follow each other closer than this are joined: a
 * round trip for each outcome would cost more than most tasks. Where many come at once, or
 * few are left, there is no pause.
 */
export const joinReads = (
  page: DonePage,
  signal: AbortSignal,
): Promise<void> | undefined =>
  page.open > 16 && page.done.length < FULL ? pause(JOIN_MS, signal) : undefined
