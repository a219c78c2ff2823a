// Two nodes with a slow line between them: a proxy that carries so many bytes a second to
// the manager. Nothing is judged by the time that it takes, only by what was carried meanwhile.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import {
  DATA_BYTES,
  type Handlers,
  type Introduction,
  serve,
} from '../../protocol/index.ts'
import { systemClock } from '../../src/clock.ts'
import { Link, type LinkEvents } from '../../src/mesh/link.ts'
import type { ProvenSocket } from '../../src/mesh/transport.ts'
import { introductionOf } from './introductions.ts'
import { keptLog, watched } from './support.ts'

const rel = 'r1'
const TICK_MS = 20

/** Carries everything to `port`, and back at once; there only as fast as it is told. */
const slowProxy = async (t: Test, port: number) => {
  let bytesPerTick = Number.POSITIVE_INFINITY
  let allowed = bytesPerTick
  let carried = 0
  const sockets = new Set<Socket>()
  const forward = (from: Socket, to: Socket) => {
    const move = () => {
      const size = Math.min(from.readableLength, allowed)
      const bytes: Buffer | null = size > 0 ? from.read(size) : null
      if (bytes === null) return
      allowed -= bytes.length
      carried += bytes.length
      to.write(bytes)
    }
    const tick = setInterval(() => {
      allowed = bytesPerTick
      move()
    }, TICK_MS)
    from.on('readable', move)
    from.on('close', () => clearInterval(tick))
  }
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
    }
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    far.pipe(near)
    forward(near, far)
  }).listen(0, '127.0.0.1')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await once(server, 'listening')
  const address = server.address() as AddressInfo // it listens at a port
  return {
    url: `ws://127.0.0.1:${address.port}`,
    slowDown: (bytesPerSecond: number) => {
      bytesPerTick = Math.ceil((bytesPerSecond * TICK_MS) / 1000)
      allowed = bytesPerTick
    },
    get carried() {
      return carried
    },
  }
}

type Serve = LinkEvents['request']

/** One end of it, introduced; `proven` is what a handshake would have found. */
const linkOn = (
  proven: Omit<ProvenSocket, 'party' | 'notAfterMs'>,
  names: Names,
  request: Serve,
) =>
  new Promise<Link>((resolve, reject) => {
    const { self, peer } = names
    const { node_type: role, node_id: nodeId, host_name: hostName } = peer
    const party = { role, nodeId, hostName }
    new Link({
      socket: { ...proven, party, notAfterMs: Number.POSITIVE_INFINITY },
      self,
      clock: systemClock,
      log: keptLog().log,
      events: {
        introduced: resolve,
        request,
        ended: (_link, { why }) => reject(new Error(why)),
      },
    })
  })

interface Names {
  readonly self: Introduction
  readonly peer: Introduction
}

const serving = (handlers: Handlers<undefined>): Serve => {
  const handle = serve(handlers, undefined)
  return (_link, kind, body, respond) => handle(kind, body, respond)
}

/** A worker with endless output, whose bytes reach its manager slowly. */
const slowPair = async (t: Test) => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  t.teardown(() => {
    for (const client of server.clients) client.terminate()
    server.close()
  })
  await once(server, 'listening')
  const proxy = await slowProxy(t, (server.address() as AddressInfo).port) // it listens
  const worker = introductionOf({ host_name: 'w' })
  const manager = introductionOf({ node_type: 'manager', host_name: 'm' })
  const pong = serving({
    ManagerPing: (_body, respond) => respond('ManagerPong', { rel }),
  })
  const atManager = new Promise<Link>((resolve, reject) => {
    server.on('connection', (ws, { socket: raw }) => {
      const proven = { ws, raw, remoteAddress: '', dialledUrl: undefined }
      linkOn(proven, { self: manager, peer: worker }, pong).then(resolve, reject)
    })
  })
  const ws = new WebSocket(proxy.url)
  t.teardown(() => ws.terminate())
  ws.once('open', () => ws.pause()) // until its link listens
  const [[{ socket: raw }]] = await Promise.all([once(ws, 'upgrade'), once(ws, 'open')])
  const data = new Uint8Array(DATA_BYTES)
  const output = serving({
    TaskOutputRead: ({ offset }, respond) =>
      respond('TaskOutputData', { offset, data, eof: false, lost: 0 }),
    ManagerPing: (_body, respond) => respond('ManagerPong', { rel }),
  })
  const proven = { ws, raw, remoteAddress: '', dialledUrl: proxy.url }
  const fromWorker = await linkOn(proven, { self: worker, peer: manager }, output)
  return { manager: await atManager, worker: fromWorker, proxy }
}

t.test('a ping passes long output that is on its way', async (t) => {
  const { manager, worker, proxy } = await slowPair(t)
  const bytesPerSecond = 256 * 1024
  proxy.slowDown(bytesPerSecond)
  const reads = watched<number>()
  const read = (offset: number) =>
    manager.ask(
      'TaskOutputRead',
      {
        rel,
        task_id: 'aaaaaaaaaa-1',
        attempt: 1,
        fd: 1,
        offset,
        max: DATA_BYTES,
        wait_ms: 0,
      },
      60_000,
      (outcome) => {
        if (E.isLeft(outcome) || outcome.right.kind !== 'TaskOutputData') return
        const { length } = outcome.right.body.data
        reads.add(length)
        read(offset + length)
      },
    )
  // Written at once, their output would take twelve seconds.
  for (let reader = 0; reader < 48; reader += 1) read(0)
  await reads.when(() => true, 20)
  const before = proxy.carried
  await new Promise((resolve) => worker.ask('ManagerPing', { rel }, 60_000, resolve))
  const seconds = (proxy.carried - before) / bytesPerSecond
  t.ok(seconds < 2, `behind ${seconds.toFixed(2)} s of data`)
})

t.test('a frame that takes long to come does not end the connection', async (t) => {
  const { manager, worker, proxy } = await slowPair(t)
  proxy.slowDown(32 * 1024)
  const inventory = Array.from({ length: 1000 }, (_, index) => ({
    task_id: `aaaaaaaaaa-${index + 1}`,
    attempt: 1,
    status: 'Started' as const,
  }))
  const ended: unknown[] = []
  const frame = new Promise((resolve) =>
    worker.ask(
      'ManagerRequest',
      { cores: 1, memory: 1, tasks: inventory, more: false },
      60_000,
      resolve,
    ),
  )
  // Five pings, one after the other, whose answers come behind it.
  for (let asked = 0; asked < 5; asked += 1)
    ended.push(
      await new Promise((resolve) =>
        manager.ask('ManagerPing', { rel }, 200, (outcome) =>
          resolve(E.isLeft(outcome) && outcome.left.kind),
        ),
      ),
    )
  t.same(ended, Array(5).fill('timeout'), 'they had no answer in time')
  t.match(await frame, { _tag: 'Right' }, 'and yet it arrives')
  t.same([manager.ending, worker.ending], [undefined, undefined])
})
