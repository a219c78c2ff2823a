// The one place that makes the mesh's server and dials its clients: plain WebSocket on
// loopback, each end proving the mesh's secret before any message. TLS will replace what
// is in listen.ts, knock.ts and this file; the rest of the mesh sees proven sockets only.
//
//   client                                    server
//   GET / (mesh, role, node, nonce)      ->
//                                        <-   401 (role, node, nonce, proof)
//   upgrade (role, node, proof)          ->   on the same TCP connection
//                                        <-   101, or 403 with the reason in words
//
// A nonce lives in its TCP connection: it can be used there, once, within five seconds.

import type { Socket } from 'node:net'
import type { Either } from 'fp-ts/lib/Either.js'
import type { WebSocket } from 'ws'
import type { Party } from '../identity/secret.ts'
import type { DialFailure } from './failures.ts'

/** The WebSocket subprotocol; its version is the protocol's major one. */
export const SUBPROTOCOL = 'manyhands.v1'

/** How long an unproven connection may live, and a dial may take: ample on any link. */
export const HANDSHAKE_MS = 5000

/** Header names of the handshake, as Node.js gives them: in lower case. */
export const HEADER = {
  mesh: 'manyhands-mesh',
  role: 'manyhands-role',
  node: 'manyhands-node',
  nonce: 'manyhands-nonce',
  proof: 'manyhands-proof',
  refused: 'manyhands-refused',
} as const

/** An open WebSocket whose far end is known. It may be paused: who takes it listens, then resumes. */
export interface ProvenSocket {
  readonly ws: WebSocket
  /** The socket beneath, for gathering writes and counting bytes. */
  readonly raw: Socket
  readonly party: Party
  readonly remoteAddress: string
  /** The address that we dialled; undefined when the far end dialled us. */
  readonly dialledUrl: string | undefined
}

/** What makes this node a member, and what its sockets accept. */
export interface Credentials {
  readonly meshId: string
  readonly secret: Uint8Array
  readonly self: Party
  /** Largest message taken, in bytes: more closes the socket (1009). */
  readonly maxFrameBytes: number
}

/** A listening server. */
export interface Listening {
  readonly port: number
  readonly url: string
  /** Stops accepting and drops what is not yet proven; proven sockets stay. */
  close(): Promise<void>
}

/** Dials; never rejects. */
export type Dial = (
  url: string,
  signal?: AbortSignal,
) => Promise<Either<DialFailure, ProvenSocket>>

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

/** Why no other address may be used yet. */
export const LOOPBACK_ONLY =
  'only loopback addresses are served until nodes have certificates: without them anybody on the network could read and change what nodes say'
