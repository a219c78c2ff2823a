// Issuing: new members, made where the authority's key is. Anywhere else the answer is how
// to get one: an invitation from the machine that has the key.

import { existsSync } from 'node:fs'
import { relative } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { HostName, NodeType } from '../../protocol/scalars.ts'
import {
  type Credentials,
  credentialFiles,
  placeDirectory,
  readCredentials,
  readPrivate,
} from './credentials.ts'
import { claimName, type Member } from './names.ts'
import { type MeshState, placesOf, type StateFailure } from './state.ts'
import { type Grant, nodeIdOf, type Party } from './subject.ts'
import type { Authority } from './x509.ts'

type Result<A> = Either<StateFailure, A>

/** Is the key here that makes members of this mesh? */
export const isAuthorityHere = ({ directory }: MeshState): boolean =>
  existsSync(placesOf(directory).authorityKey)

/** The mesh's authority; fails with 'no-authority' where its key is not. */
export const readAuthority = async (state: MeshState): Promise<Result<Authority>> => {
  const { authorityKey } = placesOf(state.directory)
  if (!isAuthorityHere(state))
    return E.left({
      kind: 'no-authority',
      path: authorityKey,
      reason: `this machine joined its mesh and cannot add members to it; on the machine that made the mesh run: manyhands invite --role worker, then here: manyhands join TOKEN`,
    })
  const keyPem = readPrivate(authorityKey)
  if (E.isLeft(keyPem)) return keyPem
  const { trustPem, certificate } = state.trust
  const { authorityOf } = await import('./x509.ts')
  return E.right(authorityOf(keyPem.right, trustPem, certificate.publicKey))
}

export interface NewMember extends Grant {
  readonly role: NodeType
  readonly hostName: HostName
  /** The directory that will hold its key and certificate. */
  readonly place: string
}

/** A member of this machine: its name taken, its key and certificate in place. */
export const makeMember = async (
  state: MeshState,
  { role, hostName, place, ...grant }: NewMember,
): Promise<Result<Credentials>> => {
  const authority = await readAuthority(state)
  if (E.isLeft(authority)) return authority
  const { certify, makeKeys, toPem } = await import('./x509.ts')
  const { privateKey, publicKey } = makeKeys()
  const party: Party = { role, hostName, nodeId: nodeIdOf(publicKey), ...grant }
  const { directory } = state
  const holder = relative(directory, place)
  const other = claimName({ directory, party, holder })
  if (other !== undefined) return E.left(taken(place, other))
  const certificate = await certify(authority.right, party, publicKey)
  placeDirectory(place, credentialFiles(toPem(privateKey), certificate))
  const made = readCredentials(place, state.trust)
  if (E.isLeft(made)) return made
  if (made.right === undefined) throw new Error(`Expected credentials in ${place}`)
  return E.right(made.right)
}

export const taken = (path: string, { hostName, role }: Member): StateFailure => ({
  kind: 'name-in-use',
  path,
  reason: `the name ${hostName} belongs to another member (a ${role}); choose another --name, or take it away with: manyhands revoke ${hostName}`,
})

/**
 * A state directory at `path` for a member of another machine, with its command line's,
 * which has the scopes.
 */
export const makeBundle = async (
  state: MeshState,
  path: string,
  { role, hostName, scopes, labels }: Omit<NewMember, 'place'>,
): Promise<Result<Party>> => {
  const authority = await readAuthority(state)
  if (E.isLeft(authority)) return authority
  const { certify, makeKeys, toPem } = await import('./x509.ts')
  const { directory } = state
  const files: Record<string, string> = {
    'mesh/ca.pem': authority.right.certificatePem,
  }
  const add = async (party: Party, keys: ReturnType<typeof makeKeys>, within: string) => {
    const certificate = await certify(authority.right, party, keys.publicKey)
    Object.assign(files, credentialFiles(toPem(keys.privateKey), certificate, within))
  }
  const [keys, clientKeys] = [makeKeys(), makeKeys()]
  const node = { role, hostName, nodeId: nodeIdOf(keys.publicKey) }
  const rights = scopes === undefined ? {} : { scopes }
  const party: Party =
    role === 'client' ? { ...node, ...rights } : { ...node, ...(labels && { labels }) }
  const other = claimName({ directory, party })
  if (other !== undefined) return E.left(taken(path, other))
  if (role === 'client') await add(party, keys, 'mesh/client')
  else {
    const slot = `nodes/${role}@${hostName.toLowerCase()}/identity`
    await add(party, keys, slot)
    const nodeId = nodeIdOf(clientKeys.publicKey)
    const name = `${hostName}-client`
    const client: Party = { role: 'client', hostName: name, nodeId, ...rights }
    const beside = claimName({ directory, party: client, beside: hostName })
    if (beside !== undefined) return E.left(taken(path, beside))
    await add(client, clientKeys, 'mesh/client')
  }
  if (placeDirectory(path, files)) return E.right(party)
  return E.left({ kind: 'access', path, reason: `${path} is there already` })
}
