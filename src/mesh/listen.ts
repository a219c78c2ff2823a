// The server's side of a meeting: callers become known by their transport, and only then
// is an HTTP parser put on their socket, to upgrade it to a WebSocket. Whoever is not known
// costs a bounded number of bounded things.

import {
  createServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import { WebSocketServer } from 'ws'
import { REFUSALS, type RefusalWord } from '../identity/refusals.ts'
import type { Audit, Cancel, Clock, Log } from '../ports.ts'
import type { ListenFailure } from './failures.ts'
import {
  HANDSHAKE_MS,
  hostInUrl,
  isWildcard,
  type Listening,
  type Met,
  type ProvenSocket,
  REFUSED,
  receiveLimits,
  SUBPROTOCOL,
  type Transport,
} from './transport.ts'

/** Connections that are not open yet; the oldest makes room for a newer one. */
const MAX_HALF_OPEN = 256
/** Refusals that are logged in one period; the rest are counted, so that nobody can fill a disk. */
const MAX_NOTES = 20
const NOTES_PERIOD_MS = 10_000
/** A handshake is a dozen short headers. */
const MAX_HEADER_BYTES = 4096

export interface ListenOptions {
  readonly address: string
  /** 0 = any free one. */
  readonly port: number
  readonly transport: Transport
  /** Largest message taken, in bytes: more closes the socket (1009). */
  readonly maxFrameBytes: number
  readonly clock: Clock
  readonly log: Log
  readonly audit?: Audit
  readonly accept: (socket: ProvenSocket) => void
}

/** Listens; an address that is not this machine's or taken is told with the remedy. */
export const listen = async (
  options: ListenOptions,
): Promise<Either<ListenFailure, Listening>> => {
  const address = `${hostInUrl(options.address)}:${options.port}`
  const porter = new Porter(options)
  try {
    await porter.listen()
  } catch (error) {
    return E.left(listenFailure(options, address, error))
  }
  return E.right(porter)
}

const listenFailure = (
  options: ListenOptions,
  address: string,
  error: unknown,
): ListenFailure => {
  const code =
    error instanceof Error && 'code' in error ? String(error.code) : String(error)
  if (code === 'EADDRINUSE')
    return {
      kind: 'port-in-use',
      address,
      reason: `${address} is in use by another program; give another --port, or none to take any free one`,
    }
  const why =
    code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND'
      ? `${options.address} is no address of this machine; --listen 0.0.0.0 is all of them`
      : code
  return {
    kind: 'cannot-listen',
    address,
    reason: `cannot listen on ${address} (${why})`,
  }
}

/** Stands at the door: lets the transport know callers, then upgrades them. */
class Porter implements Listening {
  readonly #options: ListenOptions
  readonly #server: Server
  readonly #http: HttpServer
  readonly #upgrader: WebSocketServer
  /** TCP connections that are no WebSocket yet, oldest first, each with the end of its time. */
  readonly #halfOpen = new Map<
    string,
    { readonly socket: Socket; readonly cancel: Cancel }
  >()
  readonly #met = new WeakMap<Duplex, Met>()
  #notes = 0
  #notesSinceMs = 0
  #closed: Promise<void> | undefined

  constructor(options: ListenOptions) {
    this.#options = options
    this.#http = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      // Our own timer below is shorter; Node's periodic check would only cost idle time.
      connectionsCheckingInterval: 2 ** 30,
      keepAliveTimeout: HANDSHAKE_MS,
    })
    this.#upgrader = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      handleProtocols: () => SUBPROTOCOL,
      ...receiveLimits(options.maxFrameBytes),
    })
    this.#server = options.transport.makeServer({
      known: (socket, met) => {
        this.#met.set(socket, met)
        this.#http.emit('connection', socket)
      },
      refused: (socket, word) => this.#note(socket, REFUSALS[word]),
      broken: (socket, what) => this.#note(socket, what),
    })
    this.#server.on('connection', (socket) => this.#admit(socket))
    this.#http.on('request', (request, response) => this.#answer(request, response))
    this.#http.on('upgrade', (request, socket, head) =>
      this.#upgrade(request, socket, head),
    )
    this.#http.on('clientError', (_error, socket) => {
      this.#note(socket as Socket, 'what came is not HTTP')
      socket.destroy()
    })
  }

  get port(): number {
    // A listening TCP server's address is never a string or null.
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    const { address, transport } = this.#options
    // What listens everywhere is reached from here by loopback.
    const host = isWildcard(address) ? '127.0.0.1' : hostInUrl(address)
    return `${transport.scheme}://${host}:${this.port}`
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
      for (const { socket } of this.#halfOpen.values()) socket.destroy()
    })
    return this.#closed
  }

  #admit(socket: Socket): void {
    // Without a listener a reset connection would be an uncaught error.
    socket.on('error', () => undefined)
    const key = keyOf(socket)
    if (key === undefined) {
      socket.destroy()
      return
    }
    this.#makeRoom()
    const cancel = this.#options.clock.after(HANDSHAKE_MS, () => {
      this.#note(socket, `nothing was proven within ${HANDSHAKE_MS} ms`)
      socket.destroy()
    })
    this.#halfOpen.set(key, { socket, cancel })
    socket.once('close', () => this.#forget(key))
  }

  #makeRoom(): void {
    if (this.#halfOpen.size < MAX_HALF_OPEN) return
    for (const [key, { socket }] of this.#halfOpen) {
      // Its 'close' comes in a later turn.
      this.#forget(key)
      socket.destroy()
      return
    }
  }

  /** The connection is no longer a half-open one: it was upgraded, or is gone. */
  #forget(key: string): void {
    this.#halfOpen.get(key)?.cancel()
    this.#halfOpen.delete(key)
  }

  /** Known, and not a WebSocket: a member's browser or curl. */
  #answer(request: IncomingMessage, response: ServerResponse): void {
    const word = request.headers.origin === undefined ? 'not-a-websocket' : 'origin'
    this.#note(request.socket, REFUSALS[word])
    response
      .writeHead(word === 'origin' ? 403 : 426, refusalHeaders(word))
      .end(`${REFUSALS[word]}\n`)
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Node's HTTP server gives the socket that it was given; its type is Duplex for all.
    const raw = socket as Socket
    const met = this.#met.get(socket)
    const word = wordFor(request)
    if (word !== undefined || met === undefined) {
      this.#note(raw, REFUSALS[word ?? 'no-certificate'])
      endWithRefusal(raw, word ?? 'no-certificate')
      return
    }
    this.#upgrader.handleUpgrade(request, socket, head, (ws) => {
      this.#forget(keyOf(raw) ?? '')
      raw.setNoDelay(true)
      this.#options.accept({
        ...met,
        ws,
        raw,
        remoteAddress: plainAddress(raw.remoteAddress ?? ''),
        dialledUrl: undefined,
      })
    })
  }

  #note(socket: Socket, reason: string): void {
    const { clock, log, audit } = this.#options
    const { remoteAddress: from, remotePort: port } = socket
    audit?.record('refused', { from, port, reason })
    const now = clock.now()
    if (now - this.#notesSinceMs > NOTES_PERIOD_MS) {
      const unsaid = this.#notes - MAX_NOTES
      if (unsaid > 0) log.info('refused more connections', { count: unsaid })
      this.#notes = 0
      this.#notesSinceMs = now
    }
    this.#notes += 1
    if (this.#notes > MAX_NOTES) return
    log.info('refused a connection', { from, port, reason })
  }
}

/** The same for a TCP connection and the TLS socket upon it; undefined once it is gone. */
const keyOf = ({ remoteAddress, remotePort }: Socket): string | undefined =>
  remotePort === undefined ? undefined : `${remoteAddress} ${remotePort}`

/** An IPv4 caller of a socket that serves both: `::ffff:10.0.0.1`. */
const plainAddress = (address: string): string => address.replace(/^::ffff:/, '')

const wordFor = ({ headers }: IncomingMessage): RefusalWord | undefined => {
  if (headers.origin !== undefined) return 'origin'
  return offers(headers['sec-websocket-protocol']) ? undefined : 'subprotocol'
}

const offers = (header: string | undefined): boolean =>
  header?.split(',').some((name) => name.trim() === SUBPROTOCOL) ?? false

const refusalHeaders = (word: RefusalWord) => ({
  Connection: 'close',
  'Content-Type': 'text/plain; charset=utf-8',
  [REFUSED]: word,
})

const endWithRefusal = (socket: Socket, word: RefusalWord): void => {
  const text = `${REFUSALS[word]}\n`
  const lines = [
    word === 'subprotocol' ? 'HTTP/1.1 400 Bad Request' : 'HTTP/1.1 403 Forbidden',
    'Connection: close',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(text)}`,
    `${REFUSED}: ${word}`,
  ]
  socket.end(`${lines.join('\r\n')}\r\n\r\n${text}`)
}
