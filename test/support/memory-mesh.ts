// Memory mesh: nodes of one process that ask each other without sockets. Every request
// and answer is a queued delivery; `run` makes them all happen, in order. A connection can
// be cut (asks fail at once) or silenced (nothing arrives, asks time out).

import * as E from 'fp-ts/lib/Either.js'
import type { AnswerOf, Handlers, Kind, NodeType } from '../../protocol/index.ts'
import type { AskFailure } from '../../src/failures.ts'
import type { Clock, Mesh, Peer, Settle } from '../../src/ports.ts'

export interface Identity {
  readonly nodeId: string
  readonly bootId: string
  readonly hostName: string
  readonly role: NodeType
  readonly ledgerId?: string
}

/** A node of the network, as a test holds it. */
export interface MemoryNode {
  readonly identity: Identity
  readonly mesh: Mesh
  handlers: Handlers<Peer>
  connected: (peer: Peer) => void
  lost: (peer: Peer) => void
  /** Requests that arrived here: kind and body, in order. */
  readonly received: { readonly kind: Kind; readonly body: unknown }[]
  /** Nodes that it was asked to terminate and to redial. */
  readonly terminated: string[]
  readonly redialled: string[]
}

interface Link {
  readonly peers: ReadonlyMap<string, Peer>
  isOpen: boolean
  isSilent: boolean
  readonly pending: Set<(failure: AskFailure) => void>
}

export class MemoryNetwork {
  readonly #clock: Clock
  readonly #nodes = new Map<string, MemoryNode>()
  readonly #links = new Map<string, Link>()
  readonly #queue: (() => void)[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  join(identity: Identity): MemoryNode {
    const { nodeId } = identity
    const terminated: string[] = []
    const redialled: string[] = []
    const mesh: Mesh = {
      ask: (to, kind, body, timeoutMs, settle) =>
        this.#ask(nodeId, to, { kind, body, timeoutMs, settle }),
      terminate: (other) => {
        terminated.push(other)
        this.cut(nodeId, other)
      },
      redial: (other) => void redialled.push(other),
      isRefused: () => Promise.resolve(false),
    }
    const node: MemoryNode = {
      identity,
      mesh,
      handlers: {},
      connected: () => undefined,
      lost: () => undefined,
      received: [],
      terminated,
      redialled,
    }
    this.#nodes.set(nodeId, node)
    return node
  }

  /** Connects two nodes and tells both. */
  connect(one: string, other: string): void {
    this.cut(one, other)
    const a = this.#node(one)
    const b = this.#node(other)
    const peers = new Map([
      [one, peerOf(a.identity)],
      [other, peerOf(b.identity)],
    ])
    const link = { peers, isOpen: true, isSilent: false, pending: new Set<never>() }
    this.#links.set(keyOf(one, other), link)
    this.#queue.push(() => a.connected(seen(link, other)))
    this.#queue.push(() => b.connected(seen(link, one)))
  }

  cut(one: string, other: string): void {
    const link = this.#links.get(keyOf(one, other))
    if (link === undefined) return
    this.#links.delete(keyOf(one, other))
    link.isOpen = false
    for (const fail of [...link.pending]) {
      this.#queue.push(() => fail({ kind: 'disconnected', exchange: 'ManagerPing' }))
    }
    this.#queue.push(() => this.#node(one).lost(seen(link, other)))
    this.#queue.push(() => this.#node(other).lost(seen(link, one)))
  }

  /** From now on nothing arrives over that connection. */
  silence(one: string, other: string): void {
    const link = this.#links.get(keyOf(one, other))
    if (link !== undefined) link.isSilent = true
  }

  /** Delivers until nothing is under way. */
  run(): void {
    let left = 100_000
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      if (left-- === 0) throw new Error('the nodes never come to rest')
      next()
    }
  }

  #node(nodeId: string): MemoryNode {
    const node = this.#nodes.get(nodeId)
    if (node === undefined) throw new Error(`no node ${nodeId}`)
    return node
  }

  #ask<K extends Kind>(
    from: string,
    to: string,
    // biome-ignore lint/suspicious/noExplicitAny: the network carries any kind
    ask: { kind: K; body: any; timeoutMs: number; settle: Settle<K> },
  ): void {
    const { kind, body, timeoutMs, settle } = ask
    const link = this.#links.get(keyOf(from, to))
    let isSettled = false
    const finish = (outcome: E.Either<AskFailure, AnswerOf<K>>): void => {
      if (isSettled) return
      isSettled = true
      cancel()
      link?.pending.delete(fail)
      settle(outcome)
    }
    const fail = (failure: AskFailure): void => finish(E.left(failure))
    const cancel = this.#clock.after(timeoutMs, () =>
      fail({ kind: 'timeout', exchange: kind, afterMs: timeoutMs }),
    )
    if (link === undefined) {
      this.#queue.push(() => fail({ kind: 'unreachable', exchange: kind }))
      return
    }
    link.pending.add(fail)
    const deliver = (fn: () => void): void =>
      void this.#queue.push(() => {
        if (link.isOpen && !link.isSilent) fn()
      })
    deliver(() => {
      const node = this.#node(to)
      node.received.push({ kind, body })
      // biome-ignore lint/suspicious/noExplicitAny: the kind is the handler's own
      const handler = node.handlers[kind] as any
      // biome-ignore lint/suspicious/noExplicitAny: checked where handlers are written
      const respond = (answer: string, answerBody: any): void =>
        deliver(() =>
          finish(E.right({ kind: answer, body: answerBody } as unknown as AnswerOf<K>)),
        )
      if (handler === undefined) respond('Error', { code: 'wrong-role' })
      else handler(body, respond, seen(link, from))
    })
  }
}

const keyOf = (one: string, other: string): string => [one, other].sort().join(' ')

const seen = (link: Link, nodeId: string): Peer => {
  const peer = link.peers.get(nodeId)
  if (peer === undefined) throw new Error(`no peer ${nodeId}`)
  return peer
}

const peerOf = ({ nodeId, bootId, hostName, role, ledgerId }: Identity): Peer => ({
  nodeId,
  bootId,
  hostName,
  role,
  introduction: {
    node_type: role,
    node_id: nodeId,
    boot_id: bootId,
    host_name: hostName,
    minor: 0,
    features: [],
    max_in_flight: 1024,
    max_frame: 1024 * 1024,
    ...(ledgerId === undefined ? {} : { ledger_id: ledgerId }),
  },
  remoteAddress: '127.0.0.1',
  address: undefined,
})
