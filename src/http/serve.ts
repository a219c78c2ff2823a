// Serving: an HTTP server with its limits, whose requests pass the guard before a route sees
// them. What is refused is told why, as RFC 9457 has it, and its body is not read.

import { chmodSync, rmSync, statSync } from 'node:fs'
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { getRequestListener } from '@hono/node-server'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { Audit } from '../ports.ts'
import { type FaceAddress, isSocketPath } from './address.ts'
import { type Grant, type GuardOptions, guard, type Refusal } from './guard.ts'

export interface ServeOptions {
  readonly address: FaceAddress
  /** For an address that names no path. */
  readonly defaultPath: string
  /** Names of this machine that may stand in a Host header. */
  readonly names: readonly string[]
  readonly isOpen: boolean
  readonly contentTypes: ReadonlySet<string>
  readonly tokenRights: GuardOptions['tokenRights']
  /** Answers what the guard let in. */
  readonly fetch: (
    request: Request,
    around: {
      readonly grant: Grant
      readonly incoming: IncomingMessage
      readonly outgoing: ServerResponse
    },
  ) => Response | Promise<Response>
  readonly audit: Audit
}

export interface HttpFace {
  /** As a person types it: http://127.0.0.1:8700, or unix:PATH. */
  readonly url: string
  close(): Promise<void>
}

/** Longer heads, and slower ones, are no request of a program. */
const LIMITS = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 60_000,
}
const MAX_CONNECTIONS = 1024

/** Left: a sentence that names the address, the reason and what to do. */
export const serveHttp = async (
  options: ServeOptions,
): Promise<Either<string, HttpFace>> => {
  const { address, defaultPath } = options
  const path = address.kind === 'unix' ? (address.path ?? defaultPath) : undefined
  if (path !== undefined) {
    const fault = await freeSocketPath(path)
    if (fault !== undefined) return E.left(fault)
  }
  const grants = new WeakMap<IncomingMessage, Grant>()
  const answer = getRequestListener(
    (request, env) => {
      // Only what the guard let in gets here.
      const { incoming, outgoing } = env as {
        readonly incoming: IncomingMessage
        readonly outgoing: ServerResponse
      }
      const grant = grants.get(incoming)
      if (grant === undefined) throw new Error('Expected a request with a grant')
      return options.fetch(request, { grant, incoming, outgoing })
    },
    // Its own Request and Response, without what a browser's have, cost a tenth.
    { overrideGlobalObjects: true, hostname: 'localhost' },
  )
  let guards: GuardOptions | undefined
  const server = createServer(LIMITS, (incoming, outgoing) => {
    const verdict = guards && guard(headOf(incoming), guards)
    if (verdict === undefined || 'status' in verdict) {
      refuse(incoming, outgoing, verdict ?? NOT_YET, options.audit)
      return
    }
    grants.set(incoming, verdict)
    if (incoming.method !== 'GET' && incoming.method !== 'HEAD')
      options.audit.record('http', {
        by: verdict.by,
        method: incoming.method,
        path: pathOf(incoming),
      })
    void answer(incoming, outgoing)
  })
  server.maxConnections = MAX_CONNECTIONS
  // Upgrades and CONNECT have no listener: Node.js ends them.
  const failure = await listening(server, address, path)
  if (failure !== undefined) return E.left(failure)
  if (path !== undefined) chmodSync(path, 0o600)
  const { isOpen, contentTypes, tokenRights } = options
  const hosts = path === undefined ? hostsOf(server, options) : undefined
  guards = { hosts, isOpen, contentTypes, tokenRights }
  return E.right({ url: urlOf(server, path), close: () => closing(server, path) })
}

/** Without a query, which may hold anything. */
const pathOf = ({ url = '' }: IncomingMessage): string =>
  (url.split('?')[0] ?? '').slice(0, 200)

const NOT_YET: Refusal = { status: 403, code: 'host', detail: 'not ready yet' }

const headOf = ({ method = '', headers }: IncomingMessage) => ({ method, headers })

const listening = (
  server: Server,
  address: FaceAddress,
  path: string | undefined,
): Promise<string | undefined> =>
  new Promise((resolve) => {
    const told =
      address.kind === 'tcp' ? `${address.host}:${address.port}` : `unix:${path}`
    server.once('error', (error) => {
      const code = 'code' in error ? String(error.code) : error.message
      const what = code === 'EADDRINUSE' ? 'another program listens there' : code
      resolve(`cannot listen on ${told}: ${what}; choose another address`)
    })
    const ready = () => resolve(undefined)
    if (address.kind === 'tcp') server.listen(address.port, address.host, ready)
    else server.listen(path, ready)
  })

/** A socket that a killed node left behind is removed; a living one is not. */
const freeSocketPath = async (path: string): Promise<string | undefined> => {
  if (!isSocketPath(path))
    return `cannot listen on unix:${path}: a socket's path may have at most 107 bytes; give a shorter one`
  let isSocket: boolean
  try {
    isSocket = statSync(path).isSocket()
  } catch {
    return undefined // nothing there
  }
  if (!isSocket) return `cannot listen on unix:${path}: there is a file of that name`
  const isAlive = await new Promise<boolean>((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => resolve(socket.destroy() !== undefined))
    socket.once('error', () => resolve(false))
  })
  if (isAlive) return `cannot listen on unix:${path}: another program listens there`
  rmSync(path, { force: true })
  return undefined
}

/** Each name that leads here, with the port. */
const hostsOf = (
  server: Server,
  { address, names }: ServeOptions,
): ReadonlySet<string> => {
  const at = server.address()
  if (at === null || typeof at === 'string' || address.kind === 'unix') return new Set()
  const isAny = ['0.0.0.0', '::'].includes(at.address)
  const own = isAny
    ? Object.values(networkInterfaces()).flatMap((all = []) =>
        all.map((one) => one.address),
      )
    : [at.address]
  const isLocal = isAny || at.address.startsWith('127.') || at.address === '::1'
  const hosts = [...own, ...(isLocal ? ['localhost'] : []), ...names]
  return new Set(hosts.map((host) => `${bracketed(host)}:${at.port}`.toLowerCase()))
}

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)

const urlOf = (server: Server, path: string | undefined): string => {
  const at = server.address()
  if (at === null || typeof at === 'string') return `unix:${path}`
  return `http://${bracketed(at.address)}:${at.port}`
}

const closing = (server: Server, path: string | undefined): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => {
      if (path !== undefined) rmSync(path, { force: true })
      resolve()
    })
    server.closeAllConnections()
  })

/** Nothing of it is read; its connection is ended, so that nothing of it stands in the way. */
const refuse = (
  { method = '', socket }: IncomingMessage,
  outgoing: ServerResponse,
  { status, code, detail }: Refusal,
  audit: Audit,
): void => {
  audit.record('http-refused', { code, method, address: socket.remoteAddress })
  const headers = {
    'content-type': 'application/problem+json',
    connection: 'close',
    ...(status === 401 && { 'www-authenticate': 'Bearer realm="manyhands"' }),
  }
  outgoing.writeHead(status, headers)
  outgoing.end(`${JSON.stringify({ type: 'about:blank', status, code, detail })}\n`)
}
