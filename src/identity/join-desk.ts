// The join desk: where somebody with an invitation becomes a member. It listens while an
// invitation is open, on a port of its own, and speaks with nobody who cannot prove to know
// an invitation's secret (TLS 1.3 PSK, no certificates: with both on one listener, a PSK
// caller would count as authorized).
//
// Everything is checked before the use is taken; then the use and the names are taken in
// one turn, before the first wait, so that of two with one token one joins. They are given
// back if the certificates cannot be made.

import { createPublicKey, type KeyObject } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { HostName } from '../../protocol/scalars.ts'
import { readAuthority } from './issue.ts'
import {
  isKeyProven,
  JOIN_ALPN,
  JOIN_CIPHERS,
  JOIN_MS,
  type JoinAnswer,
  type JoinRefusal,
  JoinRequest,
  parseJson,
  readLine,
} from './join-messages.ts'
import { claimName, dropName } from './names.ts'
import type { MeshState, StateFailure } from './state.ts'
import { type Grant, nodeIdOf, type Party } from './subject.ts'
import { type Invitation, pskOf } from './token.ts'
import { type Authority, certify } from './x509.ts'

/** Callers at once; an invitation is for a handful. */
const MAX_CALLERS = 16
/** Names tried for somebody who does not insist on one. */
const MAX_SUFFIX = 1000

export interface DeskOptions {
  readonly state: MeshState
  readonly address: string
  readonly invitation: Invitation
  /** The command line's scopes, the worker's labels. */
  readonly grant: Grant
  /** Whoever joins has this name. */
  readonly hostName: HostName | undefined
  readonly uses: number
  readonly expiresMs: number
  /** Managers, as a caller that reached us at `address` can reach them. */
  readonly peersFor: (address: string) => readonly string[]
  readonly onJoined: (party: Party) => void
  /** `why`: what failed here, if it was this machine's fault. */
  readonly onRefused: (
    from: string,
    refusal: JoinRefusal | 'unknown invitation',
    why?: string,
  ) => void
}

/** A desk that listens. */
export interface JoinDesk {
  readonly port: number
  /** Stops; resolves when every caller is gone. */
  close(): Promise<void>
}

/** Opens a desk for one invitation. */
export const openDesk = async (
  options: DeskOptions,
): Promise<Either<StateFailure | { readonly reason: string }, JoinDesk>> => {
  const authority = await readAuthority(options.state)
  if (E.isLeft(authority)) return authority
  const desk = new Desk(options, authority.right)
  try {
    await desk.listen()
    return E.right(desk)
  } catch (error) {
    const code =
      error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    const reason = `cannot listen on ${options.address} for whoever joins (${code}); give an address of this machine with --listen`
    return E.left({ reason })
  }
}

class Desk implements JoinDesk {
  readonly #options: DeskOptions
  readonly #authority: Authority
  readonly #server: Server
  #usesLeft: number

  constructor(options: DeskOptions, authority: Authority) {
    this.#options = options
    this.#authority = authority
    this.#usesLeft = options.uses
    const { psk, identity } = pskOf(options.invitation)
    this.#server = createServer({
      pskCallback: ({ remoteAddress = '' }, given) => {
        if (given === identity) return psk
        options.onRefused(remoteAddress, 'unknown invitation')
        return null
      },
      ciphers: JOIN_CIPHERS,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [JOIN_ALPN],
      handshakeTimeout: JOIN_MS,
    })
    this.#server.maxConnections = MAX_CALLERS
    this.#server.on('connection', (socket) => {
      socket.on('error', () => undefined)
      // For all of it; what is left open after an answer was not read.
      const timer = setTimeout(() => socket.destroy(), JOIN_MS)
      socket.on('close', () => clearTimeout(timer))
    })
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy())
    this.#server.on('secureConnection', (socket) => this.#serve(socket))
  }

  get port(): number {
    // A listening TCP server's address is never a string or null.
    return (this.#server.address() as AddressInfo).port
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host: this.#options.address, port: 0 }, () => {
        this.#server.off('error', reject)
        this.#server.on('error', () => undefined)
        resolve()
      })
    })
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }

  #serve(socket: TLSSocket): void {
    socket.on('error', () => undefined)
    readLine(socket, (line) => {
      this.#answer(socket, line).catch((error: unknown) => {
        const why = error instanceof Error ? error.message : String(error)
        this.#refuse(socket, 'failed', why)
      })
    })
  }

  async #answer(socket: TLSSocket, line: string | undefined): Promise<void> {
    const request = JoinRequest.decode(parseJson(line))
    const verdict = E.isLeft(request) ? 'malformed' : this.#judge(socket, request.right)
    if (typeof verdict === 'string') {
      this.#refuse(socket, verdict)
      return
    }
    try {
      await this.#welcome(socket, verdict)
    } catch (error) {
      this.#usesLeft += 1
      this.#drop(verdict.party)
      this.#drop(verdict.client)
      throw error
    }
  }

  /** All checks, then the names and the use, in one turn. */
  #judge(socket: TLSSocket, request: JoinRequest): NewMember | JoinRefusal {
    const { invitation, expiresMs } = this.#options
    const { name } = request
    if (Date.now() > expiresMs) return 'expired'
    if (this.#usesLeft <= 0) return 'used'
    const clientKey = provenKey(socket, 'client', name, request.client)
    const nodeKey = request.node && provenKey(socket, 'node', name, request.node)
    const isForNode = invitation.role !== 'client'
    if (isForNode !== (request.node !== undefined)) return 'malformed'
    if (clientKey === undefined || (isForNode && nodeKey === undefined)) return 'proof'
    const party = this.#takeName(request, nodeKey ?? clientKey)
    if (party === undefined) return 'name'
    const client = nodeKey === undefined ? party : this.#takeClientName(party, clientKey)
    this.#usesLeft -= 1
    return { party, client, nodeKey, clientKey }
  }

  /** The name that it asked for, or the invitation's, or one made from it. */
  #takeName({ name, is_fixed }: JoinRequest, key: KeyObject): Party | undefined {
    const { invitation, hostName, state, grant } = this.#options
    const { role } = invitation
    if (is_fixed && hostName !== undefined && name !== hostName) return undefined
    const wanted = hostName ?? name
    const isFixed = is_fixed || hostName !== undefined
    for (let count = 1; count <= (isFixed ? 1 : MAX_SUFFIX); count++) {
      const party = {
        role,
        nodeId: nodeIdOf(key),
        hostName: count === 1 ? wanted : `${wanted}-${count}`,
        ...(role === 'client' ? scopesOf(grant) : labelsOf(grant)),
      }
      if (claimName({ directory: state.directory, party }) === undefined) return party
    }
    return undefined
  }

  async #welcome(
    socket: TLSSocket,
    { party, client, nodeKey, clientKey }: NewMember,
  ): Promise<void> {
    const { peersFor, onJoined } = this.#options
    const clientCert = await certify(this.#authority, client, clientKey)
    const nodeCert =
      nodeKey === undefined ? undefined : await certify(this.#authority, party, nodeKey)
    const answer: JoinAnswer = {
      ca: this.#authority.certificatePem,
      name: party.hostName,
      client_name: client.hostName,
      client_cert: clientCert,
      now_ms: Date.now(),
      peers: [...peersFor(socket.localAddress ?? '')],
      ...(nodeCert !== undefined && { node_cert: nodeCert }),
    }
    this.#say(socket, answer)
    onJoined(party)
  }

  /** For the command line beside a node: named after it. The node has its name in vain without. */
  #takeClientName(node: Party, key: KeyObject): Party {
    const { state, grant } = this.#options
    const { directory } = state
    const nodeId = nodeIdOf(key)
    try {
      for (let count = 1; count <= MAX_SUFFIX; count++) {
        const hostName = `${node.hostName}-client${count === 1 ? '' : `-${count}`}`
        const party: Party = { role: 'client', nodeId, hostName, ...scopesOf(grant) }
        const other = claimName({ directory, party, beside: node.hostName })
        if (other === undefined) return party
      }
      throw new Error(`no name is free for a client beside ${node.hostName}`)
    } catch (error) {
      this.#drop(node)
      throw error
    }
  }

  #drop({ hostName }: Party): void {
    dropName(this.#options.state.directory, hostName)
  }

  #refuse(socket: TLSSocket, refused: JoinRefusal, why?: string): void {
    this.#options.onRefused(socket.remoteAddress ?? '', refused, why)
    this.#say(socket, { refused })
  }

  #say(socket: TLSSocket, answer: JoinAnswer): void {
    socket.end(`${JSON.stringify(answer)}\n`)
    socket.resume()
  }
}

const scopesOf = ({ scopes }: Grant): Grant => (scopes === undefined ? {} : { scopes })
const labelsOf = ({ labels }: Grant): Grant => (labels === undefined ? {} : { labels })

interface NewMember {
  readonly party: Party
  /** The command line's; the party itself if that is what joins. */
  readonly client: Party
  readonly nodeKey: KeyObject | undefined
  readonly clientKey: KeyObject
}

/** The candidate's key, if it is P-256 and proven. */
const provenKey = (
  socket: TLSSocket,
  use: 'node' | 'client',
  name: string,
  { spki, proof }: { readonly spki: string; readonly proof: string },
): KeyObject | undefined => {
  try {
    const der = Buffer.from(spki, 'base64')
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
    const isOurKind = key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
    return isOurKind && isKeyProven({ socket, use, name }, key, proof) ? key : undefined
  } catch {
    return undefined
  }
}
