// Worker: joins the worker's machines with its ports and gives the handlers of its
// exchanges. It takes work from one manager at a time, runs it, and brings the outcomes
// back. Everything it knows of time and chance comes through ports, so that a simulator
// drives it unchanged.

import type { Handlers, LedgerId, TaskAttempt, TaskId } from '../../protocol/index.ts'
import type { TaskEffect, TaskEvent } from '../machines/worker-task.ts'
import { ledgerOf } from '../machines/worker-task.ts'
import { WorkerTasks } from '../machines/worker-tasks.ts'
import type {
  Cancel,
  Clock,
  Jobs,
  Log,
  Mesh,
  Outbox,
  Peer,
  Random,
  Runner,
} from '../ports.ts'
import { KeptOutputs, parseRef } from './kept-outputs.ts'
import type { WorkerConfig } from './worker-config.ts'
import { checkWorkerConfig } from './worker-config.ts'
import { WorkerDelivery } from './worker-delivery.ts'
import { specsOf, WorkerLink } from './worker-link.ts'
import { WorkerOrders } from './worker-orders.ts'
import { WorkerRuns } from './worker-runs.ts'
import { WorkerSettlement } from './worker-settlement.ts'
import { WorkerStreams } from './worker-streams.ts'

export interface WorkerPorts {
  readonly clock: Clock
  readonly random: Random
  readonly mesh: Mesh
  readonly runner: Runner
  readonly jobs: Jobs
  readonly outbox: Outbox
  readonly log: Log
  readonly config: WorkerConfig
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

/** A start or a task that could not be recorded is tried again. */
const RECORD_RETRY_MS = 1000
/** Beyond the ladder's own grace, until a killed group must be gone. */
const KILL_SLACK_MS = 5000
/** How long a leaving worker tries to deliver what is left. */
const FLUSH_MS = 5000

export class Worker {
  readonly handlers: Handlers<Peer>
  readonly #ports: WorkerPorts
  readonly #tasks: WorkerTasks
  readonly #outputs: KeptOutputs
  readonly #runs: WorkerRuns
  readonly #streams: WorkerStreams
  readonly #delivery: WorkerDelivery
  readonly #link: WorkerLink
  readonly #settlement: WorkerSettlement
  readonly #orders: WorkerOrders
  readonly #effects: TaskEffect[] = []
  #isPerforming = false
  /** Waits of `drain`. */
  readonly #watchers = new Set<() => void>()
  readonly #timers = new Set<Cancel>()
  #drained: Promise<void> | undefined
  #isClosed = false

  constructor(ports: WorkerPorts) {
    checkWorkerConfig(ports.config)
    const { clock, mesh, config, outbox } = ports
    this.#ports = ports
    this.#tasks = new WorkerTasks({
      ...config,
      pending: config.pendingLimit,
      finished: config.outcomeLimit,
    })
    this.#outputs = new KeptOutputs(clock, config.retention)
    this.#runs = new WorkerRuns({
      ...ports,
      outputs: this.#outputs,
      apply: (event) => this.#apply(event),
      attemptOf: (taskId) => this.#tasks.get(taskId)?.task.attempt,
    })
    this.#streams = new WorkerStreams({
      clock,
      outputs: this.#outputs,
      entry: (taskId) => this.#tasks.get(taskId),
      slot: (taskId) => this.#runs.slot(taskId),
    })
    this.#delivery = new WorkerDelivery({
      ...ports,
      ask: mesh.ask,
      target: (ledgerId) => this.#link.target(ledgerId),
      acked: (taskId, attempt) =>
        this.#apply({ kind: 'acked', taskId, attempt, nowMs: clock.now() }),
      notMine: (rel) => this.#link.dispatch({ kind: 'not-mine', rel }),
      foreign: () => this.#settle(),
    })
    const left = outbox.load()
    this.#tasks.restore({
      pending: left.pending,
      outcomes: left.outcomes.map((one) => ({ kind: 'finished', ...one })),
    })
    for (const one of left.outcomes) this.#delivery.restore(one)
    const [unstarted] = left.pending
    this.#link = this.#makeLink(unstarted && ledgerOf(unstarted.task_id))
    this.#settlement = new WorkerSettlement({
      clock,
      mesh,
      specs: specsOf(config),
      outcomesOf: (ledgerId) => this.#delivery.outcomesOf(ledgerId),
      isForeign: ({ connection, ledgerId }) => {
        const { served } = this.#link
        const isConnected = [...this.#link.managers].some(
          (manager) => manager.connection === connection,
        )
        return isConnected && served !== undefined && served !== ledgerId
      },
      drop: (tasks) => this.#drop(tasks),
    })
    this.#orders = new WorkerOrders({
      ...ports,
      tasks: this.#tasks,
      link: this.#link,
      perform: (effects) => this.#enqueue(effects),
      isClosed: () => this.#isClosed,
    })
    this.handlers = this.#makeHandlers()
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
  peerLost(peer: Peer, _how: { readonly clean: boolean }): void {
    if (!this.#isClosed) this.#link.lost(peer)
  }

  /**
   * Leaves in good order: takes no new work, gives what runs `graceMs`, ends the rest,
   * delivers the outcomes, says bye. Resolves when done; the same promise if called again.
   */
  drain(graceMs: number): Promise<void> {
    this.#drained ??= this.#drain(graceMs)
    return this.#drained
  }

  async #drain(graceMs: number): Promise<void> {
    const { clock, log } = this.#ports
    log.info('draining', { running: this.#tasks.running, pending: this.#tasks.pending })
    this.#apply({ kind: 'drain' })
    await this.#until(() => this.#tasks.running === 0, graceMs)
    const graces = [...this.#tasks.entries()].map(({ task }) => task.kill_grace_ms ?? 0)
    const killMs = Math.max(this.#ports.config.killGraceMs, ...graces) + KILL_SLACK_MS
    this.#apply({ kind: 'end-all', nowMs: clock.now() })
    await this.#until(() => this.#tasks.running === 0, killMs)
    await this.#until(() => this.#delivery.isEmpty, FLUSH_MS)
    if (!this.#isClosed) await this.#link.leave()
    log.info('drained', { undelivered: this.#tasks.finished })
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
    for (const cancel of this.#timers) cancel()
    this.#timers.clear()
    for (const watcher of [...this.#watchers]) watcher()
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #makeLink(owner: LedgerId | undefined): WorkerLink {
    const { clock } = this.#ports
    return new WorkerLink(
      {
        ...this.#ports,
        hasWork: (ledgerId) => this.#tasks.hasWork(ledgerId),
        inventory: (ledgerId) => this.#tasks.inventory(ledgerId),
        drop: (tasks) => this.#drop(tasks),
        lease: (untilMs) => this.#apply({ kind: 'lease', untilMs, nowMs: clock.now() }),
        flush: (ledgerId) => {
          this.#delivery.flush(ledgerId)
          this.#settle()
        },
        end: (kind, ledgerId) => this.#apply({ kind, ledgerId, nowMs: clock.now() }),
      },
      owner,
    )
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
        this.#apply({ kind: 'acked', taskId, attempt: entry.task.attempt, nowMs })
      } else this.#apply({ kind: 'abort', taskId, attempt, nowMs })
    }
  }

  /** Feeds the table of tasks; its effects are performed in order, one after the other. */
  #apply(event: TaskEvent): void {
    if (this.#isClosed) return
    this.#enqueue(this.#tasks.apply(event))
  }

  #enqueue(effects: readonly TaskEffect[]): void {
    for (const effect of effects) this.#effects.push(effect)
    if (this.#isPerforming) return
    this.#isPerforming = true
    try {
      for (let index = 0; index < this.#effects.length; index += 1) {
        const effect = this.#effects[index]
        if (effect !== undefined) this.#perform(effect)
      }
    } finally {
      this.#effects.length = 0
      this.#isPerforming = false
    }
    for (const watcher of [...this.#watchers]) watcher()
  }

  #perform(effect: TaskEffect): void {
    switch (effect.kind) {
      case 'refuse': // collected by the handler, where it comes from
        return
      case 'pend':
        this.#ports.outbox.putPending(effect.task)
        return
      case 'unpend':
        this.#ports.outbox.removePending(effect.taskId)
        return
      case 'prepare':
        this.#runs.prepare(effect.task, effect.run)
        return
      case 'start':
        this.#recordStart(effect.task.task_id, effect.run)
        return
      case 'spawn':
        this.#runs.spawn(effect.task, effect.run)
        this.#streams.changed(effect.task.task_id)
        return
      case 'report-started':
        this.#reportStarted(effect)
        return
      case 'signal':
        this.#runs.signal(effect.taskId, effect.run, effect.signal)
        return
      case 'timer':
        this.#runs.timer(effect.taskId, effect.run, effect.afterMs)
        return
      default:
        this.#performEnd(effect)
    }
  }

  /** The effects that end something. */
  #performEnd(
    effect: TaskEffect & { kind: 'outcome' | 'resend' | 'discard' | 'gone' | 'dropped' },
  ): void {
    switch (effect.kind) {
      case 'outcome':
        this.#delivery.put(effect.task, effect.outcome)
        return
      case 'resend':
        this.#delivery.resend(effect.taskId)
        return
      case 'discard':
        this.#delivery.discard(effect.taskId)
        if (!effect.isDelivered) this.#outputs.drop(effect.taskId)
        return
      case 'gone':
        this.#runs.gone(effect.taskId, effect.run, effect.isSilent)
        this.#orders.gone(effect.taskId)
        this.#streams.changed(effect.taskId)
        return
      case 'dropped':
        this.#streams.changed(effect.taskId)
    }
  }

  /** Nothing is started before it is on record that it no longer waits. */
  #recordStart(taskId: TaskId, run: number): void {
    const entry = this.#tasks.get(taskId)
    if (entry?.kind !== 'preparing' || entry.run !== run) return // aborted meanwhile
    // Each time: what could not be made durable may have been undone.
    this.#ports.outbox.removePending(taskId)
    this.#ports.outbox.sync((isDurable) => {
      if (isDurable) {
        this.#apply({ kind: 'go', taskId, run, nowMs: this.#ports.clock.now() })
        return
      }
      this.#ports.log.error('start-not-recorded', { task: taskId })
      this.#after(RECORD_RETRY_MS, () => this.#recordStart(taskId, run))
    })
  }

  #after(ms: number, fn: () => void): Cancel {
    const cancel = this.#ports.clock.after(ms, () => {
      this.#timers.delete(cancel)
      fn()
    })
    this.#timers.add(cancel)
    return () => {
      this.#timers.delete(cancel)
      cancel()
    }
  }

  /** Told once; again only if the manager could not take it and the task still runs. */
  #reportStarted(effect: TaskEffect & { kind: 'report-started' }): void {
    const { taskId, attempt, atMs, pid } = effect
    const target = this.#link.target(ledgerOf(taskId))
    if (target === undefined) return // the inventory will tell
    const { nodeId, rel } = target
    const body = {
      rel,
      task_id: taskId,
      attempt,
      at_ms: atMs,
      ...(pid === undefined ? {} : { pid }),
    }
    this.#ports.mesh.ask(nodeId, 'TaskStarted', body, 10_000, (outcome) => {
      const answer = outcome._tag === 'Right' ? outcome.right : undefined
      if (answer?.kind === 'Ack' || this.#isClosed) return
      if (answer?.kind === 'NotMine') {
        this.#link.dispatch({ kind: 'not-mine', rel })
        return
      }
      if (answer?.kind === 'Error' && answer.body.code === 'malformed') {
        this.#ports.log.error('started-malformed', { task: taskId })
        return
      }
      this.#after(1000, () => {
        const entry = this.#tasks.get(taskId)
        if (entry?.kind === 'running' && entry.task.attempt === attempt) {
          this.#reportStarted(effect)
        }
      })
    })
  }

  #makeHandlers(): Handlers<Peer> {
    return {
      // A worker manages nobody.
      ManagerRequest: (_body, respond) => respond('ManagerAnswer', { accepted: false }),
      ManagerBye: (body, respond, from) => {
        respond('Ack', {})
        this.#link.bye(from, body.rel)
      },
      ManagerPing: ({ rel }, respond, from) => {
        if (!this.#link.isFromManager(from, rel)) return respond('NotMine', {})
        const { freeSlots: free_slots, running } = this.#tasks
        respond('ManagerPong', { rel, free_slots, running })
      },
      TasksExecute: (body, respond, from) => this.#orders.execute(body, respond, from),
      TasksPing: ({ rel, tasks }, respond, from) => {
        if (!this.#link.isFromManager(from, rel)) return respond('NotMine', {})
        respond('TasksPong', {
          tasks_status: tasks.map((id) => [id, this.#tasks.status(id)]),
        })
      },
      TasksAbord: (body, respond, from) => this.#orders.abort(body, respond, from),
      TaskStarted: (_body, respond) => respond('NotMine', {}),
      TaskError: (_body, respond) => respond('NotMine', {}),
      TaskCompleted: (_body, respond) => respond('NotMine', {}),
      TaskOutputRead: (body, respond, from) => {
        if (!this.#link.isFromManager(from, body.rel)) return respond('NotMine', {})
        this.#streams.read(body, respond)
      },
      TaskInput: (body, respond, from) => {
        const { rel } = body
        if (rel === undefined || !this.#link.isFromManager(from, rel)) {
          return respond('NotMine', {})
        }
        this.#streams.input(body, respond)
      },
      BlobRead: (body, respond, from) => {
        if (this.#mayHave(from, body.ref)) this.#streams.readBlob(body, respond)
        else respond('NotFound', {})
      },
      BlobRelease: ({ refs }, respond, from) => {
        this.#streams.releaseBlobs(refs.filter((ref) => this.#mayHave(from, ref)))
        respond('Ack', {})
      },
    }
  }

  /** Output belongs to the ledger of its task, whoever manages us now. */
  #mayHave(peer: Peer, ref: string): boolean {
    const at = parseRef(ref)
    return at !== undefined && this.#link.ownsLedger(peer, ledgerOf(at.taskId))
  }

  /** Resolves when the claim is true, after `ms` at most, or when closed. */
  #until(isTrue: () => boolean, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel()
        this.#watchers.delete(watcher)
        resolve()
      }
      const watcher = (): void => {
        if (this.#isClosed || isTrue()) done()
      }
      const cancel = this.#after(ms, done)
      this.#watchers.add(watcher)
      watcher()
    })
  }
}
