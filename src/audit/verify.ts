// Verifying: does a log hold from its first line to its last?

import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { breach, GENESIS, type Head, type Link, readLine } from './chain.ts'
import type { AuditLog } from './logs.ts'

export interface Verdict {
  readonly name: string
  /** The first line that is there. Above 1: earlier parts are kept no more. */
  readonly from: number
  /** The last one that holds. */
  readonly head: Head | undefined
  /** Where it breaks. */
  readonly broken?: { readonly file: string; readonly line: number; readonly why: string }
  /** A line that is not whole yet: of a writer that is at it, or that died. */
  readonly isOpenEnded?: true
}

/** Each line of a log, in order, with where it stands; a string says why it is none. */
export async function* linesOf({ parts }: AuditLog): AsyncGenerator<{
  readonly file: string
  readonly line: number
  readonly link: Link | string
  readonly isWhole: boolean
}> {
  for (const file of parts) {
    let line = 0
    for await (const { text, isWhole } of textLines(file)) {
      line += 1
      const link = readLine(text)
      yield { file, line, isWhole, link: typeof link === 'string' ? WHY[link] : link }
    }
  }
}

const WHY = {
  changed: 'it was changed: its hash is another',
  foreign: 'it is no line of an audit log',
} as const

/** Lines of a file; only the last can be without its end. */
async function* textLines(file: string) {
  const stream = createReadStream(file)
  let last = 0
  stream.on('data', (chunk) => {
    last = Number(chunk.at(-1))
  })
  let held: string | undefined
  for await (const text of createInterface({
    input: stream,
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    if (held !== undefined) yield { text: held, isWhole: true }
    held = text
  }
  if (held !== undefined) yield { text: held, isWhole: last === 10 }
}

/** Reads all of it; `seen` is told each hash that holds. */
export const verify = async (
  log: AuditLog,
  seen: (hash: string) => void = () => undefined,
): Promise<Verdict> => {
  const { name } = log
  let from = 0
  let head: Head | undefined
  for await (const { file, line, link, isWhole } of linesOf(log)) {
    const result = { name, from, head }
    if (!isWhole && file === log.parts.at(-1)) return { ...result, isOpenEnded: true }
    const why = typeof link === 'string' ? link : wrong(head, link)
    if (why !== undefined) return { ...result, broken: { file, line, why } }
    if (typeof link === 'string') continue
    if (head === undefined) from = link.seq
    head = { seq: link.seq, hash: link.hash }
    seen(link.hash)
  }
  return { name, from, head }
}

const wrong = (head: Head | undefined, link: Link): string | undefined => {
  if (head !== undefined) return breach(head, link)
  return link.seq === 1 && link.prev !== GENESIS
    ? 'it is the first and names a line before it'
    : undefined
}
