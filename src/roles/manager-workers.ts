// A manager's conversation with its workers: relationships with their leases, assignments,
// aborts, questions. A worker is found by `rel`, which every message carries; the guest of
// a node has its own, over that node's connection.

import type { InventoryEntry, Kind, RequestOf, Respond } from '../../protocol/index.ts'
import { NodeId } from '../../protocol/index.ts'
import { believed } from '../machines/claims.ts'
import {
  leaseLeftMs,
  type Relationship,
  type RosterEffect,
  type RosterEvent,
  stepRoster,
  stranger,
} from '../machines/roster.ts'
import type { TaskEffect } from '../machines/task-events.ts'
import type { Worker } from '../machines/task-record.ts'
import type { Cancel, Loss, Peer, Settle } from '../ports.ts'
import { WorkerAsks } from './manager-asks.ts'
import type { Kernel } from './manager-kernel.ts'

/** A node that was, is, or wants to be a worker here. */
export interface Entry {
  readonly nodeId: string
  state: Relationship
  /** The connection it came by last. */
  peer: Peer | undefined
  /** When a message with the right rel came last. */
  heardAtMs: number
  lease: Cancel | undefined
  /** Inventory pages so far. */
  pages: InventoryEntry[]
  /** Counts its lost connections, so that an old probe's answer is not taken for a new one's. */
  losses: number
}

const NEVER = Number.NEGATIVE_INFINITY
/** Inventory entries that are taken before a worker is told to come with less. */
const MAX_INVENTORY = 200_000
/** A timer this late means that this process was stopped, not that its workers are gone. */
const LATE_MS = 1_000
/** How often a lost worker's port is looked at, at most. */
const PROBES = 10
/** Nodes that are remembered before those that are gone are cleared away. */
const MAX_ENTRIES = 1_000

type ManagerRequest = RequestOf<'ManagerRequest'>

export class ManagerWorkers {
  readonly asks: WorkerAsks
  readonly #kernel: Kernel
  readonly #entries = new Map<string, Entry>()
  readonly #byRel = new Map<string, Entry>()

  constructor(kernel: Kernel) {
    this.#kernel = kernel
    this.asks = new WorkerAsks(kernel, (...asked) => this.#ask(...asked))
  }

  /** The worker of a living relationship, if `from` is its other end. It counts as heard. */
  managed(rel: string, from: Peer): Worker | undefined {
    const entry = this.#byRel.get(rel)
    if (entry === undefined || entry.peer !== from) return undefined
    if (entry.state.kind !== 'managing' || entry.state.rel !== rel) return undefined
    entry.heardAtMs = this.#kernel.deps.clock.now()
    return this.#kernel.table.worker(entry.nodeId)
  }

  /** Where to ask about something that a node keeps, if it is managed now. */
  reach(nodeId: string): { readonly peerId: string; readonly rel: string } | undefined {
    const entry = this.#entries.get(nodeId)
    if (entry?.peer === undefined || entry.state.kind !== 'managing') return undefined
    return { peerId: entry.peer.nodeId, rel: entry.state.rel }
  }

  /** Is a node that cannot be asked now to be expected back: its lease runs, or it was not heard of since the start? */
  mayReturn(nodeId: string): boolean {
    const { deps, config, sinceMs } = this.#kernel
    const kind = this.#entries.get(nodeId)?.state.kind ?? 'known'
    if (kind !== 'known') return true
    const heardAtMs = this.#entries.get(nodeId)?.heardAtMs ?? NEVER
    return heardAtMs === NEVER && deps.clock.now() - sinceMs < config.returnMs
  }

  /** Workers known from the ledger: awaited for a lease, and for as long as they pause between dials. */
  awaitRestored(): void {
    const { managerLeaseMs, returnMs } = this.#kernel.config
    const longerMs = Math.max(0, returnMs - managerLeaseMs)
    for (const worker of this.#kernel.table.workers()) {
      const entry = this.#entryOf(worker.nodeId)
      entry.state = { kind: 'suspect', bootId: worker.bootId, rel: '' }
      entry.heardAtMs = this.#kernel.deps.clock.now() + longerMs
      this.#watchLease(entry)
    }
  }

  onManagerRequest(
    body: ManagerRequest,
    respond: Respond<'ManagerRequest'>,
    from: Peer,
  ): void {
    const nodeId = body.guest === undefined ? from.nodeId : `${from.nodeId}/${body.guest}`
    if (body.settle === true) {
      this.#settle(nodeId, body, respond, from)
      return
    }
    const entry = this.#entryOf(nodeId)
    if (entry.peer !== from) entry.pages = []
    entry.peer = from
    entry.heardAtMs = this.#kernel.deps.clock.now()
    entry.pages.push(...body.tasks)
    if (entry.pages.length > MAX_INVENTORY) {
      entry.pages = []
      const reason = `an inventory of more than ${MAX_INVENTORY} tasks`
      respond('ManagerAnswer', { accepted: false, reason, retry_after_ms: 10_000 })
      return
    }
    if (body.more) {
      respond('ManagerAnswer', { accepted: false, continue: true })
      return
    }
    const inventory = entry.pages
    entry.pages = []
    this.#request(entry, { ...body, tasks: inventory }, respond, from)
  }

  /** Lost workers of that node: what waits for the end of their earlier boot waits no more. */
  peerConnected({ nodeId, bootId }: Peer): void {
    const { table, run, at } = this.#kernel
    for (const worker of table.workers()) {
      const isThere = worker.nodeId === nodeId || worker.nodeId.startsWith(`${nodeId}/`)
      if (isThere && worker.status === 'lost')
        run({ kind: 'reborn', worker, bootId, ...at() })
    }
  }

  onManagerBye({ rel, reason }: RequestOf<'ManagerBye'>, from: Peer): void {
    const entry = this.#byRel.get(rel)
    if (entry?.peer === from) this.#step(entry, { kind: 'bye', rel })
    else if (entry === undefined && reason !== undefined) this.#declined(from, reason)
  }

  /** A worker that never was ours says why it will not be. */
  #declined(from: Peer, reason: string): void {
    const { peers, deps } = this.#kernel
    const contact = peers.get(from)
    if (contact === undefined || contact.declines !== undefined) return
    contact.declines = reason
    deps.log.warn('worker-declines', { worker: from.hostName, reason })
    this.#kernel.turn()
  }

  peerLost(peer: Peer, { clean, isExpelled }: Loss): void {
    for (const entry of this.#entries.values()) {
      if (entry.peer !== peer) continue
      entry.peer = undefined
      entry.pages = []
      entry.losses += 1
      this.#step(entry, { kind: 'closed', clean }, peer)
      if (isExpelled) this.#step(entry, { kind: 'expelled' }, peer)
      if (entry.state.kind === 'known') this.#forgetIfStranger(entry)
    }
  }

  close(): void {
    for (const entry of this.#entries.values()) entry.lease?.()
  }

  /** Asks in the relationship as it is now; an answer for an earlier one is not heard. */
  #ask<K extends Kind>(
    worker: Worker,
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    settle: Settle<K>,
  ): void {
    const entry = this.#entries.get(worker.nodeId)
    const { peer, state } = entry ?? {}
    if (entry === undefined || peer === undefined || state?.kind !== 'managing') return
    const { rel } = state
    this.#kernel.deps.mesh.ask(peer.nodeId, kind, body, timeoutMs, (outcome) => {
      const isCurrent = entry.state.kind === 'managing' && entry.state.rel === rel
      if (!isCurrent || entry.peer !== peer) return
      if (outcome._tag === 'Right') {
        const said: string = outcome.right.kind
        entry.heardAtMs = this.#kernel.deps.clock.now()
        if (said === 'NotMine') this.#step(entry, { kind: 'not-mine', rel })
      } else if (outcome.left.kind === 'protocol')
        this.#kernel.deps.log.error('protocol', { exchange: kind, peer: peer.hostName })
      settle(outcome)
    })
  }

  #request(
    entry: Entry,
    body: ManagerRequest,
    respond: Respond<'ManagerRequest'>,
    from: Peer,
  ): void {
    const { deps, config } = this.#kernel
    const event: RosterEvent = {
      kind: 'request',
      bootId: from.bootId,
      rel: body.rel,
      newRel: deps.random.hex(8),
      objection: this.#objection(from, body.guest),
    }
    let drop: { task_id: string; attempt: number }[] = []
    const later: TaskEffect[] = []
    this.#step(
      entry,
      event,
      from,
      (effect) => {
        if (effect.kind === 'reconcile') {
          const { rel, reborn } = effect
          this.#byRel.set(rel, entry)
          const said = claimsOf(entry.nodeId, rel, body, from)
          const claims = believed(said, from.issued, config)
          const inventory = body.tasks
          const at = this.#kernel.at()
          this.#kernel.run(
            { kind: 'reconcile', claims, inventory, reborn, ...at },
            (its) => {
              if (its.kind === 'drop') drop = [...its.drops]
              else if (its.kind === 'execute' || its.kind === 'abort') later.push(its)
              else return false
              return true
            },
          )
          return true
        }
        if (effect.kind !== 'accept') return false
        const { rel, resumed } = effect
        const { epoch } = deps.ledger
        const { pingMs: ping_ms, workerLeaseMs: lease_ms } = config
        const page = drop.slice(0, 1000)
        respond('ManagerAnswer', {
          accepted: true,
          rel,
          epoch,
          ping_ms,
          lease_ms,
          resumed,
          drop: page,
        })
        deps.log.info('managing', { worker: from.hostName, resumed })
        // Drops beyond the page are said as aborts: they end in the same tombstones.
        this.#abortMore(entry.nodeId, rel, drop.slice(1000))
        for (const its of later) this.#send(its)
        return true
      },
      (reason) =>
        respond('ManagerAnswer', { accepted: false, reason, retry_after_ms: 5_000 }),
    )
    this.#watchLease(entry)
  }

  #abortMore(
    nodeId: string,
    rel: string,
    tasks: { task_id: string; attempt: number }[],
  ): void {
    const worker = this.#kernel.table.worker(nodeId)
    for (let i = 0; worker !== undefined && i < tasks.length; i += 1000) {
      const page = tasks.slice(i, i + 1000)
      this.#ask(worker, 'TasksAbord', { rel, tasks: page }, 30_000, () => {})
    }
  }

  #send(effect: TaskEffect): void {
    if (effect.kind === 'execute') this.asks.execute(effect.worker, effect.tasks)
    if (effect.kind === 'abort') this.asks.abort(effect.worker, effect.tasks)
  }

  #objection(from: Peer, guest: string | undefined): string | undefined {
    const { config, isClosing } = this.#kernel
    if (guest !== undefined && !NodeId.is(`${from.nodeId}/${guest}`))
      return 'a guest needs a name of letters, digits, and . - _'
    if (isClosing) return 'it is shutting down'
    if (config.workers !== undefined && !config.workers.includes(from.hostName))
      return 'not one of the workers that this manager takes'
    return undefined
  }

  #settle(
    nodeId: string,
    body: ManagerRequest,
    respond: Respond<'ManagerRequest'>,
    { bootId }: Peer,
  ): void {
    const { run, at } = this.#kernel
    let drop: { task_id: string; attempt: number }[] = []
    const { tasks: inventory, more } = body
    const its = { nodeId, bootId, inventory, isWhole: !more }
    run({ kind: 'settle', ...its, ...at() }, (effect) => {
      if (effect.kind === 'drop') drop = [...effect.drops]
      return effect.kind === 'drop' || effect.kind === 'ack'
    })
    const answer = { accepted: false, drop, ...(body.more && { continue: true }) }
    this.#kernel.afterCommit(() => respond('ManagerAnswer', answer))
  }

  #step(
    entry: Entry,
    event: RosterEvent,
    peer: Peer | undefined = entry.peer,
    own?: (effect: RosterEffect) => boolean,
    refuse?: (reason: string) => void,
  ): void {
    const before = entry.state
    const [state, effects] = stepRoster(before, event)
    entry.state = state
    if (before.kind !== 'known' && (state.kind === 'known' || state.rel !== before.rel))
      this.#byRel.delete(before.rel)
    for (const effect of effects)
      if (own?.(effect) !== true) this.#perform(entry, effect, peer, refuse)
    this.#kernel.turn()
  }

  #perform(
    entry: Entry,
    effect: RosterEffect,
    peer: Peer | undefined,
    refuse?: (reason: string) => void,
  ): void {
    const { deps, run, at, table } = this.#kernel
    const worker = table.worker(entry.nodeId)
    switch (effect.kind) {
      case 'refuse':
        refuse?.(effect.reason)
        return
      case 'suspect':
        deps.log.info('suspect', { worker: worker?.hostName })
        worker && run({ kind: 'suspect', worker, ...at() })
        return
      case 'probe':
        peer && this.#probe(entry, peer)
        return
      case 'terminate':
        if (entry.peer !== undefined) deps.mesh.terminate(entry.peer.nodeId, effect.why)
        return
      case 'lose': {
        entry.lease?.()
        deps.log.warn('worker-lost', {
          worker: worker?.hostName,
          certain: effect.certain,
        })
        const cost = effect.certain ? 'certain' : 'pending'
        worker && run({ kind: 'lost', worker, cost, ...at() })
        // It may be connected in another boot, and serve another manager.
        for (const other of this.#kernel.peers.keys())
          if (entry.nodeId.startsWith(other.nodeId)) this.peerConnected(other)
        return
      }
      case 'release':
        entry.lease?.()
        deps.log.info('worker-left', { worker: worker?.hostName })
        worker && run({ kind: 'lost', worker, cost: 'none', ...at() })
        return
      case 'reconcile':
      case 'accept':
        return // performed where the request is answered
    }
  }

  /**
   * Is its process gone? Its port refuses twice in a row, a moment apart: then nobody will
   * be back. A dying process may lose its connections before its port, so a port that still
   * accepts is looked at again, for as long as a second.
   */
  #probe(entry: Entry, peer: Peer): void {
    const port = peer.introduction.listen_port
    if (port === undefined) return
    const { mesh, clock } = this.#kernel.deps
    const { probeGapMs } = this.#kernel.config
    const mine = entry.losses
    const dial = (left: number, refusals: number): void =>
      mesh.isRefused(peer.remoteAddress, port, (isRefused) => {
        const isOver = this.#kernel.isClosing || entry.losses !== mine
        if (isOver || entry.peer !== undefined) return
        if (isRefused && refusals === 1) return this.#step(entry, { kind: 'refused' })
        if (left > 0) clock.after(probeGapMs, () => dial(left - 1, isRefused ? 1 : 0))
      })
    dial(PROBES - 1, 0)
  }

  #watchLease(entry: Entry): void {
    entry.lease?.()
    if (entry.state.kind === 'known') return
    const { clock } = this.#kernel.deps
    const { managerLeaseMs } = this.#kernel.config
    const leftMs = Math.max(1, leaseLeftMs(entry.heardAtMs, managerLeaseMs, clock.now()))
    const dueMs = clock.now() + leftMs
    entry.lease = clock.after(leftMs, () => {
      // Stopped or asleep itself, it heard nobody: what they said meanwhile comes first.
      const lateMs = clock.now() - dueMs
      if (lateMs > LATE_MS) entry.heardAtMs += lateMs + LATE_MS
      const left = leaseLeftMs(entry.heardAtMs, managerLeaseMs, clock.now())
      if (left > 0) return this.#watchLease(entry)
      this.#step(entry, { kind: 'lease-over' })
    })
  }

  #entryOf(nodeId: string): Entry {
    let entry = this.#entries.get(nodeId)
    if (entry === undefined) {
      entry = {
        nodeId,
        state: stranger,
        peer: undefined,
        heardAtMs: NEVER,
        lease: undefined,
        pages: [],
        losses: 0,
      }
      if (this.#entries.size >= MAX_ENTRIES) this.#forgetStrangers()
      this.#entries.set(nodeId, entry)
    }
    return entry
  }

  #forgetStrangers(): void {
    for (const entry of this.#entries.values())
      if (entry.state.kind === 'known' && entry.peer === undefined)
        this.#forgetIfStranger(entry)
  }

  /** Nodes that never were workers here, or that the table has forgotten, leave no trace. */
  #forgetIfStranger(entry: Entry): void {
    if (this.#kernel.table.worker(entry.nodeId) === undefined)
      this.#entries.delete(entry.nodeId)
  }
}

const claimsOf = (nodeId: string, rel: string, body: ManagerRequest, from: Peer) => ({
  nodeId,
  rel,
  hostName: body.guest === undefined ? from.hostName : `${from.hostName}.${body.guest}`,
  address: from.address,
  bootId: from.bootId,
  cores: body.cores,
  memory: body.memory,
  kinds: body.specs?.kinds,
  labels: body.specs?.labels,
  resources: body.specs?.resources,
})
