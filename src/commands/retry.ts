// retry: submits closed tasks again, under new ids, which it prints.

import type { TaskState } from '../../protocol/index.ts'
import type { Client } from '../client/client.ts'
import { type Io, type MeshOptions, Sink, UsageError, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json } from './table.ts'
import { taskIds } from './task-ids.ts'

export interface RetryFlags {
  readonly failed?: boolean
  readonly aborted?: boolean
  readonly batch?: string
  readonly json?: boolean
}

export const retry = (
  io: Io,
  ids: readonly string[],
  options: MeshOptions & RetryFlags,
): Promise<number> => {
  const states: TaskState[] = [
    ...(options.failed === true ? (['failed'] as const) : []),
    ...(options.aborted === true ? (['aborted'] as const) : []),
  ]
  if ((ids.length === 0) === (states.length === 0))
    throw new UsageError('expected task ids, or --failed or --aborted instead of them')
  if (options.batch !== undefined && states.length === 0)
    throw new UsageError('--batch: say what to retry of it: --failed, --aborted')
  return withClient(io, options, async (client) => {
    const ended =
      states.length === 0
        ? await taskIds(client, ids)
        : await notRetried(client, states, options.batch)
    if (ended.length === 0) return await nothing(io, states, options.batch)
    const fresh = await client.retry(ended)
    const text =
      options.json === true
        ? json(fresh.map((task_id, at) => ({ task_id, retry_of: ended[at] })))
        : fresh.join('\n')
    await new Sink(io.stdout).line(text)
    return EXIT.ok
  })
}

/** Tasks in these states that no other task repeats, oldest first. */
const notRetried = async (
  client: Client,
  states: readonly TaskState[],
  batch: string | undefined,
): Promise<string[]> => {
  const ids: string[] = []
  const filter = { states, ...(batch !== undefined && { batch }) }
  for await (const { task_id, retried_as } of client.tasks(filter))
    if (retried_as === undefined) ids.push(task_id)
  return ids.reverse()
}

const nothing = async (
  io: Io,
  states: readonly TaskState[],
  batch: string | undefined,
): Promise<number> => {
  const where = batch === undefined ? '' : ` of the batch ${batch}`
  await new Sink(io.stderr).line(
    `manyhands: no task${where} is ${states.join(' or ')} and not retried yet`,
  )
  return EXIT.notFound
}
