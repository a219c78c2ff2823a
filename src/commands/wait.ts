// wait: until tasks, or all of a batch, have closed; a line for each as it does.

import type { TaskDone } from '../../protocol/index.ts'
import { type Io, type MeshOptions, Sink, UsageError, withClient } from './io.ts'
import { describeError, EXIT } from './outcome.ts'
import { json } from './table.ts'
import { taskIds } from './task-ids.ts'

export interface WaitFlags {
  readonly batch?: string
  readonly json?: boolean
}

/** 0 if all of them succeeded, else 1. */
export const wait = (
  io: Io,
  ids: readonly string[],
  options: MeshOptions & WaitFlags,
): Promise<number> => {
  const { batch } = options
  if ((batch === undefined) === (ids.length === 0))
    throw new UsageError('expected task ids, or --batch KEY instead of them')
  return withClient(io, options, async (client) => {
    const stdout = new Sink(io.stdout)
    const which = batch === undefined ? await taskIds(client, ids) : { batch }
    const closed: TaskDone[] = []
    let code: number = EXIT.ok
    for await (const done of client.wait(which)) {
      if (done.state !== 'completed') code = EXIT.failed
      if (options.json === true) closed.push(done)
      else if (!(await stdout.line(describe(done)))) break
    }
    if (options.json === true) await stdout.line(json(closed))
    return code
  })
}

const describe = (done: TaskDone): string => {
  const where = done.host_name === undefined ? '' : ` on ${done.host_name}`
  const how = done.error === undefined ? 'succeeded' : describeError(done.error)
  return `${done.task_id}${where} ${how}`
}
