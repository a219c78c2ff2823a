// start: a program on a host by name, that stays there; prints HOST/PID.

import type { ProcessSpec, Readiness } from '../../protocol/index.ts'
import { type Io, type MeshOptions, Sink, UsageError, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json } from './table.ts'

export interface StartFlags {
  readonly host: string
  readonly dir?: string
  readonly user?: string
  readonly env?: Readonly<Record<string, string>>
  readonly label?: Readonly<Record<string, string>>
  readonly name?: string
  readonly restart?: 'never' | 'on-failure' | 'always'
  readonly restartLimit?: number
  readonly restartDelay?: number
  readonly readyLog?: string
  readonly readyPort?: number
  readonly readyExit?: boolean
  readonly key?: string
  readonly json?: boolean
}

/** 0 when it runs (and is ready, if that was asked for); 1 if it never was. */
export const startProcess = (
  io: Io,
  command: readonly string[],
  options: MeshOptions & StartFlags,
): Promise<number> => {
  const [path, ...args] = command
  if (path === undefined)
    throw new UsageError('no command; for example: manyhands start --host pi -- sleep 60')
  const spec = specOf(path, args, options)
  return withClient(io, options, async (client) => {
    const host = await client.host(options.host)
    const { pid, processId } = await host.start(spec, options.key)
    const info =
      spec.ready === undefined
        ? await host.query(processId)
        : await host.wait(processId, 'ready')
    const line = { host_name: host.hostName, ...info }
    const address = `${host.hostName}/${pid}`
    await new Sink(io.stdout).line(options.json === true ? json([line]) : address)
    if (spec.ready === undefined || info.ready) return EXIT.ok
    await new Sink(io.stderr).line(
      `manyhands: ${address} ended before it was ready (exit code ${info.exit_code ?? '?'}); see manyhands logs ${host.hostName}/${processId}`,
    )
    return EXIT.failed
  })
}

/** What the flags say of the process. */
export const specOf = (
  path: string,
  args: readonly string[],
  {
    dir,
    user,
    env,
    label,
    name,
    restart,
    restartLimit,
    restartDelay,
    ...rest
  }: StartFlags,
): ProcessSpec => {
  const ready = readinessOf(rest)
  return {
    path,
    args: [...args],
    ...(dir !== undefined && { dir }),
    ...(user !== undefined && { user }),
    ...(env !== undefined && { env: { ...env } }),
    ...(label !== undefined && { labels: { ...label } }),
    ...(name !== undefined && { name }),
    ...(restart !== undefined && {
      restart: {
        policy: restart,
        ...(restartLimit !== undefined && { limit: restartLimit }),
        ...(restartDelay !== undefined && { backoff_ms: restartDelay }),
      },
    }),
    ...(ready !== undefined && { ready }),
  }
}

const readinessOf = ({
  readyLog: log,
  readyPort: port,
  readyExit: exit,
}: Pick<StartFlags, 'readyLog' | 'readyPort' | 'readyExit'>): Readiness | undefined => {
  if (log === undefined && port === undefined && exit === undefined) return undefined
  return {
    ...(log !== undefined && { log }),
    ...(port !== undefined && { port }),
    ...(exit !== undefined && { exit }),
  }
}
