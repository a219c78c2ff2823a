// explain: why a task is where it is, with a reason for each node.

import { type Io, type MeshOptions, Sink, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json, table } from './table.ts'
import { oneTaskId } from './task-ids.ts'

/** 4 if the task waits and no node can take it. */
export const explain = (
  io: Io,
  id: string,
  options: MeshOptions & { readonly json?: boolean },
): Promise<number> =>
  withClient(io, options, async (client) => {
    const taskId = await oneTaskId(client, id)
    const { state, summary, nodes } = await client.explain(taskId)
    const isStuck = state === 'queued' && !nodes.some((node) => node.candidate)
    const stdout = new Sink(io.stdout)
    if (options.json === true) {
      const listed = nodes.map((node) => ({ task_id: taskId, state, summary, ...node }))
      await stdout.line(
        json(listed.length > 0 ? listed : [{ task_id: taskId, state, summary }]),
      )
    } else {
      const isOver = ['completed', 'failed', 'aborted'].includes(state)
      await stdout.line(`${taskId} is ${isOver ? 'over' : state}: ${summary}`)
      const rows = nodes.map(({ host_name, candidate, reason }) => [
        host_name,
        candidate ? 'yes' : 'no',
        reason,
      ])
      if (rows.length > 0) await stdout.line(table(['HOST', 'CAN RUN IT', 'WHY'], rows))
    }
    return isStuck ? EXIT.noPlacement : EXIT.ok
  })
