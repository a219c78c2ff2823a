// Output: a task's stdout or stderr as an async iterable of bytes, pulled by offset. The
// next stretch is asked for while the caller still holds the last one, never more: a slow
// caller holds the program back (output policy `stream`) and not this process's memory.

import { DATA_BYTES, type OutputData } from '../../protocol/index.ts'
import { ClientError } from './failures.ts'
import type { Link } from './link.ts'

export interface OutputOptions {
  /** 1 stdout (default), 2 stderr. */
  readonly fd?: 1 | 2
  /** The first byte wanted; default 0. */
  readonly from?: number
  /** Goes on until the program has closed it (default); false: ends at what there is now. */
  readonly follow?: boolean
  readonly signal?: AbortSignal | undefined
}

/** How long a read waits for data at the holder. */
const WAIT_MS = 20_000
const GRACE_MS = 5_000
/** A follower that pauses says so this often, or its `stream` would turn into `capture`. */
const STAY_MS = 10_000

export async function* readOutput(
  link: Link,
  taskId: string,
  options: OutputOptions = {},
): AsyncGenerator<Uint8Array> {
  const { fd = 1, follow = true, signal } = options
  const read = (offset: number) => readAt(link, { taskId, fd, offset, follow, signal })
  let next = read(options.from ?? 0)
  for (;;) {
    const { offset, data, eof } = await next
    const end = offset + data.byteLength
    const isLast = eof || (!follow && data.byteLength === 0)
    if (!isLast) {
      next = read(end)
      // Its failure is met by the await above, which may come later than the failure.
      next.catch(() => undefined)
    }
    if (data.byteLength > 0) {
      const stay =
        follow && !isLast ? stayFollower(link, { taskId, fd, offset: end }) : undefined
      try {
        yield data
      } finally {
        clearInterval(stay)
      }
    }
    if (isLast) return
  }
}

interface ReadAt {
  readonly taskId: string
  readonly fd: 1 | 2
  readonly offset: number
  readonly follow: boolean
  readonly signal: AbortSignal | undefined
}

const readAt = async (link: Link, at: ReadAt): Promise<OutputData> => {
  const waitMs = at.follow ? WAIT_MS : 0
  const answer = await link.ask(
    'TaskLogRead',
    {
      task_id: at.taskId,
      fd: at.fd,
      offset: at.offset,
      max: DATA_BYTES,
      wait_ms: waitMs,
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
  link: Link,
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
