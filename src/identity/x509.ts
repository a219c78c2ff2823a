// X.509: makes certificates. The only file that knows the library, which is loaded when
// the first certificate is made: whoever only has one (a command line, a node that joined)
// never pays for it.

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
} from 'node:crypto'
import { MAX_NAME, MEMBER_LIFE_MS, meshIdOf, namesOf, type Party } from './subject.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const AUTHORITY_LIFE_MS = 3650 * DAY_MS
/** A new certificate is valid where a clock is this far behind. */
const SKEW_MS = HOUR_MS

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const
const SIGNING_ALGORITHM = { name: 'ECDSA', hash: 'SHA-256' } as const

/** Everything in which our certificates differ. Tests make wrong ones with it too. */
export interface CertificateSpec {
  readonly commonName: string
  readonly publicKey: KeyObject
  readonly issuer: Signer
  /** A mesh's authority may sign; nobody else may. */
  readonly isAuthority: boolean
  readonly names: readonly { readonly type: 'url' | 'dns'; readonly value: string }[]
  readonly usages: readonly ('server' | 'client')[]
  readonly notBefore: Date
  readonly notAfter: Date
}

/** Who signs. */
export interface Signer {
  readonly commonName: string
  readonly key: KeyObject
  readonly publicKey: KeyObject
}

/** A mesh's authority: who holds its key makes members. */
export interface Authority extends Signer {
  readonly meshId: string
  readonly certificatePem: string
}

/** A P-256 key pair. */
export const makeKeys = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })

export const toPem = (key: KeyObject): string =>
  String(key.export({ type: 'pkcs8', format: 'pem' }))

const authorityName = (meshId: string): string =>
  // The mesh id in it: OpenSSL tells two authorities of one name apart by key id alone.
  `manyhands mesh ${meshId}`

/** A new mesh: its key and the certificate that all members trust. */
export const makeAuthority = async (nowMs = Date.now()): Promise<Authority> => {
  const { privateKey: key, publicKey } = makeKeys()
  const meshId = meshIdOf(publicKey)
  const signer = { commonName: authorityName(meshId), key, publicKey }
  const certificatePem = await makeCertificate({
    commonName: signer.commonName,
    publicKey,
    issuer: signer,
    isAuthority: true,
    names: [],
    usages: [],
    notBefore: new Date(nowMs - SKEW_MS),
    notAfter: new Date(nowMs + AUTHORITY_LIFE_MS),
  })
  return { ...signer, meshId, certificatePem }
}

/** The authority again, from its files. */
export const authorityOf = (
  keyPem: string,
  certificatePem: string,
  publicKey: KeyObject,
): Authority => {
  const meshId = meshIdOf(publicKey)
  const key = createPrivateKey(keyPem)
  return { commonName: authorityName(meshId), key, publicKey, meshId, certificatePem }
}

export interface Life {
  readonly nowMs?: number
  /** How long it is good for; tests use a few seconds. */
  readonly lifeMs?: number
}

/** A member's certificate. The name must be one that `HostName` allows. */
export const certify = (
  authority: Authority,
  party: Party,
  publicKey: KeyObject,
  { nowMs = Date.now(), lifeMs = MEMBER_LIFE_MS }: Life = {},
): Promise<string> => {
  if (party.hostName.length > MAX_NAME)
    throw new Error(`Expected a name of at most ${MAX_NAME} letters`)
  return makeCertificate({
    // Common names end at 64; what counts is in the alternative names.
    commonName: party.hostName.slice(0, 64),
    publicKey,
    issuer: authority,
    isAuthority: false,
    names: namesOf(authority.meshId, party),
    usages: ['server', 'client'],
    notBefore: new Date(nowMs - Math.min(SKEW_MS, lifeMs)),
    notAfter: new Date(nowMs + lifeMs),
  })
}

/** A certificate, as PEM. */
export const makeCertificate = async (spec: CertificateSpec): Promise<string> => {
  const x509 = await load()
  const issuerKey = await publicOf(spec.issuer.publicKey)
  const publicKey = await publicOf(spec.publicKey)
  const { KeyUsageFlags: Usage } = x509
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [spec.commonName] }],
    issuer: [{ CN: [spec.issuer.commonName] }],
    notBefore: spec.notBefore,
    notAfter: spec.notAfter,
    publicKey,
    signingKey: await privateOf(spec.issuer.key),
    signingAlgorithm: SIGNING_ALGORITHM,
    extensions: [
      spec.isAuthority
        ? new x509.BasicConstraintsExtension(true, 0, true)
        : new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(
        spec.isAuthority ? Usage.keyCertSign | Usage.cRLSign : Usage.digitalSignature,
        true,
      ),
      ...(spec.usages.length === 0
        ? []
        : [new x509.ExtendedKeyUsageExtension(spec.usages.map(usageOf))]),
      ...(spec.names.length === 0
        ? []
        : [new x509.SubjectAlternativeNameExtension([...spec.names])]),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      ...(spec.isAuthority
        ? []
        : [await x509.AuthorityKeyIdentifierExtension.create(issuerKey)]),
    ],
  })
  return `${certificate.toString('pem')}\n`
}

const usageOf = (usage: 'server' | 'client'): string =>
  usage === 'server' ? SERVER_AUTH : CLIENT_AUTH

/** Sixteen random bytes that are a positive number without a leading zero (RFC 5280, 4.1.2.2). */
const serialNumber = (): string => {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes.toString('hex')
}

const publicOf = (key: KeyObject) => {
  const der = key.export({ type: 'spki', format: 'der' })
  return webcrypto.subtle.importKey('spki', der, KEY_ALGORITHM, true, ['verify'])
}

const privateOf = (key: KeyObject) => {
  const der = key.export({ type: 'pkcs8', format: 'der' })
  return webcrypto.subtle.importKey('pkcs8', der, KEY_ALGORITHM, false, ['sign'])
}

const load = async () => {
  // x509's own dependency throws without it.
  await import('reflect-metadata')
  const x509 = await import('@peculiar/x509')
  x509.cryptoProvider.set(webcrypto)
  return x509
}

/** The public half of a private key. */
export const publicKeyOf = (keyPem: string): KeyObject => createPublicKey(keyPem)
