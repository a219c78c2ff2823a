// Members: certificates for the raw peers, right and wrong ones, made with the authority's
// key of the mesh that is tested, as protocol/README.md describes them.

import 'reflect-metadata'
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
} from 'node:crypto'
import * as x509 from '@peculiar/x509'
import type { Mesh } from './target.ts'

x509.cryptoProvider.set(webcrypto)

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const
const HOUR_MS = 3_600_000
const USES = {
  server: '1.3.6.1.5.5.7.3.1',
  client: '1.3.6.1.5.5.7.3.2',
} as const

/** Who a certificate is for. */
export interface Party {
  readonly role: string
  readonly nodeId: string
  readonly hostName: string
}

/** What TLS is given. */
export interface Shown {
  readonly key: string
  readonly cert: string
}

export const hashOf = (key: KeyObject, digits: number): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, digits)

/** Keys by the node id that follows from them. */
const keys = new Map<string, KeyObject>()

/** A new key; its node id. */
export const newNodeId = (): string => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const nodeId = hashOf(publicKey, 32)
  keys.set(nodeId, privateKey)
  return nodeId
}

/** The key of a node id: made here, or found in the state directory. */
export const keyOf = (mesh: Mesh, nodeId: string): KeyObject | undefined =>
  keys.get(nodeId) ?? mesh.keys.get(nodeId)

export const namesOf = (meshId: string, { role, nodeId, hostName }: Party): Names => [
  {
    type: 'url',
    value: `mesh://${meshId}/${role}/${nodeId}${role === 'client' ? CLIENTS : ''}`,
  },
  { type: 'dns', value: `${hostName}.mesh.internal` },
]

/** What the kit's clients may do: all that they ask. */
const CLIENTS = '?scope=read&scope=tasks%3Arun&scope=admin'

export type Names = readonly { readonly type: 'url' | 'dns'; readonly value: string }[]

/** In what a certificate may be wrong. */
export interface Wrong {
  readonly names?: Names
  readonly usages?: readonly ('server' | 'client')[]
  readonly fromMs?: number
  readonly toMs?: number
  /** Another authority of the same name. */
  readonly isForged?: boolean
}

/** A member's key and certificate. */
export const show = async (
  mesh: Mesh,
  party: Party,
  wrong: Wrong = {},
): Promise<Shown> => {
  const key = keyOf(mesh, party.nodeId)
  if (key === undefined) throw new Error(`Expected the key of ${party.nodeId}`)
  const forger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const signer = wrong.isForged === true ? forger : mesh.authorityKey
  const { names = namesOf(mesh.meshId, party), usages = ['server', 'client'] } = wrong
  const { fromMs = -HOUR_MS, toMs = 24 * HOUR_MS } = wrong
  const publicKey = await publicOf(key)
  const issuer = new x509.X509Certificate(mesh.authority)
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `4${randomBytes(16).toString('hex').slice(1)}`,
    subject: [{ CN: [party.hostName] }],
    issuer: issuer.subject,
    notBefore: new Date(Date.now() + fromMs),
    notAfter: new Date(Date.now() + toMs),
    publicKey,
    signingKey: await privateOf(signer),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(usages.map((use) => USES[use])),
      ...(names.length === 0
        ? []
        : [new x509.SubjectAlternativeNameExtension([...names])]),
      await x509.AuthorityKeyIdentifierExtension.create(await publicOf(signer)),
    ],
  })
  const pem = String(key.export({ type: 'pkcs8', format: 'pem' }))
  return { key: pem, cert: certificate.toString('pem') }
}

const publicOf = (key: KeyObject) => {
  const der = createPublicKey(key).export({ type: 'spki', format: 'der' })
  return webcrypto.subtle.importKey('spki', der, ALGORITHM, true, ['verify'])
}

const privateOf = (key: KeyObject) => {
  const der = key.export({ type: 'pkcs8', format: 'der' })
  return webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign'])
}
