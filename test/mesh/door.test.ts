// The door: who is let in, who is not and why, and what a hostile caller costs (nothing).

import { createServer as createHttpServer, get, type IncomingMessage } from 'node:http'
import {
  type AddressInfo,
  connect,
  createServer,
  type Server,
  type Socket,
} from 'node:net'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { systemClock } from '../../src/clock.ts'
import { makeNonce, prove } from '../../src/identity/secret.ts'
import { knock } from '../../src/mesh/knock.ts'
import { listen } from '../../src/mesh/listen.ts'
import { HEADER, SUBPROTOCOL } from '../../src/mesh/transport.ts'
import { introductionOf, keptLog, meshId, openNode, secret } from './support.ts'

const credentialsOf = (given: object = {}) => ({
  meshId,
  secret,
  self: { role: 'client' as const, nodeId: 'c'.repeat(32) },
  maxFrameBytes: 1024 * 1024,
  ...given,
})

const failureOf = async (url: string, given: object = {}) => {
  const result = await knock(url, credentialsOf(given))
  if (E.isRight(result)) result.right.ws.terminate()
  return E.isLeft(result) ? result.left : undefined
}

const openDoor = async (t: Test) => {
  const node = await openNode({ self: { node_type: 'manager' } })
  t.teardown(() => node.mesh.close())
  return node
}

t.test('a caller of another mesh is refused in words, at both ends', async (t) => {
  const { url, lines } = await openDoor(t)
  const failure = await failureOf(url, { meshId: 'cd'.repeat(16) })
  t.match(failure, { kind: 'refused', reason: 'this node belongs to another mesh' })
  t.match(lines.items, [{ event: 'refused a connection' }])
})

t.test('a caller with another secret learns nothing and tells nothing', async (t) => {
  const { url } = await openDoor(t)
  const failure = await failureOf(url, { secret: Buffer.alloc(32, 8) })
  t.match(failure, { kind: 'stranger', reason: /could not prove/ })
})

t.test('a caller that goes on without the secret is refused by the server', async (t) => {
  const { url, port, lines } = await openDoor(t)
  const response = await ask(port, {
    [HEADER.mesh]: meshId,
    [HEADER.role]: 'client',
    [HEADER.node]: 'c'.repeat(32),
    [HEADER.nonce]: 'a'.repeat(48),
  })
  t.equal(response.statusCode, 401)
  t.match(response.headers[HEADER.proof], /^[0-9a-f]{64}$/)
  // The server's own proof, reflected, on a new connection and without a challenge there.
  const proof = String(response.headers[HEADER.proof])
  t.match(await upgradeFailure(url, SUBPROTOCOL, { [HEADER.proof]: proof }), {
    status: 401,
    reason: /nonce/,
  })
  await lines.when(({ fields }) => /nonce/.test(JSON.stringify(fields)))
})

t.test('the subprotocol is required, and a browser is not served', async (t) => {
  const { url } = await openDoor(t)
  t.match(await upgradeFailure(url, 'manyhands.v2', {}), {
    status: 400,
    reason: 'the subprotocol manyhands.v1 is required',
  })
  t.match(await upgradeFailure(url, undefined, {}), { status: 400 })
  const origin = { origin: 'http://localhost:3000' }
  t.match(await upgradeFailure(url, SUBPROTOCOL, origin), {
    status: 403,
    reason: /browsers/,
  })
})

t.test('a plain HTTP request is told what this port is', async (t) => {
  const { port } = await openDoor(t)
  const response = await ask(port, {})
  t.equal(response.statusCode, 426)
  t.match(response.headers[HEADER.refused], /manyhands.v1/)
})

t.test('garbage is dropped, and the port goes on serving', async (t) => {
  const { url, port, lines } = await openDoor(t)
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => undefined)
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.write(Buffer.alloc(64, 0xff))
  await closed
  t.match(lines.items, [{ fields: { reason: 'what came is not HTTP' } }])
  t.equal(await failureOf(url), undefined)
})

t.test('a flood of garbage is logged a few times, then counted', async (t) => {
  const { port, lines } = await openDoor(t)
  for (let count = 0; count < 30; count++) {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.on('error', () => undefined)
    socket.end('nonsense\r\n\r\n')
    socket.resume()
    await new Promise((resolve) => socket.on('close', resolve))
  }
  t.equal(lines.items.length, 20)
})

t.test('more silent callers than there are places push out the oldest', async (t) => {
  const { url, port } = await openDoor(t)
  const sockets = Array.from({ length: 80 }, () => connect(port, '127.0.0.1'))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  const pushedOut = new Promise((resolve) => {
    let count = 0
    for (const socket of sockets) {
      socket.on('error', () => undefined)
      socket.on('close', () => ++count === 16 && resolve(undefined))
      socket.resume()
    }
  })
  await pushedOut
  t.equal(await failureOf(url), undefined, 'a member still gets in')
})

t.test('a silent caller is dropped when its time is over', async (t) => {
  const { log, lines } = keptLog()
  const timers: (() => void)[] = []
  const clock = {
    ...systemClock,
    after: (_ms: number, fn: () => void) => {
      timers.push(fn)
      return () => undefined
    },
  }
  const listening = await listen({
    address: '127.0.0.1',
    port: 0,
    credentials: credentialsOf(),
    clock,
    log,
    accept: () => undefined,
  })
  if (E.isLeft(listening)) throw new Error(listening.left.reason)
  t.teardown(() => listening.right.close())
  const socket = connect(listening.right.port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write('GET / HT')
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.on('error', () => undefined)
  socket.resume()
  const early = setInterval(() => {
    for (const fire of timers.splice(0)) fire()
  }, 5)
  t.teardown(() => clearInterval(early))
  await closed
  t.match(lines.items, [{ fields: { reason: /nothing was proven/ } }])
})

t.test('who listens there but is no node is a stranger, or unreachable', async (t) => {
  const talker = await serve(t, (socket) => socket.end('220 smtp ready\r\n'))
  t.match(await failureOf(talker), { kind: 'stranger' })
  const polite = await serve(t, (socket) =>
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'),
  )
  t.match(await failureOf(polite), { kind: 'stranger', reason: /no Manyhands node/ })
  const closed = await serve(t, (socket) => socket.destroy())
  t.match(await failureOf(closed), { kind: 'unreachable' })
})

t.test('nobody there, another machine, or no address: each in words', async (t) => {
  const node = await openNode()
  await node.mesh.close()
  t.match(await failureOf(node.url), { kind: 'unreachable', code: 'ECONNREFUSED' })
  t.match(await failureOf('ws://192.0.2.1:4000'), {
    kind: 'refused',
    reason: /only loopback/,
  })
  t.match(await failureOf('wss://127.0.0.1:4000'), { kind: 'refused' })
  t.match(await failureOf('nonsense'), { kind: 'refused', reason: /not an address/ })
})

t.test('a dial can be called off', async (t) => {
  const silent = await serve(t, () => undefined)
  const controller = new AbortController()
  const dialled = knock(silent, credentialsOf(), controller.signal)
  controller.abort()
  t.match(await dialled, E.left({ kind: 'aborted' }))
})

t.test('it listens on loopback only, and says why', async (t) => {
  const { log } = keptLog()
  const options = { port: 0, credentials: credentialsOf(), clock: systemClock, log }
  const accept = () => undefined
  const open = await listen({ ...options, address: '0.0.0.0', accept })
  t.match(open, E.left({ kind: 'not-loopback', reason: /certificates/ }))
})

t.test('a port in use is told with the remedy', async (t) => {
  const { port } = await openDoor(t)
  const { log } = keptLog()
  const options = { port, credentials: credentialsOf(), clock: systemClock, log }
  const taken = await listen({
    ...options,
    address: '127.0.0.1',
    accept: () => undefined,
  })
  t.match(taken, E.left({ kind: 'port-in-use', reason: /--port/ }))
})

t.test('a proof does not hold at another port: a go-between gets nothing', async (t) => {
  const real = await openDoor(t)
  const between = await serve(t, (socket) => {
    const onward = connect(real.port, '127.0.0.1')
    t.teardown(() => onward.destroy())
    onward.on('error', () => undefined)
    socket.pipe(onward).pipe(socket)
  })
  t.match(await failureOf(between), { kind: 'stranger', reason: /could not prove/ })
})

t.test('nor at another address with the same port', async (t) => {
  const real = await openDoor(t)
  const greet = (socket: Socket) => {
    const onward = connect(real.port, '127.0.0.1')
    t.teardown(() => onward.destroy())
    onward.on('error', () => undefined)
    socket.pipe(onward).pipe(socket)
  }
  await serve(t, greet, { host: '127.0.0.2', port: real.port })
  const between = `ws://127.0.0.2:${real.port}`
  t.match(await failureOf(between), { kind: 'stranger', reason: /could not prove/ })
})

t.test('what is proven on one connection does not hold on the next', async (t) => {
  // It proves itself, closes, and its port answers again: it may be another program.
  const self = { role: 'manager', nodeId: 'd'.repeat(32) } as const
  const server = createHttpServer(({ headers, socket }, response) => {
    const { localAddress: address = '', localPort: port = 0 } = socket
    const clientNonce = String(headers[HEADER.nonce])
    const meeting = { meshId, clientNonce, serverNonce: makeNonce(), address, port }
    response
      .writeHead(401, {
        Connection: 'close',
        [HEADER.role]: self.role,
        [HEADER.node]: self.nodeId,
        [HEADER.nonce]: meeting.serverNonce,
        [HEADER.proof]: prove(secret, 'server', self, meeting),
      })
      .end()
  })
  const upgrader = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) =>
    upgrader.handleUpgrade(request, socket, head, (ws) => {
      t.teardown(() => ws.terminate())
    }),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  const { port } = server.address() as AddressInfo // it listens on TCP
  const failure = await failureOf(`ws://127.0.0.1:${port}`)
  t.match(failure, { kind: 'stranger', reason: /closed the connection/ })
})

t.test('an introduction that is not what was proven ends the connection', async (t) => {
  const manager = await openDoor(t)
  const { Link } = await import('../../src/mesh/link.ts')
  const socket = await knock(manager.url, credentialsOf())
  if (E.isLeft(socket)) throw new Error(socket.left.reason)
  const { log } = keptLog()
  const self = introductionOf({ node_type: 'worker', node_id: 'c'.repeat(32) })
  const code = new Promise((resolve) => {
    new Link({
      socket: socket.right,
      self,
      clock: systemClock,
      log,
      events: {
        introduced: () => t.fail('introduced as another role'),
        request: () => undefined,
        ended: (_link, ending) => resolve(ending.code),
      },
    })
  })
  t.match(await code, /44(01|10)/)
  t.same(manager.heard, [])
})

const ask = (port: number, headers: Record<string, string>) =>
  new Promise<IncomingMessage>((resolve, reject) => {
    const request = get({ host: '127.0.0.1', port, headers, agent: false })
    request.on('error', reject)
    request.on('response', (response) => {
      response.resume()
      response.on('end', () => resolve(response))
    })
  })

const upgradeFailure = (
  url: string,
  subprotocol: string | undefined,
  headers: Record<string, string>,
) =>
  new Promise<{ status: number | undefined; reason: unknown }>((resolve) => {
    const ws = new WebSocket(url, subprotocol ?? [], { headers })
    ws.on('error', () => undefined)
    ws.on('unexpected-response', (request, response) => {
      const { statusCode: status, headers: given } = response
      response.resume()
      request.destroy()
      resolve({ status, reason: given[HEADER.refused] })
    })
  })

/** A server that is no node. */
const serve = async (
  t: Test,
  greet: (socket: Socket) => void,
  { host = '127.0.0.1', port = 0 } = {},
): Promise<string> => {
  const server: Server = createServer((socket) => {
    socket.on('error', () => undefined)
    t.teardown(() => socket.destroy())
    greet(socket)
  })
  await new Promise<void>((resolve) => server.listen(port, host, resolve))
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  const address = server.address()
  return typeof address === 'object' ? `ws://${host}:${address?.port}` : ''
}
