// The state directory: the mesh's id and secret, and the addresses of the nodes here.
//
//   <state>/                0700
//     mesh/                 made once, in one step, however many nodes start at the same time
//       mesh.json           { mesh_id }
//       secret              32 random bytes, 0600
//     nodes/<slot>/         one per node: slots.ts
//       node.json           { node_id, role, host_name }
//       address.json        { node_id, boot_id, role, host_name, pid, url } while it listens
//
// Whoever can read the secret is a member: the same user, on this machine. Nothing here
// is repaired in place: a mesh that cannot be read is named, never replaced, because a new
// secret would split the mesh in two.

import { randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { BootId, HostName, NodeId, NodeType, Pid } from '../../protocol/scalars.ts'
import {
  accessFault,
  codeOf,
  makePrivateDirectory,
  readJson,
  syncDirectory,
  writeNew,
} from './files.ts'
import { lockHolder } from './lock.ts'

const SECRET_BYTES = 32

/** What makes a mesh: its id, and the secret that its members prove to know. */
export interface MeshState {
  readonly directory: string
  readonly meshId: string
  readonly secret: Uint8Array
}

/** Why the state directory cannot be used. `reason` names the remedy where there is one. */
export type StateFailure =
  | { readonly kind: 'no-mesh'; readonly path: string; readonly reason: string }
  | { readonly kind: 'access'; readonly path: string; readonly reason: string }
  | { readonly kind: 'damaged'; readonly path: string; readonly reason: string }
  | { readonly kind: 'name-in-use'; readonly path: string; readonly reason: string }

/** Where a node listens, as it wrote down itself. */
export const NodeAddress = t.type({
  node_id: NodeId,
  boot_id: BootId,
  role: NodeType,
  host_name: HostName,
  pid: Pid,
  url: t.string,
})
export type NodeAddress = t.TypeOf<typeof NodeAddress>

const MeshFile = t.type({ mesh_id: t.string })

/** `--state`, else `$XDG_STATE_HOME/manyhands`, else `~/.local/state/manyhands`; absolute. */
export const stateDirectory = (
  given: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): string => {
  if (given !== undefined) return resolve(given)
  const { XDG_STATE_HOME: base } = environment
  // The XDG specification: a relative path is to be ignored.
  if (base?.startsWith('/')) return join(base, 'manyhands')
  return join(homedir(), '.local', 'state', 'manyhands')
}

/** The mesh of a state directory; fails with 'no-mesh' where no node was ever started. */
export const readState = (directory: string): Either<StateFailure, MeshState> => {
  const mesh = join(directory, 'mesh')
  if (!existsSync(mesh))
    return E.left({
      kind: 'no-mesh',
      path: directory,
      reason: `no mesh in ${directory}; start one with: manyhands up`,
    })
  const secretPath = join(mesh, 'secret')
  const fault =
    accessFault(directory, 'directory') ??
    accessFault(mesh, 'directory') ??
    accessFault(secretPath, 'file')
  if (fault !== undefined) return E.left({ kind: 'access', ...fault })
  return readMesh(directory, mesh, secretPath)
}

const readMesh = (
  directory: string,
  mesh: string,
  secretPath: string,
): Either<StateFailure, MeshState> => {
  const file = MeshFile.decode(readJson(join(mesh, 'mesh.json')))
  if (E.isLeft(file) || !/^[0-9a-f]{32}$/.test(file.right.mesh_id))
    return E.left(damaged(join(mesh, 'mesh.json'), 'holds no mesh id'))
  try {
    const secret = readFileSync(secretPath)
    if (secret.byteLength !== SECRET_BYTES)
      return E.left(damaged(secretPath, `is not ${SECRET_BYTES} bytes long`))
    return E.right({ directory, meshId: file.right.mesh_id, secret })
  } catch (error) {
    return E.left({
      kind: 'access',
      path: secretPath,
      reason: `cannot read ${secretPath} (${codeOf(error)})`,
    })
  }
}

const damaged = (path: string, what: string): StateFailure => ({
  kind: 'damaged',
  path,
  reason: `${path} ${what}; it is not replaced, because that would split the mesh: restore it, or stop all nodes here and remove the directory`,
})

/** The mesh of a state directory, made if there is none: of several at once, one wins and all use it. */
export const openState = (directory: string): Either<StateFailure, MeshState> => {
  try {
    makePrivateDirectory(directory)
    const fault = accessFault(directory, 'directory')
    if (fault !== undefined) return E.left({ kind: 'access', ...fault })
    if (!existsSync(join(directory, 'mesh'))) createMesh(directory)
  } catch (error) {
    return E.left({
      kind: 'access',
      path: directory,
      reason: `cannot make the state directory ${directory} (${codeOf(error)}); choose another with --state`,
    })
  }
  return readState(directory)
}

const createMesh = (directory: string): void => {
  const draft = mkdtempSync(join(directory, '.new-'))
  try {
    const mesh = { mesh_id: randomBytes(16).toString('hex') }
    writeNew(join(draft, 'mesh.json'), `${JSON.stringify(mesh)}\n`)
    writeNew(join(draft, 'secret'), randomBytes(SECRET_BYTES))
    syncDirectory(draft)
    renameSync(draft, join(directory, 'mesh'))
    syncDirectory(directory)
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    // Another start was first: its mesh is ours.
    if (!['ENOTEMPTY', 'EEXIST'].includes(codeOf(error))) throw error
  }
}

/** Did a manager ever start here? Then this is where its mesh is looked for. */
export const hasHadManager = (directory: string): boolean => {
  try {
    const slots = readdirSync(join(directory, 'nodes'))
    return slots.some((slot) => slot.startsWith('manager@'))
  } catch {
    return false
  }
}

/** The nodes of this state directory that listen now. What a killed node left behind is skipped. */
export const listAddresses = (directory: string): readonly NodeAddress[] => {
  const nodes = join(directory, 'nodes')
  let slots: readonly string[]
  try {
    slots = readdirSync(nodes)
  } catch {
    return []
  }
  return slots.flatMap((slot) => {
    const address = NodeAddress.decode(readJson(join(nodes, slot, 'address.json')))
    if (E.isLeft(address)) return []
    return lockHolder(join(nodes, slot)) === undefined ? [] : [address.right]
  })
}
