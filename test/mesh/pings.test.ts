// Pings: numbered, and answered by their own pong or by a later one's.

import { EventEmitter } from 'node:events'
import t from 'tap'
import type { WebSocket } from 'ws'
import { Pings } from '../../src/mesh/pings.ts'

const fakeSocket = () => {
  const sent: Buffer[] = []
  const socket = Object.assign(new EventEmitter(), {
    readyState: 1 as WebSocket['readyState'],
    OPEN: 1 as const,
    ping: (payload: Buffer) => void sent.push(payload),
  })
  return { socket, sent, pings: new Pings(socket as unknown as WebSocket) }
}

t.test('a pong answers its ping and those before it, once', async (t) => {
  const { socket, sent, pings } = fakeSocket()
  const answered: string[] = []
  for (const name of ['a', 'b', 'c']) pings.send(() => answered.push(name))
  t.equal(sent.length, 3)
  socket.emit('pong', sent[1])
  t.same(answered, ['a', 'b'])
  socket.emit('pong', sent[0])
  socket.emit('pong', Buffer.alloc(4))
  socket.emit('pong', Buffer.from('unasked'))
  t.same(answered, ['a', 'b'], 'what was not asked says nothing')
  socket.emit('pong', sent[2])
  t.same(answered, ['a', 'b', 'c'])
})

t.test('on a socket that is closing nothing is sent', async (t) => {
  const { socket, sent, pings } = fakeSocket()
  socket.readyState = 2
  pings.send(() => t.fail('never answered'))
  t.same(sent, [])
})
