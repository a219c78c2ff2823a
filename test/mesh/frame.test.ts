// Frames are what RFC 6455 says: ws, which is no part of making them, reads them.

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import t from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { frameOf } from '../../src/mesh/frame.ts'

/** Around each change of the length's form. */
const LENGTHS = [0, 1, 125, 126, 65_535, 65_536, 300_000]

t.test('the header has the shortest form of the length', async (t) => {
  const headers = LENGTHS.map((length) => {
    const frame = frameOf(new Uint8Array(length), false)
    return frame.subarray(0, frame.length - length).toString('hex')
  })
  t.same(headers, [
    '8200',
    '8201',
    '827d',
    '827e007e',
    '827effff',
    '827f0000000000010000',
    '827f00000000000493e0',
  ])
})

t.test('a masked one has a zero key, so its bytes stay as they are', async (t) => {
  t.equal(frameOf(Uint8Array.of(7, 8), true).toString('hex'), '8282000000000708')
  const long = frameOf(new Uint8Array(126), true)
  t.equal(long.subarray(0, 8).toString('hex'), '82fe007e00000000')
  t.equal(long.length, 8 + 126)
})

t.test('ws takes unmasked frames as a client and masked ones as a server', async (t) => {
  const messages = LENGTHS.map((length) => new Uint8Array(length).fill(length % 251))
  const http = new WebSocketServer({ noServer: true })
  t.teardown(() => http.close())
  const server = createServer().on('upgrade', (request, socket, head) =>
    http.handleUpgrade(request, socket, head, (ws) =>
      http.emit('connection', ws, socket),
    ),
  )
  t.teardown(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const connected = once(http, 'connection')
  const client = new WebSocket(`ws://127.0.0.1:${port}`)
  t.teardown(() => client.terminate())
  const upgraded = once(client, 'upgrade')
  const [[response]] = await Promise.all([upgraded, once(client, 'open')])
  const [far, farRaw] = (await connected) as [WebSocket, Socket]
  const heard = (ws: WebSocket) =>
    new Promise<Buffer[]>((resolve) => {
      const all: Buffer[] = []
      ws.on('message', (bytes) => {
        if (all.push(bytes as Buffer) === messages.length) resolve(all)
      })
    })
  const atClient = heard(client)
  const atServer = heard(far)
  for (const message of messages) {
    farRaw.write(frameOf(message, false))
    response.socket.write(frameOf(message, true))
  }
  for (const [at, message] of messages.entries()) {
    t.ok((await atClient)[at]?.equals(message), `${message.length} bytes to a client`)
    t.ok((await atServer)[at]?.equals(message), `${message.length} bytes to a server`)
  }
})
