// tasks: the tasks that the manager knows, newest first.

import type { TaskState, TaskSummary } from '../../protocol/index.ts'
import { type Io, type MeshOptions, Sink, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json, table } from './table.ts'
import { formatDuration, oneLine } from './values.ts'

export interface TasksFlags {
  readonly only?: readonly TaskState[]
  readonly host?: string
  readonly batch?: string
  readonly limit?: number
  readonly json?: boolean
}

export const tasks = (io: Io, options: MeshOptions & TasksFlags): Promise<number> =>
  withClient(io, options, async (client) => {
    const { only, host, batch } = options
    const listed: TaskSummary[] = []
    const filter = {
      limit: options.limit ?? 50,
      ...(only !== undefined && { states: only }),
      ...(host !== undefined && { hostName: host }),
      ...(batch !== undefined && { batch }),
    }
    for await (const task of client.tasks(filter)) listed.push(task)
    const stdout = new Sink(io.stdout)
    if (options.json === true) await stdout.line(json(listed))
    else await stdout.line(listing(listed))
    return EXIT.ok
  })

const listing = (listed: readonly TaskSummary[]): string => {
  if (listed.length === 0) return 'no tasks; run one with: manyhands run -- hostname'
  return table(
    ['TASK', 'STATE', 'HOST', 'TIME', 'EXIT', 'COMMAND'],
    listed.map((task) => [
      task.task_id,
      task.state,
      task.host_name ?? '-',
      task.run_ms === undefined ? '-' : formatDuration(task.run_ms),
      task.exit_code,
      oneLine(task.name ?? task.command, 60),
    ]),
  )
}
