// Two nodes on real sockets: meeting, asking, losing and finding each other again.

import { connect } from 'node:net'
import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { systemClock } from '../../src/clock.ts'
import { dialMesh } from '../../src/mesh/dial.ts'
import { memberOf } from './members.ts'
import { askNode, askOn, openNode } from './support.ts'

const rel = 'r1'

t.test('a worker that dials a manager is connected both ways', async (t) => {
  const manager = await openNode({ self: { node_type: 'manager', host_name: 'm' } })
  t.teardown(() => manager.mesh.close())
  const worker = await openNode({ self: { host_name: 'w' } })
  t.teardown(() => worker.mesh.close())
  worker.mesh.offer({ url: manager.url })
  const atWorker = await worker.when('up')
  const atManager = await manager.when('up')
  t.equal(atWorker.peer.hostName, 'm')
  t.equal(atWorker.peer.address, manager.url)
  t.equal(atManager.peer.role, 'worker')
  t.equal(atManager.peer.address, worker.url, 'as the worker stated')
  const there = await askNode(worker.mesh, manager.self.node_id, 'ManagerPing', { rel })
  t.same(there, E.right({ kind: 'ManagerPong', body: { rel } }))
  const back = await askNode(manager.mesh, worker.self.node_id, 'ManagerPing', { rel })
  t.same(back, E.right({ kind: 'ManagerPong', body: { rel } }))
  t.equal(worker.mesh.isConnected(manager.self.node_id), true)
})

t.test(
  'a kind that is not for its role is refused, and the connection stays',
  async (t) => {
    const manager = await openNode({ self: { node_type: 'manager' } })
    t.teardown(() => manager.mesh.close())
    const { self, transport } = await memberOf({ node_type: 'worker' })
    const dialled = await dialMesh({
      url: manager.url,
      transport,
      self,
      clock: systemClock,
    })
    if (E.isLeft(dialled)) throw new Error(dialled.left.reason)
    const connection = dialled.right
    t.teardown(() => connection.close())
    const answer = await askOn(connection, 'NodesList', {})
    t.match(answer, E.right({ kind: 'Error', body: { code: 'wrong-role' } }))
    const after = await askOn(connection, 'ManagerPing', { rel })
    t.match(after, E.right({ kind: 'ManagerPong' }), 'the connection stays')
  },
)

t.test('an ask that its row does not allow fails alone', async (t) => {
  const manager = await openNode({ self: { node_type: 'manager' } })
  t.teardown(() => manager.mesh.close())
  const worker = await openNode()
  t.teardown(() => worker.mesh.close())
  worker.mesh.offer({ url: manager.url })
  await worker.when('up')
  const to = manager.self.node_id
  const bad = await askNode(worker.mesh, to, 'ManagerPing', { rel: 'not a rel' })
  t.match(bad, E.right({ kind: 'Error', body: { code: 'malformed', message: /rel/ } }))
  const good = await askNode(worker.mesh, to, 'ManagerPing', { rel })
  t.match(good, E.right({ kind: 'ManagerPong' }), 'the connection stays')
})

t.test('asking a node that is not connected fails, and not at once', async (t) => {
  const { mesh } = await openNode()
  t.teardown(() => mesh.close())
  let isSettled = false
  const failure = new Promise((resolve) =>
    mesh.ask('ff'.repeat(16), 'ManagerPing', { rel }, 1000, (outcome) => {
      isSettled = true
      resolve(outcome)
    }),
  )
  t.equal(isSettled, false)
  t.same(await failure, E.left({ kind: 'unreachable', exchange: 'ManagerPing' }))
})

t.test('a lost manager is dialled again, and is another peer then', async (t) => {
  const first = await openNode({ self: { node_type: 'manager' } })
  t.teardown(() => first.mesh.close())
  const worker = await openNode()
  t.teardown(() => worker.mesh.close())
  worker.mesh.offer({ url: first.url })
  await worker.when('up')
  await first.mesh.close()
  const down = await worker.when('down')
  t.equal(down.clean, true)
  const { port, self } = first
  const second = await openNode({ port, self: { ...self, boot_id: '0'.repeat(16) } })
  t.teardown(() => second.mesh.close())
  const up = await worker.when('up', 2)
  t.equal(up.peer.bootId, '0'.repeat(16))
  t.not(up.peer, down.peer)
})

t.test('a worker goes back to a manager that had dialled it', async (t) => {
  const worker = await openNode()
  t.teardown(() => worker.mesh.close())
  const manager = await openNode({ self: { node_type: 'manager' }, keeps: [] })
  t.teardown(() => manager.mesh.close())
  manager.mesh.offer({ url: worker.url })
  await worker.when('up')
  await manager.when('up')
  manager.mesh.terminate(worker.self.node_id, 'a test')
  const lost = await manager.when('down')
  t.equal(lost.clean, false, 'we gave it up ourselves')
  await worker.when('up', 2)
  t.equal(manager.mesh.peers.length, 1)
})

t.test('an address that is dialled once brings its node, or nothing', async (t) => {
  const worker = await openNode()
  t.teardown(() => worker.mesh.close())
  const gone = await openNode()
  await gone.mesh.close()
  const manager = await openNode({ self: { node_type: 'manager' }, keeps: [] })
  t.teardown(() => manager.mesh.close())
  manager.mesh.dial(gone.url)
  manager.mesh.dial(worker.url)
  const { peer } = await manager.when('up')
  t.equal(peer.address, worker.url)
  const vain = await manager.lines.when(({ event }) => event === 'cannot connect')
  t.match(vain, { level: 'debug', fields: { url: gone.url } })
})

t.test('what is dialled before a node listens waits until it does', async (t) => {
  const worker = await openNode()
  t.teardown(() => worker.mesh.close())
  const manager = await openNode({
    self: { node_type: 'manager' },
    before: (mesh) => mesh.dial(worker.url),
  })
  t.teardown(() => manager.mesh.close())
  const { peer } = await worker.when('up')
  t.equal(peer.address, manager.url, 'so that it can say where')
  await manager.when('up')
})

t.test('open asks fail as disconnected when the far end goes', async (t) => {
  const manager = await openNode({ self: { node_type: 'manager' } })
  t.teardown(() => manager.mesh.close())
  const worker = await openNode()
  t.teardown(() => worker.mesh.close())
  worker.mesh.offer({ url: manager.url })
  await worker.when('up')
  // Terminated before the turn ends: the request never leaves.
  const asked = askNode(worker.mesh, manager.self.node_id, 'ManagerPing', { rel })
  worker.mesh.terminate(manager.self.node_id, 'a test')
  t.match(await asked, E.left({ kind: 'disconnected' }))
})

t.test('isRefused tells a closed port from an open one', async (t) => {
  const node = await openNode()
  const isRefused = () =>
    new Promise((settle) => node.mesh.isRefused('127.0.0.1', node.port, settle))
  t.equal(await isRefused(), false)
  await node.mesh.close()
  t.equal(await isRefused(), true)
})

t.test('closing twice is closing once, and ends what is open', async (t) => {
  const manager = await openNode({ self: { node_type: 'manager' } })
  const worker = await openNode()
  t.teardown(() => worker.mesh.close())
  worker.mesh.offer({ url: manager.url })
  await worker.when('up')
  const idle = connect(manager.port, '127.0.0.1')
  t.teardown(() => idle.destroy())
  idle.on('error', () => undefined)
  await Promise.all([manager.mesh.close(), manager.mesh.close()])
  await manager.when('down')
  t.same(manager.mesh.peers, [])
})
