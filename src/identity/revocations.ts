// Revocations: who was a member and is none any more. A list that the authority signs, in
// the state directory where it was made; nodes there look at it every second, so a member
// is out within one, live connections too.

import { createPrivateKey, sign, verify } from 'node:crypto'
import { existsSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { HostName, NodeId } from '../../protocol/scalars.ts'
import type { Cancel, Clock, Log } from '../ports.ts'
import { damaged, readPrivate, type Trust } from './credentials.ts'
import { readJson, replaceFile } from './files.ts'
import { dropName, listMembers, type Member } from './names.ts'
import { type MeshState, placesOf, type StateFailure } from './state.ts'

/** So that a signature made for one purpose serves for no other. */
const CONTEXT = 'manyhands-revoked-1\0'
const LOOK_MS = 1000

const SignedFile = t.type({ list: t.string, signature: t.string })
const List = t.type({
  mesh_id: t.string,
  revoked: t.array(t.type({ node_id: NodeId, host_name: HostName, at_ms: t.number })),
})
type List = t.TypeOf<typeof List>

const pathOf = (directory: string): string => join(directory, 'revoked.json')

/** The list; empty where there is none. One that is not signed by the authority is a failure. */
export const readRevoked = (
  directory: string,
  trust: Trust,
): Either<StateFailure, List['revoked']> => {
  const path = pathOf(directory)
  if (!existsSync(path)) return E.right([])
  const file = SignedFile.decode(readJson(path))
  if (E.isLeft(file)) return E.left(damaged(path, 'is not a list of revocations'))
  const { list, signature } = file.right
  const bytes = Buffer.from(CONTEXT + list)
  const key = trust.certificate.publicKey
  if (!verify('sha256', bytes, key, Buffer.from(signature, 'base64')))
    return E.left(damaged(path, "is not signed by this mesh's authority"))
  const parsed = List.decode(JSON.parse(list))
  if (E.isLeft(parsed) || parsed.right.mesh_id !== trust.meshId)
    return E.left(damaged(path, 'is of another mesh'))
  return E.right(parsed.right.revoked)
}

/** Takes a member out, and whoever came with it. Gives who is out; empty: no such name. */
export const revoke = (
  state: MeshState,
  hostName: HostName,
): Either<StateFailure, readonly Member[]> => {
  const { directory, trust } = state
  const key = readPrivate(placesOf(directory).authorityKey)
  if (E.isLeft(key)) return key
  const known = readRevoked(directory, trust)
  if (E.isLeft(known)) return known
  const name = hostName.toLowerCase()
  const out = listMembers(directory).filter(
    (member) =>
      member.hostName.toLowerCase() === name || member.beside?.toLowerCase() === name,
  )
  const at_ms = Date.now()
  const list: List = {
    mesh_id: trust.meshId,
    revoked: [
      ...known.right,
      ...out.map(({ nodeId: node_id, hostName: host_name }) => ({
        ...{ node_id, host_name, at_ms },
      })),
    ],
  }
  const text = JSON.stringify(list)
  const bytes = Buffer.from(CONTEXT + text)
  const signature = sign('sha256', bytes, createPrivateKey(key.right)).toString('base64')
  const file = `${JSON.stringify({ list: text, signature })}\n`
  replaceFile(pathOf(directory), file, `revoke-${process.pid}`)
  // Only now: a name is free when its former bearer is out.
  for (const member of out) forget(directory, member)
  return E.right(out)
}

const forget = (directory: string, { hostName, holder }: Member): void => {
  dropName(directory, hostName)
  if (holder === undefined) return
  const place = join(directory, holder)
  // A node that starts here under the name again is another member.
  if (existsSync(place)) renameSync(place, `${place}.revoked-${Date.now()}`)
}

/** Who is out, as far as this node knows, kept fresh. */
export interface Revocations {
  isRevoked(nodeId: string): boolean
  close(): void
}

export interface WatchOptions {
  readonly directory: string
  readonly trust: Trust
  readonly clock: Clock
  readonly log: Log
  /** Somebody more is out. */
  readonly onChange: () => void
}

/** Reads the list and looks at it again and again; fails like `readRevoked`. */
export const watchRevoked = (
  options: WatchOptions,
): Either<StateFailure, Revocations> => {
  const { directory, trust, clock, log, onChange } = options
  const first = readRevoked(directory, trust)
  if (E.isLeft(first)) return first
  let ids = idsOf(first.right)
  let seen = stampOf(directory)
  const look = () => {
    cancel = clock.after(LOOK_MS, look)
    const stamp = stampOf(directory)
    if (stamp === seen) return
    seen = stamp
    const read = readRevoked(directory, trust)
    if (E.isLeft(read)) {
      // Whoever was out stays out.
      log.error('revocations', { reason: read.left.reason })
      return
    }
    ids = idsOf(read.right)
    onChange()
  }
  let cancel: Cancel = clock.after(LOOK_MS, look)
  return E.right({
    isRevoked: (nodeId) => ids.has(nodeId),
    close: () => cancel(),
  })
}

const idsOf = (revoked: List['revoked']): ReadonlySet<string> =>
  new Set(revoked.map(({ node_id }) => node_id))

/** A replaced file is another inode. */
const stampOf = (directory: string): string => {
  const stat = statSync(pathOf(directory), { throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.ino} ${stat.mtimeMs}`
}
