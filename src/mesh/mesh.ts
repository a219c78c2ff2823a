// The mesh as one node sees it: who is connected, one connection per pair, and the role
// that serves them. It accepts, dials, keeps dialling, and hands requests to the role.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type {
  AnswerOf,
  Handlers,
  Introduction,
  Kind,
  NodeId,
  NodeType,
  RequestOf,
  Respond,
} from '../../protocol/index.ts'
import { CLOSE } from '../../protocol/limits.ts'
import type { Party } from '../identity/subject.ts'
import type {
  Audit,
  AuditFields,
  Clock,
  Log,
  Loss,
  Mesh,
  Peer,
  Random,
  Settle,
} from '../ports.ts'
import { CLOSE_COPIED, CLOSE_CROWDED, CLOSE_FALSE_CLAIM, type Ending } from './closing.ts'
import { CROWD_LIMITS, Crowd, type CrowdLimits } from './crowd.ts'
import { Dialler } from './dialler.ts'
import type { DialFailure, ListenFailure } from './failures.ts'
import { knock } from './knock.ts'
import { Link, type LinkEvents } from './link.ts'
import { listen } from './listen.ts'
import { judgePair, PROBE_MS } from './pairs.ts'
import { isRefused } from './refused.ts'
import {
  isLoopback,
  type Listening,
  type ProvenSocket,
  type Transport,
} from './transport.ts'

/** What a role offers to the mesh. Its functions are called in the turn of the event. */
export interface Role {
  /** A kind without a handler is answered Error{wrong-role}. */
  readonly handlers: Handlers<Peer>
  peerConnected(peer: Peer): void
  peerLost(peer: Peer, how: Loss): void
}

export interface NodeMeshOptions {
  readonly transport: Transport
  /** Without listen_port, which is known only when it listens. */
  readonly self: Introduction
  readonly address: string
  /** 0: any free one. */
  readonly port: number
  /** With port 0: tried first, and no harm if another program has it. */
  readonly preferredPort?: number
  /** Roles to which this one keeps a connection, dialling again when it is lost. */
  readonly keeps: readonly NodeType[]
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly crowd?: CrowdLimits
  /** Of whom it lets in not, and who asks what it may not. */
  readonly audit?: Audit
  /** This node must end: `reason` says why, for a person. */
  readonly onFatal: (reason: string) => void
}

/** An address to dial. */
export interface Candidate {
  readonly url: string
  readonly nodeId?: NodeId
  /** Given by a person (`--join`): dialled for as long as the node lives. */
  readonly isGiven?: boolean
}

type Connecting = (result: Either<DialFailure, NodeId>) => void

export class NodeMesh implements Mesh {
  readonly #options: NodeMeshOptions
  readonly #dialler: Dialler
  readonly #current = new Map<NodeId, Link>()
  /** Every link that has not ended, the unintroduced and the superfluous too. */
  readonly #links = new Set<Link>()
  readonly #crowd: Crowd
  /** Who waits for a dialled link to be taken or to end. */
  readonly #connecting = new Map<Link, Connecting>()
  readonly #aborter = new AbortController()
  /** To be dialled as soon as it listens. */
  readonly #early: string[] = []
  #self: Introduction
  #role: Role | undefined
  #listening: Listening | undefined
  #closed: Promise<void> | undefined

  constructor(options: NodeMeshOptions) {
    this.#options = options
    this.#self = options.self
    this.#crowd = new Crowd(options.crowd ?? CROWD_LIMITS)
    const { clock, random, log } = options
    this.#dialler = new Dialler({
      clock,
      random,
      log,
      connect: (url, nodeId) => this.#connect(url, nodeId),
      isConnected: (nodeId) => this.#current.has(nodeId),
    })
  }

  /** Begins to serve: listens, and hands everything to `role`. Resolves with the address. */
  async open(role: Role): Promise<Either<ListenFailure, Listening>> {
    this.#role = role
    const { port, preferredPort } = this.#options
    const tries = port === 0 && preferredPort !== undefined ? [preferredPort, 0] : [port]
    let listening = await this.#listen(tries[0] ?? 0)
    if (E.isLeft(listening) && tries.length > 1) listening = await this.#listen(0)
    if (E.isRight(listening)) {
      this.#listening = listening.right
      this.#self = { ...this.#self, listen_port: listening.right.port }
      for (const url of this.#early.splice(0)) this.dial(url)
    }
    return listening
  }

  #listen(port: number): Promise<Either<ListenFailure, Listening>> {
    const { address, transport, clock, log, audit } = this.#options
    const accept = (socket: ProvenSocket) => void this.#take(socket)
    const maxFrameBytes = this.#self.max_frame
    return listen({
      ...{ address, port, transport, maxFrameBytes, clock, log, accept },
      ...(audit && { audit }),
    })
  }

  /** The connected nodes. */
  get peers(): readonly Peer[] {
    return [...this.#current.values()].flatMap(({ peer }) => peer ?? [])
  }

  isConnected(nodeId: NodeId): boolean {
    return this.#current.has(nodeId)
  }

  /** Dials an address unless its node is connected; what a person gave is never given up. */
  offer({ url, nodeId, isGiven }: Candidate): void {
    if (nodeId === this.#self.node_id || url === this.#listening?.url) return
    this.#dialler.offer(url, nodeId, isGiven ?? false)
  }

  readonly ask = <K extends Kind>(
    to: NodeId,
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    settle: Settle<K>,
  ): void => {
    const link = this.#current.get(to)
    if (link === undefined) {
      process.nextTick(() => settle(E.left({ kind: 'unreachable', exchange: kind })))
      return
    }
    try {
      link.ask(kind, body, timeoutMs, settle)
    } catch (error) {
      this.#unaskable(link, error, settle)
    }
  }

  /**
   * A body that its row does not allow is a bug of ours, found before anything was sent. It
   * costs what it was about: the role hears what the peer would have answered.
   */
  #unaskable<K extends Kind>({ peer }: Link, bug: unknown, settle: Settle<K>): void {
    const error = bug instanceof Error ? bug.message : String(bug)
    this.#options.log.error('a bug while asking', { peer: peer?.hostName, error })
    const answer = { kind: 'Error', body: { code: 'malformed', message: error } } as const
    // Every row allows Error; the compiler cannot see that for an open K.
    process.nextTick(() => settle(E.right(answer as AnswerOf<K>)))
  }

  terminate(nodeId: NodeId, why: string): void {
    this.#current.get(nodeId)?.terminate(why)
  }

  redial(nodeId: NodeId): void {
    this.#dialler.redial(nodeId)
  }

  dial(url: string): void {
    // What this node says of itself is whole only once it listens.
    if (this.#listening === undefined) this.#early.push(url)
    else void this.#dialOnce(url)
  }

  /** In vain is nothing to speak of: who is alive dials too. */
  async #dialOnce(url: string): Promise<void> {
    const result = await this.#connect(url, undefined)
    if (E.isRight(result)) return
    const { reason } = result.left
    this.#options.log.debug('cannot connect', { url, reason })
  }

  /** Ends the connections of whoever was taken out of the mesh. */
  expel(isRevoked: (nodeId: string) => boolean): void {
    for (const link of this.#links)
      if (isRevoked(link.party.nodeId)) link.expel('taken out of the mesh')
  }

  /** A node is a member until then, as it showed. */
  extend(nodeId: NodeId, notAfterMs: number): void {
    this.#current.get(nodeId)?.extend(notAfterMs)
  }

  isRefused(host: string, port: number, settle: (isRefused: boolean) => void): void {
    isRefused(host, port, settle)
  }

  /** Stops listening and dialling, ends every connection; resolves when all are closed. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#dialler.close()
    this.#aborter.abort()
    const links = [...this.#links].map((link) => link.close())
    await Promise.all([this.#listening?.close(), ...links])
  }

  async #connect(
    url: string,
    nodeId: NodeId | undefined,
  ): Promise<Either<DialFailure, NodeId>> {
    const { transport } = this.#options
    const { signal } = this.#aborter
    const maxFrameBytes = this.#self.max_frame
    const socket = await knock({ url, nodeId, transport, maxFrameBytes, signal })
    if (E.isLeft(socket)) {
      const { left: failure } = socket
      if (failure.kind === 'refused' && failure.isExpelled)
        this.#options.onFatal(failure.reason)
      return socket
    }
    if (this.#closed !== undefined) {
      socket.right.ws.terminate()
      return E.left({ kind: 'aborted', url, reason: 'the node is closing' })
    }
    return new Promise((resolve) => {
      this.#connecting.set(this.#take(socket.right), resolve)
    })
  }

  #take(socket: ProvenSocket): Link {
    const { clock, log } = this.#options
    const { party, dialledUrl } = socket
    const self = this.#selfFor(socket)
    // Whom this node dials, it wants.
    const objection =
      dialledUrl === undefined ? this.#crowd.objection(party.nodeId) : undefined
    const rate = this.#crowd.enter(party)
    const link = new Link({ socket, self, clock, log, rate, events: this.#events })
    this.#links.add(link)
    if (this.#closed !== undefined) void link.close()
    else if (objection !== undefined) {
      log.warn('one connection too many', { peer: party.hostName, reason: objection })
      this.#record('refused', party, { reason: objection })
      link.end(CLOSE_CROWDED, objection)
    }
    return link
  }

  /** Who listens on loopback alone is not reached there from another machine. */
  #selfFor({ remoteAddress }: ProvenSocket): Introduction {
    if (!isLoopback(this.#options.address) || isLoopback(remoteAddress)) return this.#self
    const { listen_port: _, ...self } = this.#self
    return self
  }

  readonly #events: LinkEvents = {
    introduced: (link) => this.#introduced(link),
    request: (link, kind, body, respond) => this.#dispatch(link, kind, body, respond),
    refused: ({ party }, how, kind) => this.#record(how, party, { kind }),
    ended: (link, ending) => this.#ended(link, ending),
  }

  #record(event: string, party: Party, fields: AuditFields): void {
    const { hostName: by, role, nodeId: node_id } = party
    this.#options.audit?.record(event, { ...fields, by, role, node_id })
  }

  #introduced(link: Link): void {
    const { peer } = link
    if (peer === undefined) return
    const current = this.#current.get(peer.nodeId)
    const self = { nodeId: this.#self.node_id, bootId: this.#self.boot_id }
    const verdict = judgePair(self, current && pairedLink(current), pairedLink(link))
    switch (verdict) {
      case 'oneself':
        link.end(CLOSE.oneself, 'this is the node itself')
        break
      case 'copied':
        // The one that was dialled lives and stays; the one that dialled ends.
        if (link.isOurs) this.#options.onFatal(copiedReason(peer.hostName))
        link.end(CLOSE_COPIED, copiedReason(this.#self.host_name))
        break
      case 'admit':
        this.#admit(link, peer)
        break
      case 'role-changed':
        link.end(CLOSE_FALSE_CLAIM, 'another role than before in the same boot')
        current?.end(CLOSE_FALSE_CLAIM, 'another role in the same boot')
        break
      case 'refuse':
        link.end(CLOSE.twice, 'already connected')
        break
      case 'replace':
        current?.end(CLOSE.twice, 'the other connection is kept')
        this.#replace(link, peer)
        break
      case 'probe':
      case 'probe-copied':
        void this.#probe(current, link, peer, verdict === 'probe-copied')
        break
    }
  }

  /** Keeps the current link if it still answers, else takes the new one. */
  async #probe(
    current: Link | undefined,
    link: Link,
    peer: Peer,
    isOtherBoot: boolean,
  ): Promise<void> {
    link.pause()
    const isAlive = (await current?.isAlive(PROBE_MS)) ?? false
    if (link.ending !== undefined) return
    link.resume()
    const now = this.#current.get(peer.nodeId)
    if (now !== undefined && now !== current) {
      link.end(CLOSE.twice, 'yet another connection was kept')
      return
    }
    if (isAlive && isOtherBoot) {
      const reason = copiedReason(current?.peer?.hostName ?? peer.hostName)
      this.#options.log.warn('two nodes with one id', { peer: peer.hostName, reason })
      link.end(CLOSE_COPIED, reason)
      return
    }
    if (isAlive) {
      link.end(CLOSE.twice, 'already connected')
      return
    }
    current?.terminate('half open: a new connection came and this one does not answer')
    this.#replace(link, peer)
  }

  /** Takes `link` in place of one that has been ended. The role hears of both, in order. */
  #replace(link: Link, peer: Peer): void {
    const old = this.#current.get(peer.nodeId)
    if (old !== undefined)
      this.#leave(old, { clean: false, isTheirs: false, code: 0, why: 'replaced' })
    this.#admit(link, peer)
  }

  #admit(link: Link, peer: Peer): void {
    this.#current.set(peer.nodeId, link)
    this.#options.log.info('connected', {
      peer: peer.hostName,
      role: peer.role,
      address: peer.address,
      dialled: link.isOurs,
    })
    this.#role?.peerConnected(peer)
    this.#settle(link, E.right(peer.nodeId))
  }

  #dispatch<K extends Kind>(
    link: Link,
    kind: K,
    body: RequestOf<K>,
    respond: Respond<K>,
  ): void {
    const { peer } = link
    const handler: Handlers<Peer>[K] | undefined = this.#role?.handlers[kind]
    if (peer !== undefined && handler !== undefined) handler(body, respond, peer)
    else respond('Error', { code: 'wrong-role', message: `${kind} is not served here` })
  }

  #ended(link: Link, ending: Ending): void {
    this.#links.delete(link)
    this.#crowd.leave(link.party.nodeId)
    const { dialledUrl: url = '' } = link
    this.#settle(link, E.left({ kind: 'refused', url, reason: ending.why }))
    this.#leave(link, ending)
    if (ending.code === CLOSE_COPIED && ending.isTheirs && this.#closed === undefined)
      this.#options.onFatal(ending.why)
  }

  #settle(link: Link, result: Either<DialFailure, NodeId>): void {
    this.#connecting.get(link)?.(result)
    this.#connecting.delete(link)
  }

  /** If it was the node's current link, the node is lost: the role hears it, and it is dialled again. */
  #leave(link: Link, { clean, why, isExpelled }: Ending): void {
    const { peer } = link
    if (peer === undefined || this.#current.get(peer.nodeId) !== link) return
    this.#current.delete(peer.nodeId)
    this.#options.log.info('disconnected', { peer: peer.hostName, why })
    this.#role?.peerLost(peer, { clean, ...(isExpelled && { isExpelled }) })
    if (this.#closed !== undefined || !this.#options.keeps.includes(peer.role)) return
    this.#dialler.lost(peer.nodeId)
    // It may have dialled us: then its own address is all there is to try.
    if (peer.address !== undefined) this.offer({ url: peer.address, nodeId: peer.nodeId })
  }
}

const pairedLink = (link: Link & { readonly peer?: Peer | undefined }) => {
  const { peer, isOurs, openedAtMs } = link
  const { role } = link.party
  const nodeId = peer?.nodeId ?? link.party.nodeId
  return { peer: { nodeId, role, bootId: peer?.bootId ?? '' }, isOurs, openedAtMs }
}

const copiedReason = (hostName: string): string =>
  `a living node has this node's id (${hostName}): its state directory was copied; use another --state`
