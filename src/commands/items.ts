// Items of `run --each` and `--each-line`: where they come from, checked before any of them
// is submitted. A file is read twice, first to check and to count; a pipe only once, and is
// checked as it comes.

import { createReadStream, statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { type Io, UsageError } from './io.ts'
import { checkItem } from './placeholders.ts'
import { oneLine } from './values.ts'

export interface Items {
  /** Undefined: known at the end (a pipe). */
  readonly total: number | undefined
  readonly each: AsyncIterable<string> | Iterable<string>
}

export interface ItemFlags {
  readonly each?: readonly string[]
  readonly eachLine?: string
}

/** The items; a UsageError for the first that cannot be one. */
export const itemsOf = async (io: Io, flags: ItemFlags): Promise<Items> => {
  if (flags.each !== undefined && flags.eachLine !== undefined)
    throw new UsageError('--each and --each-line exclude each other')
  if (flags.eachLine === '-')
    return { total: undefined, each: linesOf(io.stdin, 'stdin') }
  if (flags.eachLine !== undefined) return linesOfFile(resolve(io.cwd, flags.eachLine))
  const each = flags.each ?? []
  for (const item of each) checkFile(io, item)
  return { total: each.length, each }
}

const checkFile = (io: Io, item: string): void => {
  checkItem(item, `--each: an item`)
  if (statSync(resolve(io.cwd, item), { throwIfNoEntry: false }) === undefined)
    throw new UsageError(
      `--each: no such file: ${oneLine(item)}; for words that are not files: printf '%s\\n' a b | manyhands run --each-line - -- CMD`,
    )
}

const linesOfFile = async (path: string): Promise<Items> => {
  const open = () => linesOf(createReadStream(path, { highWaterMark: 256 * 1024 }), path)
  let total = 0
  try {
    // What a pipe (`<(command)`) has given once, it does not give again.
    if (!statSync(path).isFile())
      return { total: undefined, each: readable(open(), path) }
    for await (const _ of open()) total++
  } catch (error) {
    throw unreadable(error, path)
  }
  return { total, each: readable(open(), path) }
}

async function* readable(
  lines: AsyncIterable<string>,
  path: string,
): AsyncGenerator<string> {
  try {
    yield* lines
  } catch (error) {
    throw unreadable(error, path)
  }
}

const unreadable = (error: unknown, path: string): unknown => {
  if (!(error instanceof Error && 'code' in error)) return error
  return new UsageError(`--each-line: cannot read ${oneLine(path)} (${error.code})`)
}

const NEWLINE = 10

/** Lines without their ends; empty ones are left out. */
export async function* linesOf(source: Readable, where: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let number = 0
  const text = (line: Uint8Array): string => {
    const name = `line ${++number} of ${where}`
    try {
      const decoded = decoder.decode(line.at(-1) === 13 ? line.subarray(0, -1) : line)
      checkItem(decoded, name)
      return decoded
    } catch (error) {
      if (error instanceof UsageError) throw error
      throw new UsageError(`${name} is not UTF-8`, { cause: error })
    }
  }
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of source) {
    const bytes: Buffer = rest.byteLength > 0 ? Buffer.concat([rest, chunk]) : chunk
    let begin = 0
    for (let end: number; ; begin = end + 1) {
      end = bytes.indexOf(NEWLINE, begin)
      if (end < 0) break
      const line = text(bytes.subarray(begin, end))
      if (line !== '') yield line
    }
    rest = bytes.subarray(begin)
    if (rest.byteLength > LINE_BYTES)
      throw new UsageError(
        `line ${number + 1} of ${where} is longer than an argument can be`,
      )
  }
  const last = rest.byteLength > 0 ? text(rest) : ''
  if (last !== '') yield last
}

/** UTF-8 takes at most three bytes for a unit of an argument. */
const LINE_BYTES = 3 * 128 * 1024 + 2
