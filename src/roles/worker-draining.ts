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
  /** Who waits for its end; undefined: it has not begun. */
  #waiting: (() => void)[] | undefined
  #isDone = false

  constructor(ports: DrainingPorts) {
    this.#ports = ports
  }

  /** Calls `done` when all of it is over, perhaps at once; begun by the first call alone. */
  drain(graceMs: number, done: () => void): void {
    if (this.#isDone) {
      done()
      return
    }
    const hasBegun = this.#waiting !== undefined
    this.#waiting = [...(this.#waiting ?? []), done]
    if (!hasBegun) this.#begin(graceMs)
  }

  /** Something changed, or the worker was closed: what is waited for may be true now. */
  look(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }

  #begin(graceMs: number): void {
    const { log, tasks, apply } = this.#ports
    log.info('draining', { running: tasks.running, pending: tasks.pending })
    apply({ kind: 'drain' })
    this.#when(this.#isIdle, graceMs, () => this.#endAll())
  }

  #endAll(): void {
    const { clock, delivery, apply } = this.#ports
    const killMs = this.#longestGraceMs() + KILL_SLACK_MS
    apply({ kind: 'end-all', nowMs: clock.now() })
    this.#when(this.#isIdle, killMs, () =>
      this.#when(
        () => delivery.isEmpty,
        FLUSH_MS,
        () => this.#leave(),
      ),
    )
  }

  #leave(): void {
    if (this.#ports.isClosed()) this.#over()
    else this.#ports.link.leave(() => this.#over())
  }

  #over(): void {
    const { log, tasks } = this.#ports
    log.info('drained', { undelivered: tasks.finished })
    this.#isDone = true
    for (const done of this.#waiting ?? []) done()
  }

  readonly #isIdle = (): boolean => this.#ports.tasks.running === 0

  #longestGraceMs(): number {
    const { config, tasks } = this.#ports
    const graces = [...tasks.entries()].map(({ task }) => task.kill_grace_ms ?? 0)
    return Math.max(config.killGraceMs, ...graces)
  }

  /** Goes on when the claim is true, after `ms` at most, or when closed. */
  #when(isTrue: () => boolean, ms: number, goOn: () => void): void {
    const { timers, isClosed } = this.#ports
    const done = (): void => {
      cancel()
      this.#watchers.delete(watcher)
      goOn()
    }
    const watcher = (): void => {
      if (isClosed() || isTrue()) done()
    }
    const cancel = timers.after(ms, done)
    this.#watchers.add(watcher)
    watcher()
  }
}
