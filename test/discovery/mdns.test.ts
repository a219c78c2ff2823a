// mDNS on real multicast sockets, under a service type of each test's own.

import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.ts'
import { type Found, type MdnsOptions, startMdns } from '../../src/discovery/mdns.ts'
import { keptLog, watched } from '../mesh/support.ts'
import { createManualClock } from '../support/manual-clock.ts'

const id = (bytes: number) => randomBytes(bytes).toString('hex')

const begin = async (t: Test, service: string, given: Partial<MdnsOptions> = {}) => {
  const found = watched<Found>()
  const { log, lines } = keptLog()
  const nodeId = id(16)
  const mdns = await startMdns({
    service,
    meshId: 'ab'.repeat(16),
    nodeId,
    role: 'worker',
    hostName: 'a.b-c',
    port: 4000,
    clock: systemClock,
    log,
    onFound: found.add,
    ...given,
  })
  t.teardown(() => mdns.close())
  return { mdns, found, lines, nodeId: given.nodeId ?? nodeId }
}

const canMulticast = Object.values(networkInterfaces()).some((addresses = []) =>
  addresses.some(({ family }) => family === 'IPv4'),
)
const skip = canMulticast ? false : 'this machine has no IPv4 interface'

t.test('two nodes hear each other, dots in the name and all', { skip }, async (t) => {
  const service = `mh-${id(4)}`
  const manager = await begin(t, service, { role: 'manager', hostName: 'm.x', port: 1 })
  const worker = await begin(t, service, { port: 2 })
  const atWorker = await worker.found.when(() => true)
  t.match(atWorker, { nodeId: manager.nodeId, role: 'manager', hostName: 'm.x', port: 1 })
  const atManager = await manager.found.when(() => true)
  t.match(atManager, { nodeId: worker.nodeId, hostName: 'a.b-c', port: 2 })
  t.notOk(
    manager.found.items.some(({ nodeId }) => nodeId === manager.nodeId),
    'never itself',
  )
})

t.test('a node that comes back at another port is heard again', { skip }, async (t) => {
  const service = `mh-${id(4)}`
  const worker = await begin(t, service)
  const nodeId = id(16)
  const first = await begin(t, service, { nodeId, port: 1 })
  await worker.found.when(({ port }) => port === 1)
  await first.mdns.close()
  await begin(t, service, { nodeId, port: 2 })
  const again = await worker.found.when(({ port }) => port === 2)
  t.equal(again.nodeId, nodeId)
})

t.test(
  'who seeks nothing is found all the same, and hears others',
  { skip },
  async (t) => {
    const service = `mh-${id(4)}`
    const content = await begin(t, service, { isSeeking: () => false })
    const seeking = await begin(t, service)
    await seeking.found.when(({ nodeId }) => nodeId === content.nodeId)
    const heard = await content.found.when(({ nodeId }) => nodeId === seeking.nodeId)
    t.equal(heard.nodeId, seeking.nodeId)
  },
)

t.test(
  'no interface at all: it says so by having none, and nothing throws',
  async (t) => {
    const { mdns } = await begin(t, `mh-${id(4)}`, { interfaces: () => [] })
    t.same(mdns.interfaces, [])
  },
)

t.test('an interface that is not there is logged, and costs nothing', async (t) => {
  const { mdns, lines } = await begin(t, `mh-${id(4)}`, {
    interfaces: () => ['198.51.100.77'],
  })
  t.same(mdns.interfaces, [])
  t.match(lines.items, [{ event: 'no mDNS on an interface' }])
  await mdns.close()
  await mdns.close()
})

t.test('who is content looks for interfaces rarely, who seeks at each try', async (t) => {
  const clock = createManualClock()
  let looks = 0
  let isSeeking = false
  const interfaces = () => {
    looks += 1
    return []
  }
  await begin(t, `mh-${id(4)}`, { clock, interfaces, isSeeking: () => isSeeking })
  clock.advance(29_000)
  t.equal(looks, 1, 'once at the start')
  clock.advance(2_000)
  t.equal(looks, 2)
  isSeeking = true
  clock.advance(1_000)
  t.equal(looks, 3)
})
