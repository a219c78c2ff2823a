// Worker link: performs what the relationship machine decides: asks managers with the
// inventory in pages, pings, says bye, keeps the machine's timers, and tells the rest of
// the worker what a relationship's beginning or end means for its work.

import type {
  AnswerOf,
  InventoryEntry,
  LedgerId,
  NodeId,
  Rel,
  RequestOf,
  TaskAttempt,
} from '../../protocol/index.ts'
import { INVENTORY_PAGE } from '../../protocol/index.ts'
import { ISSUER } from '../machines/claims.ts'
import {
  isFromManager,
  relationship,
  servedLedger,
  step,
} from '../machines/relationship.ts'
import type {
  Grant,
  Manager,
  Relationship,
  RelationshipEffect,
  RelationshipEvent,
  TimerName,
} from '../machines/relationship-state.ts'
import type { Cancel, Clock, Log, Mesh, Peer, Random } from '../ports.ts'
import type { WorkerConfig } from './worker-config.ts'
import type { Target } from './worker-delivery.ts'

/** What a worker says of itself in every ManagerRequest. */
export type Specs = Pick<RequestOf<'ManagerRequest'>, 'cores' | 'memory' | 'specs'>

export interface LinkPorts {
  readonly clock: Clock
  readonly random: Random
  readonly mesh: Mesh
  readonly log: Log
  readonly config: WorkerConfig
  readonly hasWork: (ledgerId: LedgerId) => boolean
  /** Told when it is certain of each task whether it is here: once, perhaps at once. */
  readonly inventory: (
    ledgerId: LedgerId,
    tell: (lines: readonly InventoryEntry[]) => void,
  ) => void
  readonly drop: (tasks: readonly TaskAttempt[]) => void
  readonly lease: (untilMs: number) => void
  readonly flush: (ledgerId: LedgerId) => void
  readonly end: (kind: 'orphan' | 'forget' | 'release', ledgerId: LedgerId) => void
  /** A manager that may not manage it: told once. */
  readonly passedOver?: (manager: Peer, reason: string) => void
}

/** How long a manager may take to answer a page of the inventory. */
const REQUEST_MS = 10_000
const BYE_MS = 2000
/** In a goodbye to whoever never managed it. */
const NO_REL = 'none'
const NOT_AUTHORISED =
  'its owner lets other managers manage it; the worker takes one more with --manager'

/** The claim of a configuration. */
export const specsOf = (config: WorkerConfig): Specs => ({
  cores: config.cores,
  memory: config.memoryBytes,
  specs: {
    kinds: [...config.kinds],
    // Its manager knows the issuer's from its certificate.
    labels: Object.fromEntries(
      Object.entries(config.labels).filter(([name]) => !name.startsWith(ISSUER)),
    ),
    resources: { ...config.resources },
    ...(config.networkSpeed === undefined ? {} : { network_speed: config.networkSpeed }),
  },
})

export class WorkerLink {
  readonly #ports: LinkPorts
  readonly #specs: Specs
  readonly #managers = new Map<Peer, Manager>()
  /** Managers that may not manage it, by node id. */
  readonly #passedOver = new Set<NodeId>()
  readonly #timers = new Map<TimerName, Cancel>()
  /** Effects to perform, and events that came meanwhile: one after the other. */
  readonly #events: RelationshipEvent[] = []
  #isStepping = false
  #connections = 0
  #state: Relationship
  #byes: (() => void)[] = []
  #openByes = 0

  /** `owner`: the ledger of unstarted work found on disk. */
  constructor(ports: LinkPorts, owner?: LedgerId) {
    this.#ports = ports
    this.#specs = specsOf(ports.config)
    const [state, effects] = relationship(owner)
    this.#state = state
    for (const effect of effects) this.#perform(effect)
  }

  get state(): Relationship {
    return this.#state
  }
  get isManaged(): boolean {
    return this.#state.phase.kind === 'managed'
  }
  /** Connected managers that may manage us, and their ledgers. */
  get managers(): IterableIterator<Manager> {
    return this.#managers.values()
  }
  get served(): LedgerId | undefined {
    return servedLedger(this.#state)
  }

  connected(peer: Peer): void {
    const manager = this.#eligible(peer)
    if (manager === undefined) return
    this.#managers.set(peer, manager)
    this.dispatch({ kind: 'connected', manager })
  }

  #eligible(peer: Peer): Manager | undefined {
    if (peer.role !== 'manager') return undefined
    const { managers } = this.#ports.config
    const { nodeId, bootId, hostName } = peer
    const isAuthorised =
      managers === undefined || managers.includes(nodeId) || managers.includes(hostName)
    const { ledger_id: ledgerId } = peer.introduction
    if (!isAuthorised || ledgerId === undefined) {
      this.#passOver(peer, isAuthorised ? 'it has no ledger' : NOT_AUTHORISED)
      return undefined
    }
    this.#connections += 1
    return { connection: this.#connections, nodeId, bootId, ledgerId }
  }

  /** The manager is told at each connection, the log of this worker once. */
  #passOver(manager: Peer, reason: string): void {
    const { nodeId, hostName } = manager
    if (!this.#passedOver.has(nodeId)) {
      this.#passedOver.add(nodeId)
      this.#ports.log.warn('manager-passed-over', { peer: hostName, reason })
      this.#ports.passedOver?.(manager, reason)
    }
    const bye = { rel: NO_REL, reason }
    this.#ports.mesh.ask(nodeId, 'ManagerBye', bye, BYE_MS, () => undefined)
  }

  lost(peer: Peer): void {
    const manager = this.#managers.get(peer)
    if (manager === undefined) return
    this.#managers.delete(peer)
    this.dispatch({ kind: 'lost', connection: manager.connection })
  }

  /** Did our manager send this, within the relationship? */
  isFromManager(peer: Peer, rel: Rel): boolean {
    const manager = this.#managers.get(peer)
    return manager !== undefined && isFromManager(this.#state, manager.connection, rel)
  }

  /** Is the peer a manager of that ledger that may manage us (now or earlier)? */
  ownsLedger(peer: Peer, ledgerId: LedgerId): boolean {
    return this.#managers.get(peer)?.ledgerId === ledgerId
  }

  /** Is the epoch that of the relationship, or a later one? */
  isCurrentEpoch(epoch: number): boolean {
    const { phase, epochs } = this.#state
    return phase.kind === 'managed' && epoch >= (epochs.get(phase.manager.ledgerId) ?? 0)
  }

  target(ledgerId: LedgerId): Target | undefined {
    const { phase } = this.#state
    return phase.kind === 'managed' && phase.manager.ledgerId === ledgerId
      ? { nodeId: phase.manager.nodeId, rel: phase.rel }
      : undefined
  }

  /** A manager that was taken out of the mesh: as if it had said bye. */
  expelled(peer: Peer): void {
    const { phase } = this.#state
    const bond = 'bond' in phase ? phase.bond : undefined
    if (bond?.rel !== undefined) this.bye(peer, bond.rel)
  }

  bye(peer: Peer, rel: Rel): void {
    const manager = this.#managers.get(peer)
    if (manager === undefined) return
    this.dispatch({ kind: 'bye', connection: manager.connection, rel })
  }

  /** Says bye to the manager, if there is one; `done` when it is answered or given up. */
  leave(done: () => void): void {
    this.dispatch({ kind: 'leave' })
    if (this.#openByes === 0) done()
    else this.#byes.push(done)
  }

  close(): void {
    for (const cancel of this.#timers.values()) cancel()
    this.#timers.clear()
  }

  dispatch(event: RelationshipEvent): void {
    this.#events.push(event)
    if (this.#isStepping) return
    this.#isStepping = true
    try {
      for (let next = this.#events.shift(); next; next = this.#events.shift()) {
        const before = this.#state.phase.kind
        const [state, effects] = step(this.#state, next, this.#facts())
        this.#state = state
        if (state.phase.kind !== before) this.#logPhase()
        for (const effect of effects) this.#perform(effect)
      }
    } finally {
      this.#isStepping = false
    }
  }

  #logPhase(): void {
    const { phase } = this.#state
    const manager = phase.kind === 'managed' ? this.#nameOf(phase.manager) : undefined
    this.#ports.log.info('relationship', { phase: phase.kind, manager })
  }

  #nameOf({ connection, nodeId }: Manager): string {
    for (const [peer, manager] of this.#managers)
      if (manager.connection === connection) return peer.hostName
    return nodeId
  }

  #facts() {
    const { clock, random, hasWork } = this.#ports
    return { nowMs: clock.now(), fraction: random.fraction(), hasWork }
  }

  #perform(effect: RelationshipEffect): void {
    const { mesh } = this.#ports
    switch (effect.kind) {
      case 'request':
        this.#request(effect.to, effect.serial, effect.rel)
        return
      case 'ping':
        this.#ping(effect.to, effect.rel, effect.t)
        return
      case 'bye':
        this.#sayBye(effect.to.nodeId, effect.rel, effect.reason)
        return
      case 'drop':
        this.#ports.drop(effect.tasks)
        return
      case 'lease':
        this.#ports.lease(effect.untilMs)
        return
      case 'flush':
        this.#ports.flush(effect.ledgerId)
        return
      case 'orphan':
      case 'forget':
      case 'release':
        this.#ports.log.warn('work-ended', { why: effect.kind, ledger: effect.ledgerId })
        this.#ports.end(effect.kind, effect.ledgerId)
        return
      case 'terminate':
        mesh.terminate(effect.nodeId, effect.why)
        return
      case 'redial':
        mesh.redial(effect.nodeId)
        return
      case 'timer':
        this.#setTimer(effect.name, effect.afterMs)
        return
      case 'untimer':
        this.#timers.get(effect.name)?.()
        this.#timers.delete(effect.name)
    }
  }

  #setTimer(name: TimerName, afterMs: number): void {
    this.#timers.get(name)?.()
    const cancel = this.#ports.clock.after(afterMs, () => {
      if (this.#timers.get(name) !== cancel) return
      this.#timers.delete(name)
      this.dispatch({ kind: 'timer', name })
    })
    this.#timers.set(name, cancel)
  }

  /** One snapshot, sent page by page: nothing is decided before the last. */
  #request(to: Manager, serial: number, rel: Rel | undefined): void {
    this.#ports.inventory(to.ledgerId, (lines) => this.#sendPage(to, serial, rel, lines))
  }

  #sendPage(
    to: Manager,
    serial: number,
    rel: Rel | undefined,
    lines: readonly InventoryEntry[],
  ): void {
    const { phase } = this.#state
    if (phase.kind !== 'requesting' || phase.serial !== serial) return // given up
    const tasks = lines.slice(0, INVENTORY_PAGE)
    const left = lines.slice(INVENTORY_PAGE)
    const more = left.length > 0
    const body = { ...this.#specs, tasks, more, ...(rel === undefined ? {} : { rel }) }
    const sentAtMs = this.#ports.clock.now()
    this.#ports.mesh.ask(to.nodeId, 'ManagerRequest', body, REQUEST_MS, (outcome) => {
      const answer = outcome._tag === 'Right' ? outcome.right : undefined
      const isTaken = answer?.kind === 'ManagerAnswer' && answer.body.continue === true
      if (more && isTaken) this.#sendPage(to, serial, rel, left)
      else this.#answered(to, serial, sentAtMs, answer)
    })
  }

  #answered(
    from: Manager,
    serial: number,
    sentAtMs: number,
    answer: AnswerOf<'ManagerRequest'> | undefined,
  ): void {
    const grant = answer?.kind === 'ManagerAnswer' ? grantOf(answer.body) : undefined
    if (grant !== undefined) {
      this.dispatch({ kind: 'accepted', from, serial, sentAtMs, grant })
      return
    }
    const retryAfterMs = answer?.body.retry_after_ms ?? 0
    this.dispatch({ kind: 'refused', serial, retryAfterMs })
  }

  #ping(to: Manager, rel: Rel, timeoutMs: number): void {
    const sentAtMs = this.#ports.clock.now()
    this.#ports.mesh.ask(to.nodeId, 'ManagerPing', { rel }, timeoutMs, (outcome) => {
      if (outcome._tag === 'Left') {
        // A lost socket is told by peerLost.
        if (outcome.left.kind === 'timeout') this.dispatch({ kind: 'ping-timeout', rel })
        return
      }
      const { kind } = outcome.right
      if (kind === 'ManagerPong') this.dispatch({ kind: 'pong', rel, sentAtMs })
      if (kind === 'NotMine') this.dispatch({ kind: 'not-mine', rel })
    })
  }

  #sayBye(nodeId: NodeId, rel: Rel, reason: string): void {
    this.#openByes += 1
    this.#ports.mesh.ask(nodeId, 'ManagerBye', { rel, reason }, BYE_MS, () => {
      this.#openByes -= 1
      if (this.#openByes > 0) return
      for (const done of this.#byes.splice(0)) done()
    })
  }
}

type ManagerAnswer = (AnswerOf<'ManagerRequest'> & { kind: 'ManagerAnswer' })['body']

/** What an answer grants; undefined: it refuses, or lacks what an acceptance must have. */
const grantOf = (body: ManagerAnswer): Grant | undefined => {
  const { accepted, rel, epoch, ping_ms: pingMs, lease_ms: leaseMs, drop = [] } = body
  if (!accepted || rel === undefined || epoch === undefined) return undefined
  if (pingMs === undefined || leaseMs === undefined || pingMs < 1) return undefined
  return { rel, epoch, pingMs, leaseMs, drop }
}
