// retry: submits closed tasks again, under new ids, which it prints.

import { type Io, type MeshOptions, Sink, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json } from './table.ts'
import { taskIds } from './task-ids.ts'

export const retry = (
  io: Io,
  ids: readonly string[],
  options: MeshOptions & { readonly json?: boolean },
): Promise<number> =>
  withClient(io, options, async (client) => {
    const ended = await taskIds(client, ids)
    const fresh = await client.retry(ended)
    const text =
      options.json === true
        ? json(fresh.map((task_id, at) => ({ task_id, retry_of: ended[at] })))
        : fresh.join('\n')
    await new Sink(io.stdout).line(text)
    return EXIT.ok
  })
