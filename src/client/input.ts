// Input: the stdin of a running task, written by offset. Each write resolves when there is
// room for more, so a writer that awaits is held back by the program; a write that was
// sent twice (the answer was lost) is taken once, by its offset.

import { DATA_BYTES, type RequestOf } from '../../protocol/index.ts'
import { isClientError } from './failures.ts'
import { type Link, pause } from './link.ts'

export interface TaskStdin {
  /** Resolves when there is room for more; false: the program reads no more. */
  write(data: Uint8Array): Promise<boolean>
  /** Closes the stdin. */
  end(): Promise<void>
}

/** An input that is refused for the moment (the task moves) is offered again after this. */
const MOVING_MS = 100
/**
 * Other messages stand behind a piece on its way: over slow links pieces become smaller,
 * until one is taken in about as long as those may wait.
 */
const FIRST_BYTES = 16 * 1024
const LEAST_BYTES = 1024
const SLOW_MS = 1_000
const FAST_MS = SLOW_MS / 4

const nextSize = (size: number, tookMs: number): number => {
  if (tookMs > SLOW_MS) return Math.max(LEAST_BYTES, size / 2)
  return tookMs < FAST_MS ? Math.min(DATA_BYTES, size * 2) : size
}

/** A program that reads nothing holds an answer back; then the same is asked again. */
const TIMEOUT_MS = 60_000

export const taskStdin = (
  link: Link,
  taskId: string,
  signal?: AbortSignal,
): TaskStdin => {
  let offset = 0
  let isOpen = true
  let size = FIRST_BYTES

  const offer = (body: RequestOf<'TaskInput'>) =>
    link.ask('TaskInput', body, { timeoutMs: TIMEOUT_MS, signal }).then(
      (answer) => answer.kind,
      (error: unknown) => {
        if (isStillFull(error)) return 'Full' as const
        throw error
      },
    )

  const send = async (data: Uint8Array, options: { eof: boolean }): Promise<void> => {
    while (isOpen) {
      const taken = await offer({ task_id: taskId, offset, data, eof: options.eof })
      if (taken === 'NotFound') isOpen = false
      if (taken === 'Ack') {
        offset += data.byteLength
        return
      }
      if (taken === 'NotMine') await pause(MOVING_MS, signal)
    }
  }

  return {
    async write(data) {
      for (let at = 0; at < data.byteLength && isOpen; ) {
        const piece = data.subarray(at, at + size)
        const startMs = performance.now()
        await send(piece, { eof: false })
        size = nextSize(size, performance.now() - startMs)
        at += piece.byteLength
      }
      return isOpen
    },
    async end() {
      await send(new Uint8Array(0), { eof: true })
      isOpen = false
    },
  }
}

/** The program did not read meanwhile; that is its right. */
const isStillFull = (error: unknown): boolean =>
  isClientError(error, 'no-answer') ||
  (isClientError(error, 'rejected') &&
    error.failure.kind === 'rejected' &&
    error.failure.code === 'deadline')
