// What a member may send and what it may not: frames on a real, proven socket.

import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import type { Introduction } from '../../protocol/index.ts'
import { fromBytes, toBytes } from '../../protocol/wire.ts'
import { knock } from '../../src/mesh/knock.ts'
import type { ProvenSocket } from '../../src/mesh/transport.ts'
import { memberOf } from './members.ts'
import { openNode, watched } from './support.ts'

/** A proven socket to a manager, without any conversation on it, and what arrives there. */
const openRaw = async (t: Test) => {
  const manager = await openNode({ self: { node_type: 'manager' } })
  t.teardown(() => manager.mesh.close())
  const { self, transport } = await memberOf({ node_type: 'worker' })
  const maxFrameBytes = 1024 * 1024
  const knocked = await knock({ url: manager.url, transport, maxFrameBytes })
  if (E.isLeft(knocked)) throw new Error(knocked.left.reason)
  const socket: ProvenSocket = knocked.right
  t.teardown(() => socket.ws.terminate())
  const frames = watched<Record<string, unknown>>()
  const closed = new Promise<number>((resolve) => socket.ws.on('close', resolve))
  socket.ws.on('message', (bytes) => {
    const frame = fromBytes(bytes as Buffer)
    if (E.isRight(frame)) frames.add({ ...frame.right })
  })
  socket.ws.on('error', () => undefined)
  socket.ws.resume()
  const send = (q: number, k: string, b: unknown) =>
    socket.ws.send(toBytes({ q, k, b, t: 1000 }))
  return { manager, self, ws: socket.ws, frames, closed, send }
}

type Raw = Awaited<ReturnType<typeof openRaw>>

/** Both introductions, by hand. */
const introduce = async ({ frames, send, ws, self }: Raw, given?: Introduction) => {
  const asked = await frames.when(({ k }) => k === 'NodeTypeRequest')
  send(1, 'NodeTypeRequest', given ?? self)
  await frames.when(({ k }) => k === 'NodeTypeAnswer' || k === 'Error')
  ws.send(toBytes({ a: Number(idOf(asked)), k: 'NodeTypeAnswer', b: self }))
}

t.test('a text frame ends the connection with 4400', async (t) => {
  const raw = await openRaw(t)
  raw.ws.send('{"q":1}')
  t.equal(await raw.closed, 4400)
})

t.test('bytes that are no frame end it with 4400', async (t) => {
  const raw = await openRaw(t)
  raw.ws.send(Buffer.from([0xc1, 0xff]))
  t.equal(await raw.closed, 4400)
})

t.test('anything before the introduction is answered not-ready, 4401', async (t) => {
  const raw = await openRaw(t)
  raw.send(1, 'ManagerPing', { rel: 'r' })
  const answer = await raw.frames.when(({ a }) => a === 1)
  t.match(answer, { k: 'Error', b: { code: 'not-ready' } })
  t.equal(await raw.closed, 4401)
  t.same(raw.manager.heard, [], 'the role never heard of it')
})

t.test('an unknown kind and a malformed body are told, and it goes on', async (t) => {
  const raw = await openRaw(t)
  await introduce(raw)
  raw.send(2, 'Frobnicate', {})
  raw.send(3, 'ManagerPing', { rel: 17 })
  raw.send(4, 'TasksPing', { rel: 'r', tasks: [] })
  raw.send(5, 'ManagerPing', { rel: 'r' })
  const answerTo = (id: number) => raw.frames.when(({ a }) => a === id)
  t.match(await answerTo(2), { k: 'Error', b: { code: 'unknown-kind' } })
  t.match(await answerTo(3), { k: 'Error', b: { code: 'malformed', path: 'rel' } })
  t.match(await answerTo(4), { k: 'NotMine' })
  t.match(await answerTo(5), { k: 'ManagerPong', b: { rel: 'r' } })
})

t.test('a frame larger than max_frame ends it with 1009', async (t) => {
  const raw = await openRaw(t)
  await introduce(raw)
  raw.ws.send(Buffer.alloc(1024 * 1024 + 1))
  t.equal(await raw.closed, 1009)
  const lost = await raw.manager.when('down')
  t.equal(lost.peer.nodeId, raw.self.node_id)
})

t.test('an old request id ends it with 4404', async (t) => {
  const raw = await openRaw(t)
  await introduce(raw)
  raw.send(1, 'ManagerPing', { rel: 'r' })
  t.equal(await raw.closed, 4404)
})

t.test('a change of role within a connection is told and ends it', async (t) => {
  const raw = await openRaw(t)
  await introduce(raw)
  raw.send(2, 'NodeTypeRequest', { ...raw.self, node_type: 'manager' })
  const answer = await raw.frames.when(({ a }) => a === 2)
  t.match(answer, { k: 'Error', b: { code: 'role-changed' } })
  await raw.closed
})

const claims: readonly [what: string, claim: Partial<Introduction>][] = [
  ['another node_id', { node_id: 'd'.repeat(32) }],
  ['another role', { node_type: 'manager' }],
  ['another name', { host_name: 'somebody-else' }],
]
for (const [what, claim] of claims)
  t.test(`${what} than the certificate's is refused`, async (t) => {
    const raw = await openRaw(t)
    await introduce(raw, { ...raw.self, ...claim })
    t.match(await raw.frames.when(({ a }) => a === 1), {
      k: 'Error',
      b: { code: 'forbidden' },
    })
    t.equal(await raw.closed, 4410)
  })

t.test('nor may a node append to its id, as a client may', async (t) => {
  const raw = await openRaw(t)
  await introduce(raw, { ...raw.self, node_id: `${raw.self.node_id}/guest` })
  t.equal(await raw.closed, 4410)
})

t.test('what is sent in one turn leaves in one write', async (t) => {
  const manager = await openNode({ self: { node_type: 'manager' } })
  t.teardown(() => manager.mesh.close())
  const worker = await openNode()
  t.teardown(() => worker.mesh.close())
  worker.mesh.offer({ url: manager.url })
  await worker.when('up')
  await manager.when('up')
  // What TLS hands to the system, by both ends, which are in this process.
  const { Socket } = await import('node:net')
  const { cork } = Socket.prototype
  let corks = 0
  Socket.prototype.cork = function () {
    corks += 1
    cork.call(this)
  }
  t.teardown(() => {
    Socket.prototype.cork = cork
  })
  const asks = Array.from(
    { length: 32 },
    () =>
      new Promise((resolve) =>
        worker.mesh.ask(manager.self.node_id, 'NodesList', {}, 1000, resolve),
      ),
  )
  await Promise.all(asks)
  t.equal(corks, 2, 'all requests together, all answers together')
})

const idOf = ({ q }: Record<string, unknown>): unknown => q
