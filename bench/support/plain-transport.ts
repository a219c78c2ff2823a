// Plain transport: both ends say in a line who they are, and are believed. It shows what
// TLS costs by leaving it out; nothing but a benchmark has it.

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import * as E from 'fp-ts/lib/Either.js'
import type { Party } from '../../src/identity/subject.ts'
import type { Met, Transport } from '../../src/mesh/transport.ts'

export const plainTransport = (own: Party): Transport => ({
  scheme: 'ws',
  makeServer: ({ known }) => {
    const server = createServer((socket) => {
      void greet(socket, own).then((met) => known(socket, met))
    })
    return server
  },
  connect: async ({ host, port }) => {
    const socket = connect(port, host)
    await once(socket, 'connect')
    socket.on('error', () => undefined)
    return E.right({ ...(await greet(socket, own)), socket })
  },
  explain: (word) => word,
})

/** Says who we are, and reads who they are; what came after that is still to be read. */
const greet = async (socket: Socket, own: Party): Promise<Met> => {
  socket.setNoDelay(true)
  socket.write(`${JSON.stringify(own)}\n`)
  let read = Buffer.alloc(0)
  while (!read.includes('\n')) {
    await once(socket, 'readable')
    read = Buffer.concat([read, socket.read() ?? Buffer.alloc(0)])
  }
  const end = read.indexOf('\n')
  if (end + 1 < read.length) socket.unshift(read.subarray(end + 1))
  const party = JSON.parse(read.toString('utf8', 0, end)) as Party
  return { party, notAfterMs: Number.POSITIVE_INFINITY }
}
