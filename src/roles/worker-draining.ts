// Worker draining: how a worker leaves in good order. It takes no new work, gives what
// runs its grace, ends the rest, delivers the outcomes, says bye.

import type { WorkerTasks } from '../machines/worker-tasks.ts'
import type { Clock, Log } from '../ports.ts'
import type { WorkerConfig } from './worker-config.ts'
import type { WorkerDelivery } from './worker-delivery.ts'
import type { WorkerEffects } from './worker-effects.ts'
import type { WorkerLink } from './worker-link.ts'
import type { WorkerTimers } from './worker-timers.ts'

export interface DrainingPorts {
  readonly clock: Clock
  readonly log: Log
  readonly config: WorkerConfig
  readonly tasks: WorkerTasks
  readonly delivery: WorkerDelivery
  readonly link: WorkerLink
  readonly timers: WorkerTimers
  readonly apply: WorkerEffects['apply']
  readonly isClosed: () => boolean
}

/** Beyond the ladder's own grace, until a killed group must be gone. */
const KILL_SLACK_MS = 5000
/** How long a leaving worker tries to deliver what is left. */
const FLUSH_MS = 5000

export class WorkerDraining {
  readonly #ports: DrainingPorts
  readonly #watchers = new Set<() => void>()
  #drained: Promise<void> | undefined

  constructor(ports: DrainingPorts) {
    this.#ports = ports
  }

  /** Resolves when done; the same promise if called again. */
  drain(graceMs: number): Promise<void> {
    this.#drained ??= this.#drain(graceMs)
    return this.#drained
  }

  /** Something changed, or the worker was closed: what is waited for may be true now. */
  look(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }

  async #drain(graceMs: number): Promise<void> {
    const { clock, log, tasks, delivery, link, apply, isClosed } = this.#ports
    log.info('draining', { running: tasks.running, pending: tasks.pending })
    apply({ kind: 'drain' })
    await this.#until(() => tasks.running === 0, graceMs)
    const killMs = this.#longestGraceMs() + KILL_SLACK_MS
    apply({ kind: 'end-all', nowMs: clock.now() })
    await this.#until(() => tasks.running === 0, killMs)
    await this.#until(() => delivery.isEmpty, FLUSH_MS)
    if (!isClosed()) await link.leave()
    log.info('drained', { undelivered: tasks.finished })
  }

  #longestGraceMs(): number {
    const { config, tasks } = this.#ports
    const graces = [...tasks.entries()].map(({ task }) => task.kill_grace_ms ?? 0)
    return Math.max(config.killGraceMs, ...graces)
  }

  /** Resolves when the claim is true, after `ms` at most, or when closed. */
  #until(isTrue: () => boolean, ms: number): Promise<void> {
    const { timers, isClosed } = this.#ports
    return new Promise((resolve) => {
      const done = (): void => {
        cancel()
        this.#watchers.delete(watcher)
        resolve()
      }
      const watcher = (): void => {
        if (isClosed() || isTrue()) done()
      }
      const cancel = timers.after(ms, done)
      this.#watchers.add(watcher)
      watcher()
    })
  }
}
