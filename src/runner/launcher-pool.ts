// Launcher pool: the first launcher starts with the pool, the others when starts begin to
// queue. One that dies is replaced; if it cannot live at all, more and more slowly, and
// what is to be started meanwhile is refused with the reason.

import type { Log } from '../ports.ts'
import type { SpawnFailure, StartRequest } from './frames.ts'
import { type LaunchEvents, LauncherProcess, neverCameUp } from './launcher-process.ts'

const FIRST_BACKOFF_MS = 100
const LAST_BACKOFF_MS = 5000
/** So many in a row that never came up are no accident. */
const MOST_FAILURES = 3
/** A launcher that was told to end has this long. */
const END_MS = 2000

export interface LauncherPoolOptions {
  readonly size: number
  readonly path: string
  /** Started through this program and its arguments, which replaces itself; empty: by itself. */
  readonly through: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  /** How the markers of all programs of this runner begin. */
  readonly marker: string
  readonly cgroup: string | undefined
  readonly log: Log | undefined
}

/** What waits for a launcher; `refuse` instead of `use` when none will come. */
interface Waiting {
  use(launcher: LauncherProcess): void
  refuse(failure: SpawnFailure): void
}

export class LauncherPool {
  readonly #options: LauncherPoolOptions
  readonly #launchers = new Set<LauncherProcess>()
  readonly #waiting: Waiting[] = []
  #made = 0
  #backoffMs = FIRST_BACKOFF_MS
  /** Launchers in a row that never came up. */
  #failures = 0
  /** Why there is none and what is to be started is refused; undefined: one will come. */
  #broken: SpawnFailure | undefined
  #restart: NodeJS.Timeout | undefined
  #isClosing = false
  #onEmpty: (() => void) | undefined

  constructor(options: LauncherPoolOptions) {
    this.#options = options
    this.#add()
  }

  /** Of the launchers that are there now. */
  get pids(): readonly number[] {
    return [...this.#launchers].flatMap(({ pid }) => pid ?? [])
  }

  #add(): LauncherProcess {
    const { path, through, environment, marker, cgroup } = this.#options
    this.#made += 1
    const launcher = new LauncherProcess({
      ...{ path, through, environment, cgroup, marker: `${marker}${this.#made}/` },
      gone: (launcher, complaint) => this.#onGone(launcher, complaint),
    })
    this.#launchers.add(launcher)
    for (const { use } of this.#waiting.splice(0)) use(launcher)
    return launcher
  }

  #onGone(launcher: LauncherProcess, complaint: string): void {
    this.#launchers.delete(launcher)
    if (this.#isClosing) {
      if (this.#launchers.size === 0) this.#onEmpty?.()
      return
    }
    this.#options.log?.warn('launcher-lost', { pid: launcher.pid, complaint })
    if (launcher.isReady) {
      this.#backoffMs = FIRST_BACKOFF_MS
      this.#failures = 0
      this.#broken = undefined
      this.#add()
      return
    }
    this.#failures += 1
    if (this.#failures >= MOST_FAILURES) this.#refuseAll(neverCameUp(complaint))
    if (this.#restart !== undefined) return
    this.#restart = setTimeout(() => {
      this.#restart = undefined
      if (this.#launchers.size === 0) this.#add()
    }, this.#backoffMs)
    this.#backoffMs = Math.min(this.#backoffMs * 2, LAST_BACKOFF_MS)
  }

  #refuseAll(failure: SpawnFailure): void {
    this.#broken = failure
    for (const { refuse } of this.#waiting.splice(0)) refuse(failure)
  }

  /** Hands over the launcher with the least to do: at once, or when there is one again. */
  #withLeastBusy(waiting: Waiting): void {
    const [first, ...others] = this.#launchers
    if (first === undefined) {
      if (this.#broken === undefined) this.#waiting.push(waiting)
      else waiting.refuse(this.#broken)
      return
    }
    let best = first
    for (const other of others) if (other.load < best.load) best = other
    waiting.use(best)
    this.#growIfQueued(best)
  }

  /** A new launcher serves from the next start on. */
  #growIfQueued(best: LauncherProcess): void {
    if (best.isQueued && best.isReady && this.#launchers.size < this.#options.size)
      this.#add()
  }

  /** `placed` is told which launcher it is, for kills. */
  start(
    run: number,
    request: StartRequest,
    events: LaunchEvents,
    placed: (launcher: LauncherProcess) => void,
  ): void {
    this.#withLeastBusy({
      use: (launcher) => {
        placed(launcher)
        launcher.start(run, request, events)
      },
      refuse: (failure) => events.failed(failure),
    })
  }

  makeFifos(
    id: number,
    paths: readonly string[],
    settle: (fault: string | undefined) => void,
  ): void {
    this.#withLeastBusy({
      use: (launcher) => launcher.makeFifos(id, paths, settle),
      refuse: ({ reason }) => settle(reason),
    })
  }

  /** No launcher is started any more; what waits for one is refused. */
  stopReplacing(): void {
    this.#isClosing = true
    clearTimeout(this.#restart)
    this.#refuseAll({ code: 'ECANCELED', reason: 'the runner is closing' })
  }

  /** Every launcher kills its groups and goes. */
  close(): Promise<void> {
    this.stopReplacing()
    return new Promise((resolve) => {
      if (this.#launchers.size === 0) return resolve()
      const late = setTimeout(() => {
        for (const launcher of this.#launchers) launcher.terminate()
      }, END_MS)
      this.#onEmpty = () => {
        clearTimeout(late)
        resolve()
      }
      for (const launcher of this.#launchers) launcher.end()
    })
  }
}
