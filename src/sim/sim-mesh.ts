// The mesh as one life sees it: who is connected, one connection per pair, and dialling
// again what was lost, as src/mesh does it over sockets. A role cannot tell the two apart.

import * as E from 'fp-ts/lib/Either.js'
import {
  type Handlers,
  type Introduction,
  isDenied,
  type Kind,
  type NodeId,
  type NodeType,
  type RequestOf,
  type Respond,
} from '../../protocol/index.ts'
import { judgePair, PROBE_MS } from '../mesh/pairs.ts'
import type { Mesh, Peer, Settle } from '../ports.ts'
import type { AskBook } from './ask-book.ts'
import { End, type EndOwner } from './connection.ts'
import type { Life } from './life.ts'
import type { Paths } from './paths.ts'
import type { SimRandom } from './random.ts'
import { ObjectTalk, type TalkOptions, WireTalk } from './talk.ts'

/** What a mesh needs of the role that it serves. */
export interface SimRole {
  readonly handlers: Handlers<Peer>
  peerConnected(peer: Peer): void
  peerLost(peer: Peer, how: { readonly clean: boolean }): void
}

/** A machine of the simulated network. */
export interface Machine {
  readonly name: string
  readonly nodeId: NodeId
  /** Without power nothing answers, not even with a refusal. */
  readonly hasPower: boolean
  /** The mesh of the process that listens there; undefined: connections are refused. */
  readonly mesh: SimMesh | undefined
}

/** What all meshes of a world share. */
export interface Network {
  readonly paths: Paths
  readonly chunkMs: number
  machine(name: string): Machine | undefined
  /** The kind of the next connection. */
  talk(options: TalkOptions): ObjectTalk | WireTalk
  /** Every connection that is made, for those who break them. */
  joined(dialled: End, accepted: End): void
  readonly book: AskBook | undefined
}

/** The first pause of a dialler, doubling to the longest. */
const PAUSE_MS = { first: 500, longest: 10_000 }
/** How long a dialler waits for a machine that says nothing. */
const DIAL_MS = 5000

interface Target {
  readonly name: string
  /** Known from the start, where the real dialler learns it at the first connection. */
  readonly nodeId: NodeId | undefined
  /** In vain, it is not tried again. */
  readonly isOnce: boolean
  state: 'dialling' | 'waiting' | 'connected'
  failures: number
  end: End | undefined
  pause: (() => void) | undefined
}

export class SimMesh implements Mesh, EndOwner {
  readonly life: Life
  readonly name: string
  readonly #network: Network
  readonly #own: Introduction
  readonly #random: SimRandom
  readonly #current = new Map<NodeId, End>()
  readonly #ends = new Set<End>()
  readonly #targets: Target[] = []
  readonly #rels = new Map<NodeId, string>()
  #role: SimRole | undefined

  constructor(network: Network, life: Life, own: Introduction, random: SimRandom) {
    this.#network = network
    this.life = life
    this.name = life.node
    this.#own = own
    this.#random = random
  }

  get role(): NodeType {
    return this.#own.node_type
  }

  /** Serves with `role`, and keeps a connection to each of `targets`. In a turn of its life. */
  open(role: SimRole, targets: readonly string[]): void {
    this.#role = role
    for (const name of targets) {
      const target = this.#target(name, false)
      this.#targets.push(target)
      this.#dial(target)
    }
  }

  #target(name: string, isOnce: boolean): Target {
    const nodeId = this.#network.machine(name)?.nodeId
    const rest = { failures: 0, end: undefined, pause: undefined } as const
    return { name, nodeId, isOnce, state: 'waiting', ...rest }
  }

  dial(address: string): void {
    this.#dial(this.#target(address, true))
  }

  /** The ends of all its connections that have not ended. */
  get ends(): IterableIterator<End> {
    return this.#ends.values()
  }

  isConnected(nodeId: NodeId): boolean {
    return this.#current.has(nodeId)
  }

  readonly ask = <K extends Kind>(
    to: NodeId,
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    settle: Settle<K>,
  ): void => {
    const end = this.#current.get(to)
    const { book } = this.#network
    const ask =
      book?.asked(this.life, kind, body, end?.peer?.hostName ?? to, timeoutMs) ?? 0
    const heard = kind === 'ManagerRequest' ? this.#noting(to, settle) : settle
    const told = book === undefined ? heard : book.settling(this.life, ask, heard)
    if (end === undefined)
      this.life.tick(() => told(E.left({ kind: 'unreachable', exchange: kind })))
    else end.talk.ask(kind, body, timeoutMs, told, ask)
  }

  /** The relationship in which a manager took this node last; undefined: in none. */
  relOf(manager: NodeId): string | undefined {
    return this.#rels.get(manager)
  }

  #noting<K extends Kind>(to: NodeId, settle: Settle<K>): Settle<K> {
    return (outcome) => {
      // Its own row's answers alone can come; the compiler cannot carry that over.
      const told = outcome as Parameters<Settle<'ManagerRequest'>>[0]
      const answer = E.isRight(told) ? told.right : undefined
      if (answer?.kind === 'ManagerAnswer' && answer.body.rel !== undefined)
        this.#rels.set(to, answer.body.rel)
      settle(outcome)
    }
  }

  terminate(nodeId: NodeId): void {
    this.#current.get(nodeId)?.finish({ clean: false, isTold: false })
  }

  redial(nodeId: NodeId): void {
    for (const target of this.#targets)
      if (target.nodeId === nodeId && target.state === 'waiting') this.#dial(target)
  }

  isRefused(host: string, _port: number, settle: (isRefused: boolean) => void): void {
    const { out, back } = this.#paths(host)
    this.life.input(out.delayMs() + back.delayMs(), () => {
      const machine = this.#network.machine(host)
      if (out.isBlocked || back.isBlocked || machine?.hasPower !== true)
        this.life.input(PROBE_MS, () => settle(false))
      else settle(machine.mesh === undefined)
    })
  }

  #paths(name: string) {
    const { paths } = this.#network
    return { out: paths.get(this.name, name), back: paths.get(name, this.name) }
  }

  #dial(target: Target): void {
    target.pause?.()
    target.pause = undefined
    target.state = 'dialling'
    const { out, back } = this.#paths(target.name)
    this.life.input(out.delayMs() + back.delayMs(), () => {
      const machine = this.#network.machine(target.name)
      if (out.isBlocked || back.isBlocked || machine?.hasPower !== true)
        this.life.input(DIAL_MS, () => this.#failed(target))
      else if (machine.mesh === undefined) this.#failed(target)
      else this.#join(target, machine.mesh)
    })
  }

  #join(target: Target, far: SimMesh): void {
    const { out, back } = this.#paths(target.name)
    const { chunkMs } = this.#network
    const ours = new End({ owner: this, out, isOurs: true, chunkMs })
    const theirs = new End({ owner: far, out: back, isOurs: false, chunkMs })
    const isWire = this.#network.talk({
      end: ours,
      own: this.#own,
      dispatch: this.dispatch,
    })
    ours.join(theirs, isWire)
    const talk = isWire instanceof WireTalk ? WireTalk : ObjectTalk
    theirs.join(ours, new talk({ end: theirs, own: far.#own, dispatch: far.dispatch }))
    target.end = ours
    this.#ends.add(ours)
    far.#ends.add(theirs)
    this.#network.joined(ours, theirs)
    ours.talk.start()
    theirs.life.input(0, () => {
      if (theirs.state !== 'ended') theirs.talk.start()
    })
  }

  #failed(target: Target): void {
    target.end = undefined
    if (target.isOnce) return
    const { nodeId } = target
    // Another connection to it may have been kept instead of this one.
    if (nodeId !== undefined && this.#current.has(nodeId)) {
      target.state = 'connected'
      target.failures = 0
      return
    }
    const full = Math.min(PAUSE_MS.longest, PAUSE_MS.first * 2 ** target.failures)
    target.failures = Math.min(target.failures + 1, 10)
    target.state = 'waiting'
    const pauseMs = full * (0.75 + this.#random.fraction() / 2)
    target.pause = this.life.clock.after(pauseMs, () => this.#dial(target))
  }

  introduced(end: End): void {
    const { peer } = end
    if (peer === undefined) return
    const current = this.#current.get(peer.nodeId)
    const self = { nodeId: this.#own.node_id, bootId: this.#own.boot_id }
    const verdict = judgePair(self, current && pairedEnd(current), pairedEnd(end))
    switch (verdict) {
      case 'admit':
        this.#admit(end, peer)
        return
      case 'refuse':
        end.finish({ clean: false, isTold: false })
        return
      case 'replace':
        current?.finish({ clean: false, isTold: false })
        this.#replace(end, peer)
        return
      case 'probe':
      case 'probe-copied':
        if (current !== undefined) this.#probe(current, end, peer)
        return
      default:
        throw new Error(`${this.name} and ${peer.hostName}: ${verdict}`)
    }
  }

  #replace(end: End, peer: Peer): void {
    const old = this.#current.get(peer.nodeId)
    if (old !== undefined) this.#leave(old, false)
    this.#admit(end, peer)
  }

  /** Keeps the current connection if it still answers, else takes the new one. */
  #probe(current: End, end: End, peer: Peer): void {
    end.pause()
    const far = current.other
    const { out, back } = this.#paths(peer.hostName)
    const passes = !out.isBlocked && !back.isBlocked && !current.isSevered
    const answers = passes && far.state !== 'ended' && !far.life.isFrozen
    const answerMs = passes ? out.delayMs() + back.delayMs() : PROBE_MS
    this.life.input(Math.min(answerMs, PROBE_MS), () => {
      if (end.state === 'ended') return
      end.resume()
      const now = this.#current.get(peer.nodeId)
      const isOther = now !== undefined && now !== current
      if (isOther || (answers && current.state === 'open')) {
        end.finish({ clean: false, isTold: false })
        return
      }
      current.finish({ clean: false, isTold: false })
      this.#replace(end, peer)
    })
  }

  #admit(end: End, peer: Peer): void {
    this.#current.set(peer.nodeId, end)
    const target = this.#targets.find((one) => one.end === end)
    if (target !== undefined) {
      target.state = 'connected'
      target.failures = 0
    }
    this.#role?.peerConnected(peer)
  }

  ended(end: End, { clean }: { readonly clean: boolean }): void {
    this.#ends.delete(end)
    this.#leave(end, clean)
    const target = this.#targets.find((one) => one.end === end)
    if (target?.state === 'dialling') this.#failed(target)
  }

  /** If it was the node's current one, the node is lost: the role hears it, and it is dialled again. */
  #leave(end: End, clean: boolean): void {
    const { peer } = end
    if (peer === undefined || this.#current.get(peer.nodeId) !== end) return
    this.#current.delete(peer.nodeId)
    this.#role?.peerLost(peer, { clean })
    for (const target of this.#targets)
      if (target.nodeId === peer.nodeId && target.state === 'connected')
        this.#dial(target)
  }

  readonly dispatch = (
    end: End,
    kind: Kind,
    body: unknown,
    respond: Respond<Kind>,
    ask: number,
  ): void => {
    const { peer } = end
    const { book } = this.#network
    const answer =
      book === undefined || ask === 0
        ? respond
        : book.answering(this.life, ask, kind, body, respond)
    if (isDenied(end.denials, kind, answer)) return
    const handler: Handlers<Peer>[Kind] | undefined = this.#role?.handlers[kind]
    if (peer === undefined || handler === undefined) {
      answer('Error', { code: 'wrong-role' })
      return
    }
    // The body is of the row of `kind`: made by `ask`, or decoded.
    ;(handler as (body: unknown, respond: unknown, from: Peer) => void)(
      body,
      answer,
      peer,
    )
  }

  /** The process is over. */
  abandon(how: { readonly silent: boolean; readonly kept: number }): void {
    for (const end of this.#ends) end.abandon(how)
    this.#ends.clear()
  }
}

const pairedEnd = (end: End) => {
  const { peer, isOurs, openedAtMs } = end
  const { nodeId = '', bootId = '', role = 'client' } = peer ?? {}
  return { peer: { nodeId, bootId, role }, isOurs, openedAtMs }
}
