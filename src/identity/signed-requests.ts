// Signed requests: a client's word that no hub between can change. The signature is over the
// very bytes that travel, so there is no second form of them to get wrong.

import {
  createHash,
  createPrivateKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
  type X509Certificate,
} from 'node:crypto'
import * as E from 'fp-ts/lib/Either.js'
import { packed, rightsOf, SignedRequest, unpacked } from '../../protocol/index.ts'
import type { Clock, Signer, VerifySigned } from '../ports.ts'
import type { Credentials, Trust } from './credentials.ts'
import { parseCertificate, readSubject } from './subject.ts'

/** Each kind of signed thing begins with its own: none can be taken for another. */
const CONTEXT = Buffer.from('manyhands-request-1\0')
/** How long one is good for: time to get there by a slow way, and clocks that differ. */
const GOOD_MS = 60_000
/** Certificates that are remembered. */
const KNOWN = 1024

/** What travels. */
export interface Signed {
  readonly s: Uint8Array
  readonly sig: Uint8Array
  readonly cert_id: string
  readonly cert: Uint8Array
}

/** Signs for one client. P-256, at once: some 60 us. */
export class RequestSigner {
  readonly #key: KeyObject
  readonly #from: string
  readonly #cert: Uint8Array
  readonly #certId: string
  readonly #clock: Clock

  constructor({ keyPem, certificatePem, party }: Credentials, clock: Clock) {
    const certificate = parseCertificate(certificatePem)
    if (certificate === undefined) throw new Error('Expected a certificate')
    this.#key = createPrivateKey(keyPem)
    this.#from = party.nodeId
    this.#cert = certificate.raw
    this.#certId = idOf(certificate.raw)
    this.#clock = clock
  }

  /** `id`: of an earlier try of the same request, so that it is done once. */
  sign(to: string, kind: string, body: Uint8Array, id = newRequestId()): Signed {
    const iat = this.#clock.wall()
    const request = { to, from: this.#from, id, iat, exp: iat + GOOD_MS, kind, body }
    const s = packed(request)
    const sig = sign('sha256', covered(s), { key: this.#key, dsaEncoding: 'ieee-p1363' })
    return { s, sig, cert_id: this.#certId, cert: this.#cert }
  }
}

/** Never given before: by this process, or by another of the same client. */
export const newRequestId = (): string => {
  ownPart ??= randomBytes(12).toString('base64url')
  given += 1
  return `${ownPart}.${given}`
}
let ownPart: string | undefined
let given = 0

export interface VerifierOptions {
  readonly trust: Trust
  readonly isRevoked: (nodeId: string) => boolean
  readonly clock: Clock
}

interface Known {
  readonly signer: Signer
  readonly key: KeyObject
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** Certificates are checked once and remembered by their hash; the rest at each request. */
export const signedVerifier = (options: VerifierOptions): VerifySigned => {
  const known = new Map<string, Known>()
  const knownOf = (id: string, cert: Uint8Array | undefined) => {
    const before = known.get(id)
    if (before !== undefined) return before
    if (cert === undefined) return 'certificate-needed'
    const found = read(cert, id, options.trust)
    if (typeof found === 'string') return { fault: found }
    remember(known, id, found)
    return found
  }
  return ({ s, sig, cert_id: id, cert }) => {
    const its = knownOf(id, cert)
    if (its === 'certificate-needed' || 'fault' in its) return its
    const fault = faultOf(its, options)
    if (fault !== undefined) return { fault }
    const key = { key: its.key, dsaEncoding: 'ieee-p1363' as const }
    if (!verify('sha256', covered(s), key, sig))
      return { fault: 'the signature is wrong' }
    const request = readSigned(s)
    if (request === undefined) return { fault: 'what was signed is no request' }
    const hash = createHash('sha256').update(`${request.kind}\0`).update(request.body)
    return { request, signer: its.signer, content: hash.digest('base64') }
  }
}

const readSigned = (s: Uint8Array): SignedRequest | undefined => {
  const map = unpacked(s)
  const request = E.isRight(map) ? SignedRequest.decode(map.right) : undefined
  return request !== undefined && E.isRight(request) ? request.right : undefined
}

const covered = (s: Uint8Array): Buffer => Buffer.concat([CONTEXT, s])

const idOf = (der: Uint8Array): string => createHash('sha256').update(der).digest('hex')

const remember = (known: Map<string, Known>, id: string, its: Known): void => {
  const [oldest] = known.keys()
  if (known.size >= KNOWN && oldest !== undefined) known.delete(oldest)
  known.set(id, its)
}

/** Whose certificate it is, or why it is none that signs. */
const read = (der: Uint8Array, id: string, trust: Trust): Known | string => {
  if (idOf(der) !== id) return 'the certificate is not the one that is named'
  const certificate = parseCertificate(Buffer.from(der))
  if (certificate === undefined || !isIssued(certificate, trust))
    return 'the certificate is none of this mesh'
  const party = readSubject(certificate, trust.meshId)
  if (typeof party === 'string') return `the certificate is not believed (${party})`
  if (party.role !== 'client') return `a ${party.role} signs no requests, clients do`
  const { nodeId, hostName, scopes = [] } = party
  return {
    signer: { nodeId, hostName, rights: rightsOf(scopes) },
    key: certificate.publicKey,
    notBeforeMs: Date.parse(certificate.validFrom),
    notAfterMs: Date.parse(certificate.validTo),
  }
}

const isIssued = (certificate: X509Certificate, { certificate: authority }: Trust) =>
  !certificate.ca && certificate.verify(authority.publicKey)

const faultOf = (
  { signer, notBeforeMs, notAfterMs }: Known,
  { isRevoked, clock }: VerifierOptions,
): string | undefined => {
  const nowMs = clock.wall()
  if (nowMs > notAfterMs) return 'the certificate has ended'
  if (nowMs < notBeforeMs) return 'the certificate is not valid yet'
  if (isRevoked(signer.nodeId)) return 'its holder was taken out of the mesh'
  return undefined
}
