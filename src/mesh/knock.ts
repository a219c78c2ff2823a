// The client's side of a meeting: knock with a nonce, check the server's proof, give ours,
// and come out with a proven socket or a failure that says why. Never rejects.

import { Agent, get, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import { WebSocket } from 'ws'
import { NodeId, NodeType } from '../../protocol/index.ts'
import {
  isNonce,
  isProven,
  type Meeting,
  makeNonce,
  type Party,
  prove,
} from '../identity/secret.ts'
import type { DialFailure } from './failures.ts'
import {
  type Credentials,
  HANDSHAKE_MS,
  HEADER,
  isLoopback,
  LOOPBACK_ONLY,
  type ProvenSocket,
  receiveLimits,
  SUBPROTOCOL,
} from './transport.ts'

const TIMED_OUT = 'timed out'

type Result<A> = Either<DialFailure, A>

/** Who answered, and the TCP connection on which it did. */
interface Server {
  readonly party: Party
  readonly meeting: Meeting
  readonly socket: Socket
}

/** Dials `url` (`ws://host:port`, loopback only), both ends proving the secret. */
export const knock = async (
  url: string,
  credentials: Credentials,
  signal?: AbortSignal,
): Promise<Result<ProvenSocket>> => {
  const target = parseTarget(url)
  if (E.isLeft(target)) return target
  // One TCP connection for both requests: the nonce lives in it.
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  // By hand: AbortSignal.any() on a signal that lives as long as the node leaks on Node 20.
  const ended = new AbortController()
  const onAbort = () => ended.abort('called off')
  const timer = setTimeout(() => ended.abort(TIMED_OUT), HANDSHAKE_MS)
  signal?.addEventListener('abort', onAbort)
  if (signal?.aborted) onAbort()
  try {
    const server = await askProof(url, target.right, credentials, agent, ended.signal)
    if (E.isLeft(server)) return server
    return await upgrade(url, server.right, credentials, agent, ended.signal)
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
    // An upgraded socket no longer belongs to the agent.
    agent.destroy()
  }
}

const parseTarget = (url: string): Result<URL> => {
  const refuse = (reason: string) => E.left({ kind: 'refused', url, reason } as const)
  let target: URL
  try {
    target = new URL(url)
  } catch {
    return refuse(`${url} is not an address; expected ws://host:port`)
  }
  if (target.protocol !== 'ws:') return refuse(`expected ws://host:port, got ${url}`)
  if (!isLoopback(hostOf(target)))
    return refuse(`cannot dial ${target.host}: ${LOOPBACK_ONLY}`)
  return E.right(target)
}

const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '')

const portOf = (url: URL): number => Number(url.port || 80)

const askProof = (
  url: string,
  target: URL,
  { meshId, self, secret }: Credentials,
  agent: Agent,
  signal: AbortSignal,
): Promise<Result<Server>> =>
  new Promise((resolve) => {
    const clientNonce = makeNonce()
    const request = get({
      host: hostOf(target),
      port: portOf(target),
      path: '/',
      agent,
      signal,
      headers: {
        [HEADER.mesh]: meshId,
        [HEADER.role]: self.role,
        [HEADER.node]: self.nodeId,
        [HEADER.nonce]: clientNonce,
      },
    })
    request.on('error', (error) => resolve(E.left(failureOf(url, error, signal))))
    request.on('response', (response) => {
      const { remoteAddress: address = '', remotePort: port = 0 } = response.socket
      const meeting = { meshId, clientNonce, address, port }
      const result = judge(url, response, meeting, secret)
      // Read to its end, so that the agent gives the same connection to the upgrade.
      response.on('end', () => resolve(result))
      response.on('error', (error) => resolve(E.left(failureOf(url, error, signal))))
      if (E.isLeft(result)) request.destroy()
      if (E.isLeft(result)) resolve(result)
      else response.resume()
    })
  })

const judge = (
  url: string,
  { headers, socket }: IncomingMessage,
  begun: Omit<Meeting, 'serverNonce'>,
  secret: Uint8Array,
): Result<Server> => {
  const refused = headers[HEADER.refused]
  if (typeof refused === 'string')
    return E.left({ kind: 'refused', url, reason: printable(refused) })
  const { [HEADER.role]: role, [HEADER.node]: nodeId } = headers
  const { [HEADER.nonce]: serverNonce, [HEADER.proof]: proof } = headers
  if (!NodeType.is(role) || !NodeId.is(nodeId) || !isNonce(serverNonce))
    return E.left({ kind: 'stranger', url, reason: `${url} is no Manyhands node` })
  const party = { role, nodeId }
  const meeting = { ...begun, serverNonce }
  if (!isProven(proof, secret, 'server', party, meeting))
    return E.left({
      kind: 'stranger',
      url,
      reason: `${url} could not prove that it knows the secret of this mesh`,
    })
  return E.right({ party, meeting, socket })
}

const upgrade = (
  url: string,
  { party, meeting, socket }: Server,
  credentials: Credentials,
  agent: Agent,
  signal: AbortSignal,
): Promise<Result<ProvenSocket>> =>
  new Promise((resolve) => {
    const { secret, self, maxFrameBytes } = credentials
    const ws = new WebSocket(url, [SUBPROTOCOL], {
      agent,
      headers: { [HEADER.proof]: prove(secret, 'client', self, meeting) },
      // A mask hides a browser's bytes from caches between; here it would only cost time
      // (RFC 6455 section 10.3). All zeros is legal, and ws then skips the work.
      generateMask: (mask) => mask.fill(0),
      ...receiveLimits(maxFrameBytes),
    })
    let raw: Socket | undefined
    const abort = () => ws.terminate()
    signal.addEventListener('abort', abort, { once: true })
    const settle = (result: Result<ProvenSocket>) => {
      signal.removeEventListener('abort', abort)
      resolve(result)
    }
    // The promise settles once; later errors belong to who owns the socket then.
    ws.on('error', (error) => settle(E.left(failureOf(url, error, signal))))
    ws.on('unexpected-response', (request, response) => {
      const refused = response.headers[HEADER.refused]
      const reason = typeof refused === 'string' ? printable(refused) : 'refused'
      request.destroy()
      settle(E.left({ kind: 'refused', url, reason }))
    })
    ws.on('upgrade', (response) => {
      raw = response.socket
    })
    ws.on('open', () => {
      if (raw === undefined) return
      if (raw !== socket) {
        // The first connection was lost, and who answers here has proven nothing.
        ws.terminate()
        const reason = `${url} closed the connection on which it had proven itself`
        settle(E.left({ kind: 'stranger', url, reason }))
        return
      }
      raw.setNoDelay(true)
      // The far end may have spoken in the same breath: nothing is read before the owner
      // of the socket listens (it resumes).
      ws.pause()
      const remoteAddress = raw.remoteAddress ?? ''
      settle(E.right({ ws, raw, party, remoteAddress, dialledUrl: url }))
    })
  })

const failureOf = (url: string, error: Error, signal: AbortSignal): DialFailure => {
  if (signal.reason === TIMED_OUT) {
    const reason = `${url} did not answer within ${HANDSHAKE_MS} ms`
    return { kind: 'timeout', url, afterMs: HANDSHAKE_MS, reason }
  }
  if (signal.aborted) return { kind: 'aborted', url, reason: 'dialling was called off' }
  const code = 'code' in error ? String(error.code) : error.message
  if (code.startsWith('HPE_'))
    return { kind: 'stranger', url, reason: `${url} is no Manyhands node` }
  return { kind: 'unreachable', url, code, reason: `cannot reach ${url} (${code})` }
}

/** What a stranger wrote may end on a terminal: one line of plain characters. */
const printable = (text: string): string => text.replace(/[^ -~]/g, '?').slice(0, 200)
