// cancel: aborts open tasks, and says so when their processes are gone.

import { type Io, type MeshOptions, Sink, UsageError, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json } from './table.ts'
import { taskIds } from './task-ids.ts'

export interface CancelFlags {
  readonly batch?: string
  readonly json?: boolean
}

/** 3 if one of the tasks is unknown. */
export const cancel = (
  io: Io,
  ids: readonly string[],
  options: MeshOptions & CancelFlags,
): Promise<number> => {
  const { batch } = options
  if ((batch === undefined) === (ids.length === 0))
    throw new UsageError('expected task ids, or --batch KEY instead of them')
  return withClient(io, options, async (client) => {
    const which = batch === undefined ? await taskIds(client, ids) : { batch }
    const { aborted, closed, unknown } = await client.cancel(which)
    const text =
      options.json === true
        ? json([{ aborted, closed, unknown }])
        : [
            `${aborted} cancelled`,
            ...(closed > 0 ? [`${closed} had ended already`] : []),
            ...(unknown > 0 ? [`${unknown} unknown (see: manyhands tasks)`] : []),
          ].join(', ')
    await new Sink(io.stdout).line(text)
    return unknown > 0 ? EXIT.notFound : EXIT.ok
  })
}
