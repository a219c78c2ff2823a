// Placing a membership: what a joined machine keeps, in its state directory. A mesh that is
// there already is never written over: an unused one of this machine alone is put aside,
// any other one needs a word.

import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import type { HostName, NodeType } from '../../protocol/scalars.ts'
import { replaceFile, writeNew } from '../files.ts'
import { credentialFiles, placeDirectory } from './credentials.ts'
import { accessFault, codeOf, makePrivateDirectory, readJson } from './files.ts'
import { isAuthorityHere } from './issue.ts'
import type { Membership } from './join.ts'
import { lockHolder } from './lock.ts'
import { listMembers } from './names.ts'
import { readRevoked } from './revocations.ts'
import { identityPath, slotPath } from './slots.ts'
import { listAddresses, type MeshState, placesOf, readState } from './state.ts'

/** More than a membership takes on disk, folders included. */
const ROOM_BYTES = 65_536

/** What a state directory is to a mesh that its user was invited to. */
export type Standing =
  /** Empty, or of that mesh already: what is new is added. */
  | { readonly kind: 'free' }
  /** A mesh that nobody else is in: put aside when the new membership is there. */
  | { readonly kind: 'unused'; readonly meshId: string }
  | { readonly kind: 'refused'; readonly reason: string }

/** Decided before the invitation is used. */
export const standingOf = (
  directory: string,
  meshId: string,
  isForced: boolean,
): Standing => {
  const fault = accessFault(directory, 'directory')
  if (fault !== undefined) return { kind: 'refused', reason: fault.reason }
  if (!existsSync(placesOf(directory).mesh)) return { kind: 'free' }
  const state = readState(directory)
  if (E.isLeft(state)) return { kind: 'refused', reason: state.left.reason }
  const { right } = state
  if (right.meshId !== meshId) return standingToOther(right, isForced)
  return isAuthorityHere(right)
    ? {
        kind: 'refused',
        reason: `this mesh was made here (${directory}): its nodes start without an invitation`,
      }
    : { kind: 'free' }
}

/** Why the membership could not be kept here, found out before the invitation is used. */
export const obstacleTo = (
  directory: string,
  role: NodeType,
  hostName: HostName,
): { readonly reason: string } | undefined => {
  const holder = lockHolder(slotPath(directory, role, hostName))
  if (holder !== undefined) {
    const reason = `the ${role} ${hostName} runs here (pid ${holder.pid}); stop it first, or join with another --name`
    return { reason }
  }
  const draft = join(directory, `.room-${process.pid}`)
  try {
    makePrivateDirectory(directory)
    try {
      writeNew(draft, Buffer.alloc(ROOM_BYTES))
    } finally {
      rmSync(draft, { force: true })
    }
    return undefined
  } catch (error) {
    const reason = `cannot write in ${directory} (${codeOf(error)}); the invitation was not used; make room, or choose another --state`
    return { reason }
  }
}

const standingToOther = (state: MeshState, isForced: boolean): Standing => {
  const { directory, meshId } = state
  const alive = listAddresses(directory).map((node) => node.host_name)
  if (alive.length > 0)
    return {
      kind: 'refused',
      reason: `nodes of another mesh run here (${alive.join(', ')}); stop them with: manyhands down`,
    }
  const elsewhere = listMembers(directory).filter(({ holder }) => holder === undefined)
  if (isForced || (isAuthorityHere(state) && elsewhere.length === 0))
    return { kind: 'unused', meshId }
  const why = isAuthorityHere(state)
    ? `other machines are members of the mesh that was made here (${elsewhere.map((member) => member.hostName).join(', ')})`
    : 'this machine is a member of another mesh'
  return {
    kind: 'refused',
    reason: `${why}; join with another --state, or leave it for good with --force`,
  }
}

/** Keeps it; what must make room is renamed, not removed. Gives where that is. */
export const placeMembership = (
  directory: string,
  membership: Membership,
  standing: Standing,
): Either<{ readonly reason: string }, string | undefined> => {
  makePrivateDirectory(directory)
  const aside =
    standing.kind === 'unused' ? putAside(directory, standing.meshId) : undefined
  const { role, hostName, peers, node } = membership
  const place = identityPath(directory, role, hostName)
  placeClient(directory, membership, existsSync(place))
  const unique = `join-${process.pid}`
  replaceFile(join(directory, PEERS), `${JSON.stringify({ peers })}\n`, unique)
  if (node === undefined) return E.right(aside)
  makePrivateDirectory(slotPath(directory, role, hostName))
  placeAnew(place, credentialFiles(node.keyPem, node.certificatePem))
  return E.right(aside)
}

/**
 * The command line's. One that is there stays, with what it may do, unless the invitation
 * was for it, or it serves no longer: its time is over, or it went out with its node, which
 * now comes back under its name.
 */
const placeClient = (
  directory: string,
  { role, authorityPem, clientKeyPem, clientCertificatePem }: Membership,
  isBack: boolean,
): void => {
  const { mesh, client } = placesOf(directory)
  const files = (within?: string) =>
    credentialFiles(clientKeyPem, clientCertificatePem, within)
  if (placeDirectory(mesh, { 'ca.pem': authorityPem, ...files('client') })) return
  if (role === 'client' || isBack || !isClientGood(directory)) placeAnew(client, files())
}

const isClientGood = (directory: string): boolean => {
  const state = readState(directory)
  if (E.isLeft(state)) return false
  const { client, trust } = state.right
  const out = readRevoked(directory, trust)
  const isOut =
    E.isRight(out) &&
    out.right.revoked.some(({ node_id }) => node_id === client.party.nodeId)
  return !isOut && client.notAfterMs > Date.now()
}

/** In the place of what is there, which is renamed: its bearer is a member no longer. */
const placeAnew = (place: string, files: Readonly<Record<string, string>>): void => {
  if (existsSync(place)) renameSync(place, `${place}.left-${Date.now()}`)
  placeDirectory(place, files)
}

const putAside = (directory: string, meshId: string): string => {
  const aside = join(directory, `left-${meshId}-${Date.now()}`)
  mkdirSync(aside, { mode: 0o700 })
  // The mesh last: without it nothing of the rest is looked at.
  for (const name of ['nodes', 'names', PEERS, 'mesh'])
    if (existsSync(join(directory, name)))
      renameSync(join(directory, name), join(aside, name))
  return aside
}

const PEERS = 'peers.json'
const PeersFile = t.type({ peers: t.array(t.string) })

/** Where managers were said to listen, when this machine joined. */
export const readPeers = (directory: string): readonly string[] => {
  const file = PeersFile.decode(readJson(join(directory, PEERS)))
  return E.isRight(file) ? file.right.peers : []
}
