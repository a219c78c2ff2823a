// ps: the processes of the hosts. A host that cannot be asked is told on stderr, and hides
// none of the others.

import type { ProcessInfo } from '../../protocol/index.ts'
import type { Client } from '../client/client.ts'
import { isClientError } from '../client/failures.ts'
import { type Io, type MeshOptions, Sink, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json, table } from './table.ts'
import { formatDuration, oneLine } from './values.ts'

export interface PsFlags {
  readonly host?: string
  readonly all?: boolean
  readonly json?: boolean
}

type Row = ProcessInfo & { readonly host_name: string }

/** 0; 1 if a host could not be asked. */
export const ps = (io: Io, options: MeshOptions & PsFlags): Promise<number> =>
  withClient(io, options, async (client) => {
    const { host, all = false } = options
    const answers = await listsOf(client, host, all)
    const rows = answers.flatMap((answer) => (typeof answer === 'string' ? [] : answer))
    await new Sink(io.stdout).line(
      options.json === true ? json(rows) : processTable(rows, Date.now()),
    )
    const stderr = new Sink(io.stderr)
    const failures = answers.filter((answer) => typeof answer === 'string')
    for (const failure of failures) await stderr.line(`manyhands: ${failure}`)
    return failures.length === 0 ? EXIT.ok : EXIT.failed
  })

/** Of each host its rows, or why there are none. */
const listsOf = async (
  client: Client,
  host: string | undefined,
  all: boolean,
): Promise<readonly (readonly Row[] | string)[]> => {
  if (host !== undefined) return [await listOf(client, host, all)]
  const told = await client.processes({ all })
  if (told === undefined) {
    const hosts = await servingHosts(client)
    return await Promise.all(hosts.map((name) => listOf(client, name, all)))
  }
  const lists = told.map(async ({ host_name, processes, failed, more }) => {
    if (failed !== undefined) return `${host_name} cannot be asked: ${failed}`
    if (more === true) return await listOf(client, host_name, all)
    return processes.map((process) => ({ host_name, ...process }))
  })
  return await Promise.all(lists)
}

/** Workers run processes unless they are told not to; others only if they are. */
const servingHosts = async (client: Client): Promise<readonly string[]> =>
  (await client.nodes())
    .filter(({ state }) => state !== 'lost' && state !== 'unreachable')
    .filter(({ role, features }) => features?.includes('processes') ?? role === 'worker')
    .map(({ host_name }) => host_name)

const listOf = async (
  client: Client,
  hostName: string,
  all: boolean,
): Promise<readonly Row[] | string> => {
  try {
    const host = await client.host(hostName)
    const processes = await host.processes({ all })
    return processes.map((process) => ({ host_name: hostName, ...process }))
  } catch (error) {
    if (isClientError(error)) return error.message
    throw error
  }
}

const processTable = (rows: readonly Row[], nowMs: number): string =>
  table(
    ['HOST/PID', 'ID', 'STATE', 'RUN', 'SINCE', 'COMMAND'],
    rows.map((row) => [
      `${row.host_name}/${row.pid ?? row.process_id}`,
      row.process_id,
      stateText(row),
      row.run,
      row.started_ms === undefined ? '-' : formatDuration(nowMs - row.started_ms),
      oneLine(row.name ?? row.command, 60),
    ]),
  )

const stateText = ({ state, ready, exit_code: code }: ProcessInfo): string => {
  if (state === 'running') return ready ? 'running' : 'not ready'
  if (state === 'exited' && code !== undefined) return `exited ${code}`
  return state
}
