// events: what happens in the mesh, as it happens, a line for each.

import type { Event, Topic } from '../../protocol/index.ts'
import { isClientError } from '../client/failures.ts'
import { type Io, type MeshOptions, READER_GONE, Sink, withClient } from './io.ts'
import { EXIT } from './outcome.ts'

export interface EventsFlags {
  readonly topic?: readonly Topic[]
  readonly json?: boolean
}

/** Until Ctrl-C, or until nobody reads any more. */
export const events = (io: Io, options: MeshOptions & EventsFlags): Promise<number> =>
  withClient(io, options, async (client) => {
    const stdout = new Sink(io.stdout)
    const stderr = new Sink(io.stderr)
    const stop = new AbortController()
    const undo = io.onInterrupt(() => stop.abort())
    const onReset = () =>
      void stderr.line('manyhands: some events were missed; look again at what you know')
    const { topic: topics } = options
    const wanted = { ...(topics && { topics }), onReset, signal: stop.signal }
    try {
      for await (const event of client.events(wanted)) {
        const line = options.json === true ? JSON.stringify(event) : textOf(event)
        if (!(await stdout.line(line))) return READER_GONE
      }
      return EXIT.ok
    } catch (error) {
      if (isClientError(error, 'aborted')) return EXIT.ok
      throw error
    } finally {
      undo()
    }
  })

const textOf = ({ at_ms, name, host_name, topic: _, ...rest }: Event): string => {
  const time = new Date(at_ms).toISOString().slice(11, 23)
  const fields = Object.entries(rest).map(
    ([key, value]) => `${key}=${textOfValue(value)}`,
  )
  return [time, host_name, name, ...fields].join('  ')
}

const textOfValue = (value: string | number): string =>
  typeof value === 'string' && /[^\w./:@-]/.test(value)
    ? JSON.stringify(value)
    : `${value}`
