// Crowd: how much of a node one member may take: connections, and requests a second. All
// connections of a member count together, so that another connection buys it nothing.

import type { NodeId, NodeType } from '../../protocol/index.ts'

export interface CrowdLimits {
  /** Connections that others dialled, in all: a descriptor and some 65 KiB each. */
  readonly connections: number
  /** Of one member: a command line has one, a program that embeds the client a few. */
  readonly ofOneMember: number
  /**
   * Requests a second of one member, by its role, and as many at once after a pause. One
   * takes a manager some 10 us: a client that floods it leaves more than half of it to the
   * others. Nodes are held up by nothing but a runaway loop.
   */
  readonly requestsPerSecond: Readonly<Record<NodeType, number>>
}

export const CROWD_LIMITS: CrowdLimits = {
  connections: 8192,
  ofOneMember: 256,
  requestsPerSecond: {
    client: 50_000,
    worker: 200_000,
    manager: 200_000,
    hub: 200_000,
  },
}

interface Member {
  connections: number
  readonly rate: Rate
}

export class Crowd {
  readonly #limits: CrowdLimits
  readonly #members = new Map<NodeId, Member>()
  #connections = 0

  constructor(limits: CrowdLimits) {
    this.#limits = limits
  }

  /** Why another connection of that member is one too many; undefined: it is not. */
  objection(nodeId: NodeId): string | undefined {
    const { connections, ofOneMember } = this.#limits
    if (this.#connections >= connections)
      return `${connections} connections are open here; try again later`
    if ((this.#members.get(nodeId)?.connections ?? 0) >= ofOneMember)
      return `this member has ${ofOneMember} connections open here; close some of them`
    return undefined
  }

  /** Counts a connection; `rate` is shared by all of the member's. */
  enter({ nodeId, role }: { readonly nodeId: NodeId; readonly role: NodeType }): Rate {
    const known = this.#members.get(nodeId)
    this.#connections += 1
    if (known !== undefined) {
      known.connections += 1
      return known.rate
    }
    const rate = new Rate(this.#limits.requestsPerSecond[role])
    this.#members.set(nodeId, { connections: 1, rate })
    return rate
  }

  leave(nodeId: NodeId): void {
    const member = this.#members.get(nodeId)
    if (member === undefined) return
    this.#connections -= 1
    member.connections -= 1
    if (member.connections === 0) this.#members.delete(nodeId)
  }
}

/** A bucket of requests that fills at a rate, up to what a second brings. */
export class Rate {
  readonly #perMs: number
  readonly #most: number
  #left: number
  #atMs = 0

  constructor(perSecond: number) {
    this.#perMs = perSecond / 1000
    this.#most = perSecond
    this.#left = perSecond
  }

  /** Takes one: 0. Or there is none, and nothing is taken: the milliseconds until there is. */
  take(nowMs: number): number {
    const passedMs = Math.max(0, nowMs - this.#atMs)
    this.#atMs = nowMs
    this.#left = Math.min(this.#most, this.#left + passedMs * this.#perMs)
    if (this.#left < 1) return Math.ceil((1 - this.#left) / this.#perMs)
    this.#left -= 1
    return 0
  }
}
