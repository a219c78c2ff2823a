// Hub relays: what a hub hears from its nodes: their events, read by long polls as long as
// they are connected.
//
// A poll goes to a node before whatever a client asks it next over the same connection: who
// reads events and then lists what there is, misses nothing between.

import type { Event, Topic } from '../../protocol/index.ts'
import type { Cancel, Clock, Mesh, Peer } from '../ports.ts'
import type { Events } from './events.ts'
import { readHost } from './hub-reads.ts'

export interface HubRelaysPorts {
  readonly clock: Clock
  readonly mesh: Pick<Mesh, 'ask'>
  readonly events: Pick<Events, 'add' | 'skip' | 'isWanted'>
}

const POLL_MS = 20_000
const GRACE_MS = 5_000
const AGAIN_MS = 1_000
/** Cursors of nodes that went away. */
const REMEMBERED = 10_000

/** Events of one topic of one node. */
interface Relay {
  readonly peer: Peer
  readonly topic: Topic
  cursor: string | undefined
  cancel: Cancel | undefined
}

export class HubRelays {
  readonly #ports: HubRelaysPorts
  readonly #peers = new Set<Peer>()
  readonly #relays = new Set<Relay>()
  /** Where a boot's processes were read up to: its connection may come back. */
  readonly #cursors = new Map<
    string,
    { readonly bootId: string; readonly cursor: string }
  >()

  constructor(ports: HubRelaysPorts) {
    this.#ports = ports
  }

  came(peer: Peer): void {
    this.#peers.add(peer)
    if (!peer.introduction.features.includes('events')) return
    const last = this.#cursors.get(peer.nodeId)
    const cursor = last?.bootId === peer.bootId ? last.cursor : undefined
    this.#begin(peer, 'processes', cursor)
    this.#beginTasks(peer)
  }

  left(peer: Peer): void {
    this.#peers.delete(peer)
    for (const relay of this.#relays) if (relay.peer === peer) this.#end(relay)
  }

  /** Somebody reads a topic that nobody read. A manager's tasks are many: nobody else hears of them. */
  wanted(topic: Topic): void {
    if (topic === 'tasks') for (const peer of this.#peers) this.#beginTasks(peer)
  }

  close(): void {
    for (const { cancel } of this.#relays) cancel?.()
    this.#relays.clear()
    this.#peers.clear()
  }

  #beginTasks(peer: Peer): void {
    const { role, introduction } = peer
    const { events } = this.#ports
    if (role !== 'manager' || !introduction.features.includes('events')) return
    if (!events.isWanted('tasks')) return
    for (const relay of this.#relays)
      if (relay.peer === peer && relay.topic === 'tasks') return
    events.skip('tasks')
    this.#begin(peer, 'tasks', undefined)
  }

  #begin(peer: Peer, topic: Topic, cursor: string | undefined): void {
    const relay: Relay = { peer, topic, cursor, cancel: undefined }
    this.#relays.add(relay)
    this.#poll(relay)
  }

  #end(relay: Relay): void {
    relay.cancel?.()
    this.#relays.delete(relay)
    const { peer, topic, cursor } = relay
    if (topic !== 'processes' || cursor === undefined) return
    this.#cursors.delete(peer.nodeId)
    this.#cursors.set(peer.nodeId, { bootId: peer.bootId, cursor })
    const [oldest] = this.#cursors.keys()
    if (this.#cursors.size > REMEMBERED && oldest !== undefined)
      this.#cursors.delete(oldest)
  }

  #poll(relay: Relay): void {
    const { peer, topic, cursor: after } = relay
    const { events, clock } = this.#ports
    if (topic === 'tasks' && !events.isWanted(topic)) {
      this.#end(relay)
      return
    }
    relay.cancel = undefined
    const body = {
      wait_ms: POLL_MS,
      topics: [topic],
      ...(after !== undefined && { after }),
    }
    readHost(this.#ports, peer, 'EventsRead', body, POLL_MS + GRACE_MS, (answer) => {
      if (!this.#relays.has(relay)) return
      if (answer?.kind !== 'Events') {
        relay.cancel = clock.after(AGAIN_MS, () => this.#poll(relay))
        return
      }
      relay.cursor = answer.body.next
      if (answer.body.reset === true) events.skip(topic)
      for (const event of answer.body.events) this.#add(relay, event)
      this.#poll(relay)
    })
  }

  /** A node tells of itself; a manager, of its tasks, wherever they are. */
  #add({ peer, topic }: Relay, event: Event): void {
    if (event.topic !== topic) return
    if (topic === 'tasks' || event.host_name === peer.hostName)
      this.#ports.events.add(event)
  }
}
