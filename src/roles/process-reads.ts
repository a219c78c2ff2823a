// Process reads: answers who reads what a process writes, waits for it, or writes to it.

import type { OutputData, RequestOf, Respond } from '../../protocol/index.ts'
import { DATA_BYTES } from '../../protocol/index.ts'
import { isOver, type Process } from '../machines/process.ts'
import { infoOf } from '../machines/process-table.ts'
import type { Clock } from '../ports.ts'
import type { HeldProcess } from './process-held.ts'

/** A process as it is asked about; `state` is read anew at each call. */
export interface Asked {
  readonly id: string
  readonly held: HeldProcess
  readonly state: () => Process
}

export const answerWait = (
  { id, held, state }: Asked,
  { until, wait_ms: waitMs }: RequestOf<'ProcessWait'>,
  respond: Respond<'ProcessWait'>,
): void => {
  // One that has ended for good will not be ready any more.
  const isSo = (): boolean => isOver(state()) || (until === 'ready' && state().isReady)
  held.when(isSo, waitMs, () => respond('ProcessStatus', infoOf(id, state())))
}

/** Of a run that is gone the answer is the beginning of a later one; one to come is waited for. */
export const answerRead = (
  clock: Clock,
  { held, state }: Asked,
  body: RequestOf<'ProcessOutputRead'>,
  respond: Respond<'ProcessOutputRead'>,
): void => {
  const wanted = body.run ?? held.last?.number ?? 1
  const untilMs = clock.now() + body.wait_ms
  const isThere = (): boolean => (held.last?.number ?? 0) >= wanted
  held.when(
    () => isThere() || isOver(state()),
    body.wait_ms,
    () => {
      const found = held.runFrom(wanted)
      if (found === undefined) {
        const last = held.last?.number ?? 1
        return respond('TaskOutputData', nothingOf(last, isOver(state())))
      }
      const { number, run } = found
      const offset = number === wanted ? body.offset : 0
      const leftMs = Math.max(0, untilMs - clock.now())
      run.read(body.fd, offset, Math.min(body.max, DATA_BYTES), leftMs, (data) =>
        respond('TaskOutputData', { ...data, attempt: number }),
      )
    },
  )
}

const nothingOf = (attempt: number, eof: boolean): OutputData => ({
  offset: 0,
  data: new Uint8Array(0),
  eof,
  lost: 0,
  attempt,
})

export const answerInput = (
  { held }: Asked,
  { offset, data, eof }: RequestOf<'ProcessInput'>,
  respond: Respond<'ProcessInput'>,
): void => {
  const run = held.last?.run
  if (run === undefined) respond('NotFound', {})
  else run.write(offset, data, eof, (isOpen) => respond(isOpen ? 'Ack' : 'NotFound', {}))
}
