// audit: shows what was recorded of who did what on this machine, and whether the record
// holds from its first line to its last.

import * as E from 'fp-ts/lib/Either.js'
import type { Link } from '../audit/chain.ts'
import { type AuditLog, auditDirectory, logsIn } from '../audit/logs.ts'
import { linesOf, type Verdict, verify } from '../audit/verify.ts'
import { readState, stateDirectory } from '../identity/state.ts'
import { type Io, Sink, UsageError } from './io.ts'
import { EXIT } from './outcome.ts'
import { json } from './table.ts'

export interface AuditOptions {
  readonly state?: string
  readonly json?: boolean
  readonly has?: readonly string[]
  readonly event?: readonly string[]
  readonly by?: string
  readonly since?: number
  readonly last?: number
}

/** `names`: of logs, as `verify` prints them; none: all. */
export const audit = async (
  io: Io,
  what: 'verify' | 'show',
  names: readonly string[],
  options: AuditOptions,
): Promise<number> => {
  const stderr = new Sink(io.stderr)
  const state = readState(stateDirectory(options.state, io.env))
  if (E.isLeft(state)) {
    await stderr.line(`manyhands: ${state.left.reason}`)
    return EXIT.failed
  }
  const directory = auditDirectory(state.right.directory)
  const all = logsIn(directory)
  const unknown = names.find((name) => !all.some((log) => log.name === name))
  if (unknown !== undefined) {
    const known = all.map(({ name }) => name).join(', ') || 'none'
    await stderr.line(`manyhands: no log ${unknown} in ${directory}; there are: ${known}`)
    return EXIT.notFound
  }
  const logs = names.length === 0 ? all : all.filter(({ name }) => names.includes(name))
  if (logs.length === 0) {
    await stderr.line(`manyhands: nothing was recorded in ${directory} yet`)
    return EXIT.notFound
  }
  return what === 'verify'
    ? await verifyAll(io, logs, options)
    : await showAll(io, logs, options)
}

const verifyAll = async (
  io: Io,
  logs: readonly AuditLog[],
  { has = [], json: isJson }: AuditOptions,
): Promise<number> => {
  const [stdout, stderr] = [new Sink(io.stdout), new Sink(io.stderr)]
  const missing = new Set(has)
  const verdicts: Verdict[] = []
  for (const log of logs)
    verdicts.push(await verify(log, (hash) => void missing.delete(hash)))
  if (isJson === true) await stdout.line(json(verdicts.map(asJson)))
  else for (const verdict of verdicts) await stdout.line(sentenceOf(verdict))
  for (const hash of missing)
    await stderr.line(
      `manyhands: no line has the hash ${hash}: what it was the end of is gone, or was replaced`,
    )
  const isBroken = verdicts.some(({ broken }) => broken !== undefined)
  return isBroken || missing.size > 0 ? EXIT.failed : EXIT.ok
}

const asJson = ({ name, from, head, broken, isOpenEnded }: Verdict) => ({
  log: name,
  holds: broken === undefined,
  from,
  to: head?.seq ?? 0,
  hash: head?.hash,
  broken,
  ...(isOpenEnded && { open_ended: true }),
})

const sentenceOf = ({ name, from, head, broken, isOpenEnded }: Verdict): string => {
  const extent = head === undefined ? 'no lines' : `${from} to ${head.seq}`
  if (broken !== undefined)
    return `${name}: BROKEN at line ${broken.line} of ${broken.file}: ${broken.why}; it holds ${extent}`
  const gone = from > 1 ? `, earlier ones are kept no more` : ''
  const open = isOpenEnded === true ? '; its last line is being written, or was not' : ''
  return `${name}: holds, ${extent}${gone}${open}${head === undefined ? '' : `, ${head.hash}`}`
}

const showAll = async (
  io: Io,
  logs: readonly AuditLog[],
  options: AuditOptions,
): Promise<number> => {
  const { last = 100 } = options
  const shown: { readonly log: string; readonly link: Link }[] = []
  for (const log of logs) {
    const own: typeof shown = []
    for await (const { link } of linesOf(log)) {
      if (typeof link === 'string' || !isAsked(link, options)) continue
      own.push({ log: log.name, link })
      if (own.length > 2 * last) own.splice(0, own.length - last)
    }
    shown.push(...own.slice(-last))
  }
  shown.sort((a, b) => (a.link.at < b.link.at ? -1 : a.link.at > b.link.at ? 1 : 0))
  const stdout = new Sink(io.stdout)
  for (const { log, link } of shown.slice(-last)) {
    const { seq, at, event, fields } = link
    await stdout.line(
      options.json === true
        ? json({ log, seq, at, event, ...fields })
        : `${at} ${log} ${textOf(link)}`,
    )
  }
  return EXIT.ok
}

const isAsked = (
  { at, event, fields }: Link,
  { event: events, by, since }: AuditOptions,
): boolean => {
  const {
    by: asker,
    user,
    peer,
  } = fields as { by?: unknown; user?: unknown; peer?: unknown }
  return (
    (events === undefined || events.includes(event)) &&
    (by === undefined || [asker, user, peer].includes(by)) &&
    (since === undefined || Date.parse(at) >= Date.now() - since)
  )
}

const textOf = ({ event, fields }: Link): string =>
  [
    event,
    ...Object.entries(fields).map(([name, value]) => `${name}=${wordOf(value)}`),
  ].join(' ')

const wordOf = (value: unknown): string => {
  const text = Array.isArray(value) ? value.join(',') : String(value)
  return /^[\w@%+:,./#-]+$/.test(text) ? text : JSON.stringify(text)
}

export const parseAuditAction = (word: string): 'verify' | 'show' => {
  if (word === 'verify' || word === 'show') return word
  throw new UsageError(`expected verify or show, got ${word}`)
}
