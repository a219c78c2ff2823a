// logs: what a task wrote, as bytes, from an offset on; with -f until it ends. With --json
// a list of one object; with -f too a line of it for each piece as it comes, then one that
// says how the task ended.

import type { Client, TaskRecord } from '../client/client.ts'
import { type Io, type MeshOptions, READER_GONE, Sink, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json, textField } from './table.ts'
import { oneTaskId } from './task-ids.ts'
import { WholeCharacters } from './whole-characters.ts'

export interface LogsFlags {
  readonly follow?: boolean
  readonly from?: number
  readonly stderr?: boolean
  readonly json?: boolean
}

export const logs = (
  io: Io,
  id: string,
  options: MeshOptions & LogsFlags,
): Promise<number> =>
  withClient(io, options, async (client) => {
    const taskId = await oneTaskId(client, id)
    const stdout = new Sink(io.stdout)
    const source = { client, taskId, options }
    if (options.json === true)
      return options.follow === true
        ? await pieces(source, stdout)
        : await whole(source, stdout)
    for await (const data of output(source))
      if (!(await stdout.write(data))) return READER_GONE
    return EXIT.ok
  })

interface Source {
  readonly client: Client
  readonly taskId: string
  readonly options: LogsFlags
}

const output = ({ client, taskId, options }: Source): AsyncIterable<Uint8Array> =>
  client.output(taskId, {
    fd: options.stderr === true ? 2 : 1,
    from: options.from ?? 0,
    follow: options.follow === true,
  })

const nameOf = ({ stderr }: LogsFlags): 'stdout' | 'stderr' =>
  stderr === true ? 'stderr' : 'stdout'

const whole = async (source: Source, stdout: Sink): Promise<number> => {
  const { client, taskId, options } = source
  const parts: Uint8Array[] = []
  for await (const part of output(source)) parts.push(part)
  const data = Buffer.concat(parts)
  // Asked after its output: what has ended meanwhile has all of it there.
  const record = await client.show(taskId)
  const text = textField(nameOf(options), data)
  const seen = (options.from ?? 0) + data.byteLength
  await stdout.line(
    json([{ ...whereOf(record), ...text, ...sizes(record, options, seen) }]),
  )
  return EXIT.ok
}

const pieces = async (source: Source, stdout: Sink): Promise<number> => {
  const { client, taskId, options } = source
  const name = nameOf(options)
  const characters = new WholeCharacters()
  let seen = options.from ?? 0
  // Where it runs is known once it has written.
  let where: object | undefined
  const write = async (data: Uint8Array): Promise<boolean> => {
    if (data.byteLength === 0) return true
    where ??= whereOf(await client.show(taskId))
    return stdout.line(json([{ ...where, ...textField(name, data) }]))
  }
  for await (const data of output(source)) {
    seen += data.byteLength
    if (!(await write(characters.add(data)))) return READER_GONE
  }
  if (!(await write(characters.rest()))) return READER_GONE
  const record = await client.show(taskId)
  await stdout.line(json([{ ...whereOf(record), ...sizes(record, options, seen) }]))
  return EXIT.ok
}

const whereOf = ({ summary }: TaskRecord) => {
  const { task_id, state, host_name, attempt } = summary
  return { task_id, state, host_name, attempt }
}

/** `size`: how much it wrote; `lost`: how much of that a cap dropped. */
const sizes = ({ request, result }: TaskRecord, options: LogsFlags, seen: number) => {
  const kept = result?.[nameOf(options)]
  if (kept !== undefined) return { size: kept.size, lost: kept.lost ?? 0 }
  const isUnknown = result !== undefined && (request.output ?? 'capture') !== 'capture'
  return isUnknown ? {} : { size: result === undefined ? seen : 0 }
}
