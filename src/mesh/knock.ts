// The client's side of a meeting: connect, know who is there, upgrade to WebSocket, and
// come out with a proven socket or a failure that says why. Never rejects.

import type { Socket } from 'node:net'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import { WebSocket } from 'ws'
import type { NodeId } from '../../protocol/index.ts'
import { dialFailure, TIMED_OUT } from './dial-failures.ts'
import type { DialFailure } from './failures.ts'
import {
  HANDSHAKE_MS,
  type Met,
  type ProvenSocket,
  REFUSED,
  receiveLimits,
  SUBPROTOCOL,
  type Target,
  type Transport,
} from './transport.ts'

type Result<A> = Either<DialFailure, A>

export interface KnockOptions {
  readonly url: string
  /** Only this node will do. */
  readonly nodeId?: NodeId | undefined
  readonly transport: Transport
  /** Largest message taken, in bytes: more closes the socket (1009). */
  readonly maxFrameBytes: number
  readonly signal?: AbortSignal | undefined
}

/** Dials `wss://host:port`; both ends know each other afterwards. */
export const knock = async (options: KnockOptions): Promise<Result<ProvenSocket>> => {
  const { url, transport, signal } = options
  const target = parseTarget(url, transport.scheme)
  if (E.isLeft(target)) return target
  // By hand: AbortSignal.any() on a signal that lives as long as the node leaks on Node 20.
  const ended = new AbortController()
  const onAbort = () => ended.abort('called off')
  const timer = setTimeout(() => ended.abort(TIMED_OUT), HANDSHAKE_MS)
  signal?.addEventListener('abort', onAbort)
  if (signal?.aborted) onAbort()
  try {
    const wanted = { ...target.right, nodeId: options.nodeId }
    const met = await transport.connect(wanted, ended.signal)
    if (E.isLeft(met)) return met
    return await upgrade(wanted, met.right, options, ended.signal)
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}

const parseTarget = (url: string, scheme: string): Result<Target> => {
  const refuse = (reason: string) => E.left({ kind: 'refused', url, reason } as const)
  let target: URL
  try {
    target = new URL(url)
  } catch {
    return refuse(`${url} is not an address; expected ${scheme}://host:port`)
  }
  if (target.protocol !== `${scheme}:`)
    return refuse(`expected ${scheme}://host:port, got ${url}`)
  const host = target.hostname.replace(/^\[|\]$/g, '')
  return E.right({ url, host, port: Number(target.port || 443) })
}

const upgrade = (
  target: Target,
  { socket: raw, party, notAfterMs }: Met & { readonly socket: Socket },
  { transport, maxFrameBytes }: KnockOptions,
  signal: AbortSignal,
): Promise<Result<ProvenSocket>> =>
  new Promise((resolve) => {
    const { url, host, port } = target
    const at = `ws://${host.includes(':') ? `[${host}]` : host}:${port}`
    const ws = new WebSocket(at, [SUBPROTOCOL], {
      // What is beneath it is the transport's; ws would make a socket of its own.
      createConnection: () => raw,
      // A mask hides a browser's bytes from caches between; here it would only cost time
      // (RFC 6455 section 10.3). All zeros is legal, and ws then skips the work.
      generateMask: (mask) => mask.fill(0),
      ...receiveLimits(maxFrameBytes),
    })
    const abort = () => ws.terminate()
    signal.addEventListener('abort', abort, { once: true })
    const settle = (result: Result<ProvenSocket>) => {
      signal.removeEventListener('abort', abort)
      resolve(result)
    }
    // The promise settles once; later errors belong to who owns the socket then.
    ws.on('error', (error) =>
      settle(E.left(dialFailure({ target, error, isReached: true, signal }))),
    )
    ws.on('unexpected-response', (request, { headers }) => {
      request.destroy()
      const { [REFUSED]: word, date = '' } = headers
      const theirMs = Date.parse(date)
      const reason = transport.explain(
        typeof word === 'string' ? word : 'without a reason',
        `${host}:${port}`,
        Number.isNaN(theirMs) ? undefined : theirMs,
      )
      // Only of managers, which a node serves: a worker's word shall end no manager.
      const isExpelled = word === 'revoked' && party.role === 'manager'
      settle(E.left({ kind: 'refused', url, reason, ...(isExpelled && { isExpelled }) }))
    })
    ws.on('open', () => {
      raw.setNoDelay(true)
      // The far end may have spoken in the same breath: nothing is read before the owner
      // of the socket listens (it resumes).
      ws.pause()
      const remoteAddress = raw.remoteAddress ?? ''
      settle(E.right({ ws, raw, party, notAfterMs, remoteAddress, dialledUrl: url }))
    })
  })
