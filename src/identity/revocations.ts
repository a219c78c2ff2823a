// Revocations: who was a member and is none any more, in the state directory. Where the
// authority's key is the list is made; everywhere else it came over the mesh. Nodes look at
// the file every second, so what one process of a machine learned, all of them know.
//
// A list is replaced by a newer one alone, and by none that the authority did not sign.

import { createPrivateKey } from 'node:crypto'
import { existsSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import { MAX_REVOCATIONS } from '../../protocol/exchanges/membership.ts'
import type { HostName } from '../../protocol/scalars.ts'
import { replaceFile } from '../files.ts'
import type { Cancel, Clock, Log } from '../ports.ts'
import { readPrivate, type Trust } from './credentials.ts'
import { codeOf } from './files.ts'
import { takeLock } from './lock.ts'
import { dropName, listMembers, type Member } from './names.ts'
import {
  noRevocations,
  type RevocationList,
  readList,
  signList,
} from './revocation-list.ts'
import { type MeshState, placesOf, type StateFailure } from './state.ts'
import { LONGEST_LIFE_MS } from './subject.ts'

const LOOK_MS = 1000
/** In the place of what a file's stamp would be: no file has it. */
const NOT_WRITTEN = 'not written'

const pathOf = (directory: string): string => join(directory, 'revoked.bin')

/** The list; the empty one where there is none. One that is not signed by the authority is a failure. */
export const readRevoked = (
  directory: string,
  trust: Trust,
): Either<StateFailure, RevocationList> => {
  const path = pathOf(directory)
  if (!existsSync(path)) return E.right(noRevocations)
  const list = readList(readFileSync(path), trust)
  if (list !== undefined) return E.right(list)
  const reason = `${path} is no list that this mesh's authority signed; restore it, or remove it: nodes that have it give it again`
  return E.left({ kind: 'damaged', path, reason })
}

/** Takes a member out, and whoever came with it. Gives who is out; empty: no such name. */
export const revoke = async (
  state: MeshState,
  hostName: HostName,
  nowMs = Date.now(),
): Promise<Either<StateFailure, readonly Member[]>> => {
  const { mesh, authorityKey } = placesOf(state.directory)
  const key = readPrivate(authorityKey)
  if (E.isLeft(key)) return key
  const lock = await takeLock(mesh)
  if (!('release' in lock)) {
    const reason = `another manyhands revoke (process ${lock.pid}) is at work; try again`
    return E.left({ kind: 'access', path: mesh, reason })
  }
  try {
    return takeOut(state, hostName, createPrivateKey(key.right), nowMs)
  } finally {
    lock.release()
  }
}

const takeOut = (
  { directory, trust }: MeshState,
  hostName: HostName,
  key: Parameters<typeof signList>[1],
  nowMs: number,
): Either<StateFailure, readonly Member[]> => {
  const known = readRevoked(directory, trust)
  if (E.isLeft(known)) return known
  const name = hostName.toLowerCase()
  const out = listMembers(directory).filter(
    (member) =>
      member.hostName.toLowerCase() === name || member.beside?.toLowerCase() === name,
  )
  if (out.length === 0) return E.right(out)
  // Whose certificate has ended since needs no list to be kept out.
  const kept = known.right.revoked.filter(({ at_ms }) => at_ms + LONGEST_LIFE_MS > nowMs)
  const list = signList(trust, key, {
    // Above every earlier one, also if an old copy of this directory was put back.
    number: Math.max(known.right.number + 1, nowMs),
    revoked: [
      ...kept,
      ...out.map(({ nodeId: node_id, hostName: host_name }) => ({
        ...{ node_id, host_name, at_ms: nowMs },
      })),
    ],
  })
  const path = pathOf(directory)
  if (list.bytes.byteLength > MAX_REVOCATIONS) {
    const reason = `${path} is full: ${kept.length} members were taken out in the last 91 days; begin a new mesh`
    return E.left({ kind: 'access', path, reason })
  }
  replaceFile(path, list.bytes, `revoke-${process.pid}`)
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
  readonly list: RevocationList
  isRevoked(nodeId: string): boolean
  /** A list that came from elsewhere: kept if it is newer, and signed; else why not. */
  adopt(bytes: Uint8Array): 'kept' | 'not-newer' | 'not-signed'
  close(): void
}

export interface WatchOptions {
  readonly directory: string
  readonly trust: Trust
  readonly clock: Clock
  readonly log: Log
  /** There is a newer list. */
  readonly onChange: () => void
}

/** Reads the list and looks at it again and again; fails like `readRevoked`. */
export const watchRevoked = (
  options: WatchOptions,
): Either<StateFailure, Revocations> => {
  const first = readRevoked(options.directory, options.trust)
  return E.isLeft(first) ? first : E.right(new Watch(options, first.right))
}

class Watch implements Revocations {
  readonly #options: WatchOptions
  #list: RevocationList
  #ids: ReadonlySet<string>
  #seen: string
  #cancel: Cancel

  constructor(options: WatchOptions, list: RevocationList) {
    this.#options = options
    this.#list = list
    this.#ids = idsOf(list)
    this.#seen = stampOf(options.directory)
    this.#cancel = options.clock.after(LOOK_MS, this.#look)
  }

  get list(): RevocationList {
    return this.#list
  }

  isRevoked(nodeId: string): boolean {
    return this.#ids.has(nodeId)
  }

  adopt(bytes: Uint8Array): 'kept' | 'not-newer' | 'not-signed' {
    const list = readList(bytes, this.#options.trust)
    if (list === undefined) return 'not-signed'
    if (list.number <= this.#list.number) return 'not-newer'
    this.#keep(list)
    this.#take(list)
    return 'kept'
  }

  close(): void {
    this.#cancel()
  }

  readonly #look = () => {
    const { directory, trust, clock, log } = this.#options
    this.#cancel = clock.after(LOOK_MS, this.#look)
    const stamp = stampOf(directory)
    if (stamp === this.#seen) return
    if (this.#seen !== NOT_WRITTEN) this.#seen = stamp
    const read = readRevoked(directory, trust)
    // Whoever was out stays out.
    if (E.isLeft(read)) log.error('revocations', { reason: read.left.reason })
    else if (read.right.number > this.#list.number) this.#take(read.right)
    // Two processes wrote at once, and the older list came last.
    else if (read.right.number < this.#list.number) this.#keep(this.#list)
  }

  #take(list: RevocationList): void {
    this.#list = list
    this.#ids = idsOf(list)
    this.#options.onChange()
  }

  /** A disk that is full makes nobody a member again: the list counts, and is kept later. */
  #keep({ bytes }: RevocationList): void {
    const { directory, log } = this.#options
    try {
      replaceFile(pathOf(directory), bytes, `revoked-${process.pid}`)
      this.#seen = stampOf(directory)
    } catch (error) {
      const reason = `cannot write ${pathOf(directory)} (${codeOf(error)}); it is tried again`
      if (this.#seen !== NOT_WRITTEN) log.error('revocations', { reason })
      this.#seen = NOT_WRITTEN
    }
  }
}

const idsOf = ({ revoked }: RevocationList): ReadonlySet<string> =>
  new Set(revoked.map(({ node_id }) => node_id))

/** A replaced file is another inode. */
const stampOf = (directory: string): string => {
  const stat = statSync(pathOf(directory), { throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.ino} ${stat.mtimeMs}`
}
