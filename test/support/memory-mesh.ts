// Many nodes in one process: an Ask network without sockets, bytes or time.
//
// Requests and answers are queued and move only when the test says so (`deliver`, `run`,
// `settle`), in the order in which they were sent. A cut connection fails what is open on it, and both
// ends hear of it; a black-holed node is connected, but nothing reaches it or leaves it.

import * as E from 'fp-ts/lib/Either.js'
import {
  ALL_SCOPES,
  type AnswerOf,
  denialOf,
  type Handlers,
  type Introduction,
  type Kind,
  type NodeType,
  type RequestOf,
  rightsOf,
  type Scope,
} from '../../protocol/index.ts'
import type { Clock, Loss, Mesh, Peer, Settle } from '../../src/ports.ts'

/** What a network needs of a role. */
export interface Role {
  readonly handlers: Handlers<Peer>
  peerConnected(peer: Peer): void
  peerLost(peer: Peer, how: Loss): void
}

export interface NodeSpec {
  readonly name: string
  readonly role: NodeType
  /** Default: made from the name. */
  readonly nodeId?: string
  /** Default: the name. */
  readonly hostName?: string
  readonly bootId?: string
  readonly listenPort?: number
  readonly ledgerId?: string
  readonly features?: readonly string[]
  /** A client's; default: all. */
  readonly scopes?: readonly Scope[]
  /** A worker's, by its certificate. */
  readonly issued?: Readonly<Record<string, string>>
}

/** A request that was made, for tests to look at. */
export interface Said {
  readonly from: string
  readonly to: string
  readonly kind: Kind
  readonly body: unknown
  /** Its handler has got it. */
  hasArrived: boolean
  answer?: { readonly kind: string; readonly body: unknown }
}

/** A node as its test holds it; what it asked its mesh for, besides sending. */
export interface AddedNode {
  readonly nodeId: string
  readonly mesh: Mesh
  /** Node ids whose connection it ended. */
  readonly terminated: string[]
  /** Node ids that it wanted to be dialled again. */
  readonly redialled: string[]
  /** Addresses that it dialled. */
  readonly dialled: string[]
}

interface Node extends Introduced {
  part: Role | undefined
  isSilent: boolean
  isUnplugged: boolean
}
interface Introduced {
  readonly spec: NodeSpec
  readonly introduction: Introduction
}
/** `peerOf.get(node)`: how the other end appears to that node. */
interface Link {
  readonly ends: readonly [Node, Node]
  readonly seenBy: ReadonlyMap<Node, Peer>
  readonly open: Set<(why: 'disconnected') => void>
  isCut: boolean
}

export interface MemoryMesh {
  /** Adds a node; `part` may be given later. */
  add(spec: NodeSpec): AddedNode
  attach(name: string, part: Role): void
  /** A connection that they have already is cut. */
  connect(a: string, b: string): void
  cut(a: string, b: string, how?: Loss): void
  /** Nothing reaches it or leaves it, and nobody hears of that. */
  silence(name: string, isSilent: boolean): void
  /** Nobody reaches its address any more. */
  unplug(name: string): void
  /** Delivers one message; false: none was under way. */
  deliver(): boolean
  /** Delivers until nothing is under way, in this turn. */
  run(): void
  /** Delivers, and lets other turns run, until nothing moves any more. */
  settle(): Promise<void>
  peer(of: string, at: string): Peer
  /** host:port pairs that refuse connections. */
  readonly refused: Set<string>
  readonly said: Said[]
}

/** Deliveries after which nodes count as going round for ever. */
const MOST = 100_000

/** A node id of 32 hex digits, the same for the same name. */
export const nodeIdOf = (name: string): string =>
  [...name]
    .map((letter) => letter.charCodeAt(0).toString(16).padStart(2, '0'))
    .join('')
    .padEnd(32, '0')
    .slice(0, 32)

/** Where it can be dialled: if it listens. */
const addressOf = ({ introduction: { listen_port: port } }: Introduced) =>
  port === undefined ? undefined : `ws://127.0.0.1:${port}`

export const createMemoryMesh = (clock: Clock): MemoryMesh => {
  const nodes = new Map<string, Node>()
  const links = new Set<Link>()
  const queue: (() => void)[] = []
  const refused = new Set<string>()
  const said: Said[] = []

  const node = (name: string): Node => {
    const found = nodes.get(name)
    if (found === undefined) throw new Error(`no node ${name}`)
    return found
  }
  const linkOf = (a: Node, b: Node | undefined): Link | undefined =>
    [...links].find(({ ends }) => ends.includes(a) && b !== undefined && ends.includes(b))

  const cutLink = (link: Link, how: Loss): void => {
    if (link.isCut) return
    link.isCut = true
    links.delete(link)
    for (const fail of [...link.open]) fail('disconnected')
    for (const [end, peer] of link.seenBy) end.part?.peerLost(peer, how)
  }

  const askFrom =
    (from: Node) =>
    <K extends Kind>(
      to: string,
      kind: K,
      body: RequestOf<K>,
      timeoutMs: number,
      settle: Settle<K>,
    ): void => {
      const target = [...nodes.values()].find((one) => one.introduction.node_id === to)
      const link = linkOf(from, target)
      if (link === undefined || target === undefined) {
        queue.push(() => settle(E.left({ kind: 'unreachable', exchange: kind })))
        return
      }
      const line: Said = {
        from: from.spec.name,
        to: target.spec.name,
        kind,
        body,
        hasArrived: false,
      }
      said.push(line)
      let isOver = false
      const finish = (outcome: Parameters<Settle<K>>[0]): void => {
        if (isOver) return
        isOver = true
        cancel()
        link.open.delete(fail)
        settle(outcome)
      }
      const fail = () => finish(E.left({ kind: 'disconnected', exchange: kind }))
      const cancel = clock.after(timeoutMs, () =>
        finish(E.left({ kind: 'timeout', exchange: kind, afterMs: timeoutMs })),
      )
      link.open.add(fail)
      const answer = (answerKind: string, answerBody: unknown): void => {
        if (line.answer !== undefined) throw new Error(`${kind} was answered twice`)
        line.answer = { kind: answerKind, body: answerBody }
        queue.push(() => {
          if (link.isCut || target.isSilent || from.isSilent) return
          // The types of both were checked where they were written; the queue forgets them.
          finish(E.right({ kind: answerKind, body: answerBody } as AnswerOf<K>))
        })
      }
      queue.push(() => {
        if (link.isCut || target.isSilent || from.isSilent) return
        line.hasArrived = true
        const peer = link.seenBy.get(target)
        const handler = target.part?.handlers[kind] as
          | ((body: unknown, respond: typeof answer, from: Peer | undefined) => void)
          | undefined
        const denial =
          peer && denialOf(kind, peer, { hostName: target.spec.name, ...target.spec })
        if (denial !== undefined) answer(denial.kind, denial.body)
        else if (handler === undefined) answer('Error', { code: 'wrong-role' })
        else handler(body, answer, peer)
      })
    }

  const connect = (...ends: readonly [Node, Node]): void => {
    const earlier = linkOf(...ends)
    if (earlier !== undefined) cutLink(earlier, { clean: false })
    const peerFor = (node: Node): Peer => {
      const { introduction } = node
      return {
        nodeId: introduction.node_id,
        bootId: introduction.boot_id,
        hostName: introduction.host_name,
        role: introduction.node_type,
        introduction,
        remoteAddress: '127.0.0.1',
        address: addressOf(node),
        rights: rightsOf(node.spec.scopes ?? ALL_SCOPES),
        ...(node.spec.issued && { issued: node.spec.issued }),
      }
    }
    const seenBy = new Map([
      [ends[0], peerFor(ends[1])],
      [ends[1], peerFor(ends[0])],
    ])
    links.add({ ends, seenBy, open: new Set(), isCut: false })
    for (const [end, peer] of seenBy) end.part?.peerConnected(peer)
  }

  const deliver = (): boolean => {
    const next = queue.shift()
    next?.()
    return next !== undefined
  }

  return {
    refused,
    said,
    add: (spec) => {
      const introduction: Introduction = {
        node_type: spec.role,
        node_id: spec.nodeId ?? nodeIdOf(spec.name),
        boot_id: spec.bootId ?? '0000000000000001',
        host_name: spec.hostName ?? spec.name,
        minor: 0,
        features: [...(spec.features ?? [])],
        max_in_flight: 1024,
        max_frame: 1024 * 1024,
        ...(spec.listenPort !== undefined && { listen_port: spec.listenPort }),
        ...(spec.ledgerId !== undefined && { ledger_id: spec.ledgerId }),
      }
      const added: Node = {
        spec,
        introduction,
        part: undefined,
        isSilent: false,
        isUnplugged: false,
      }
      nodes.set(spec.name, added)
      const find = (nodeId: string) =>
        [...nodes.values()].find((one) => one.introduction.node_id === nodeId)
      const terminated: string[] = []
      const redialled: string[] = []
      const dialled: string[] = []
      return {
        nodeId: introduction.node_id,
        terminated,
        redialled,
        dialled,
        mesh: {
          ask: askFrom(added),
          terminate: (nodeId) => {
            terminated.push(nodeId)
            const link = linkOf(added, find(nodeId))
            if (link !== undefined) queue.push(() => cutLink(link, { clean: false }))
          },
          redial: (nodeId) => void redialled.push(nodeId),
          dial: (address) => {
            dialled.push(address)
            queue.push(() => {
              const there = [...nodes.values()].find((one) => addressOf(one) === address)
              const isThere = there !== undefined && !there.isUnplugged
              if (isThere && !linkOf(added, there)) connect(added, there)
            })
          },
          isRefused: (host, port, settle) =>
            void queue.push(() => settle(refused.has(`${host}:${port}`))),
        },
      }
    },
    attach: (name, part) => {
      node(name).part = part
    },
    connect: (a, b) => connect(node(a), node(b)),
    cut: (a, b, how = { clean: true }) => {
      const link = linkOf(node(a), node(b))
      if (link !== undefined) cutLink(link, how)
    },
    silence: (name, isSilent) => {
      node(name).isSilent = isSilent
    },
    unplug: (name) => {
      node(name).isUnplugged = true
    },
    deliver,
    run: () => {
      for (let left = MOST; deliver(); left--)
        if (left === 0) throw new Error('the nodes never come to rest')
    },
    settle: async () => {
      // A few turns without a message: everybody has said what there was to say.
      for (let quiet = 0; quiet < 5; ) {
        quiet = deliver() ? 0 : quiet + 1
        if (queue.length === 0) await new Promise((resume) => setImmediate(resume))
      }
    },
    peer: (of, at) => {
      const link = linkOf(node(of), node(at))
      const peer = link?.seenBy.get(node(at))
      if (peer === undefined) throw new Error(`${of} and ${at} are not connected`)
      return peer
    },
  }
}
