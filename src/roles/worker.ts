// Worker: joins the worker's machines with its ports. It takes work from one manager at a
// time, runs it, and brings the outcomes back. Its parts: the link to its manager, orders
// (what is to be done), effects (doing it), runs, streams, reports, delivery, settlement,
// draining. Everything it knows of time and chance comes through ports, so that a
// simulator drives it unchanged.

import type {
  Handlers,
  InventoryEntry,
  LedgerId,
  TaskAttempt,
} from '../../protocol/index.ts'
import type { TaskEvent } from '../machines/worker-task.ts'
import { ledgerOf } from '../machines/worker-task.ts'
import { WorkerTasks } from '../machines/worker-tasks.ts'
import type {
  Clock,
  Jobs,
  Log,
  Loss,
  Mesh,
  Outbox,
  Peer,
  Random,
  Runner,
} from '../ports.ts'
import { KeptOutputs } from './kept-outputs.ts'
import type { WorkerConfig } from './worker-config.ts'
import { checkWorkerConfig } from './worker-config.ts'
import { WorkerDelivery } from './worker-delivery.ts'
import { WorkerDraining } from './worker-draining.ts'
import { WorkerEffects } from './worker-effects.ts'
import { workerHandlers } from './worker-handlers.ts'
import { specsOf, WorkerLink } from './worker-link.ts'
import { WorkerOrders } from './worker-orders.ts'
import { WorkerReports } from './worker-reports.ts'
import { WorkerRuns } from './worker-runs.ts'
import { WorkerSettlement } from './worker-settlement.ts'
import { WorkerStreams } from './worker-streams.ts'
import { WorkerTimers } from './worker-timers.ts'

export interface WorkerPorts {
  readonly clock: Clock
  readonly random: Random
  readonly mesh: Mesh
  readonly runner: Runner
  readonly jobs: Jobs
  readonly outbox: Outbox
  readonly log: Log
  readonly config: WorkerConfig
  /** A manager that may not manage this worker: told once of each. */
  readonly passedOver?: (manager: Peer, reason: string) => void
}

/** What a worker is busy with. */
export interface WorkerStatus {
  readonly running: number
  readonly pending: number
  readonly undelivered: number
  /** Outcomes that its manager could not read. */
  readonly parked: number
  readonly freeSlots: number
  /** The node id of its manager. */
  readonly manager: string | undefined
}

export class Worker {
  readonly handlers: Handlers<Peer>
  readonly #ports: WorkerPorts
  readonly #tasks: WorkerTasks
  readonly #timers: WorkerTimers
  readonly #outputs: KeptOutputs
  readonly #runs: WorkerRuns
  readonly #streams: WorkerStreams
  readonly #delivery: WorkerDelivery
  readonly #link: WorkerLink
  readonly #settlement: WorkerSettlement
  readonly #effects: WorkerEffects
  readonly #reports: WorkerReports
  readonly #draining: WorkerDraining
  #drained: Promise<void> | undefined
  #isClosed = false

  constructor(ports: WorkerPorts) {
    checkWorkerConfig(ports.config)
    const { clock, config } = ports
    this.#ports = ports
    const apply = (event: TaskEvent): void => this.#effects.apply(event)
    const isClosed = (): boolean => this.#isClosed
    this.#timers = new WorkerTimers(clock)
    this.#tasks = new WorkerTasks({
      ...config,
      pending: config.pendingLimit,
      finished: config.outcomeLimit,
      ...(config.runningLimit !== undefined && { running: config.runningLimit }),
    })
    this.#outputs = new KeptOutputs(clock, config.retention)
    this.#runs = new WorkerRuns({
      ...ports,
      outputs: this.#outputs,
      apply,
      attemptOf: (taskId) => this.#tasks.get(taskId)?.task.attempt,
    })
    this.#streams = new WorkerStreams({
      clock,
      outputs: this.#outputs,
      entry: (taskId) => this.#tasks.get(taskId),
      slot: (taskId) => this.#runs.slot(taskId),
    })
    this.#delivery = this.#makeDelivery()
    this.#link = this.#makeLink(this.#restore())
    this.#settlement = this.#makeSettlement()
    const parts = {
      ...ports,
      tasks: this.#tasks,
      timers: this.#timers,
      outputs: this.#outputs,
      runs: this.#runs,
      streams: this.#streams,
      delivery: this.#delivery,
      link: this.#link,
      entry: this.#tasks.get.bind(this.#tasks),
      apply,
      perform: (effects: Parameters<WorkerEffects['perform']>[0]) =>
        this.#effects.perform(effects),
      settled: () => this.#draining.look(),
      isClosed,
    }
    const orders = new WorkerOrders(parts)
    this.#reports = new WorkerReports(parts)
    this.#effects = new WorkerEffects({ ...parts, orders, reports: this.#reports })
    this.#draining = new WorkerDraining(parts)
    this.handlers = workerHandlers({ ...parts, orders })
  }

  get status(): WorkerStatus {
    const { phase } = this.#link.state
    return {
      running: this.#tasks.running,
      pending: this.#tasks.pending,
      undelivered: this.#tasks.finished,
      parked: this.#delivery.parked,
      freeSlots: this.#tasks.freeSlots,
      manager: phase.kind === 'managed' ? phase.manager.nodeId : undefined,
    }
  }

  /** A node was connected and introduced. */
  peerConnected(peer: Peer): void {
    if (this.#isClosed) return
    this.#link.connected(peer)
    this.#settle()
  }

  /** Its connection ended. */
  peerLost(peer: Peer, { isExpelled }: Loss): void {
    if (this.#isClosed) return
    if (isExpelled) this.#link.expelled(peer)
    this.#link.lost(peer)
  }

  /**
   * Leaves in good order: takes no new work, gives what runs `graceMs`, ends the rest,
   * delivers the outcomes, says bye. Resolves when done; the same promise if called again.
   */
  drain(graceMs: number): Promise<void> {
    this.#drained ??= new Promise((resolve) => this.leave(graceMs, resolve))
    return this.#drained
  }

  /** The same, without a promise. */
  leave(graceMs: number, done: () => void): void {
    this.#draining.drain(graceMs, done)
  }

  /** Ends at once: kills what runs, forgets every timer. The outbox stays its owner's. */
  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve()
    this.#isClosed = true
    this.#link.close()
    this.#settlement.close()
    this.#delivery.close()
    this.#runs.close()
    this.#outputs.close()
    this.#timers.close()
    this.#draining.look()
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Takes back what an earlier life left on disk; the ledger of what was not started. */
  #restore(): LedgerId | undefined {
    const left = this.#ports.outbox.load()
    this.#tasks.restore({
      pending: left.pending,
      outcomes: left.outcomes.map((one) => ({ kind: 'finished', ...one })),
    })
    for (const one of left.outcomes) this.#delivery.restore(one)
    const [unstarted] = left.pending
    return unstarted && ledgerOf(unstarted.task_id)
  }

  #makeDelivery(): WorkerDelivery {
    const { clock, mesh } = this.#ports
    return new WorkerDelivery({
      ...this.#ports,
      ask: mesh.ask,
      target: (ledgerId) => this.#link.target(ledgerId),
      acked: (taskId, attempt) =>
        this.#effects.apply({
          kind: 'acked',
          taskId,
          attempt,
          isDrop: false,
          nowMs: clock.now(),
        }),
      notMine: (rel) => this.#link.dispatch({ kind: 'not-mine', rel }),
      foreign: () => this.#settle(),
    })
  }

  #makeLink(owner: LedgerId | undefined): WorkerLink {
    const { clock } = this.#ports
    return new WorkerLink(
      {
        ...this.#ports,
        hasWork: (ledgerId) => this.#tasks.hasWork(ledgerId),
        inventory: (ledgerId, tell) => this.#tellInventory(ledgerId, tell),
        drop: (tasks) => this.#drop(tasks),
        lease: (untilMs) =>
          this.#effects.apply({ kind: 'lease', untilMs, nowMs: clock.now() }),
        flush: (ledgerId) => {
          this.#delivery.flush(ledgerId)
          this.#reports.flush(ledgerId)
          this.#settle()
        },
        end: (kind, ledgerId) =>
          this.#effects.apply({ kind, ledgerId, nowMs: clock.now() }),
      },
      owner,
    )
  }

  /**
   * What is being recorded belongs into it or not, by what comes of that: left out, its
   * manager would take it for not here, and it would run all the same.
   */
  #tellInventory(
    ledgerId: LedgerId,
    tell: (lines: readonly InventoryEntry[]) => void,
  ): void {
    if (!this.#tasks.hasUnrecorded(ledgerId)) tell(this.#tasks.inventory(ledgerId))
    else
      this.#ports.outbox.sync(() => {
        if (!this.#isClosed) tell(this.#tasks.inventory(ledgerId))
      })
  }

  #makeSettlement(): WorkerSettlement {
    const { clock, mesh, config } = this.#ports
    return new WorkerSettlement({
      clock,
      mesh,
      specs: specsOf(config),
      outcomesOf: (ledgerId) => this.#delivery.outcomesOf(ledgerId),
      openOf: (ledgerId) =>
        this.#tasks.hasUnrecorded(ledgerId)
          ? undefined
          : this.#tasks.inventory(ledgerId).filter(isOpen),
      wasServed: (ledgerId) => this.#link.state.epochs.has(ledgerId),
      isForeign: ({ connection, ledgerId }) => {
        const { served } = this.#link
        const isConnected = [...this.#link.managers].some(
          (manager) => manager.connection === connection,
        )
        return isConnected && served !== undefined && served !== ledgerId
      },
      drop: (tasks) => this.#drop(tasks),
    })
  }

  /** Hands outcomes of other ledgers to their managers, where they are connected. */
  #settle(): void {
    for (const manager of this.#link.managers) this.#settlement.consider(manager)
  }

  /** What a manager's answer says it has no more use for. */
  #drop(tasks: readonly TaskAttempt[]): void {
    const nowMs = this.#ports.clock.now()
    for (const { task_id: taskId, attempt } of tasks) {
      const entry = this.#tasks.get(taskId)
      // Of a finished one it may have the record already: its output stays for the retention.
      if (entry?.kind === 'finished' && entry.task.attempt <= attempt) {
        const { attempt: last } = entry.task
        this.#effects.apply({ kind: 'acked', taskId, attempt: last, isDrop: true, nowMs })
      } else this.#effects.apply({ kind: 'abort', taskId, attempt, nowMs })
    }
  }
}

const isOpen = ({ status }: InventoryEntry): boolean =>
  status !== 'Completed' && status !== 'Error'
