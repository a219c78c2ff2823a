// Placing a membership: what a joined machine keeps, in its state directory. A mesh that is
// there already is never written over: an unused one of this machine alone is put aside,
// any other one needs a word.

import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { credentialFiles, placeDirectory } from './credentials.ts'
import { accessFault, makePrivateDirectory, readJson, replaceFile } from './files.ts'
import { isAuthorityHere } from './issue.ts'
import type { Membership } from './join.ts'
import { listMembers } from './names.ts'
import { identityPath, slotPath } from './slots.ts'
import { listAddresses, type MeshState, placesOf, readState } from './state.ts'

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
  const { authorityPem, clientKeyPem, clientCertificatePem, node } = membership
  placeDirectory(placesOf(directory).mesh, {
    'ca.pem': authorityPem,
    ...credentialFiles(clientKeyPem, clientCertificatePem, 'client'),
  })
  const { role, hostName, peers } = membership
  const unique = `join-${process.pid}`
  replaceFile(join(directory, PEERS), `${JSON.stringify({ peers })}\n`, unique)
  if (node === undefined) return E.right(aside)
  makePrivateDirectory(slotPath(directory, role, hostName))
  const place = identityPath(directory, role, hostName)
  if (placeDirectory(place, credentialFiles(node.keyPem, node.certificatePem)))
    return E.right(aside)
  return E.left({ reason: `${place} is there already; join with another --name` })
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
