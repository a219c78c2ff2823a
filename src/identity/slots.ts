// Slots: a node's own folder in the state directory, with its name, its id and a lock.
//
// A node that starts takes the first slot that is free: its own of the last time, after
// kill -9 too. So names are stable without anybody writing them down: `pi`, then `pi-2`
// for a second worker on the same machine, `pi-manager` for its manager.

import { randomBytes } from 'node:crypto'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { HostName, NodeId, NodeType } from '../../protocol/index.ts'
import { makePrivateDirectory, readJson, replaceFile } from './files.ts'
import { type DirectoryLock, lockHolder, takeLock } from './lock.ts'
import type { NodeAddress, StateFailure } from './state.ts'

const NodeFile = t.type({ node_id: NodeId, role: NodeType, host_name: HostName })
const LastFile = t.type({ port: t.Int })

/** More nodes of one role on one machine than anybody starts by intent. */
const MAX_SUFFIX = 1000

/** A node's slot, held until `release`. */
export interface Slot {
  readonly directory: string
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
  /** The state directory. */
  readonly directory: string
  readonly role: NodeType
  /** Exactly this name (`--name`); undefined: the first free one made from `baseName`. */
  readonly name: HostName | undefined
  readonly baseName: HostName
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

/** Takes a slot. A name in use by a living node is refused with who holds it. */
export const takeSlot = async (
  request: SlotRequest,
): Promise<Either<StateFailure, Slot>> => {
  const { role, name, baseName } = request
  if (name !== undefined) return takeNamed(request, name)
  const first = role === 'worker' ? baseName : `${baseName}-${role}`
  for (let count = 1; count <= MAX_SUFFIX; count++) {
    const slot = await takeNamed(request, count === 1 ? first : `${first}-${count}`)
    if (E.isRight(slot) || slot.left.kind !== 'name-in-use') return slot
  }
  return E.left(
    inUse(request.directory, `${first} and ${MAX_SUFFIX} more names are in use`),
  )
}

const takeNamed = async (
  { directory: state, role }: SlotRequest,
  hostName: HostName,
): Promise<Either<StateFailure, Slot>> => {
  const nodes = join(state, 'nodes')
  const folder = `${role}@${hostName.toLowerCase()}`
  const directory = join(nodes, folder)
  makePrivateDirectory(directory)
  const lock = await takeLock(directory)
  if (!('release' in lock)) {
    const reason = `the name ${hostName} is in use by a living ${role} (pid ${lock.pid}); stop it, or choose another --name`
    return E.left(inUse(directory, reason))
  }
  const other = holderOfName(nodes, folder, hostName)
  if (other !== undefined) {
    lock.release()
    return E.left(inUse(directory, other))
  }
  return E.right(slotOf(directory, role, hostName, lock))
}

/** Names are one space for all roles: is a node of another role alive under it? */
const holderOfName = (
  nodes: string,
  own: string,
  hostName: HostName,
): string | undefined => {
  const end = `@${hostName.toLowerCase()}`
  for (const folder of readdirSync(nodes)) {
    if (folder === own || !folder.endsWith(end)) continue
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
  role: NodeType,
  hostName: HostName,
  lock: DirectoryLock,
): Slot => {
  const addressFile = join(directory, 'address.json')
  const unique = randomBytes(6).toString('hex')
  // What a killed node left behind is no address of this one.
  rmSync(addressFile, { force: true })
  const last = LastFile.decode(readJson(join(directory, 'last.json')))
  return {
    directory,
    hostName,
    nodeId: nodeIdOf(directory, role, hostName, unique),
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

/** The id that the slot keeps for good; made at its first use. */
const nodeIdOf = (
  directory: string,
  role: NodeType,
  hostName: HostName,
  unique: string,
): NodeId => {
  const path = join(directory, 'node.json')
  const known = NodeFile.decode(readJson(path))
  const kept = E.isRight(known) && known.right.role === role ? known.right : undefined
  if (kept?.host_name === hostName) return kept.node_id
  const node_id = kept?.node_id ?? randomBytes(16).toString('hex')
  const node = { node_id, role, host_name: hostName }
  replaceFile(path, `${JSON.stringify(node)}\n`, unique)
  return node_id
}
