// The composition root: nodes of one state directory find each other, say what they do,
// end in order, and say why they cannot start.

import { execFileSync } from 'node:child_process'
import { chmodSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { listAddresses } from '../../src/identity/state.ts'
import { startNode } from '../../src/node.ts'
import type { PreparedRole, PrepareRole } from '../../src/node-role.ts'
import { DEFAULTS } from '../../src/options.ts'
import { beginNode, echoRoles, tryNode } from './support.ts'

t.test('nodes of one state directory meet without anything given', async (t) => {
  const state = join(t.testdir({}), 'state')
  const manager = await beginNode(t, { role: 'manager', state })
  const worker = await beginNode(t, { role: 'worker', state })
  const up = await worker.echo.when('up')
  t.equal(up.peer.hostName, 'test-manager')
  t.same(
    listAddresses(state)
      .map(({ host_name }) => host_name)
      .sort(),
    ['test', 'test-manager'],
  )
  t.match(manager.printed.items, [
    /^manager test-manager is up/,
    /listening {2}wss:\/\/127.0.0.1:\d+/,
    /keeping/,
    /state/,
    /join with .*--join wss:/,
  ])
})

t.test('a worker that was first is met by a manager that comes later', async (t) => {
  const state = join(t.testdir({}), 'state')
  const worker = await beginNode(t, { role: 'worker', state })
  const manager = await beginNode(t, { role: 'manager', state })
  const up = await worker.echo.when('up')
  t.equal(up.peer.nodeId, manager.node.nodeId)
})

t.test('--join connects nodes that do not look for each other', async (t) => {
  const state = join(t.testdir({}), 'state')
  const manager = await beginNode(t, { role: 'manager', state, local: false })
  const join_ = [manager.node.url]
  const worker = await beginNode(t, { role: 'worker', state, local: false, join: join_ })
  const up = await worker.echo.when('up')
  t.equal(up.peer.address, manager.node.url)
})

t.test('a node of another mesh is refused, and the worker says why', async (t) => {
  const dir = t.testdir({})
  const manager = await beginNode(t, { role: 'manager', state: join(dir, 'a') })
  const worker = await beginNode(t, {
    role: 'worker',
    state: join(dir, 'b'),
    join: [manager.node.url],
  })
  await worker.logged.when((line) => line.includes('another mesh'))
  await manager.logged.when((line) => line.includes('another mesh'))
  t.same(manager.echo.heard, [])
})

t.test('without a manager in reach it says so, and the remedy', async (t) => {
  const state = join(t.testdir({}), 'state')
  const worker = await beginNode(t, { role: 'worker', state })
  const line = await worker.printed.when((text) => text.startsWith('no manager'))
  t.match(line, /--role manager/)
  t.match(line, /--join/)
})

t.test('a name in use, a port in use, an open address: each in words', async (t) => {
  const state = join(t.testdir({}), 'state')
  const first = await beginNode(t, { state, name: 'arm' })
  const again = await tryNode(t, { state, name: 'arm' })
  t.match(again.result, E.left({ reason: /in use by a living worker/ }))
  const port = Number(new URL(first.node.url).port)
  const taken = await tryNode(t, { state, port })
  t.match(taken.result, E.left({ reason: /--port/ }))
  const far = await tryNode(t, { state, listen: '203.0.113.7', allowRoot: true })
  t.match(far.result, E.left({ reason: /no address of this machine/ }))
  const open = await tryNode(t, { state, listen: '0.0.0.0' }, { uid: 0 })
  t.match(open.result, E.left({ reason: /--allow-root/ }))
  const free = await beginNode(t, { state })
  t.equal(free.node.hostName, 'test', 'the failed starts gave their slot back')
})

t.test('a node says who can reach it, and that it is root', async (t) => {
  const state = join(t.testdir({}), 'state')
  const given = { state, listen: '0.0.0.0', allowRoot: true }
  const { node, printed } = await beginNode(t, given, { uid: 0 })
  t.match(node.url, /^wss:\/\/127\.0\.0\.1:/)
  t.match(
    printed.items.join('\n'),
    /open .*members of this mesh alone[\s\S]*warning .*root/,
  )
  const quiet = await beginNode(t, { state }, { uid: 1000 })
  t.notMatch(quiet.printed.items.join('\n'), /open {7}|warning/)
})

t.test('a state directory that others can read is refused', async (t) => {
  const state = join(t.testdir({}), 'state')
  const { node } = await beginNode(t, { state })
  await node.close()
  chmodSync(join(state, 'mesh', 'ca.key'), 0o644)
  const again = await tryNode(t, { state })
  t.match(again.result, E.left({ reason: /chmod 600/ }))
})

t.test(
  'a state directory that cannot be used is told, and nothing is held',
  async (t) => {
    const state = join(t.testdir({}), 'state')
    const { node } = await beginNode(t, { state })
    await node.close()
    const nodes = join(state, 'nodes')
    rmSync(nodes, { recursive: true })
    writeFileSync(nodes, '')
    const without = await tryNode(t, { state })
    t.match(without.result, E.left({ reason: /cannot start: .*nodes/ }))
    rmSync(nodes)
    const broken = async () => statSync(join(state, 'absent')) && Promise.reject()
    const prepare = { manager: broken, worker: broken, hub: broken }
    const failed = await tryNode(t, { state }, { prepare })
    t.match(failed.result, E.left({ reason: /cannot start: ENOENT.*absent/ }))
    const again = await beginNode(t, { state })
    t.equal(again.node.hostName, 'test', 'its slot was given back')
  },
)

t.test('a copied state directory: the second node is told and ends', async (t) => {
  const dir = t.testdir({})
  const state = join(dir, 'state')
  const manager = await beginNode(t, { role: 'manager', state })
  const worker = await beginNode(t, { role: 'worker', state })
  await manager.echo.when('up')
  const copy = join(dir, 'copy')
  // As `cp -a` does: cpSync keeps modes in some versions of Node only.
  execFileSync('cp', ['-a', state, copy])
  const second = await beginNode(t, {
    role: 'worker',
    state: copy,
    join: [manager.node.url],
  })
  t.equal(second.node.nodeId, worker.node.nodeId)
  t.match(await second.node.failed, /state directory was copied/)
  t.equal(manager.node.mesh.isConnected(worker.node.nodeId), true)
})

t.test('draining comes before closing, and the slot is given back last', async (t) => {
  const state = join(t.testdir({}), 'state')
  const { node, echo } = await beginNode(t, { state, graceMs: 1234 })
  await node.drain()
  await node.close()
  t.same(echo.calls, ['drain 1234', 'close'])
  t.same(listAddresses(state), [])
})

t.test('a role that fails to close keeps neither the slot nor the port', async (t) => {
  const state = join(t.testdir({}), 'state')
  const { prepare } = echoRoles()
  const failing: PrepareRole = async (parts) => {
    const prepared = await prepare.worker(parts)
    const begin: PreparedRole['begin'] = async (...given) => ({
      ...(await prepared.begin(...given)),
      close: async () => {
        throw new Error('stuck')
      },
    })
    return { ...prepared, begin }
  }
  const started = await startNode(
    { ...DEFAULTS, role: 'worker', mdns: false, state },
    {
      environment: { B0_HOST_ID: 'test' },
      version: '0.0.0',
      print: () => undefined,
      writeLog: () => undefined,
      prepare: { manager: failing, worker: failing, hub: failing },
    },
  )
  if (E.isLeft(started)) throw new Error(started.left.reason)
  const { hostName } = started.right
  await t.rejects(started.right.close(), { message: 'stuck' })
  t.same(listAddresses(state), [])
  const again = await beginNode(t, { state })
  t.equal(again.node.hostName, hostName)
})

t.test('a node started again has its name, id and port again', async (t) => {
  const state = join(t.testdir({}), 'state')
  const first = await beginNode(t, { state })
  const { nodeId, hostName, url } = first.node
  await first.node.close()
  const again = await beginNode(t, { state })
  t.equal(again.node.nodeId, nodeId)
  t.equal(again.node.hostName, hostName)
  t.equal(again.node.url, url)
})

t.test('a node whose port of the last time is taken listens elsewhere', async (t) => {
  const dir = t.testdir({})
  const first = await beginNode(t, { state: join(dir, 'a') })
  const { url } = first.node
  await first.node.close()
  const other = await beginNode(t, {
    state: join(dir, 'b'),
    port: Number(new URL(url).port),
  })
  const again = await beginNode(t, { state: join(dir, 'a') })
  t.equal(other.node.url, url)
  t.not(again.node.url, url)
})
