// The door: what happens on a TCP connection before the first frame, written by hand, so
// that each part of it can also be done wrong.

import { randomBytes } from 'node:crypto'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { WebSocket } from 'ws'
import { type Party, type Shown, show } from './members.ts'
import { facts } from './protocol.ts'
import type { Target } from './target.ts'

export interface HttpAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
}

/** A TLS connection to the implementation, which shows what it is given to show. */
export const openTls = (
  { host, port, mesh }: Target,
  shown: Partial<Shown>,
  options: ConnectionOptions = {},
): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const socket = connect({
      ...{ host, port, ca: mesh.authority, servername: '' },
      ...{ ALPNProtocols: [facts.upgrade.tls.alpn], minVersion: 'TLSv1.3' },
      // Its names are looked at in a case of their own.
      checkServerIdentity: () => undefined,
      ...shown,
      ...options,
    })
    socket.setNoDelay(true)
    socket.on('error', reject)
    socket.once('close', () => reject(new Error('it closed during the handshake')))
    socket.once('secureConnect', () => resolve(socket))
  })

/** Sends an HTTP request and reads the head of its answer. */
export const askHttp = (
  socket: TLSSocket,
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
    socket.once('error', reject)
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

export const UPGRADE: Readonly<Record<string, string>> = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
  'Sec-WebSocket-Protocol': facts.subprotocol,
}

/** The whole way in, for who is a member. */
export const enter = async (target: Target, party: Party): Promise<WebSocket> => {
  const socket = await openTls(target, await show(target.mesh, party))
  const ws = new WebSocket(`ws://${target.host}:${target.port}/`, [facts.subprotocol], {
    createConnection: () => socket,
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
