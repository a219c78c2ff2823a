// Subject: what a certificate says of its holder, and nothing else is believed.
//
//   URI:mesh://<mesh id>/<role>/<node id>, DNS:<host name>.mesh.internal
//
// Both ids are hashes of public keys: a mesh's of its authority's, a node's of its own. So
// whoever holds a certificate of this mesh for a node id also holds that node's key.

import { createHash, type KeyObject, X509Certificate } from 'node:crypto'
import { HostName, type NodeId, NodeType } from '../../protocol/scalars.ts'

/** Who a certificate is for. */
export interface Party {
  readonly role: NodeType
  readonly nodeId: NodeId
  readonly hostName: HostName
}

/** The hash of a public key as ids use it: the first `digits` hex digits of its SHA-256. */
const keyHash = (key: KeyObject, digits: number): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, digits)

/** Ten bytes: short enough for an invitation to carry whole. */
export const meshIdOf = (authorityKey: KeyObject): string => keyHash(authorityKey, 20)

export const nodeIdOf = (nodeKey: KeyObject): NodeId => keyHash(nodeKey, 32)

const DOMAIN = '.mesh.internal'

/** The two names that a node's certificate carries. */
export const namesOf = (meshId: string, { role, nodeId, hostName }: Party) => [
  { type: 'url', value: `mesh://${meshId}/${role}/${nodeId}` } as const,
  { type: 'dns', value: `${hostName}${DOMAIN}` } as const,
]

/** Longest name that a certificate is made for: above it, standards and tools differ. */
export const MAX_NAME = 200

// One pattern for the whole text, anchored: Node.js quotes hostile values, and a search for
// a part could match inside such a quote.
const NAMES =
  /^URI:mesh:\/\/([0-9a-f]{20})\/([a-z]{1,16})\/([0-9a-f]{32}), DNS:([A-Za-z0-9_.-]{1,200})\.mesh\.internal$/

/** Who a certificate is for, by its names alone; undefined if they are not as we make them. */
export const readNames = (
  names: string | undefined,
): { readonly meshId: string; readonly party: Party } | undefined => {
  const [, meshId, role, nodeId, hostName] = NAMES.exec(names ?? '') ?? []
  if (meshId === undefined || nodeId === undefined) return undefined
  if (!NodeType.is(role) || !HostName.is(hostName)) return undefined
  return { meshId, party: { role, nodeId, hostName } }
}

/** Why the names of a certificate are not believed. */
export type NamesFault = 'san' | 'other-mesh' | 'id-mismatch'

/** Who it is for, if its names are well-formed, of this mesh, and its node id is its key's. */
export const readSubject = (
  certificate: X509Certificate,
  meshId: string,
): Party | NamesFault => {
  const names = readNames(certificate.subjectAltName)
  if (names === undefined) return 'san'
  if (names.meshId !== meshId) return 'other-mesh'
  return names.party.nodeId === nodeIdOf(certificate.publicKey)
    ? names.party
    : 'id-mismatch'
}

/** A certificate from its PEM or DER; undefined if it is none. */
export const parseCertificate = (bytes: string | Buffer): X509Certificate | undefined => {
  try {
    return new X509Certificate(bytes)
  } catch {
    return undefined
  }
}
