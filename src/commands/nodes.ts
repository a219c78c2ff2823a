// nodes: who is in the mesh, as its manager sees it.

import type { NodeInfo } from '../../protocol/index.ts'
import { type Io, type MeshOptions, Sink, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json, table } from './table.ts'

export const nodes = (
  io: Io,
  options: MeshOptions & { readonly json?: boolean },
): Promise<number> =>
  withClient(io, options, async (client) => {
    // This command is a client too: whoever asks for nodes does not mean it.
    const listed = (await client.nodes()).filter((node) => node.role !== 'client')
    const text = options.json === true ? json(listed) : nodeTable(listed)
    await new Sink(io.stdout).line(text)
    return EXIT.ok
  })

/** The nodes as a table; shared with `up`. */
export const nodeTable = (listed: readonly NodeInfo[]): string =>
  table(
    ['HOST', 'ROLE', 'STATE', 'CORES', 'RUNNING', 'DONE', 'FAILED', 'PID', 'ADDRESS'],
    listed.map((node) => [
      node.host_name,
      node.role,
      node.state,
      node.cores,
      node.running,
      node.done,
      node.failed,
      node.pid,
      node.address ?? '-',
    ]),
  )
