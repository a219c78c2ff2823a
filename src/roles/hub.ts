// Hub: every node of the mesh by its host_name, for clients that ask one place for all of
// them. It hands requests on as they are, each by itself: a host that is slow, hung or gone
// keeps no other waiting. It holds nothing that matters: what it knows, it sees.

import { denialOf } from '../../protocol/access.ts'
import { Alarm } from '../../protocol/alarm.ts'
import {
  type AnswerOf,
  type Handlers,
  isKind,
  type NodeInfo,
  packed,
  type RequestOf,
  type Respond,
  type Rights,
  rowOf,
} from '../../protocol/index.ts'
import type { AskFailure } from '../failures.ts'
import { HostBook } from '../machines/host-book.ts'
import type { Audit, Clock, Log, Loss, Mesh, Peer } from '../ports.ts'
import { cameNews, Events, leftNews } from './events.ts'
import type { HostAsk } from './host-requests.ts'
import { HubLists } from './hub-lists.ts'
import { takesHostRequests } from './hub-reads.ts'
import { HubRelays } from './hub-relays.ts'

export interface HubPorts {
  readonly clock: Clock
  readonly mesh: Pick<Mesh, 'ask' | 'terminate'>
  readonly log: Log
  readonly audit: Audit
  readonly self: Omit<NodeInfo, 'role' | 'state' | 'since_ms'>
  /** Asks this node itself. */
  readonly answerHere: (ask: HostAsk, respond: Respond<'HostRequest'>) => void
}

/** What comes of a request that is handed on. */
export type Forwarded = AnswerOf<'HubForward'>

/** Who wants it handed on. */
export interface Forwarding {
  readonly rights?: Rights | undefined
}

/** A request that a host has not answered yet. */
interface Pending {
  readonly hostName: string
  readonly withinMs: number
  readonly dueMs: number
  readonly done: (answer: Forwarded) => void
}

/** As long as a host may take at most. */
const LONGEST_MS = 60_000
/** A host always gets so long, however little patience the client has: three times too late, and it counts as hung. */
const PATIENCE_MS = 10_000
/** For what the host answers on its last moment. */
const GRACE_MS = 1000

export class Hub {
  readonly handlers: Handlers<Peer>
  readonly events: Events
  readonly lists: HubLists
  readonly #ports: HubPorts
  readonly #hosts = new HostBook<Peer>()
  readonly #relays: HubRelays
  readonly #since = new Map<Peer, number>()
  readonly #pending = new Set<Pending>()
  readonly #alarm: Alarm

  constructor(ports: HubPorts) {
    this.#ports = ports
    const sinceMs = ports.clock.wall()
    this.#alarm = new Alarm(ports.clock, (nowMs) => this.#due(nowMs))
    this.events = new Events(ports.clock, ports.self.boot_id, (topic) =>
      this.#relays.wanted(topic),
    )
    this.#relays = new HubRelays({ ...ports, events: this.events })
    this.lists = new HubLists({
      ...ports,
      hosts: this.#hosts,
      sinceOf: (node) => this.#since.get(node) ?? 0,
      // Its address is known once it listens: read anew at each use.
      get self(): NodeInfo {
        return { ...ports.self, role: 'hub', state: 'self', since_ms: sinceMs }
      },
    })
    this.handlers = {
      HubForward: (body, respond, from) =>
        this.forward(body, from, ({ kind, body: answer }) =>
          // An answer of this row, whose pairs of kind and body the compiler cannot follow.
          (respond as (kind: string, body: object) => void)(kind, answer),
        ),
      NodesList: (_body, respond, { rights }) =>
        this.lists.nodes(rights, (nodes) => respond('NodesListed', { nodes })),
      HubProcesses: (body, respond, { rights }) =>
        this.lists.processes(body, respond, rights),
      TasksList: (body, respond, { rights }) => this.lists.tasks(body, respond, rights),
      ...this.events.handlers,
    }
  }

  peerConnected(peer: Peer): void {
    if (peer.role === 'client') return
    const { mesh, log, audit, clock } = this.#ports
    const { hostName, role, nodeId: node_id } = peer
    if (!this.#hosts.came(peer)) {
      const reason = `another node is called ${hostName}`
      log.warn('refused', { peer: hostName, node_id, reason })
      audit.record('refused', { by: hostName, role, node_id, reason })
      mesh.terminate(node_id, reason)
      return
    }
    this.#since.set(peer, clock.wall())
    this.events.tell(cameNews(peer))
    this.#relays.came(peer)
  }

  peerLost(peer: Peer, how: Loss): void {
    this.#since.delete(peer)
    if (!this.#hosts.left(peer, this.#ports.clock.wall())) return
    this.events.tell(leftNews(peer, how))
    this.#relays.left(peer)
  }

  close(): void {
    this.#alarm.stop()
    this.#pending.clear()
    this.#relays.close()
    this.events.close()
  }

  /** Calls `done` once: with the host's answer, or why there is none. */
  forward(
    body: RequestOf<'HubForward'>,
    { rights }: Forwarding,
    done: (answer: Forwarded) => void,
  ): void {
    const { host_name: hostName, within_ms: withinMs, ...ask } = body
    const { self } = this.#ports
    const isHere = hostName === self.host_name
    const host = isHere ? undefined : this.#hosts.find(hostName)
    const role = isHere ? 'hub' : host?.role
    if (role === undefined) {
      done(this.#notThere(hostName))
      return
    }
    // Whatever is not signed in full is the hub's own word, and judged here.
    const no = isSigned(ask) ? undefined : readFault(ask, rights, { role, hostName })
    if (no !== undefined) {
      done(no)
      return
    }
    if (isHere) {
      this.#here(ask, done)
      return
    }
    if (host === undefined || !takesHostRequests(host)) {
      done(errorOf('wrong-role', `${hostName} takes no requests by way of a hub`))
      return
    }
    this.#ask(host, ask, Math.min(withinMs, LONGEST_MS), done)
  }

  #here(ask: HostAsk, done: (answer: Forwarded) => void): void {
    this.#ports.answerHere(ask, ((kind: string, body: object) =>
      done(
        handedBack({ kind, body } as AnswerOf<'HostRequest'>),
      )) as Respond<'HostRequest'>)
  }

  #ask(
    { nodeId, hostName }: Peer,
    ask: HostAsk,
    withinMs: number,
    done: (answer: Forwarded) => void,
  ): void {
    const { clock, mesh } = this.#ports
    const pending: Pending = { hostName, withinMs, dueMs: clock.now() + withinMs, done }
    this.#pending.add(pending)
    this.#alarm.by(pending.dueMs)
    const patienceMs = Math.max(withinMs, PATIENCE_MS) + GRACE_MS
    mesh.ask(nodeId, 'HostRequest', ask, patienceMs, (outcome) => {
      // Too late: it was told so.
      if (!this.#pending.delete(pending)) return
      done(
        outcome._tag === 'Right'
          ? handedBack(outcome.right)
          : this.#notAnswered(hostName, outcome.left),
      )
    })
  }

  /** Answers for those who did not in time; the next that is due. */
  #due(nowMs: number): number {
    let nextMs = Number.POSITIVE_INFINITY
    for (const pending of this.#pending) {
      const { hostName, withinMs, dueMs, done } = pending
      if (dueMs > nowMs) {
        nextMs = Math.min(nextMs, dueMs)
        continue
      }
      this.#pending.delete(pending)
      done(failed('deadline', `${hostName} did not answer in ${withinMs} ms`))
    }
    return nextMs
  }

  #notAnswered(hostName: string, { kind }: AskFailure): Forwarded {
    if (kind === 'timeout') return failed('deadline', `${hostName} did not answer`)
    if (kind === 'protocol')
      return failed('host-unreachable', `${hostName} answered what is not understood`)
    const gone = this.#hosts.goneOf(hostName)
    return failed(
      'host-unreachable',
      `the connection to ${hostName} ended`,
      gone?.sinceMs ?? this.#ports.clock.wall(),
    )
  }

  #notThere(hostName: string): Forwarded {
    const gone = this.#hosts.goneOf(hostName)
    return gone === undefined
      ? failed('unknown-host', `no node of this mesh is called ${hostName}`)
      : failed('host-unreachable', `${hostName} is not connected`, gone.sinceMs)
  }
}

const isSigned = ({ s, sig, cert_id }: HostAsk): boolean =>
  s !== undefined && sig !== undefined && cert_id !== undefined

/** A hub asks for itself what only reads, and only where its client may read. */
const readFault = (
  { kind = '' }: HostAsk,
  rights: Rights | undefined,
  to: Parameters<typeof denialOf>[2],
): Forwarded | undefined => {
  if (!isKind(kind) || rowOf(kind).scope !== 'read')
    return errorOf('forbidden', 'what does more than read has to be signed by its client')
  const denial = denialOf(kind, { role: 'client', rights }, to)
  if (denial !== undefined)
    return {
      kind: 'HubForwarded',
      body: { kind: denial.kind, body: packed(denial.body) },
    }
  if (rowOf(kind).isHere === true || rights?.get('read') === 'anywhere') return undefined
  return errorOf('forbidden', 'with a scope of some hosts alone, this has to be signed')
}

/** The host's answer, as its client gets it. */
export const handedBack = (answer: AnswerOf<'HostRequest'>): Forwarded => {
  if (answer.kind === 'HostAnswer') return { kind: 'HubForwarded', body: answer.body }
  if (answer.kind === 'CertificateNeeded') return answer
  return { kind: 'HubForwarded', body: { kind: 'Error', body: packed(answer.body) } }
}

const errorOf = (code: 'forbidden' | 'wrong-role', message: string): Forwarded => ({
  kind: 'HubForwarded',
  body: { kind: 'Error', body: packed({ code, message }) },
})

const failed = (
  reason: 'unknown-host' | 'host-unreachable' | 'deadline',
  message: string,
  sinceMs?: number,
): Forwarded => ({
  kind: 'HubFailed',
  body: { reason, message, ...(sinceMs !== undefined && { since_ms: sinceMs }) },
})
