// Discovery by mDNS (RFC 6762, 6763): says where this node listens, and hears where others
// do. What it hears is a hint and no more: who is there is for sockets to find out, and
// whether to believe them for the mesh's proof.
//
// What bonjour-service needs around it, each seen by running: an error callback *and* a
// listener on the inner socket, or a missing interface ends the process; `probe: false`
// with the node's id for a name (4 ms until seen instead of 800); one instance for each
// interface, bound to 0.0.0.0, loopback too; one service per instance (stopping one of
// several hides the others); withdraw before destroy. Its 'up' comes once per service
// for as long as it remembers it, which is hours after a kill -9: so this listens to the
// responses themselves, and a node that comes back at the same port is heard again.

import { networkInterfaces } from 'node:os'
import Bonjour, { type Browser, type Service } from 'bonjour-service'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { HostName, NodeId, NodeType } from '../../protocol/index.ts'
import type { Cancel, Clock, Log } from '../ports.ts'

/** The service type: `_manyhands._tcp`. */
export const SERVICE = 'manyhands'

/** Who seeks asks again after these pauses, then after the last one for ever. */
const PAUSES_MS = [250, 500, 1000, 2000, 4000, 8000, 15_000, 30_000, 60_000]
/** Who does not seek looks this often whether it does again; nothing is sent for that. */
const CONTENT_PAUSE_MS = 2000
/** Who does not seek looks this often for new interfaces: each look asks the kernel for all. */
const INTERFACES_PAUSE_MS = 30_000
/** More services than a mesh has nodes: somebody floods the network. */
const MAX_SERVICES = 2048

/** A node that says that it is there. */
export interface Found {
  readonly meshId: string
  readonly nodeId: NodeId
  readonly role: NodeType
  readonly hostName: HostName
  readonly port: number
  /** Where the packet came from. */
  readonly address: string
}

export interface MdnsOptions {
  /** Tests use one of their own. */
  readonly service?: string
  readonly meshId: string
  readonly nodeId: NodeId
  readonly role: NodeType
  readonly hostName: HostName
  /** Where this node listens; undefined: it only listens to others. */
  readonly port: number | undefined
  /** On which interfaces, by their address, it says so (default: all). */
  readonly isAnnounced?: (address: string) => boolean
  readonly clock: Clock
  readonly log: Log
  /** May be called again and again for the same node. */
  readonly onFound: (found: Found) => void
  /**
   * Asks the network only while this is true (default: always). Every question is answered
   * by every node: whoever has found what it needs keeps silent.
   */
  readonly isSeeking?: () => boolean
  /** IPv4 addresses of the interfaces; default: those of the machine, loopback too. */
  readonly interfaces?: () => readonly string[]
}

/** A running discovery. */
export interface Mdns {
  /** Interfaces on which it works; none: use `--join`. */
  readonly interfaces: readonly string[]
  /** Withdraws the announcement; resolves when the sockets are closed. */
  close(): Promise<void>
}

const Txt = t.type({ mesh: t.string, id: NodeId, role: NodeType, name: HostName })

/** The multicast-dns instance inside a Bonjour: its types keep it private. */
interface Inner {
  readonly server: {
    readonly mdns: {
      on(event: 'error' | 'warning', listener: (error: Error) => void): void
      on(event: 'response', listener: (packet: Packet) => void): void
      on(event: 'ready', listener: () => void): void
    }
  }
}
interface Packet {
  readonly answers: readonly { readonly type: string; readonly data: unknown }[]
}

/** One interface's share of it. */
interface Ear {
  readonly bonjour: Bonjour
  browser: Browser
  /** Its socket is bound and in the group, or will never be. */
  readonly settled: Promise<void>
  isBroken: boolean
}

/** Starts it; resolves when each interface either works or has failed. Never rejects. */
export const startMdns = async (options: MdnsOptions): Promise<Mdns> => {
  const discovery = new MdnsDiscovery(options)
  await discovery.start()
  return discovery
}

class MdnsDiscovery implements Mdns {
  readonly #options: MdnsOptions
  readonly #ears = new Map<string, Ear>()
  #pauses = 0
  #followedAtMs = 0
  #cancel: Cancel = () => undefined
  #closed: Promise<void> | undefined

  constructor(options: MdnsOptions) {
    this.#options = options
  }

  get interfaces(): readonly string[] {
    return [...this.#ears].flatMap(([address, ear]) => (ear.isBroken ? [] : address))
  }

  async start(): Promise<void> {
    this.#followInterfaces()
    this.#askLater()
    await Promise.all([...this.#ears.values()].map((ear) => ear.settled))
  }

  close(): Promise<void> {
    this.#cancel()
    this.#closed ??= Promise.all([...this.#ears.values()].map(closeEar)).then(
      () => undefined,
    )
    return this.#closed
  }

  /** Interfaces come (a cable, a network that is joined) and go. */
  #followInterfaces(): void {
    const { interfaces = machineInterfaces, clock } = this.#options
    this.#followedAtMs = clock.now()
    const addresses = new Set(interfaces())
    for (const [address, ear] of this.#ears) {
      if (addresses.has(address)) continue
      this.#ears.delete(address)
      void closeEar(ear)
    }
    for (const address of addresses)
      if (!this.#ears.has(address)) this.#ears.set(address, this.#open(address))
  }

  #askLater(): void {
    const { isSeeking = () => true, clock } = this.#options
    if (!isSeeking()) this.#pauses = 0
    const last = PAUSES_MS.length - 1
    const pauseMs = isSeeking()
      ? PAUSES_MS[Math.min(this.#pauses++, last)]
      : CONTENT_PAUSE_MS
    this.#cancel = clock.after(pauseMs ?? CONTENT_PAUSE_MS, () => {
      const isDue = clock.now() - this.#followedAtMs >= INTERFACES_PAUSE_MS
      if (isSeeking() || isDue) this.#followInterfaces()
      if (isSeeking())
        for (const ear of this.#ears.values()) if (!ear.isBroken) ear.browser.update()
      this.#askLater()
    })
  }

  #open(address: string): Ear {
    const { service = SERVICE, log } = this.#options
    const fail = (error: Error) => {
      if (ear.isBroken) return
      ear.isBroken = true
      settle()
      log.info('no mDNS on an interface', { address, reason: error.message })
    }
    // `interface` and `bind` are options of the multicast-dns beneath, which is given all.
    const settings = { interface: address, bind: '0.0.0.0' } as object
    const bonjour = new Bonjour(settings, fail)
    const { mdns } = (bonjour as unknown as Inner).server
    let settle: () => void = () => undefined
    const settled = new Promise<void>((resolve) => {
      settle = resolve
    })
    mdns.on('error', fail)
    mdns.on('warning', (error) => {
      // A packet that does not parse is somebody else's fault; a failed call is ours.
      if ('syscall' in error) fail(error)
    })
    mdns.on('ready', () => settle())
    const browser = bonjour.find({ type: service })
    const ear: Ear = { bonjour, browser, settled, isBroken: false }
    mdns.on('response', (packet) => this.#heard(ear, packet))
    const { isAnnounced = () => true } = this.#options
    if (isAnnounced(address)) this.#publish(bonjour, service)
    return ear
  }

  #publish(bonjour: Bonjour, type: string): void {
    const { port, nodeId, meshId, role, hostName } = this.#options
    if (port === undefined) return
    // Dots would be cut out of an instance name: the host's name travels in TXT.
    const txt = { mesh: meshId, id: nodeId, role, name: hostName, v: '1' }
    bonjour.publish({ name: nodeId, type, port, probe: false, disableIPv6: true, txt })
  }

  /** The browser has taken the packet in before: it listened first. */
  #heard(ear: Ear, { answers }: Packet): void {
    if (this.#closed !== undefined) return
    const names = new Set<unknown>()
    for (const answer of answers) if (answer.type === 'PTR') names.add(answer.data)
    for (const service of ear.browser.services)
      if (names.has(service.fqdn)) this.#found(service)
    if (ear.browser.services.length > MAX_SERVICES) this.#startAfresh(ear)
  }

  #found(service: Service): void {
    const txt = Txt.decode(service.txt)
    const { referer } = service
    if (E.isLeft(txt) || referer === undefined) return
    const { mesh: meshId, id: nodeId, role, name: hostName } = txt.right
    if (nodeId === this.#options.nodeId) return
    const { port } = service
    const { address } = referer
    this.#options.onFound({ meshId, nodeId, role, hostName, port, address })
  }

  #startAfresh(ear: Ear): void {
    const { service = SERVICE, log } = this.#options
    log.warn('too many services announced; forgetting them all', { max: MAX_SERVICES })
    ear.browser.stop()
    ear.browser = ear.bonjour.find({ type: service })
  }
}

const closeEar = ({ bonjour, browser, isBroken }: Ear): Promise<void> =>
  new Promise((resolve) => {
    browser.stop()
    const destroy = () => bonjour.destroy(() => resolve())
    if (isBroken) destroy()
    else bonjour.unpublishAll(destroy)
  })

/** One IPv4 address of each interface: multicast membership is by interface. */
const machineInterfaces = (): readonly string[] =>
  Object.values(networkInterfaces()).flatMap((addresses = []) => {
    const found = addresses.find(({ family }) => family === 'IPv4')
    return found === undefined ? [] : found.address
  })
