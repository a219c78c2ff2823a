// exec: one program on every host that matches, with one line of result for each by the
// deadline. Hosts that wrote the same are shown together.

import type { NodeInfo } from '../../protocol/index.ts'
import { type ExecResult, execOn } from '../client/exec.ts'
import { ClientError } from '../client/failures.ts'
import type { HostTerm } from './host-terms.ts'
import { type Io, type MeshOptions, Sink, UsageError, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json, table, textField } from './table.ts'
import { formatDuration } from './values.ts'

export interface ExecFlags {
  readonly on: HostTerm
  readonly deadline: number
  readonly dir?: string
  readonly user?: string
  readonly env?: Readonly<Record<string, string>>
  readonly json?: boolean
}

/** 0 if it ended with 0 on every host, else 1; 3 if no host matches. */
export const exec = (
  io: Io,
  command: readonly string[],
  options: MeshOptions & ExecFlags,
): Promise<number> => {
  const [path, ...args] = command
  if (path === undefined)
    throw new UsageError(
      "no command; for example: manyhands exec --on 'host=*' -- uptime",
    )
  const { on, dir, user, env } = options
  // To start, and to find the mesh and its hosts, is a part of it.
  const untilMs = io.beganMs + options.deadline
  return withClient(io, options, async (client) => {
    const hosts = (await client.nodes()).filter((node) => runs(node) && on(node))
    if (hosts.length === 0)
      throw new ClientError({
        kind: 'not-found',
        what: 'host that matches and runs programs',
        list: 'manyhands nodes --json',
      })
    const spec = {
      ...{ path, args },
      ...(dir !== undefined && { dir }),
      ...(user !== undefined && { user }),
      ...(env !== undefined && { env: { ...env } }),
    }
    const stop = new AbortController()
    const undo = io.onInterrupt(() => stop.abort())
    const results: ExecResult[] = []
    const targets = hosts.map(({ host_name: hostName }) => ({
      hostName,
      open: () => client.host(hostName),
    }))
    const deadlineMs = Math.max(1, untilMs - performance.now())
    await execOn(targets, spec, { deadlineMs, signal: stop.signal }, (result) =>
      results.push(result),
    )
    undo()
    results.sort((one, other) => (one.hostName < other.hostName ? -1 : 1))
    const stdout = new Sink(io.stdout)
    if (options.json === true) await stdout.line(json(results.map(rowOf)))
    else await show(results, stdout)
    if (stop.signal.aborted) return EXIT.interrupted
    return results.every(isGood) ? EXIT.ok : EXIT.failed
  })
}

/** One that is away has its line too: who asked for it wants to know. */
const runs = ({ role, features, state }: NodeInfo): boolean => {
  if (role === 'client' || state === 'lost') return false
  return features === undefined ? role === 'worker' : features.includes('processes')
}

const isGood = ({ state, exitCode }: ExecResult): boolean =>
  state === 'exited' && exitCode === 0

const rowOf = (result: ExecResult) => ({
  host_name: result.hostName,
  state: result.state,
  ...(result.exitCode !== undefined && { exit_code: result.exitCode }),
  ...(result.reason !== undefined && { reason: result.reason }),
  run_ms: result.runMs,
  ...textField('stdout', Buffer.from(result.stdout)),
  ...textField('stderr', Buffer.from(result.stderr)),
  ...(result.lostBytes > 0 && { lost_bytes: result.lostBytes }),
})

/** Outputs first, each once, then a line for each host. */
const show = async (results: readonly ExecResult[], stdout: Sink): Promise<void> => {
  const groups = new Map<string, ExecResult[]>()
  for (const result of results) {
    const output = outputOf(result)
    if (output.length === 0) continue
    const key = output.toString('latin1')
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [result])
    else group.push(result)
  }
  for (const [, group] of groups) {
    const names = group.map(({ hostName }) => hostName).join(', ')
    await stdout.line(`== ${names}`)
    const [first] = group
    const output = first === undefined ? Buffer.alloc(0) : outputOf(first)
    await stdout.write(output)
    if (output.at(-1) !== NEWLINE) await stdout.write('\n')
  }
  const lines = results.map((result) => [
    result.hostName,
    stateText(result),
    formatDuration(result.runMs),
    result.reason ?? '',
  ])
  await stdout.line(table(['HOST', 'RESULT', 'TIME', ''], lines))
}

const NEWLINE = 10

const outputOf = ({ stdout, stderr }: ExecResult): Buffer =>
  Buffer.concat([stdout, stderr])

const stateText = ({ state, exitCode, lostBytes }: ExecResult): string => {
  const more = lostBytes === 0 ? '' : ` (${lostBytes} bytes not shown)`
  return `${state === 'exited' ? `exit ${exitCode ?? '?'}` : state}${more}`
}
