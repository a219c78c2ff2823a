// The server's side of a meeting: an HTTP server that upgrades who has proven the secret
// and costs next to nothing for everybody else.

import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import { WebSocketServer } from 'ws'
import { NodeId, NodeType } from '../../protocol/index.ts'
import {
  isNonce,
  isProven,
  type Meeting,
  makeNonce,
  type Party,
  prove,
} from '../identity/secret.ts'
import type { Cancel, Clock, Log } from '../ports.ts'
import type { ListenFailure } from './failures.ts'
import {
  type Credentials,
  HANDSHAKE_MS,
  HEADER,
  isLoopback,
  type Listening,
  LOOPBACK_ONLY,
  type ProvenSocket,
  receiveLimits,
  SUBPROTOCOL,
} from './transport.ts'

/** Connections that have not proven anything; the oldest makes room for a newer one. */
const MAX_UNPROVEN = 64
/** Refusals that are logged in one period; the rest are counted, so that nobody can fill a disk. */
const MAX_NOTES = 20
const NOTES_PERIOD_MS = 10_000
/** A handshake is a dozen short headers. */
const MAX_HEADER_BYTES = 4096

interface ListenOptions {
  readonly address: string
  /** 0 = any free one. */
  readonly port: number
  readonly credentials: Credentials
  readonly clock: Clock
  readonly log: Log
  readonly accept: (socket: ProvenSocket) => void
}

/** What a client claimed in its first request, on this TCP connection. */
interface Challenge {
  readonly party: Party
  readonly clientNonce: string
  readonly serverNonce: string
}

interface Refusal {
  readonly status: number
  readonly reason: string
}

/** Listens on a loopback address; every other one is refused with the reason. */
export const listen = async (
  options: ListenOptions,
): Promise<Either<ListenFailure, Listening>> => {
  const address = `${options.address}:${options.port}`
  if (!isLoopback(options.address))
    return E.left({
      kind: 'not-loopback',
      address,
      reason: `cannot listen on ${options.address}: ${LOOPBACK_ONLY}`,
    })
  const porter = new Porter(options)
  try {
    await porter.listen()
  } catch (error) {
    return E.left(listenFailure(address, error))
  }
  return E.right(porter)
}

const listenFailure = (address: string, error: unknown): ListenFailure => {
  const code =
    error instanceof Error && 'code' in error ? String(error.code) : String(error)
  if (code === 'EADDRINUSE')
    return {
      kind: 'port-in-use',
      address,
      reason: `${address} is in use by another program; give another --port, or none to take any free one`,
    }
  return {
    kind: 'cannot-listen',
    address,
    reason: `cannot listen on ${address} (${code})`,
  }
}

/** Stands at the door: challenges, checks, upgrades. */
class Porter implements Listening {
  readonly #options: ListenOptions
  readonly #server: Server
  readonly #upgrader: WebSocketServer
  /** Unproven TCP connections, oldest first, each with the timer that ends it. */
  readonly #unproven = new Map<Socket, Cancel>()
  readonly #challenges = new WeakMap<Socket, Challenge>()
  #notes = 0
  #notesSinceMs = 0
  #closed: Promise<void> | undefined

  constructor(options: ListenOptions) {
    this.#options = options
    this.#server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      // Our own timer below is shorter; Node's periodic check would only cost idle time.
      connectionsCheckingInterval: 2 ** 30,
      keepAliveTimeout: HANDSHAKE_MS,
    })
    this.#upgrader = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      handleProtocols: () => SUBPROTOCOL,
      ...receiveLimits(options.credentials.maxFrameBytes),
    })
    this.#server.on('connection', (socket) => this.#admit(socket))
    this.#server.on('request', (request, response) => this.#challenge(request, response))
    this.#server.on('upgrade', (request, socket, head) =>
      this.#upgrade(request, socket, head),
    )
    this.#server.on('clientError', (_error, socket) => {
      this.#note(socket as Socket, 'what came is not HTTP')
      socket.destroy()
    })
  }

  get port(): number {
    // A listening TCP server's address is never a string or null.
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    const { address } = this.#options
    return `ws://${address.includes(':') ? `[${address}]` : address}:${this.port}`
  }

  listen(): Promise<void> {
    const { address, port } = this.#options
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host: address, port, exclusive: true }, () => {
        this.#server.removeListener('error', reject)
        this.#server.on('error', (error) =>
          this.#options.log.error('mesh server', { error: error.message }),
        )
        resolve()
      })
    })
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#server.close(() => resolve())
      for (const socket of this.#unproven.keys()) socket.destroy()
    })
    return this.#closed
  }

  #admit(socket: Socket): void {
    if (this.#unproven.size >= MAX_UNPROVEN) {
      const [oldest] = this.#unproven.keys()
      oldest?.destroy()
    }
    const cancel = this.#options.clock.after(HANDSHAKE_MS, () => {
      this.#note(socket, `nothing was proven within ${HANDSHAKE_MS} ms`)
      socket.destroy()
    })
    this.#unproven.set(socket, cancel)
    socket.once('close', () => this.#release(socket))
    // Without a listener a reset connection would be an uncaught error.
    socket.on('error', () => undefined)
  }

  /** The connection is no longer an unproven one: it was upgraded, or is gone. */
  #release(socket: Socket): void {
    this.#unproven.get(socket)?.()
    this.#unproven.delete(socket)
  }

  #challenge(request: IncomingMessage, response: ServerResponse): void {
    const { credentials } = this.#options
    const claim = this.#readClaim(request)
    if ('status' in claim) {
      this.#note(request.socket, claim.reason)
      response.writeHead(claim.status, refusalHeaders(claim)).end(`${claim.reason}\n`)
      return
    }
    const challenge = { ...claim, serverNonce: makeNonce() }
    this.#challenges.set(request.socket, challenge)
    const { secret, self, meshId } = credentials
    const meeting = meetingAt(request.socket, meshId, challenge)
    response
      .writeHead(401, {
        'WWW-Authenticate': 'Manyhands',
        'Content-Length': 0,
        [HEADER.role]: self.role,
        [HEADER.node]: self.nodeId,
        [HEADER.nonce]: challenge.serverNonce,
        [HEADER.proof]: prove(secret, 'server', self, meeting),
      })
      .end()
  }

  #readClaim(request: IncomingMessage): Omit<Challenge, 'serverNonce'> | Refusal {
    const { headers } = request
    if (headers.origin !== undefined)
      return { status: 403, reason: 'browsers are not served here' }
    const { [HEADER.role]: role, [HEADER.node]: nodeId, [HEADER.nonce]: nonce } = headers
    if (!NodeType.is(role) || !NodeId.is(nodeId) || !isNonce(nonce))
      return {
        status: 426,
        reason: `this port speaks ${SUBPROTOCOL} with members of its mesh only`,
      }
    if (headers[HEADER.mesh] !== this.#options.credentials.meshId)
      return { status: 403, reason: 'this node belongs to another mesh' }
    return { party: { role, nodeId }, clientNonce: nonce }
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Node's HTTP server gives its TCP socket; its type is Duplex for TLS's sake.
    const raw = socket as Socket
    const verdict = this.#judge(request, raw)
    if ('status' in verdict) {
      this.#note(raw, verdict.reason)
      endWithRefusal(raw, verdict)
      return
    }
    this.#upgrader.handleUpgrade(request, socket, head, (ws) => {
      this.#release(raw)
      raw.setNoDelay(true)
      this.#options.accept({
        ws,
        raw,
        party: verdict,
        remoteAddress: raw.remoteAddress ?? '',
        dialledUrl: undefined,
      })
    })
  }

  #judge(request: IncomingMessage, socket: Socket): Party | Refusal {
    const { headers } = request
    if (headers.origin !== undefined)
      return { status: 403, reason: 'browsers are not served here' }
    if (!offers(headers['sec-websocket-protocol']))
      return { status: 400, reason: `the subprotocol ${SUBPROTOCOL} is required` }
    const challenge = this.#challenges.get(socket)
    this.#challenges.delete(socket)
    if (challenge === undefined)
      return { status: 401, reason: 'ask for a nonce first: no proof without one' }
    const { secret, meshId } = this.#options.credentials
    const meeting = meetingAt(socket, meshId, challenge)
    const proof = headers[HEADER.proof]
    if (!isProven(proof, secret, 'client', challenge.party, meeting))
      return {
        status: 403,
        reason: 'the proof is wrong: it was not made with the secret of this mesh',
      }
    return challenge.party
  }

  #note(socket: Socket, reason: string): void {
    const { clock, log } = this.#options
    const now = clock.now()
    if (now - this.#notesSinceMs > NOTES_PERIOD_MS) {
      const unsaid = this.#notes - MAX_NOTES
      if (unsaid > 0) log.info('refused more connections', { count: unsaid })
      this.#notes = 0
      this.#notesSinceMs = now
    }
    this.#notes += 1
    if (this.#notes > MAX_NOTES) return
    const { remoteAddress: from, remotePort: port } = socket
    log.info('refused a connection', { from, port, reason })
  }
}

/** Where it was really met, not where it listens: a go-between may sit at another address. */
const meetingAt = (
  { localAddress: address = '', localPort: port = 0 }: Socket,
  meshId: string,
  { clientNonce, serverNonce }: Challenge,
): Meeting => ({ meshId, clientNonce, serverNonce, address, port })

const offers = (header: string | undefined): boolean =>
  header?.split(',').some((name) => name.trim() === SUBPROTOCOL) ?? false

const refusalHeaders = ({ reason }: Refusal) => ({
  Connection: 'close',
  'Content-Type': 'text/plain; charset=utf-8',
  [HEADER.refused]: reason,
})

const endWithRefusal = (socket: Socket, { status, reason }: Refusal): void => {
  const lines = [
    `HTTP/1.1 ${status} Refused`,
    'Connection: close',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(reason) + 1}`,
    `${HEADER.refused}: ${reason}`,
  ]
  socket.end(`${lines.join('\r\n')}\r\n\r\n${reason}\n`)
}
