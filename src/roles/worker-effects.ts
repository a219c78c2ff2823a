// Worker effects: feeds the table of tasks and performs what it decides, in order, one
// effect after the other: an event that comes of an effect waits until those before it are
// done. Nothing is started before it is on record that it no longer waits.

import type { TaskId } from '../../protocol/index.ts'
import type { TaskEffect, TaskEvent } from '../machines/worker-task.ts'
import type { WorkerTasks } from '../machines/worker-tasks.ts'
import type { Clock, Log, Outbox } from '../ports.ts'
import type { KeptOutputs } from './kept-outputs.ts'
import type { WorkerDelivery } from './worker-delivery.ts'
import type { WorkerOrders } from './worker-orders.ts'
import type { WorkerReports } from './worker-reports.ts'
import type { WorkerRuns } from './worker-runs.ts'
import type { WorkerStreams } from './worker-streams.ts'
import type { WorkerTimers } from './worker-timers.ts'

export interface EffectsPorts {
  readonly clock: Clock
  readonly log: Log
  readonly outbox: Outbox
  readonly tasks: WorkerTasks
  readonly timers: WorkerTimers
  readonly outputs: KeptOutputs
  readonly runs: WorkerRuns
  readonly streams: WorkerStreams
  readonly delivery: WorkerDelivery
  readonly orders: WorkerOrders
  readonly reports: WorkerReports
  readonly isClosed: () => boolean
  /** All that had to be done is done. */
  readonly settled: () => void
}

/** A start that could not be recorded is tried again. */
const RECORD_RETRY_MS = 1000

export class WorkerEffects {
  readonly #ports: EffectsPorts
  readonly #effects: TaskEffect[] = []
  #isPerforming = false

  constructor(ports: EffectsPorts) {
    this.#ports = ports
  }

  /** Feeds the table of tasks, and performs what it says. */
  apply(event: TaskEvent): void {
    if (this.#ports.isClosed()) return
    this.perform(this.#ports.tasks.apply(event))
  }

  /** Performs effects that were taken from the table already. */
  perform(effects: readonly TaskEffect[]): void {
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
    this.#ports.settled()
  }

  #perform(effect: TaskEffect): void {
    const { outbox, runs, streams, reports } = this.#ports
    switch (effect.kind) {
      case 'refuse': // collected by the handler, where it comes from
        return
      case 'pend':
        outbox.putPending(effect.task)
        return
      case 'unpend':
        outbox.removePending(effect.taskId)
        return
      case 'prepare':
        runs.prepare(effect.task, effect.run)
        return
      case 'start':
        this.#recordStart(effect.task.task_id, effect.run)
        return
      case 'spawn':
        runs.spawn(effect.task, effect.run)
        streams.changed(effect.task.task_id)
        return
      case 'report-started':
        reports.started(effect)
        return
      case 'signal':
        runs.signal(effect.taskId, effect.run, effect.signal)
        return
      case 'timer':
        runs.timer(effect.taskId, effect.run, effect.afterMs)
        return
      default:
        this.#performEnd(effect)
    }
  }

  /** The effects that end something. */
  #performEnd(
    effect: TaskEffect & { kind: 'outcome' | 'resend' | 'discard' | 'gone' | 'dropped' },
  ): void {
    const { delivery, outputs, runs, orders, streams } = this.#ports
    switch (effect.kind) {
      case 'outcome':
        delivery.put(effect.task, effect.outcome)
        return
      case 'resend':
        delivery.resend(effect.taskId)
        return
      case 'discard':
        delivery.discard(effect.taskId)
        if (!effect.isDelivered) outputs.drop(effect.taskId)
        return
      case 'gone':
        runs.gone(effect.taskId, effect.run, effect.isSilent)
        orders.gone(effect.taskId)
        streams.changed(effect.taskId)
        return
      case 'dropped':
        streams.changed(effect.taskId)
    }
  }

  /** Durable before visible: the program is asked for only then. */
  #recordStart(taskId: TaskId, run: number): void {
    const { outbox, clock, log, tasks, timers } = this.#ports
    const entry = tasks.get(taskId)
    if (entry?.kind !== 'preparing' || entry.run !== run) return // aborted meanwhile
    // Each time: what could not be made durable may have been undone.
    outbox.removePending(taskId)
    outbox.sync((isDurable) => {
      if (isDurable) {
        this.apply({ kind: 'go', taskId, run, nowMs: clock.now() })
        return
      }
      log.error('start-not-recorded', { task: taskId })
      timers.after(RECORD_RETRY_MS, () => this.#recordStart(taskId, run))
    })
  }
}
