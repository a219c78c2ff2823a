// Yardstick: a bare mutual TLS 1.3 handshake between two processes and one byte each way,
// with the certificates that the mesh uses, and nothing upon it.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createSecureContext, createServer } from 'node:tls'
import { fileURLToPath } from 'node:url'
import type { Credentials } from '../../src/identity/credentials.ts'

type Secrets = Pick<Credentials, 'keyPem' | 'certificatePem' | 'trustPem'>

const optionsOf = ({ keyPem, certificatePem, trustPem }: Secrets) => ({
  key: keyPem,
  cert: certificatePem,
  ca: trustPem,
  minVersion: 'TLSv1.3' as const,
})

export interface BareServer {
  /** Milliseconds from the dial to the byte that comes back. */
  shake(): Promise<number>
  stop(): void
}

/** Both ends show the same certificate: what it costs is the same. */
export const startBareServer = async (secrets: Secrets): Promise<BareServer> => {
  const child = fork(fileURLToPath(import.meta.url))
  child.send(optionsOf(secrets))
  const [port] = await once(child, 'message')
  const secureContext = createSecureContext(optionsOf(secrets))
  return {
    shake: async () => {
      const began = performance.now()
      const socket = connect({
        secureContext,
        host: '127.0.0.1',
        port: Number(port),
        servername: '',
        checkServerIdentity: () => undefined,
      })
      await once(socket, 'secureConnect')
      socket.write('?')
      await once(socket, 'data')
      const tookMs = performance.now() - began
      socket.destroy()
      return tookMs
    },
    stop: () => void child.kill(),
  }
}

const serve = async (): Promise<void> => {
  const [options] = await once(process, 'message')
  const server = createServer(
    { ...options, requestCert: true, rejectUnauthorized: false },
    (socket) => {
      socket.on('error', () => undefined)
      socket.on('data', () => socket.write('!'))
    },
  )
  server.listen(0, '127.0.0.1', () => {
    process.send?.((server.address() as AddressInfo).port) // a TCP server has no other kind
  })
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url))
  await serve()
