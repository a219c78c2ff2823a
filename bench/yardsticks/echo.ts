// Yardstick: raw ws echo between two processes, 64 messages in flight, no protocol.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { WebSocket, WebSocketServer } from 'ws'

const options = { perMessageDeflate: false } as const

const serve = async (): Promise<void> => {
  const server = new WebSocketServer({ ...options, host: '127.0.0.1', port: 0 })
  server.on('connection', (socket) => {
    socket.on('message', (data) => socket.send(data))
  })
  await once(server, 'listening')
  process.send?.((server.address() as AddressInfo).port) // a TCP server has no other kind
}

/** Round trips per second with `inFlight` messages of `bytes` each under way. */
export const rawEchoRate = async (
  count: number,
  inFlight: number,
  bytes: number,
): Promise<number> => {
  const server = fork(fileURLToPath(import.meta.url))
  try {
    const [port] = await once(server, 'message')
    const socket = new WebSocket(`ws://127.0.0.1:${port}`, options)
    await once(socket, 'open')
    const message = Buffer.alloc(bytes, 1)
    const start = performance.now()
    await new Promise<void>((resolve) => {
      let sent = 0
      let received = 0
      const send = (): void => {
        if (sent === count) return
        sent += 1
        socket.send(message)
      }
      socket.on('message', () => {
        received += 1
        if (received === count) resolve()
        else send()
      })
      for (let places = 0; places < inFlight; places += 1) send()
    })
    const rate = count / ((performance.now() - start) / 1000)
    socket.terminate()
    return rate
  } finally {
    server.kill()
  }
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url))
  await serve()
