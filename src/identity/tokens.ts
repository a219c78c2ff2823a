// Tokens: what a program shows to an HTTP face of this machine, which knows no certificates.
// A token is shown once, when it is made; what is kept is its hash. A face looks at the file
// at each request: a token that was taken back is worth nothing from then on.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { type Rights, rightsOf, Scope } from '../../protocol/scopes.ts'
import { writeNew } from '../files.ts'
import { codeOf, makePrivateDirectory, readJson } from './files.ts'

const TokenFile = t.intersection([
  t.type({
    id: t.string,
    /** SHA-256 of the secret, in hex. */
    hash: t.string,
    scopes: t.array(Scope),
    created_ms: t.number,
    ends_ms: t.number,
  }),
  t.partial({ name: t.string }),
])

/** A token, as its file tells it. */
export interface Token {
  readonly id: string
  readonly scopes: readonly Scope[]
  readonly createdMs: number
  readonly endsMs: number
  /** What it is for, as whoever made it said. */
  readonly name: string | undefined
}

export interface NewToken {
  readonly scopes: readonly Scope[]
  readonly ttlMs: number
  readonly name?: string | undefined
  readonly nowMs?: number
}

const folderOf = (directory: string): string => join(directory, 'tokens')
const fileOf = (directory: string, id: string): string =>
  join(folderOf(directory), `${id}.json`)
const isId = (text: string): boolean => /^[0-9a-f]{10}$/.test(text)

const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest()

/** Makes one in the state directory; `text` is the only copy of it. */
export const createToken = (
  directory: string,
  { scopes, ttlMs, name, nowMs = Date.now() }: NewToken,
): { readonly text: string; readonly token: Token } => {
  makePrivateDirectory(folderOf(directory))
  const id = randomBytes(5).toString('hex')
  const secret = randomBytes(32).toString('base64url')
  const token = { id, scopes, createdMs: nowMs, endsMs: nowMs + ttlMs, name }
  const file = {
    ...{ id, hash: hashOf(secret).toString('hex'), scopes },
    ...{ created_ms: nowMs, ends_ms: token.endsMs },
    ...(name !== undefined && { name }),
  }
  writeNew(fileOf(directory, id), `${JSON.stringify(file)}\n`)
  return { text: `mh_${id}_${secret}`, token }
}

interface Read {
  readonly stamp: string
  readonly file: t.TypeOf<typeof TokenFile> | undefined
}

/** By path: read once, and again when the file is another one. */
const known = new Map<string, Read>()
const KNOWN = 1000

const readToken = (directory: string, id: string) => {
  const path = fileOf(directory, id)
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) {
    known.delete(path)
    return undefined
  }
  const stamp = `${stat.ino} ${stat.size} ${stat.mtimeMs}`
  const before = known.get(path)
  if (before?.stamp === stamp) return before.file
  const decoded = TokenFile.decode(readJson(path))
  const file = E.isRight(decoded) ? decoded.right : undefined
  if (known.size >= KNOWN) known.clear()
  known.set(path, { stamp, file })
  return file
}

/** By the time of their making. */
export const listTokens = (directory: string): readonly Token[] => {
  let names: readonly string[]
  try {
    names = readdirSync(folderOf(directory))
  } catch {
    return []
  }
  return names
    .map((name) => name.replace(/\.json$/, ''))
    .filter(isId)
    .flatMap((id) => readToken(directory, id) ?? [])
    .map(({ id, scopes, created_ms, ends_ms, name }) => ({
      ...{ id, scopes, createdMs: created_ms, endsMs: ends_ms, name },
    }))
    .sort((one, other) => one.createdMs - other.createdMs)
}

/** False: there is none of that id. */
export const revokeToken = (directory: string, id: string): boolean => {
  if (!isId(id)) return false
  try {
    rmSync(fileOf(directory, id))
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

/** What it gives, if it is one of this machine and has not ended. */
export const rightsOfToken = (
  directory: string,
  text: string,
  nowMs: number,
): { readonly rights: Rights; readonly id: string } | undefined => {
  const [, id, secret] = /^mh_([0-9a-f]{10})_([A-Za-z0-9_-]{43})$/.exec(text) ?? []
  if (id === undefined || secret === undefined) return undefined
  const file = readToken(directory, id)
  // Compared also where there is none: how long it takes tells nothing.
  const hash = Buffer.from(file?.hash ?? '', 'hex')
  const given = hashOf(secret)
  const isSame = timingSafeEqual(given, hash.length === given.length ? hash : NO_HASH)
  if (!isSame || file === undefined || nowMs >= file.ends_ms) return undefined
  return { rights: rightsOf(file.scopes), id }
}

/** The hash of nothing that anybody could give. */
const NO_HASH = Buffer.alloc(32)
