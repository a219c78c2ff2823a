// Output: a task's stdout or stderr as an async iterable of bytes, pulled by offset. The
// next stretch is asked for while the caller still holds the last one, never more: a slow
// caller holds the program back (output policy `stream`) and not this process's memory.

import { DATA_BYTES, type OutputData } from '../../protocol/index.ts'
import { ClientError } from './failures.ts'
import type { Asks } from './link.ts'

export interface OutputOptions {
  /** 1 stdout (default), 2 stderr. */
  readonly fd?: 1 | 2
  /** The first byte wanted; default 0. */
  readonly from?: number
  /** Goes on until the program has closed it (default); false: ends at what there is now. */
  readonly follow?: boolean
  readonly signal?: AbortSignal | undefined
  /** Goes on with the next attempt, if there will be one: for tasks with retries. */
  readonly isRetried?: boolean
  /**
   * From here on the bytes are another attempt's, from its first: of the next one, or of an
   * earlier one that turned out to be the one that counts.
   */
  readonly onAttempt?: ((attempt: number) => void) | undefined
}

/** How long a read waits for data at the holder. */
const WAIT_MS = 20_000
const GRACE_MS = 5_000
/** A follower that pauses says so this often, or its `stream` would turn into `capture`. */
const STAY_MS = 10_000

/** A task's output. */
export const readOutput = (
  link: Asks,
  taskId: string,
  options: OutputOptions = {},
): AsyncGenerator<Uint8Array> => {
  const { fd = 1, follow = true, signal } = options
  const read = (at: At) => readAt(link, { taskId, fd, follow, signal, ...at })
  const stay = ({ offset }: At) => stayFollower(link, { taskId, fd, offset })
  return readPlaces(read, options, stay)
}

/** A stretch of output that is wanted: from a byte on, of an attempt if that is known. */
export interface At {
  readonly offset: number
  readonly attempt: number | undefined
}

/** Output by whatever reads it at a place; `stay` keeps the place while the caller pauses. */
export async function* readPlaces(
  readAt: (at: At) => Promise<OutputData>,
  options: OutputOptions,
  stay?: (at: At) => NodeJS.Timeout,
): AsyncGenerator<Uint8Array> {
  const { follow = true } = options
  const place = new Place(options)
  let next = readAt(place.next)
  for (;;) {
    const answer = await next
    const { data } = answer
    const isLast = place.passed(answer) || (!follow && data.byteLength === 0)
    if (!isLast) {
      next = readAt(place.next)
      // Its failure is met by the await above, which may come later than the failure.
      next.catch(() => undefined)
    }
    if (data.byteLength > 0) {
      const staying = follow && !isLast ? stay?.(place.next) : undefined
      try {
        yield data
      } finally {
        clearInterval(staying)
      }
    }
    if (isLast) return
  }
}

/** Where a reader is: the attempt that it follows, and the byte that it wants next. */
class Place {
  readonly #options: OutputOptions
  #offset: number
  /** Asked for; undefined before the first answer, and with managers that do not say it. */
  #attempt: number | undefined
  /** Of which the last bytes were. */
  #seen: number | undefined

  constructor(options: OutputOptions) {
    this.#options = options
    this.#offset = options.from ?? 0
  }

  get next(): At {
    return { offset: this.#offset, attempt: this.#attempt }
  }

  /** Goes behind an answer; true: it was the last. */
  passed({ offset, data, eof, attempt }: OutputData): boolean {
    const isEmpty = data.byteLength === 0
    // An attempt was waited for that has not begun, and never will if the task is over.
    if (isEmpty && attempt !== undefined && attempt < (this.#attempt ?? 0)) return eof
    // One that has written nothing yet is not followed: an earlier one may still succeed.
    if (isEmpty && !eof && attempt !== this.#attempt) return false
    this.#offset = offset + data.byteLength
    if (attempt === undefined) return eof
    if (attempt !== (this.#seen ?? attempt)) this.#options.onAttempt?.(attempt)
    this.#seen = attempt
    this.#attempt = attempt
    if (!eof || this.#options.isRetried !== true) return eof
    this.#offset = 0
    this.#attempt = attempt + 1
    return false
  }
}

interface ReadAt {
  readonly taskId: string
  readonly fd: 1 | 2
  readonly offset: number
  readonly follow: boolean
  readonly signal: AbortSignal | undefined
  readonly attempt: number | undefined
}

const readAt = async (link: Asks, at: ReadAt): Promise<OutputData> => {
  const waitMs = at.follow ? WAIT_MS : 0
  const answer = await link.ask(
    'TaskLogRead',
    {
      task_id: at.taskId,
      fd: at.fd,
      offset: at.offset,
      max: DATA_BYTES,
      wait_ms: waitMs,
      ...(at.attempt !== undefined && { attempt: at.attempt }),
    },
    { timeoutMs: waitMs + GRACE_MS, signal: at.signal },
  )
  if (answer.kind === 'NotFound')
    throw new ClientError({
      kind: 'not-found',
      what: `task ${at.taskId}, or its output is gone with the node that kept it,`,
    })
  return answer.body
}

const stayFollower = (
  link: Asks,
  at: { readonly taskId: string; readonly fd: 1 | 2; readonly offset: number },
): NodeJS.Timeout =>
  setInterval(() => {
    link
      .ask('TaskLogRead', {
        task_id: at.taskId,
        fd: at.fd,
        offset: at.offset,
        max: 0,
        wait_ms: 0,
      })
      .catch(() => undefined)
  }, STAY_MS).unref()
