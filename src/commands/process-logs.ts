// logs of processes: what they write, of several hosts at once, each line behind a name.

import type { Client } from '../client/client.ts'
import type { WhichProcess } from '../client/host.ts'
import { type Io, type MeshOptions, READER_GONE, Sink, withClient } from './io.ts'
import type { LogsFlags } from './logs.ts'
import { EXIT } from './outcome.ts'
import { parseProcessAddress } from './process-address.ts'
import { json, textField } from './table.ts'
import { WholeLines } from './whole-lines.ts'

/** One: its bytes as they are. Several: whole lines, each behind its HOST/PID. */
export const processLogs = (
  io: Io,
  texts: readonly string[],
  options: MeshOptions & LogsFlags,
): Promise<number> => {
  const addresses = texts.map((text) => ({ text, ...parseProcessAddress(text) }))
  return withClient(io, options, async (client) => {
    const stdout = new Sink(io.stdout)
    const [only] = addresses
    if (addresses.length === 1 && only !== undefined && options.json !== true)
      return await copy(await outputOf(client, only, options), stdout)
    const width = Math.max(...texts.map(({ length }) => length))
    const each = addresses.map(async (address, at) => {
      const line = lineOf(address, at, { width, isColoured: stdout.isTerminal, options })
      return await lines(await outputOf(client, address, options), line, stdout)
    })
    const codes = await Promise.all(each)
    return codes.find((code) => code !== EXIT.ok) ?? EXIT.ok
  })
}

interface Address {
  readonly text: string
  readonly host: string
  readonly which: WhichProcess
}

const outputOf = async (client: Client, { host, which }: Address, options: LogsFlags) =>
  (await client.host(host)).output(which, {
    fd: options.stderr === true ? 2 : 1,
    from: options.from ?? 0,
    follow: options.follow === true,
    isRetried: options.follow === true,
  })

const copy = async (output: AsyncIterable<Uint8Array>, stdout: Sink): Promise<number> => {
  for await (const data of output) if (!(await stdout.write(data))) return READER_GONE
  return EXIT.ok
}

const lines = async (
  output: AsyncIterable<Uint8Array>,
  lineOf: (line: Uint8Array) => Uint8Array | string,
  stdout: Sink,
): Promise<number> => {
  const whole = new WholeLines()
  const write = async (found: readonly Uint8Array[]): Promise<boolean> => {
    if (found.length === 0) return true
    return stdout.write(Buffer.concat(found.map((one) => Buffer.from(lineOf(one)))))
  }
  for await (const data of output) if (!(await write(whole.add(data)))) return READER_GONE
  return (await write(whole.rest())) ? EXIT.ok : READER_GONE
}

/** Colours that are read on light and dark alike. */
const COLOURS = [36, 33, 32, 35, 34, 31]

const lineOf = (
  { text, host }: Address,
  at: number,
  {
    width,
    isColoured,
    options,
  }: {
    readonly width: number
    readonly isColoured: boolean
    readonly options: LogsFlags
  },
): ((line: Uint8Array) => Uint8Array | string) => {
  const name = options.stderr === true ? 'stderr' : 'stdout'
  if (options.json === true)
    return (line) =>
      `${json([{ process: text, host_name: host, ...textField(name, Buffer.from(line)) }])}\n`
  const padded = `${text.padEnd(width)} | `
  const prefix = isColoured
    ? `\x1b[${COLOURS[at % COLOURS.length]}m${padded}\x1b[0m`
    : padded
  return (line) => Buffer.concat([Buffer.from(prefix), line, Buffer.from('\n')])
}
