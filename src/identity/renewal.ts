// Renewal: the same member, by the same key and the same names, with a certificate that
// lives longer. Nothing is asked for but that: the old certificate says all of it, so there
// is nothing that a member could claim, and the new one serves nobody but its holder.

import { createPrivateKey } from 'node:crypto'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import { replaceFile } from '../files.ts'
import {
  type Credentials,
  certificatePath,
  readCredentials,
  type Trust,
} from './credentials.ts'
import { isAuthorityHere, readAuthority } from './issue.ts'
import { claimName, keepName } from './names.ts'
import type { MeshState } from './state.ts'
import { type Party, parseCertificate, readSubject } from './subject.ts'
import type { Life } from './x509.ts'

/** When two thirds of its life are over: time for a new certificate. */
export const dueMs = ({
  notBeforeMs,
  notAfterMs,
}: Pick<Credentials, 'notBeforeMs' | 'notAfterMs'>): number =>
  notBeforeMs + ((notAfterMs - notBeforeMs) * 2) / 3

/** Why a certificate is not renewed: a word, and a sentence. */
export interface RenewalRefusal {
  readonly reason: string
  readonly message: string
}

const REFUSED = {
  'not-a-member': 'the certificate is none of this mesh',
  expired:
    'the certificate has ended; joining again takes a new invitation: manyhands invite, manyhands join TOKEN',
  'not-yet-valid': 'the certificate is not valid yet, or a clock is wrong',
  revoked: 'its holder was taken out of the mesh (manyhands revoke)',
  'not-due': 'two thirds of its life are not over yet, or a clock is wrong',
  name: 'its name belongs to another member now',
  failed: 'the machine with the key of the authority could not do its part',
} as const

export const refusal = (reason: keyof typeof REFUSED): RenewalRefusal => ({
  reason,
  message: REFUSED[reason],
})

export interface RenewalOptions extends Life {
  readonly nowMs: number
  readonly isRevoked: (nodeId: string) => boolean
}

/** By who has the authority's key: the certificate (DER) anew. */
export const recertify = async (
  state: MeshState,
  der: Uint8Array,
  { nowMs, lifeMs, isRevoked }: RenewalOptions,
): Promise<Either<RenewalRefusal, Buffer>> => {
  const no = (reason: keyof typeof REFUSED) => E.left(refusal(reason))
  const { directory, trust } = state
  const old = parseCertificate(Buffer.from(der))
  if (old === undefined || !old.verify(trust.certificate.publicKey))
    return no('not-a-member')
  const party = readSubject(old, trust.meshId)
  if (typeof party === 'string') return no('not-a-member')
  if (isRevoked(party.nodeId)) return no('revoked')
  const dates = datesOf(old)
  if (nowMs < dates.notBeforeMs) return no('not-yet-valid')
  if (nowMs > dates.notAfterMs) return no('expired')
  if (nowMs < dueMs(dates)) return no('not-due')
  if (claimName({ directory, party }) !== undefined) return no('name')
  const authority = await readAuthority(state)
  if (E.isLeft(authority)) return no('failed')
  const { certify } = await import('./x509.ts')
  const life = { nowMs, ...(lifeMs !== undefined && { lifeMs }) }
  const pem = await certify(authority.right, party, old.publicKey, life)
  const fresh = parseCertificate(pem)
  if (fresh === undefined) throw new Error('Expected a certificate')
  keepName(directory, party, datesOf(fresh).notAfterMs)
  return E.right(fresh.raw)
}

const datesOf = (certificate: {
  readonly validFrom: string
  readonly validTo: string
}) => ({
  // X509Certificate has its dates as text alone on Node.js 20.
  notBeforeMs: Date.parse(certificate.validFrom),
  notAfterMs: Date.parse(certificate.validTo),
})

/** When the certificate ends that a peer shows for its key; undefined: it is not that peer's. */
export const shownUntil = (
  der: Uint8Array,
  { meshId, certificate: authority }: Trust,
  peer: { readonly nodeId: string; readonly role: string; readonly hostName: string },
): number | undefined => {
  const shown = parseCertificate(Buffer.from(der))
  if (shown === undefined || !shown.verify(authority.publicKey)) return undefined
  const party = readSubject(shown, meshId)
  if (typeof party === 'string') return undefined
  const isTheirs =
    party.nodeId === memberIdOf(peer.nodeId) &&
    party.role === peer.role &&
    party.hostName === peer.hostName
  return isTheirs ? datesOf(shown).notAfterMs : undefined
}

/** The member behind a connection: a client names each of its own after a slash. */
export const memberIdOf = (nodeId: string): string => nodeId.split('/')[0] ?? ''

/** Whose certificate is it, going by its key? Says nothing of whether it is a good one. */
export const holderOf = (der: Uint8Array, { meshId }: Trust): string | undefined => {
  const certificate = parseCertificate(Buffer.from(der))
  const party = certificate && readSubject(certificate, meshId)
  return typeof party === 'object' ? party.nodeId : undefined
}

/** Keeps a new certificate that came from elsewhere; undefined: it is not what was asked for. */
export const keepRenewed = (
  place: string,
  trust: Trust,
  own: Credentials,
  der: Uint8Array,
): Credentials | undefined => {
  const fresh = parseCertificate(Buffer.from(der))
  const old = parseCertificate(own.certificatePem)
  if (fresh === undefined || !fresh.verify(trust.certificate.publicKey)) return undefined
  const isSame =
    fresh.checkPrivateKey(createPrivateKey(own.keyPem)) &&
    fresh.subjectAltName === old?.subjectAltName
  if (!isSame || datesOf(fresh).notAfterMs <= own.notAfterMs) return undefined
  replaceFile(certificatePath(place), fresh.toString(), `renew-${process.pid}`)
  const read = readCredentials(place, trust)
  return E.isRight(read) ? read.right : undefined
}

export interface OwnRenewal extends Life {
  readonly state: MeshState
  /** The directory of its key and certificate. */
  readonly place: string
  readonly credentials: Credentials
  /** With other rights than before, and so at once. */
  readonly as?: Party
}

/** Anew if it is due and the authority's key is here, also after its end; else as it is. */
export const renewedHere = async ({
  state,
  place,
  credentials,
  as,
  nowMs = Date.now(),
  lifeMs,
}: OwnRenewal): Promise<Credentials> => {
  const isTime = as !== undefined || nowMs >= dueMs(credentials)
  if (!isTime || !isAuthorityHere(state)) return credentials
  const authority = await readAuthority(state)
  if (E.isLeft(authority)) return credentials
  const { certify, publicKeyOf } = await import('./x509.ts')
  const publicKey = publicKeyOf(credentials.keyPem)
  const life = { nowMs, ...(lifeMs !== undefined && { lifeMs }) }
  const certificate = await certify(
    authority.right,
    as ?? credentials.party,
    publicKey,
    life,
  )
  replaceFile(certificatePath(place), certificate, `renew-${process.pid}`)
  const read = readCredentials(place, state.trust)
  return E.isRight(read) && read.right !== undefined ? read.right : credentials
}
