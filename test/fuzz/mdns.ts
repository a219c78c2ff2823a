// Forged announcements against a real discovery, on real multicast sockets of the loopback
// interface.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { systemClock } from '../../src/clock.ts'
import { type Found, startMdns } from '../../src/discovery/mdns.ts'
import type { Log } from '../../src/ports.ts'
import { Packets } from './packets.ts'

const GROUP = '224.0.0.251'
const PORT = 5353
const LOOPBACK = '127.0.0.1'
const MESH = 'ab'.repeat(16)
/** So many are under way at most: more would be dropped by the system. */
const AT_ONCE = 32

const quiet: Log = { info() {}, warn() {}, error() {}, debug() {} }

export interface Forged {
  readonly seed: number
  readonly packets: number
}

export interface Heard {
  /** Packets that arrived at a socket in the group. */
  readonly arrived: number
  /** Announcements that the discovery believed as far as a name. */
  readonly found: number
  /** The addresses that they would lead to. */
  readonly addresses: ReadonlySet<string>
}

/**
 * Resolves once an honest node that announced itself after all of them was found. Rejects if
 * there is no multicast here.
 */
export const forge = async ({ seed, packets }: Forged): Promise<Heard> => {
  const service = `mh-fuzz-${process.pid}-${seed}`
  const found: Found[] = []
  const victim = await discovery(service, 'a'.repeat(32), undefined, (one) =>
    found.push(one),
  )
  const ear = await groupSocket()
  let arrived = 0
  let good: Buffer | undefined
  ear.on('message', (packet) => {
    arrived += 1
    if (packet.includes(service) && packet.includes(MESH)) good ??= packet
  })
  const first = await discovery(service, 'b'.repeat(32), 4000)
  await until(() => good !== undefined)
  await first.close()
  const forged = new Packets(seed, good ?? Buffer.alloc(0), [
    'b'.repeat(32),
    MESH,
    'honest',
  ])
  for (let sent = 0; sent < packets; ) {
    const before = arrived
    const batch = Math.min(AT_ONCE, packets - sent)
    for (let at = 0; at < batch; at++) ear.send(forged.next(), PORT, GROUP)
    sent += batch
    // What the system drops all the same is not waited for.
    for (let turns = 0; arrived < before + batch && turns < 1_000; turns++) await turn()
  }
  const addresses = new Set(found.map(({ address }) => address))
  const count = found.length
  const nodeId = 'c'.repeat(32)
  const honest = await discovery(service, nodeId, 4001)
  await until(() => found.some((one) => one.nodeId === nodeId && one.port === 4001))
  await Promise.all([honest.close(), victim.close()])
  ear.close()
  return { arrived, found: count, addresses }
}

const discovery = (
  service: string,
  nodeId: string,
  port: number | undefined,
  onFound: (found: Found) => void = () => undefined,
) =>
  startMdns({
    ...{ service, nodeId, port, onFound },
    meshId: MESH,
    role: 'worker',
    hostName: 'honest',
    clock: systemClock,
    log: quiet,
    interfaces: () => [LOOPBACK],
  })

const groupSocket = async () => {
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  socket.bind(PORT, '0.0.0.0')
  await once(socket, 'listening')
  socket.addMembership(GROUP, LOOPBACK)
  socket.setMulticastInterface(LOOPBACK)
  socket.setMulticastLoopback(true)
  return socket
}

/** The test's own time limit ends what never is. */
const until = async (isSo: () => boolean): Promise<void> => {
  while (!isSo()) await turn()
}
