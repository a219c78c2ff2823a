// The door: what happens on a TCP connection before the first frame, written by hand, so
// that each part of it can also be done wrong.

import { createHmac, randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { WebSocket } from 'ws'
import { facts } from './protocol.ts'
import type { Target } from './target.ts'

const HEADER = facts.upgrade.headers

/** Who proves, and what both ends know of the meeting. */
export interface Meeting {
  readonly role: string
  readonly nodeId: string
  readonly clientNonce: string
  readonly serverNonce: string
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
}

export const nonce = (): string => randomBytes(24).toString('hex')

/** The proof of one side, by the text of manyhands.json. */
export const proofOf = (
  { meshId, secret }: Target,
  side: 'client' | 'server',
  { role, nodeId, clientNonce, serverNonce }: Meeting,
  { remoteAddress, remotePort }: Socket,
): string => {
  const parts = [facts.subprotocol, side, meshId, role, nodeId, clientNonce, serverNonce]
  const text = JSON.stringify([...parts, remoteAddress, remotePort])
  return createHmac('sha256', secret).update(text).digest('hex')
}

/** A TCP connection to the implementation. */
export const openSocket = (target: Target): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: target.host, port: target.port, noDelay: true })
    socket.on('error', reject)
    socket.on('connect', () => resolve(socket))
  })

/** Sends an HTTP request and reads the head of its answer. */
export const askHttp = (
  socket: Socket,
  headers: Readonly<Record<string, string>>,
): Promise<HttpAnswer> =>
  new Promise((resolve, reject) => {
    let text = ''
    const onEnd = () => reject(new Error('it closed the connection without an answer'))
    const onText = (chunk: Buffer) => {
      text += chunk.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (end < 0) return
      socket.off('data', onText)
      socket.off('close', onEnd)
      resolve(parseHead(text.slice(0, end)))
    }
    socket.on('data', onText)
    socket.once('close', onEnd)
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.write(`GET / HTTP/1.1\r\nHost: conformance\r\n${lines.join('')}\r\n`)
  })

const parseHead = (head: string): HttpAnswer => {
  const [first = '', ...lines] = head.split('\r\n')
  const headers = lines.map((line) => {
    const at = line.indexOf(':')
    return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()] as const
  })
  return { status: Number(first.split(' ')[1]), headers: Object.fromEntries(headers) }
}

/** The headers of the first request. */
export const claimOf = (
  { meshId }: Target,
  { role, nodeId, clientNonce }: Pick<Meeting, 'role' | 'nodeId' | 'clientNonce'>,
): Record<string, string> => ({
  [HEADER.mesh]: meshId,
  [HEADER.role]: role,
  [HEADER.node]: nodeId,
  [HEADER.nonce]: clientNonce,
})

export const UPGRADE: Readonly<Record<string, string>> = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
  'Sec-WebSocket-Protocol': facts.subprotocol,
}

/** Asks for a nonce; the connection is then ready for one upgrade. */
export const meet = async (
  target: Target,
  role: string,
  nodeId: string,
): Promise<{ socket: Socket; meeting: Meeting; answer: HttpAnswer }> => {
  const socket = await openSocket(target)
  const clientNonce = nonce()
  const answer = await askHttp(socket, claimOf(target, { role, nodeId, clientNonce }))
  const { [HEADER.nonce]: serverNonce = '' } = answer.headers
  return { socket, meeting: { role, nodeId, clientNonce, serverNonce }, answer }
}

/** The whole way in, for who is a member. The far end's proof is a case of its own. */
export const enter = async (
  target: Target,
  role: string,
  nodeId: string,
): Promise<WebSocket> => {
  const { socket, meeting, answer } = await meet(target, role, nodeId)
  if (answer.status !== 401) {
    socket.destroy()
    throw new Error(`asked for a nonce: it answered ${answer.status}, not 401`)
  }
  const ws = new WebSocket(`ws://${target.host}:${target.port}/`, [facts.subprotocol], {
    createConnection: () => socket,
    headers: { [HEADER.proof]: proofOf(target, 'client', meeting, socket) },
    perMessageDeflate: false,
    maxPayload: 64 * 1024 * 1024,
  })
  await new Promise<void>((resolve, reject) => {
    ws.once('open', () => {
      ws.pause() // nothing is read before somebody listens
      resolve()
    })
    ws.once('error', reject)
    ws.once('unexpected-response', (_request, response) =>
      reject(new Error(`upgrading: it answered ${response.statusCode}, not 101`)),
    )
  })
  return ws
}
