// Joining: what an invitation's bearer does. It believes nothing but the token: the key of
// the authority must be the one that the token pins, and the certificates exactly those
// that were asked for.

import { generateKeyPairSync, type KeyObject, type X509Certificate } from 'node:crypto'
import { connect, type TLSSocket } from 'node:tls'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { HostName, NodeType } from '../../protocol/scalars.ts'
import type { Scope } from '../../protocol/scopes.ts'
import {
  JOIN_ALPN,
  JOIN_CIPHERS,
  JOIN_MS,
  JOIN_REFUSALS,
  JoinAnswer,
  type Joined,
  parseJson,
  proveKey,
  readLine,
} from './join-messages.ts'
import { meshIdOf, parseCertificate, readNames, readSubject } from './subject.ts'
import { type Invitation, pskOf } from './token.ts'

/** Clocks further apart: certificates would not work. */
const MAX_SKEW_MS = 3_600_000
const WARN_SKEW_MS = 30_000

export interface JoinOptions {
  readonly invitation: Invitation
  readonly host: string
  readonly port: number
  readonly name: HostName
  /** No other name will do. */
  readonly isFixed: boolean
  /** This machine's clock, in Unix milliseconds. */
  readonly now?: () => number
}

/** What a new member has: keys, certificates, and where to go. */
export interface Membership {
  readonly role: NodeType
  readonly hostName: HostName
  readonly authorityPem: string
  readonly clientKeyPem: string
  readonly clientCertificatePem: string
  /** What the command line may do. */
  readonly scopes: readonly Scope[]
  /** None if the invitation was for a client. */
  readonly node: { readonly keyPem: string; readonly certificatePem: string } | undefined
  readonly peers: readonly string[]
  /** A sentence that the person should know. */
  readonly warning: string | undefined
}

/** Why not, as a sentence with the cure. */
export interface JoinFailure {
  readonly reason: string
}

interface Keys {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

const makeKeys = (): Keys => generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** Uses the invitation; never rejects. */
export const joinMesh = async (
  options: JoinOptions,
): Promise<Either<JoinFailure, Membership>> => {
  const client = makeKeys()
  const node = options.invitation.role === 'client' ? undefined : makeKeys()
  const socket = await reach(options)
  if ('reason' in socket) return E.left(socket)
  const answer = await exchange(socket, options, { client, node })
  if ('reason' in answer) return E.left(answer)
  return check(answer, options, { client, node })
}

const reach = ({
  invitation,
  host,
  port,
}: JoinOptions): Promise<TLSSocket | JoinFailure> =>
  new Promise((resolve) => {
    const { psk, identity } = pskOf(invitation)
    let isReached = false
    const socket = connect({
      host,
      port,
      // The key is the proof, of both ends; there are no certificates.
      pskCallback: () => ({ psk, identity }),
      checkServerIdentity: () => undefined,
      ciphers: JOIN_CIPHERS,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [JOIN_ALPN],
      servername: '',
    })
    const at = `${host}:${port}`
    const fail = (code: string) => {
      socket.destroy()
      const reason = isReached
        ? `${at} knows no such invitation: it was used, has expired, or was withdrawn there; ask for another one`
        : `nobody to join at ${at} (${code}); is manyhands invite still running there?`
      resolve({ reason })
    }
    socket.setTimeout(JOIN_MS, () => fail('no answer'))
    socket.on('error', (error) => fail('code' in error ? String(error.code) : 'error'))
    socket.once('connect', () => {
      isReached = true
    })
    socket.once('secureConnect', () => resolve(socket))
    socket.once('close', () => fail('closed'))
  })

const spkiOf = ({ publicKey }: Keys): string =>
  publicKey.export({ type: 'spki', format: 'der' }).toString('base64')

const exchange = (
  socket: TLSSocket,
  { name, isFixed }: JoinOptions,
  { client, node }: { readonly client: Keys; readonly node: Keys | undefined },
): Promise<Joined | JoinFailure> =>
  new Promise((resolve) => {
    const candidate = (use: 'client' | 'node', keys: Keys) => ({
      spki: spkiOf(keys),
      proof: proveKey({ socket, use, name }, keys.privateKey),
    })
    const request = {
      name,
      is_fixed: isFixed,
      client: candidate('client', client),
      ...(node && { node: candidate('node', node) }),
    }
    readLine(socket, (line) => {
      socket.destroy()
      const answer = JoinAnswer.decode(parseJson(line))
      if (E.isLeft(answer))
        resolve({ reason: 'the inviting node closed without an answer; try again' })
      else if ('refused' in answer.right)
        resolve({ reason: JOIN_REFUSALS[answer.right.refused] })
      else resolve(answer.right)
    })
    socket.write(`${JSON.stringify(request)}\n`)
  })

const check = (
  joined: Joined,
  { invitation, name, isFixed, now = Date.now }: JoinOptions,
  { client, node }: { readonly client: Keys; readonly node: Keys | undefined },
): Either<JoinFailure, Membership> => {
  const { role, meshId } = invitation
  const authority = parseCertificate(joined.ca)
  const wrong = (what: string) =>
    E.left({ reason: `the answer was not believed: ${what}` })
  if (authority === undefined || meshIdOf(authority.publicKey) !== meshId)
    return wrong('its authority is not the one that the invitation names')
  if (!authority.ca || !authority.verify(authority.publicKey))
    return wrong('its authority is none')
  if (isFixed && joined.name !== name) return wrong('another name was given')
  const skewMs = joined.now_ms - now()
  if (Math.abs(skewMs) > MAX_SKEW_MS)
    return E.left({
      reason: `${skewWords(skewMs)}; set the clock that is wrong, then ask for another invitation`,
    })
  const isMine = (pem: string | undefined, as: NodeType, hostName: string, keys: Keys) =>
    isExactly(pem, authority, { as, hostName, keys, meshId })
  if (!isMine(joined.client_cert, 'client', joined.client_name, client))
    return wrong('the certificate of the command line is not what was asked for')
  if (node !== undefined && !isMine(joined.node_cert, role, joined.name, node))
    return wrong('the certificate is not what was asked for')
  return E.right({
    role,
    hostName: joined.name,
    authorityPem: joined.ca,
    clientKeyPem: pemOf(client),
    clientCertificatePem: joined.client_cert,
    scopes: scopesIn(joined.client_cert),
    node: node && { keyPem: pemOf(node), certificatePem: joined.node_cert ?? '' },
    peers: joined.peers,
    warning: Math.abs(skewMs) > WARN_SKEW_MS ? skewWords(skewMs) : undefined,
  })
}

const scopesIn = (pem: string): readonly Scope[] =>
  readNames(parseCertificate(pem)?.subjectAltName)?.party.scopes ?? []

const skewWords = (skewMs: number): string =>
  `this machine's clock is ${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs > 0 ? 'behind' : 'ahead of'} the inviting one's`

const pemOf = ({ privateKey }: Keys): string =>
  String(privateKey.export({ type: 'pkcs8', format: 'pem' }))

interface Expected {
  readonly as: NodeType
  readonly hostName: string
  readonly keys: Keys
  readonly meshId: string
}

/** Issued by the authority, for this key and this member; what it may do is the issuer's to say. */
const isExactly = (
  pem: string | undefined,
  authority: X509Certificate,
  { as: role, hostName, keys, meshId }: Expected,
): boolean => {
  const certificate = parseCertificate(pem ?? '')
  if (certificate === undefined || !certificate.verify(authority.publicKey)) return false
  if (!certificate.checkPrivateKey(keys.privateKey)) return false
  const party = readSubject(certificate, meshId)
  return typeof party !== 'string' && party.role === role && party.hostName === hostName
}
