// show: everything known of one task.

import type { TaskRecord } from '../client/client.ts'
import { type Io, type MeshOptions, Sink, withClient } from './io.ts'
import { describeError, EXIT } from './outcome.ts'
import { json, table } from './table.ts'
import { oneTaskId } from './task-ids.ts'
import { formatDuration, formatSize, oneLine } from './values.ts'

export const show = (
  io: Io,
  id: string,
  options: MeshOptions & { readonly json?: boolean },
): Promise<number> =>
  withClient(io, options, async (client) => {
    const record = await client.show(await oneTaskId(client, id))
    const stdout = new Sink(io.stdout)
    await stdout.line(options.json === true ? json([flat(record)]) : describe(record))
    return EXIT.ok
  })

/** One object: the summary's fields, and the rest beside them. */
const flat = ({ summary, ...rest }: TaskRecord) => ({ ...summary, ...rest })

const time = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString()

const describe = (record: TaskRecord): string => {
  const { summary, request, result } = record
  const lines: (readonly [string, string | number | undefined])[] = [
    ['task', summary.task_id],
    ['state', summary.state],
    ['why', summary.error && describeError(summary.error)],
    ['command', oneLine(summary.command, 400)],
    ['name', summary.name],
    ['batch', summary.batch],
    ['retry of', summary.retry_of],
    ['retried as', summary.retried_as],
    ['host', summary.host_name],
    ['directory', request.dir],
    ['submitted', time(summary.submitted_ms)],
    ['started', time(summary.started_ms)],
    ['ended', time(summary.ended_ms)],
    ['ran', result && formatDuration(result.run_ms)],
    ['exit code', result?.exit_code ?? summary.exit_code],
    ['stdout', result?.stdout && formatSize(result.stdout.size)],
    ['stderr', result?.stderr && formatSize(result.stderr.size)],
    ['failures', record.failures || undefined],
    ['losses', record.losses || undefined],
  ]
  const text = lines
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name.padEnd(10)} ${value}`)
  return [...text, ...attempts(record)].join('\n')
}

const attempts = ({ attempts }: TaskRecord): string[] => {
  if (attempts.length === 0) return []
  const rows = attempts.map((one) => [
    one.attempt,
    one.host_name,
    one.pid,
    time(one.started_ms) ?? '-',
    time(one.ended_ms) ?? '-',
    one.ended === undefined ? '-' : oneLine(one.ended, 60),
  ])
  return ['', table(['ATTEMPT', 'HOST', 'PID', 'STARTED', 'ENDED', 'HOW'], rows)]
}
