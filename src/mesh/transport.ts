// Transport: how bytes reach a far end, and how it is known who that is. In every node it
// is tls.ts; a benchmark hands in a plain one. The rest of the mesh sees proven sockets
// and never a certificate.

import type { Server, Socket } from 'node:net'
import type { Either } from 'fp-ts/lib/Either.js'
import type { WebSocket } from 'ws'
import type { NodeId } from '../../protocol/index.ts'
import type { RefusalWord } from '../identity/refusals.ts'
import type { Party } from '../identity/subject.ts'
import type { DialFailure } from './failures.ts'

/** The WebSocket subprotocol; its version is the protocol's major one. */
export const SUBPROTOCOL = 'manyhands.v1'

/** How long an unproven connection may live, and a dial may take: ample on any link. */
export const HANDSHAKE_MS = 5000

/** The header that says why a caller is refused, as Node.js gives it: in lower case. */
export const REFUSED = 'manyhands-refused'

/** A far end that is known, on a socket of which nothing has been read. */
export interface Met {
  readonly party: Party
  /** From then on it is no member any more. */
  readonly notAfterMs: number
}

/** What a server's transport tells of its callers. */
export interface Callers {
  /** From here on its bytes may be read. */
  known(socket: Socket, met: Met): void
  /** Refused in words, and closed. */
  refused(socket: Socket, word: RefusalWord): void
  /** It never came so far; closed. `what` is a sentence for the log. */
  broken(socket: Socket, what: string): void
}

/** Where to connect. */
export interface Target {
  readonly url: string
  readonly host: string
  readonly port: number
  /** Only this node will do. */
  readonly nodeId?: NodeId | undefined
}

export interface Transport {
  readonly scheme: 'wss' | 'ws'
  /** A server that does not listen yet. Its 'connection' event gives sockets before they are known. */
  makeServer(callers: Callers): Server
  /** Connects and finds out who is there; never rejects. */
  connect(
    target: Target,
    signal: AbortSignal,
  ): Promise<Either<DialFailure, Met & { readonly socket: Socket }>>
  /** What a dialled node says when it refuses us, as a sentence with the cure. */
  explain(word: string, host: string, theirMs: number | undefined): string
}

/** An open WebSocket whose far end is known. It may be paused: who takes it listens, then resumes. */
export interface ProvenSocket extends Met {
  readonly ws: WebSocket
  /** The socket beneath, for gathering writes and counting bytes. */
  readonly raw: Socket
  readonly remoteAddress: string
  /** The address that we dialled; undefined when the far end dialled us. */
  readonly dialledUrl: string | undefined
}

/** A listening server. */
export interface Listening {
  readonly port: number
  readonly url: string
  /** Stops accepting and drops what is not yet proven; proven sockets stay. */
  close(): Promise<void>
}

/** Receive limits that both ends set on their WebSocket: what a peer can make us hold. */
export const receiveLimits = (maxFrameBytes: number) => ({
  perMessageDeflate: false,
  maxPayload: maxFrameBytes,
  maxFragments: 64,
  maxBufferedChunks: 1024,
  closeTimeout: 1000,
})

/** Is it an address of this machine's loopback? */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)

/** An address as it stands in a URL. */
export const hostInUrl = (host: string): string =>
  host.includes(':') ? `[${host}]` : host

/** Does it stand for every address of this machine? */
export const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '::'
