// TLS: mutual, 1.3 alone, with the mesh's own authority, on every connection there is.
//
// Three traps, each seen by running: a TLS server does not destroy a socket whose handshake
// fails or takes too long, it only says so; an answer that ends a socket with unread data
// resets the connection, and its reason is lost; a resumed session skips every check, so
// there are none.

import { X509Certificate } from 'node:crypto'
import type { Server, Socket } from 'node:net'
import {
  connect,
  createSecureContext,
  createServer,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { Credentials } from '../identity/credentials.ts'
import { describeRefusal, REFUSALS, type RefusalWord } from '../identity/refusals.ts'
import type { Clock } from '../ports.ts'
import { dialFailure, StrangerError } from './dial-failures.ts'
import type { DialFailure } from './failures.ts'
import { judge, judgeCertificate } from './judge.ts'
import {
  type Callers,
  type Met,
  REFUSED,
  type Target,
  type Transport,
} from './transport.ts'

/** The protocol beneath WebSocket, offered by both ends: another program is told at once. */
export const ALPN = 'manyhands/1'
/** How long a refused caller has to read why. */
const LINGER_MS = 1000

export interface TlsOptions {
  readonly credentials: Credentials
  readonly clock: Clock
  /** Default: nobody is. */
  readonly isRevoked?: (nodeId: string) => boolean
}

/** The transport of a member: it shows these credentials and believes its mesh alone. */
export const tlsTransport = (options: TlsOptions): TlsTransport =>
  new TlsTransport(options)

export class TlsTransport implements Transport {
  readonly scheme = 'wss'
  readonly #clock: Clock
  readonly #isRevoked: (nodeId: string) => boolean
  readonly #servers = new Set<{ setSecureContext(options: object): void }>()
  #credentials: Credentials
  #context: SecureContext

  constructor({ credentials, clock, isRevoked = () => false }: TlsOptions) {
    this.#clock = clock
    this.#isRevoked = isRevoked
    this.#credentials = credentials
    this.#context = createSecureContext(secretsOf(credentials))
  }

  /** A new certificate: for new connections; those that are open go on. */
  renew(credentials: Credentials): void {
    this.#credentials = credentials
    this.#context = createSecureContext(secretsOf(credentials))
    for (const server of this.#servers) server.setSecureContext(secretsOf(credentials))
  }

  makeServer(callers: Callers): Server {
    const server = createServer({
      ...secretsOf(this.#credentials),
      requestCert: true,
      // Who is refused is told why, which a failed handshake could not; `judge` decides.
      rejectUnauthorized: false,
      ALPNProtocols: [ALPN],
      // Whoever listens has a shorter limit of its own.
      handshakeTimeout: 60_000,
    })
    server.on('secureConnection', (socket) => {
      socket.on('error', () => undefined)
      const verdict = judge(socket, this.#judgement)
      if (typeof verdict !== 'string') return callers.known(socket, verdict)
      callers.refused(socket, verdict)
      refuse(socket, verdict, this.#clock)
    })
    server.on('tlsClientError', (error, socket) => {
      callers.broken(socket, describeBroken(error))
      socket.destroy()
    })
    this.#servers.add(server)
    server.on('close', () => this.#servers.delete(server))
    return server
  }

  connect(
    target: Target,
    signal: AbortSignal,
  ): Promise<Either<DialFailure, Met & { readonly socket: Socket }>> {
    return new Promise((resolve) => {
      let met: Met | undefined
      let isReached = false
      const socket = connect({
        host: target.host,
        port: target.port,
        secureContext: this.#context,
        // No name is sent in the clear, and an address may be dialled.
        servername: '',
        ALPNProtocols: [ALPN],
        checkServerIdentity: (_host, { raw }) => {
          const known = this.#identify(raw, target)
          if (known instanceof Error) return known
          met = known
          return undefined
        },
      })
      const abort = () => socket.destroy(new Error('called off'))
      const settle = (error: Error | undefined) => {
        signal.removeEventListener('abort', abort)
        socket.removeListener('error', settle)
        socket.removeListener('close', onClose)
        // It belongs to somebody else from here on, and must not be without a listener.
        socket.on('error', () => undefined)
        if (error === undefined && met !== undefined) {
          resolve(E.right({ ...met, socket }))
          return
        }
        socket.destroy()
        resolve(E.left(dialFailure({ target, error, isReached, signal })))
      }
      const onClose = () => settle(new Error('closed'))
      signal.addEventListener('abort', abort, { once: true })
      socket.on('error', settle)
      socket.on('close', onClose)
      socket.once('connect', () => {
        isReached = true
      })
      socket.once('secureConnect', () => settle(undefined))
      if (signal.aborted) abort()
    })
  }

  explain(word: string, host: string, theirMs: number | undefined): string {
    const own = this.#credentials
    return describeRefusal({ word, host, theirMs, nowMs: this.#clock.wall(), own })
  }

  get #judgement() {
    return { meshId: this.#credentials.meshId, isRevoked: this.#isRevoked }
  }

  /** The server's certificate is asked for once: a second time it answers nothing. */
  #identify(raw: Buffer, { nodeId }: Target): Met | StrangerError {
    const verdict = judgeCertificate(new X509Certificate(raw), this.#judgement)
    if (typeof verdict === 'string') return new StrangerError(verdict)
    return nodeId === undefined || verdict.party.nodeId === nodeId
      ? verdict
      : new StrangerError('other-node')
  }
}

const secretsOf = ({ keyPem, certificatePem, trustPem }: Credentials) => ({
  key: keyPem,
  cert: certificatePem,
  ca: trustPem,
  minVersion: 'TLSv1.3' as const,
})

/** One fixed answer, whatever the caller may have sent, which nobody reads. */
const refuse = (socket: TLSSocket, word: RefusalWord, clock: Clock): void => {
  const text = `${REFUSALS[word]}\n`
  const lines = [
    'HTTP/1.1 403 Forbidden',
    'Connection: close',
    `Date: ${new Date(clock.wall()).toUTCString()}`,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(text)}`,
    `${REFUSED}: ${word}`,
  ]
  socket.resume()
  socket.end(`${lines.join('\r\n')}\r\n\r\n${text}`)
  const cancel = clock.after(LINGER_MS, () => socket.destroy())
  socket.once('close', cancel)
}

const BROKEN: Readonly<Record<string, string>> = {
  ECONNRESET: 'it broke off the handshake: it is of another mesh, or it died',
  ERR_SSL_HTTP_REQUEST: 'what came is not TLS but HTTP',
  ERR_SSL_WRONG_VERSION_NUMBER: 'what came is not TLS',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'it speaks another protocol over TLS',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'it offers no TLS 1.3',
}

const describeBroken = (error: Error): string => {
  const code = 'code' in error ? String(error.code) : 'unknown'
  return BROKEN[code] ?? `its handshake failed (${code})`
}
