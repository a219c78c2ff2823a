// How a node finds the others: what a person gave (`--join`), the state directory of this
// machine, and mDNS, all at once and with equal rank. A worker looks for managers; a
// manager is looked for, and at its start dials the workers and hubs here, so that they need
// not wait for their next try; a hub looks for everybody, always.

import { networkInterfaces } from 'node:os'
import type { Introduction, NodeType } from '../protocol/index.ts'
import type { Found, Mdns } from './discovery/mdns.ts'
import { readPeers } from './identity/place-membership.ts'
import { listAddresses } from './identity/state.ts'
import type { NodeMesh } from './mesh/mesh.ts'
import { isNear } from './mesh/near.ts'
import { hostInUrl, isLoopback, isWildcard } from './mesh/transport.ts'
import { KEEPS, type NodeOptions } from './options.ts'
import type { Cancel, Clock, Log } from './ports.ts'

/** No manager after this long: a person should know, and what to do. */
const SILENCE_MS = 3000
/** A hub knows of a node that begins here within this time, if the node does not come first. */
const HUB_LOOK_MS = 1000
/** The state directory is looked through again after these pauses while no manager is there. */
const LOOK_PAUSES_MS = [50, 100, 200, 400, 800, 1600, 3000, 5000, 10_000]

export interface NodeDiscoveryOptions {
  readonly options: NodeOptions
  readonly mesh: NodeMesh
  readonly meshId: string
  readonly stateDirectory: string
  readonly self: Introduction
  readonly port: number
  readonly clock: Clock
  readonly log: Log
  readonly print: (line: string) => void
}

export class NodeDiscovery {
  readonly #given: NodeDiscoveryOptions
  readonly #seeks: readonly NodeType[]
  #looks = 0
  #cancelLook: Cancel = () => undefined
  #cancelSilence: Cancel = () => undefined
  #mdns: Promise<Mdns> | undefined
  #isClosed = false
  readonly #elsewhere = new Set<string>()

  constructor(given: NodeDiscoveryOptions) {
    this.#given = given
    this.#seeks = KEEPS[given.options.role]
  }

  start(): void {
    const { options, mesh, clock } = this.#given
    for (const url of options.join) mesh.offer({ url, isGiven: true })
    if (this.#seeks.length > 0)
      for (const url of readPeers(this.#given.stateDirectory))
        mesh.offer({ url, isGiven: true })
    if (options.local) this.#look()
    if (options.mdns) this.#mdns = this.#startMdns()
    if (options.role === 'worker')
      this.#cancelSilence = clock.after(SILENCE_MS, () => this.#saySilence())
  }

  /** Withdraws the announcement and stops looking. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelLook()
    this.#cancelSilence()
    const mdns = await this.#mdns
    await mdns?.close()
  }

  /** It has all that it seeks. A hub never does. */
  get #isServed(): boolean {
    return this.#given.options.role !== 'hub' && this.#hasManager
  }

  /** Then its processes are reached, and it may be meant to have no manager. */
  get #isAskedByHub(): boolean {
    return this.#given.mesh.peers.some(({ role }) => role === 'hub')
  }

  get #hasManager(): boolean {
    return this.#given.mesh.peers.some(({ role }) => role === 'manager')
  }

  /** The nodes here, by the addresses that they left. */
  #look(): void {
    const { options, mesh, stateDirectory, clock } = this.#given
    const wanted: readonly NodeType[] =
      options.role === 'manager' ? ['worker', 'hub'] : this.#seeks
    if (!this.#isServed)
      for (const { url, node_id: nodeId, role } of listAddresses(stateDirectory))
        if (wanted.includes(role)) mesh.offer({ url, nodeId })
    // Others come to a manager by themselves; it looks once, for those that wait.
    if (options.role === 'manager') return
    if (options.role === 'hub') {
      this.#cancelLook = clock.after(HUB_LOOK_MS, () => this.#look())
      return
    }
    const pauseMs = LOOK_PAUSES_MS[this.#looks] ?? 10_000
    this.#looks = this.#hasManager ? 0 : Math.min(this.#looks + 1, LOOK_PAUSES_MS.length)
    this.#cancelLook = clock.after(this.#hasManager ? 10_000 : pauseMs, () =>
      this.#look(),
    )
  }

  async #startMdns(): Promise<Mdns> {
    const { options, meshId, self, port, clock, log, print } = this.#given
    const { startMdns } = await import('./discovery/mdns.ts')
    const mdns = await startMdns({
      service: options.service,
      meshId,
      nodeId: self.node_id,
      role: self.node_type,
      hostName: self.host_name,
      port,
      clock,
      log,
      isAnnounced: (own) => isReached(options.listen, own),
      onFound: (found) => this.#found(found),
      // A manager is found; a worker seeks until it has one.
      isSeeking: () => this.#seeks.length > 0 && !this.#isServed,
    })
    if (this.#isClosed) return mdns
    if (mdns.interfaces.length === 0)
      print(
        '  no mDNS: no network interface takes multicast; nodes of other state directories need --join',
      )
    else {
      const announced = mdns.interfaces.filter((own) => isReached(options.listen, own))
      print(`  announced  by mDNS on ${announced.join(', ') || 'no interface'}`)
    }
    return mdns
  }

  /** The network may say anything: only what says to be of this mesh and is near is dialled. */
  #found({ meshId, nodeId, role, port, address, hostName }: Found): void {
    if (this.#isClosed || meshId !== this.#given.meshId) return
    if (!this.#seeks.includes(role)) return
    const { mesh } = this.#given
    const isOwn = isOwnAddress(address)
    if (isOwn) mesh.offer({ url: `wss://127.0.0.1:${port}`, nodeId })
    if (address.startsWith('127.')) return
    if (isOwn || isNear(address)) {
      mesh.offer({ url: `wss://${hostInUrl(address)}:${port}`, nodeId })
      return
    }
    if (this.#elsewhere.size > 100 || this.#elsewhere.has(nodeId)) return
    this.#elsewhere.add(nodeId)
    const reason = 'announced at an address that is neither private nor link-local'
    this.#given.log.info('not dialled', { peer: hostName, address, reason })
  }

  #saySilence(): void {
    if (this.#hasManager || this.#isAskedByHub || this.#isClosed) return
    const { options, print, stateDirectory } = this.#given
    const looked = [
      ...options.join,
      options.local ? stateDirectory : undefined,
      options.mdns ? 'mDNS' : undefined,
    ].filter((place) => place !== undefined)
    print(
      `no manager in reach yet (looked at ${looked.join(', ') || 'nothing'}); start one with: manyhands --role manager, or give its address with --join; still looking`,
    )
  }
}

/** Whoever listens on loopback alone tells nobody else. */
const isReached = (listen: string, own: string): boolean =>
  isWildcard(listen) || listen === own || (isLoopback(listen) && isLoopback(own))

const isOwnAddress = (address: string): boolean =>
  address.startsWith('127.') ||
  Object.values(networkInterfaces()).some((addresses = []) =>
    addresses.some((own) => own.address === address),
  )
