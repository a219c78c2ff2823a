// Slots: a node's own folder in the state directory, with its identity and a lock.
//
// A node that starts takes the first slot that is free: its own of the last time, after
// kill -9 too. So names are stable without anybody writing them down: `pi`, then `pi-2`
// for a second worker on the same machine, `pi-manager` for its manager. A slot's first
// node makes the slot's key; where that cannot be (the authority is on another machine),
// the slots that were joined are what there is.

import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import type { HostName, NodeId, NodeType } from '../../protocol/index.ts'
import { replaceFile } from '../files.ts'
import { type Credentials, readCredentials } from './credentials.ts'
import { makePrivateDirectory, readJson } from './files.ts'
import { isAuthorityHere, makeMember, readAuthority } from './issue.ts'
import { type DirectoryLock, lockHolder, takeLock } from './lock.ts'
import { renewedHere } from './renewal.ts'
import { type MeshState, type NodeAddress, placesOf, type StateFailure } from './state.ts'

const LastFile = t.type({ port: t.Int })

/** More nodes of one role on one machine than anybody starts by intent. */
const MAX_SUFFIX = 1000

/** What became of a slot's certificate when the slot was taken. */
export type CertificateOrigin = 'kept' | 'made' | 'renewed'

/** A node's slot, held until `release`. */
export interface Slot {
  readonly directory: string
  /** Where its key and certificate are. */
  readonly identity: string
  readonly credentials: Credentials
  readonly certificate: CertificateOrigin
  readonly nodeId: NodeId
  readonly hostName: HostName
  /** Where the node of this slot listened the last time; peers look there first. */
  readonly lastPort: number | undefined
  /** Writes the node's address where command lines and other nodes find it. */
  announce(address: NodeAddress, port: number): void
  /** Takes the address away and gives the lock back; twice does nothing. */
  release(): void
}

export interface SlotRequest {
  readonly state: MeshState
  readonly role: NodeType
  /** Exactly this name (`--name`); undefined: the first free one made from `baseName`. */
  readonly name: HostName | undefined
  readonly baseName: HostName
}

/** Takes a slot. A name in use by a living node is refused with who holds it. */
export const takeSlot = async (
  request: SlotRequest,
): Promise<Either<StateFailure, Slot>> => {
  const { role, name, baseName, state } = request
  if (name !== undefined) return takeNamed(request, name)
  if (!isAuthorityHere(state)) return takeJoined(request)
  const first = role === 'worker' ? baseName : `${baseName}-${role}`
  for (let count = 1; count <= MAX_SUFFIX; count++) {
    const slot = await takeNamed(request, count === 1 ? first : `${first}-${count}`)
    if (E.isRight(slot) || slot.left.kind !== 'name-in-use') return slot
  }
  return E.left(
    inUse(state.directory, `${first} and ${MAX_SUFFIX} more names are in use`),
  )
}

/** Any slot of the role that came by an invitation. */
const takeJoined = async (request: SlotRequest): Promise<Either<StateFailure, Slot>> => {
  const { nodes } = placesOf(request.state.directory)
  const start = `${request.role}@`
  let failure: StateFailure | undefined
  for (const folder of existsSync(nodes) ? readdirSync(nodes).sort() : []) {
    if (!folder.startsWith(start) || !existsSync(identityIn(join(nodes, folder))))
      continue
    const slot = await takeNamed(request, folder.slice(start.length))
    if (E.isRight(slot) || slot.left.kind !== 'name-in-use') return slot
    failure ??= slot.left
  }
  if (failure !== undefined) return E.left(failure)
  const authority = await readAuthority(request.state)
  if (E.isLeft(authority)) return authority
  throw new Error('Expected no authority here')
}

const identityIn = (slot: string): string => join(slot, 'identity')

/** The folder of a node's slot. */
export const slotPath = (directory: string, role: NodeType, hostName: HostName): string =>
  join(placesOf(directory).nodes, `${role}@${hostName.toLowerCase()}`)

/** Where a slot's key and certificate are. */
export const identityPath = (
  directory: string,
  role: NodeType,
  hostName: HostName,
): string => identityIn(slotPath(directory, role, hostName))

const takeNamed = async (
  { state, role }: SlotRequest,
  hostName: HostName,
): Promise<Either<StateFailure, Slot>> => {
  const { nodes } = placesOf(state.directory)
  const directory = slotPath(state.directory, role, hostName)
  makePrivateDirectory(directory)
  const lock = await takeLock(directory)
  if (!('release' in lock)) {
    const reason = `the name ${hostName} is in use by a living ${role} (pid ${lock.pid}); stop it, or choose another --name`
    return E.left(inUse(directory, reason))
  }
  const other = holderOfName(nodes, directory, hostName)
  const credentials =
    other === undefined
      ? await credentialsOf(state, role, hostName)
      : E.left(inUse(directory, other))
  if (E.isRight(credentials)) return E.right(slotOf(directory, credentials.right, lock))
  lock.release()
  return credentials
}

type Certified = Pick<Slot, 'credentials' | 'certificate'>

/** The identity that the slot keeps for good, made at its first use. Called under its lock. */
const credentialsOf = async (
  state: MeshState,
  role: NodeType,
  hostName: HostName,
): Promise<Either<StateFailure, Certified>> => {
  const place = identityPath(state.directory, role, hostName)
  const slot = slotPath(state.directory, role, hostName)
  // Who was killed while making an identity here is dead: the lock is ours.
  for (const name of readdirSync(slot))
    if (name.startsWith('.new-')) rmSync(join(slot, name), { recursive: true })
  const known = readCredentials(place, state.trust)
  if (E.isLeft(known)) return known
  if (known.right === undefined) {
    const made = await makeMember(state, { role, hostName, place })
    return E.map((credentials: Credentials) => certified(credentials, 'made'))(made)
  }
  const credentials = await renewedHere({ state, place, credentials: known.right })
  const isSame = credentials === known.right
  return E.right(certified(credentials, isSame ? 'kept' : 'renewed'))
}

const certified = (
  credentials: Credentials,
  certificate: CertificateOrigin,
): Certified => ({ credentials, certificate })

/** Names are one space for all roles: is a node of another role alive under it? */
const holderOfName = (
  nodes: string,
  own: string,
  hostName: HostName,
): string | undefined => {
  const end = `@${hostName.toLowerCase()}`
  for (const folder of readdirSync(nodes)) {
    if (join(nodes, folder) === own || !folder.endsWith(end)) continue
    const holder = lockHolder(join(nodes, folder))
    if (holder !== undefined)
      return `the name ${hostName} is in use by a living ${folder.slice(0, -end.length)} (pid ${holder.pid}); stop it, or choose another --name`
  }
  return undefined
}

const inUse = (path: string, reason: string): StateFailure => ({
  kind: 'name-in-use',
  path,
  reason,
})

const slotOf = (
  directory: string,
  { credentials, certificate }: Certified,
  lock: DirectoryLock,
): Slot => {
  const addressFile = join(directory, 'address.json')
  const unique = randomBytes(6).toString('hex')
  // What a killed node left behind is no address of this one.
  rmSync(addressFile, { force: true })
  const last = LastFile.decode(readJson(join(directory, 'last.json')))
  const { hostName, nodeId } = credentials.party
  return {
    directory,
    identity: identityIn(directory),
    credentials,
    certificate,
    hostName,
    nodeId,
    lastPort: E.isRight(last) ? last.right.port : undefined,
    announce: (address, port) => {
      replaceFile(join(directory, 'last.json'), `${JSON.stringify({ port })}\n`, unique)
      replaceFile(addressFile, `${JSON.stringify(address)}\n`, unique)
    },
    release: () => {
      rmSync(addressFile, { force: true })
      lock.release()
    },
  }
}
