// cancel: aborts open tasks, and says so when their processes are gone.

import type { Client, TaskRecord, Which } from '../client/client.ts'
import { ClientError, isClientError } from '../client/failures.ts'
import { type Io, type MeshOptions, Sink, UsageError, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json } from './table.ts'
import { taskIds } from './task-ids.ts'

export interface CancelFlags {
  readonly batch?: string
  readonly json?: boolean
}

/** 3 if one of the tasks, or the batch, is unknown. */
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
    if (batch !== undefined && aborted + closed === 0)
      throw new ClientError({ kind: 'not-found', what: `batch ${batch}` })
    const text =
      options.json === true
        ? json(await tasksOf(client, which))
        : [
            `${aborted} cancelled`,
            ...(closed > 0 ? [`${closed} had ended already`] : []),
            ...(unknown > 0 ? [`${unknown} unknown (see: manyhands tasks)`] : []),
          ].join(', ')
    await new Sink(io.stdout).line(text)
    return unknown > 0 ? EXIT.notFound : EXIT.ok
  })
}

/** What became of each: aborted, or how it had ended before. */
const tasksOf = async (client: Client, which: Which): Promise<object[]> => {
  const tasks: object[] = []
  if ('batch' in which) for await (const one of client.tasks(which)) tasks.push(flat(one))
  else for (const id of which) tasks.push(await taskOf(client, id))
  return tasks
}

const taskOf = async (client: Client, task_id: string): Promise<object> => {
  try {
    return flat((await client.show(task_id)).summary)
  } catch (error) {
    if (isClientError(error, 'not-found')) return { task_id, state: 'unknown' }
    throw error
  }
}

const flat = ({ task_id, state, host_name, attempt }: TaskRecord['summary']) => ({
  task_id,
  state,
  host_name,
  attempt,
})
