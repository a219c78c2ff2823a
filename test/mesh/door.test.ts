// The door: what a caller that is no member costs, and what it, and who calls it, are told.
// Who is let in at all is handshakes.test.ts.

import { get, type IncomingMessage } from 'node:http'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { systemClock } from '../../src/clock.ts'
import { makeAuthority } from '../../src/identity/x509.ts'
import { knock } from '../../src/mesh/knock.ts'
import { Link } from '../../src/mesh/link.ts'
import { type ListenOptions, listen } from '../../src/mesh/listen.ts'
import { REFUSED, SUBPROTOCOL } from '../../src/mesh/transport.ts'
import { introductionOf } from './introductions.ts'
import { type Member, memberOf } from './members.ts'
import { keptLog, openNode } from './support.ts'

const maxFrameBytes = 1024 * 1024
const client = memberOf({ node_type: 'client' })

const failureOf = async (url: string, { transport }: Pick<Member, 'transport'>) => {
  const result = await knock({ url, transport, maxFrameBytes })
  if (E.isRight(result)) result.right.ws.terminate()
  return E.isLeft(result) ? result.left : undefined
}

const openDoor = async (t: Test) => {
  const node = await openNode({ self: { node_type: 'manager' } })
  t.teardown(() => node.mesh.close())
  return node
}

const listenWith = async (given: Partial<ListenOptions>) => {
  const { transport } = await client
  const { log, lines } = keptLog()
  const listening = await listen({
    address: '127.0.0.1',
    port: 0,
    transport,
    maxFrameBytes,
    clock: systemClock,
    log,
    accept: () => undefined,
    ...given,
  })
  return { listening, lines }
}

t.test('a caller of another mesh believes nobody here, and is told so', async (t) => {
  const { url, lines } = await openDoor(t)
  const stranger = await memberOf({ node_type: 'client' }, makeAuthority())
  const failure = await failureOf(url, stranger)
  t.match(failure, { kind: 'stranger', reason: /belongs to another mesh/ })
  const line = await lines.when(() => true)
  t.match(line, { event: 'refused a connection', fields: { reason: /another mesh/ } })
})

t.test('the subprotocol is required, and a browser is not served', async (t) => {
  const { url } = await openDoor(t)
  const wrong = await upgradeFailure(url, 'manyhands.v2', {})
  t.match(wrong, { status: 400, word: 'subprotocol' })
  t.match(await upgradeFailure(url, undefined, {}), { status: 400 })
  const origin = { origin: 'http://localhost:3000' }
  const browser = await upgradeFailure(url, SUBPROTOCOL, origin)
  t.match(browser, { status: 403, word: 'origin' })
})

t.test("a member's plain HTTP request is told what this port is", async (t) => {
  const { port } = await openDoor(t)
  const response = await ask(port, {})
  t.match(response, { statusCode: 426, headers: { [REFUSED]: 'not-a-websocket' } })
  const browser = await ask(port, { origin: 'http://localhost' })
  t.match(browser, { statusCode: 403, headers: { [REFUSED]: 'origin' } })
})

t.test('garbage is dropped, and the port goes on serving', async (t) => {
  const { url, port, lines } = await openDoor(t)
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => undefined)
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.write(Buffer.alloc(64, 0xff))
  await closed
  t.match(lines.items, [{ fields: { reason: /handshake failed|not TLS/ } }])
  t.equal(await failureOf(url, await client), undefined)
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
  const sockets = Array.from({ length: 300 }, () => connect(port, '127.0.0.1'))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  const pushedOut = new Promise((resolve) => {
    let count = 0
    for (const socket of sockets) {
      socket.on('error', () => undefined)
      socket.on('close', () => ++count === 44 && resolve(undefined))
      socket.resume()
    }
  })
  await pushedOut
  t.equal(await failureOf(url, await client), undefined, 'a member still gets in')
})

t.test('a silent caller is dropped when its time is over', async (t) => {
  const timers: (() => void)[] = []
  const clock = {
    ...systemClock,
    after: (_ms: number, fn: () => void) => {
      timers.push(fn)
      return () => undefined
    },
  }
  const { listening, lines } = await listenWith({ clock })
  if (E.isLeft(listening)) throw new Error(listening.left.reason)
  t.teardown(() => listening.right.close())
  const socket = connect(listening.right.port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write(Buffer.from([0x16, 0x03, 0x01]))
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
  const member = await client
  const talker = await serve(t, (socket) => socket.end('220 smtp ready\r\n'))
  t.match(await failureOf(talker, member), { kind: 'stranger' })
  const polite = await serve(t, (socket) =>
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'),
  )
  const failure = await failureOf(polite, member)
  t.match(failure, { kind: 'stranger', reason: /no Manyhands node/ })
  const closed = await serve(t, (socket) => socket.destroy())
  const gone = await failureOf(closed, member)
  t.match(gone, { kind: 'unreachable', reason: /during the handshake/ })
})

t.test('nobody there, or no address: each in words', async (t) => {
  const member = await client
  const node = await openNode()
  await node.mesh.close()
  const nobody = await failureOf(node.url, member)
  t.match(nobody, { kind: 'unreachable', code: 'ECONNREFUSED', reason: /cannot reach/ })
  const plain = await failureOf('ws://127.0.0.1:4000', member)
  t.match(plain, { kind: 'refused', reason: /expected wss:/ })
  const nonsense = await failureOf('nonsense', member)
  t.match(nonsense, { kind: 'refused', reason: /not an address/ })
})

t.test('a dial can be called off', async (t) => {
  const url = await serve(t, () => undefined)
  const { transport } = await client
  const controller = new AbortController()
  const { signal } = controller
  const dialled = knock({ url, transport, maxFrameBytes, signal })
  controller.abort()
  t.match(await dialled, E.left({ kind: 'aborted' }))
})

t.test('a port in use, and an address of another machine, are told', async (t) => {
  const { port } = await openDoor(t)
  const taken = await listenWith({ port })
  t.match(taken.listening, E.left({ kind: 'port-in-use', reason: /--port/ }))
  const far = await listenWith({ address: '203.0.113.7' })
  t.match(far.listening, E.left({ kind: 'cannot-listen', reason: /no address of this/ }))
})

t.test('a go-between sees nothing and changes nothing', async (t) => {
  const real = await openDoor(t)
  const seen: Buffer[] = []
  const between = await serve(t, (socket) => {
    const onward = connect(real.port, '127.0.0.1')
    t.teardown(() => onward.destroy())
    onward.on('error', () => undefined)
    socket.on('data', (bytes) => seen.push(bytes))
    socket.pipe(onward).pipe(socket)
  })
  // Bytes may pass through anything: who is at both ends stays proven.
  t.equal(await failureOf(between, await client), undefined)
  t.notOk(Buffer.concat(seen).includes(SUBPROTOCOL))
})

t.test('an introduction that is not what was proven ends the connection', async (t) => {
  const manager = await openDoor(t)
  const { transport } = await client
  const socket = await knock({ url: manager.url, transport, maxFrameBytes })
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

const secrets = async (): Promise<ConnectionOptions> => {
  const { keyPem: key, certificatePem: cert, trustPem: ca } = (await client).credentials
  return { key, cert, ca, checkServerIdentity: () => undefined }
}

const ask = async (port: number, headers: Record<string, string>) => {
  const socket: TLSSocket = connectTls({ host: '127.0.0.1', port, ...(await secrets()) })
  return new Promise<IncomingMessage>((resolve, reject) => {
    const request = get({ headers, createConnection: () => socket })
    request.on('error', reject)
    request.on('response', (response) => {
      response.resume()
      response.on('end', () => resolve(response))
    })
  })
}

const upgradeFailure = async (
  url: string,
  subprotocol: string | undefined,
  headers: Record<string, string>,
) => {
  const ws = new WebSocket(url, subprotocol ?? [], { headers, ...(await secrets()) })
  return new Promise<{ status: number | undefined; word: unknown }>((resolve) => {
    ws.on('error', () => undefined)
    ws.on('unexpected-response', (request, response) => {
      const { statusCode: status, headers: given } = response
      response.resume()
      request.destroy()
      resolve({ status, word: given[REFUSED] })
    })
  })
}

/** A server that is no node. */
const serve = async (t: Test, greet: (socket: Socket) => void): Promise<string> => {
  const server: Server = createServer((socket) => {
    socket.on('error', () => undefined)
    t.teardown(() => socket.destroy())
    greet(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  const address = server.address()
  return typeof address === 'object' ? `wss://127.0.0.1:${address?.port}` : ''
}
