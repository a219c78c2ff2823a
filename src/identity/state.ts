// The state directory: the mesh's authority, the members that live here, and where they
// listen.
//
//   <state>/                0700, every file in it 0600
//     mesh/                 made once, in one step, however many nodes start at the same time
//       ca.pem              the certificate that every member trusts
//       ca.key              its key: only where the mesh was made
//       client/             key.pem, cert.pem of the command line
//     names/<name>          to whom a name was given: names.ts
//     nodes/<slot>/         one per node: slots.ts
//       identity/           key.pem, cert.pem
//       address.json        { node_id, boot_id, role, host_name, pid, url } while it listens
//
// Whoever can read a key here is that member: the same user, on this machine. Nothing here
// is repaired in place: a mesh that cannot be read is named, never replaced, because a new
// authority would split the mesh in two.

import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { homedir, hostname } from 'node:os'
import { join, resolve } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { BootId, HostName, NodeId, NodeType, Pid } from '../../protocol/scalars.ts'
import { ALL_SCOPES } from '../../protocol/scopes.ts'
import {
  type Credentials,
  type CredentialsFault,
  credentialFiles,
  damaged,
  placeDirectory,
  readCredentials,
  readTrust,
  type Trust,
} from './credentials.ts'
import { accessFault, codeOf, makePrivateDirectory, readJson } from './files.ts'
import { lockHolder } from './lock.ts'
import { baseNameOf, claimName } from './names.ts'
import { nodeIdOf } from './subject.ts'

/** A mesh as a state directory knows it. */
export interface MeshState {
  readonly directory: string
  readonly meshId: string
  readonly trust: Trust
  /** The command line's. */
  readonly client: Credentials
}

/** As it was opened. */
export interface OpenedState extends MeshState {
  /** Was the mesh made by this opening? */
  readonly isNew: boolean
}

/** Why the state directory cannot be used. `reason` names the remedy where there is one. */
export type StateFailure =
  | CredentialsFault
  | { readonly kind: 'no-mesh'; readonly path: string; readonly reason: string }
  | { readonly kind: 'name-in-use'; readonly path: string; readonly reason: string }
  /** A new member is needed, and the key that makes one is on another machine. */
  | { readonly kind: 'no-authority'; readonly path: string; readonly reason: string }

/** Where a node listens, as it wrote down itself. */
export const NodeAddress = t.intersection([
  t.type({
    node_id: NodeId,
    boot_id: BootId,
    role: NodeType,
    host_name: HostName,
    pid: Pid,
    url: t.string,
  }),
  // The address that it was told to listen on: which others can reach it.
  t.partial({ listen: t.string }),
])
export type NodeAddress = t.TypeOf<typeof NodeAddress>

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

/** The files of a mesh, within its state directory. */
export const placesOf = (directory: string) => ({
  mesh: join(directory, 'mesh'),
  authorityKey: join(directory, 'mesh', 'ca.key'),
  authority: join(directory, 'mesh', 'ca.pem'),
  client: join(directory, 'mesh', 'client'),
  nodes: join(directory, 'nodes'),
})

/** The mesh of a state directory; fails with 'no-mesh' where no node was ever started. */
export const readState = (directory: string): Either<StateFailure, MeshState> => {
  const places = placesOf(directory)
  if (!existsSync(places.mesh))
    return E.left({
      kind: 'no-mesh',
      path: directory,
      reason: `no mesh in ${directory}; start one with: manyhands up`,
    })
  const fault =
    accessFault(directory, 'directory') ??
    accessFault(places.mesh, 'directory') ??
    accessFault(places.authorityKey, 'file')
  if (fault !== undefined) return E.left({ kind: 'access', ...fault })
  if (existsSync(join(places.mesh, 'secret')))
    return E.left(damaged(places.mesh, 'was made by an older version, without keys'))
  const trust = readTrust(places.authority)
  if (E.isLeft(trust)) return trust
  const client = readCredentials(places.client, trust.right)
  if (E.isLeft(client)) return client
  if (client.right === undefined) return E.left(damaged(places.client, 'is missing'))
  const { meshId } = trust.right
  return E.right({ directory, meshId, trust: trust.right, client: client.right })
}

/** The mesh of a state directory, made if there is none: of several at once, one wins and all use it. */
export const openState = async (
  directory: string,
  baseName: HostName = baseNameOf(process.env, hostname()),
): Promise<Either<StateFailure, OpenedState>> => {
  let isNew = false
  try {
    makePrivateDirectory(directory)
    const fault = accessFault(directory, 'directory')
    if (fault !== undefined) return E.left({ kind: 'access', ...fault })
    sweepDrafts(directory)
    if (!existsSync(placesOf(directory).mesh))
      isNew = await createMesh(directory, baseName)
  } catch (error) {
    return E.left({
      kind: 'access',
      path: directory,
      reason: `cannot make the state directory ${directory} (${codeOf(error)}); make room, or choose another with --state`,
    })
  }
  const state = readState(directory)
  if (E.isRight(state) && existsSync(placesOf(directory).authorityKey))
    claimName({ directory, party: state.right.client.party, holder: CLIENT })
  return E.map((its: MeshState) => ({ ...its, isNew }))(state)
}

/** The client's folder, beside the mesh's own files. */
const CLIENT = join('mesh', 'client')

/** Resolves with true if this one made it: another start may be first, and its mesh is ours then. */
const createMesh = async (directory: string, baseName: HostName): Promise<boolean> => {
  const { certify, makeAuthority, makeKeys, toPem } = await import('./x509.ts')
  const authority = await makeAuthority()
  const { privateKey, publicKey } = makeKeys()
  const client = {
    role: 'client',
    nodeId: nodeIdOf(publicKey),
    // A name is at most 200 letters long.
    hostName: `${baseName.length > 190 ? 'node' : baseName}-client`,
    // Whoever makes a mesh may do everything in it.
    scopes: ALL_SCOPES,
  } as const
  const certificate = await certify(authority, client, publicKey)
  return placeDirectory(placesOf(directory).mesh, {
    'ca.key': toPem(authority.key),
    'ca.pem': authority.certificatePem,
    ...credentialFiles(toPem(privateKey), certificate, 'client'),
  })
}

/** Whoever was killed between making a directory and naming it left it; a living one is quick. */
const DRAFT_LIFE_MS = 3_600_000

const sweepDrafts = (directory: string): void => {
  for (const name of readdirSync(directory)) {
    if (!name.startsWith('.new-')) continue
    const draft = join(directory, name)
    const ageMs = Date.now() - (statSync(draft, { throwIfNoEntry: false })?.mtimeMs ?? 0)
    if (ageMs > DRAFT_LIFE_MS) rmSync(draft, { recursive: true, force: true })
  }
}

/** Did a manager ever start here? Then this is where its mesh is looked for. */
export const hasHadManager = (directory: string): boolean => {
  try {
    const slots = readdirSync(placesOf(directory).nodes)
    return slots.some((slot) => slot.startsWith('manager@'))
  } catch {
    return false
  }
}

/** The nodes of this state directory that listen now. What a killed node left behind is skipped. */
export const listAddresses = (directory: string): readonly NodeAddress[] => {
  const { nodes } = placesOf(directory)
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
