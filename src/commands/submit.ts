// submit: hands one task in and prints its id, without waiting for it.

import { type Io, type MeshOptions, Sink, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json } from './table.ts'
import { checkCommand, type TaskFlags, taskMaker } from './task-flags.ts'

export interface SubmitFlags {
  readonly key?: string
  readonly batch?: string
  readonly json?: boolean
}

export const submit = (
  io: Io,
  command: readonly string[],
  options: MeshOptions & TaskFlags & SubmitFlags,
): Promise<number> => {
  checkCommand('submit', command)
  const task = taskMaker(options, io.cwd)(command)
  return withClient(io, options, async (client) => {
    const { key, batch } = options
    const ids = await client.submit([task], {
      ...(key !== undefined && { key }),
      ...(batch !== undefined && { batch }),
    })
    const stdout = new Sink(io.stdout)
    for (const id of ids)
      await stdout.line(options.json === true ? json([{ task_id: id }]) : id)
    return EXIT.ok
  })
}
