// logs: what a task wrote, as bytes, from an offset on; with -f until it ends.

import { type Io, type MeshOptions, READER_GONE, Sink, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { oneTaskId } from './task-ids.ts'

export interface LogsFlags {
  readonly follow?: boolean
  readonly from?: number
  readonly stderr?: boolean
}

export const logs = (
  io: Io,
  id: string,
  options: MeshOptions & LogsFlags,
): Promise<number> =>
  withClient(io, options, async (client) => {
    const stdout = new Sink(io.stdout)
    const output = client.output(await oneTaskId(client, id), {
      fd: options.stderr === true ? 2 : 1,
      from: options.from ?? 0,
      follow: options.follow === true,
    })
    for await (const data of output) if (!(await stdout.write(data))) return READER_GONE
    return EXIT.ok
  })
