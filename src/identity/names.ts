// Names: each is given once in a mesh, ignoring case. Where the authority's key is, a file
// per name says to whom; who creates the file has the name. So this is also the list of
// the members. A member elsewhere whose certificate has ended can never be one again, so
// its name is free for whoever is invited next.

import { randomBytes } from 'node:crypto'
import { linkSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { HostName, NodeId, NodeType } from '../../protocol/scalars.ts'
import { Scope } from '../../protocol/scopes.ts'
import { replaceFile, writeNew } from '../files.ts'
import { codeOf, makePrivateDirectory, readJson } from './files.ts'
import { MEMBER_LIFE_MS, type Party } from './subject.ts'

const MemberFile = t.intersection([
  t.type({ node_id: NodeId, role: NodeType, host_name: HostName, issued_ms: t.number }),
  t.partial({
    /** When its last certificate ends. */
    until_ms: t.number,
    holder: t.string,
    beside: HostName,
    scopes: t.array(Scope),
    labels: t.record(t.string, t.string),
  }),
])

/** A member, as its name's file says it. */
export interface Member extends Party {
  readonly issuedMs: number
  /** When its last certificate ends, in Unix milliseconds. */
  readonly untilMs: number
  /** The directory here that holds its key; undefined: it is elsewhere. */
  readonly holder: string | undefined
  /** The node that it came with, on the same machine. */
  readonly beside: HostName | undefined
}

/** A name is not given to another while a clock that is behind believes the old bearer. */
const CLOCKS_MS = 86_400_000

const folderOf = (directory: string): string => join(directory, 'names')
const fileOf = (directory: string, hostName: HostName): string =>
  join(folderOf(directory), hostName.toLowerCase())

export interface Claim {
  /** The state directory. */
  readonly directory: string
  readonly party: Party
  /** The directory here that will hold its key, relative to the state directory. */
  readonly holder?: string
  /** The node that it comes with. */
  readonly beside?: HostName
}

/** Takes the name for the party; what it says otherwise is who has it. */
export const claimName = (claim: Claim): Member | undefined => {
  const { directory, party, holder } = claim
  makePrivateDirectory(folderOf(directory))
  const path = fileOf(directory, party.hostName)
  const known = readMember(path)
  if (known !== undefined) {
    if (known.nodeId === party.nodeId) return undefined
    if (!isFree(known, holder)) return known
    rmSync(path, { force: true })
  }
  try {
    write(path, claim)
    return undefined
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    const other = readMember(path)
    const unread = { issuedMs: 0, untilMs: 0, holder: undefined, beside: undefined }
    return other ?? { ...party, ...unread }
  }
}

const isFree = (known: Member, holder: string | undefined): boolean =>
  known.holder === undefined
    ? Date.now() > known.untilMs + CLOCKS_MS
    : // A start that was killed between the name and the key: the name is its place's.
      known.holder === holder

/** Its certificate was renewed: the name is its until that ends. */
export const keepName = (
  directory: string,
  { hostName }: Party,
  untilMs: number,
): void => {
  const path = fileOf(directory, hostName)
  const file = MemberFile.decode(readJson(path))
  if (E.isLeft(file)) return
  const content = `${JSON.stringify({ ...file.right, until_ms: untilMs })}\n`
  replaceFile(path, content, randomBytes(6).toString('hex'))
}

/** Gives a name back: its member is one no longer. */
export const dropName = (directory: string, hostName: HostName): void =>
  rmSync(fileOf(directory, hostName), { force: true })

/** All that were certified here, by name. */
export const listMembers = (directory: string): readonly Member[] => {
  let files: readonly string[]
  try {
    files = readdirSync(folderOf(directory))
  } catch {
    return []
  }
  return files
    .filter((name) => !name.startsWith('.'))
    .sort()
    .flatMap((name) => readMember(join(folderOf(directory), name)) ?? [])
}

const write = (path: string, { party, holder, beside }: Claim): void => {
  const file = {
    node_id: party.nodeId,
    role: party.role,
    host_name: party.hostName,
    issued_ms: Date.now(),
    until_ms: Date.now() + MEMBER_LIFE_MS,
    ...(holder !== undefined && { holder }),
    ...(beside !== undefined && { beside }),
    ...(party.scopes && { scopes: party.scopes }),
    ...(party.labels && { labels: party.labels }),
  }
  // Linked when it is whole: a name is taken with what it says, or not at all.
  const draft = join(dirname(path), `.${randomBytes(6).toString('hex')}`)
  writeNew(draft, `${JSON.stringify(file)}\n`)
  try {
    linkSync(draft, path)
  } finally {
    rmSync(draft, { force: true })
  }
}

const readMember = (path: string): Member | undefined => {
  const file = MemberFile.decode(readJson(path))
  if (E.isLeft(file)) return undefined
  const { node_id: nodeId, role, host_name: hostName } = file.right
  const { issued_ms: issuedMs, holder, beside, scopes, labels } = file.right
  const { until_ms: untilMs = issuedMs + MEMBER_LIFE_MS } = file.right
  const grant = { ...(scopes && { scopes }), ...(labels && { labels }) }
  return { nodeId, role, hostName, issuedMs, untilMs, holder, beside, ...grant }
}

/** `$B0_HOST_ID`, else the machine's name, made into a host name. */
export const baseNameOf = (
  environment: Readonly<Record<string, string | undefined>>,
  machine: string,
): HostName => {
  const { B0_HOST_ID: given } = environment
  if (HostName.is(given)) return given
  const labels = machine
    .split('.')
    .map((label) =>
      label
        .replace(/[^A-Za-z0-9_-]/g, '-')
        .slice(0, 63)
        .replace(/^[-_]+|[-_]+$/g, ''),
    )
    .filter((label) => label !== '')
  const name = labels.join('.')
  return HostName.is(name) ? name : 'node'
}
