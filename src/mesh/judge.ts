// The judge: who is on the other end of a TLS socket, by its certificate alone. A server
// completes every handshake and decides here, so that whoever is refused can be told why;
// nothing that a caller sends is read before.

import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { RefusalWord } from '../identity/refusals.ts'
import { readSubject } from '../identity/subject.ts'
import type { Met } from './transport.ts'

export interface Judge {
  readonly meshId: string
  isRevoked(nodeId: string): boolean
}

/** OpenSSL's words, as Node.js gives them in `authorizationError`. */
const WORDS: Readonly<Record<string, RefusalWord>> = {
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'not-yet-valid',
  INVALID_PURPOSE: 'wrong-purpose',
}

/** What `judge` needs of a socket; a TLSSocket on the server's side. */
export type JudgedSocket = Pick<
  TLSSocket,
  'authorized' | 'authorizationError' | 'isSessionReused' | 'getPeerX509Certificate'
>

/** Who it is, or why not. Whatever is not known to be right is refused. */
export const judge = (
  socket: JudgedSocket,
  { meshId, isRevoked }: Judge,
): Met | RefusalWord => {
  // A resumed session skips the check of dates, and of everything else.
  if (socket.isSessionReused()) return 'resumed'
  const certificate = socket.getPeerX509Certificate()
  // Before what OpenSSL says: its word for none at all misleads.
  if (certificate === undefined) return 'no-certificate'
  // Node.js declares an Error and gives its code.
  if (socket.authorized !== true)
    return WORDS[String(socket.authorizationError)] ?? 'unknown-ca'
  return judgeCertificate(certificate, { meshId, isRevoked })
}

/** Of a certificate that the mesh's authority signed. */
export const judgeCertificate = (
  certificate: X509Certificate,
  { meshId, isRevoked }: Judge,
): Met | RefusalWord => {
  const party = readSubject(certificate, meshId)
  if (typeof party === 'string') return party
  if (isRevoked(party.nodeId)) return 'revoked'
  return { party, notAfterMs: Date.parse(certificate.validTo) }
}
