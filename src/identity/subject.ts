// Subject: what a certificate says of its holder, and nothing else is believed.
//
//   URI:mesh://<mesh id>/<role>/<node id>[?<rights>], DNS:<host name>.mesh.internal
//
// Both ids are hashes of public keys: a mesh's of its authority's, a node's of its own. So
// whoever holds a certificate of this mesh for a node id also holds that node's key.
//
// Rights are what the issuer gives besides: a client's scopes, a worker's labels, as a
// form's fields (`scope=read&scope=tasks%3Arun%40lab-*`, `label=zone%3Deu`). That encoding
// leaves no letter that Node.js would quote.

import { createHash, type KeyObject, X509Certificate } from 'node:crypto'
import { HostName, type NodeId, NodeType } from '../../protocol/scalars.ts'
import { Scope } from '../../protocol/scopes.ts'

/** Who a certificate is for. */
export interface Party {
  readonly role: NodeType
  readonly nodeId: NodeId
  readonly hostName: HostName
  /** A client's: what it may do. None: nothing. */
  readonly scopes?: readonly Scope[]
  /** A worker's: what its issuer says of it, which tasks ask for as `issuer/…`. */
  readonly labels?: Readonly<Record<string, string>>
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
export const namesOf = (meshId: string, party: Party) => {
  const { role, nodeId, hostName } = party
  const rights = writeRights(party)
  const query = rights === '' ? '' : `?${rights}`
  return [
    { type: 'url', value: `mesh://${meshId}/${role}/${nodeId}${query}` } as const,
    { type: 'dns', value: `${hostName}${DOMAIN}` } as const,
  ]
}

/** What an issuer may give with a certificate. */
export type Grant = Pick<Party, 'scopes' | 'labels'>

/** Letters that a grant may take as it is written; what is longer would not be read. */
const MAX_GRANT = 4096

/** Does it fit a certificate? */
export const isGrantable = (grant: Grant): boolean =>
  writeRights(grant).length <= MAX_GRANT

const writeRights = ({ scopes = [], labels = {} }: Grant): string => {
  const fields = new URLSearchParams()
  for (const scope of scopes) fields.append('scope', scope)
  for (const [name, value] of Object.entries(labels))
    fields.append('label', `${name}=${value}`)
  return fields.toString()
}

/** What a newer issuer gives that is not known here is passed over: it gives nothing. */
const readRights = (text: string | undefined): Grant => {
  const fields = new URLSearchParams(text)
  const scopes = fields.getAll('scope').filter((scope) => Scope.is(scope))
  const labels = fields.getAll('label').flatMap((label) => {
    const at = label.indexOf('=')
    return at > 0 ? [[label.slice(0, at), label.slice(at + 1)] as const] : []
  })
  return {
    ...(scopes.length > 0 && { scopes }),
    ...(labels.length > 0 && { labels: Object.fromEntries(labels) }),
  }
}

const DAY_MS = 86_400_000
/** How long a member's certificate is good for; it is renewed at two thirds of it. */
export const MEMBER_LIFE_MS = 90 * DAY_MS
/** After this long none that was good at a moment is any more: a day for clocks. */
export const LONGEST_LIFE_MS = MEMBER_LIFE_MS + DAY_MS

/** Longest name that a certificate is made for: above it, standards and tools differ. */
export const MAX_NAME = 200

// One pattern for the whole text, anchored: Node.js quotes hostile values, and a search for
// a part could match inside such a quote.
const NAMES =
  /^URI:mesh:\/\/([0-9a-f]{20})\/([a-z]{1,16})\/([0-9a-f]{32})(?:\?([A-Za-z0-9*._%&=+-]{1,4096}))?, DNS:([A-Za-z0-9_.-]{1,200})\.mesh\.internal$/

/** Who a certificate is for, by its names alone; undefined if they are not as we make them. */
export const readNames = (
  names: string | undefined,
): { readonly meshId: string; readonly party: Party } | undefined => {
  const [, meshId, role, nodeId, rights, hostName] = NAMES.exec(names ?? '') ?? []
  if (meshId === undefined || nodeId === undefined) return undefined
  if (!NodeType.is(role) || !HostName.is(hostName)) return undefined
  return { meshId, party: { role, nodeId, hostName, ...readRights(rights) } }
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
