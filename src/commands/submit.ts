// submit: hands one task in and prints its id, without waiting for it.

import { type Io, type MeshOptions, Sink, UsageError, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json } from './table.ts'
import { checkCommand, type TaskFlags, taskMaker } from './task-flags.ts'

export interface SubmitFlags {
  readonly key?: string
  readonly batch?: string
  readonly maxFails?: number
  readonly json?: boolean
}

export const submit = (
  io: Io,
  command: readonly string[],
  options: MeshOptions & TaskFlags & SubmitFlags,
): Promise<number> => {
  checkCommand('submit', command)
  if (options.maxFails !== undefined && options.batch === undefined)
    throw new UsageError('--max-fails is for a batch: name it with --batch')
  const task = taskMaker(options, io.cwd)(command)
  return withClient(io, options, async (client) => {
    const { key, batch, maxFails } = options
    const ids = await client.submit([task], {
      ...(key !== undefined && { key }),
      ...(batch !== undefined && { batch }),
      ...(maxFails !== undefined && { maxFails }),
    })
    const stdout = new Sink(io.stdout)
    const listed = ids.map((task_id) => ({ task_id, batch }))
    await stdout.line(options.json === true ? json(listed) : ids.join('\n'))
    return EXIT.ok
  })
}
