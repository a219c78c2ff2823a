// Runner: the one place that starts processes. The node's own process never does: it
// asks launchers (launcher.ts) and reads the programs' output from FIFOs (fifos.ts).
//
// Nothing outlives it: when the node dies the launchers kill every tree and go, when a
// launcher dies the node kills its trees, a run that ends takes its tree along, and what
// outlived a node and its launchers goes when the node starts again. How surely: rung.ts.
// What this cannot tell: a program killed by a real-time signal (34 to 64) is reported
// as exit code 0, for Node.js says so; a shell around it would say 128 + n.

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { basename, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Log, Run, RunEvents, Runner, RunSpec } from '../ports.ts'
import { ActiveRun, type RunContext } from './active-run.ts'
import { FifoPool } from './fifos.ts'
import { LauncherPool } from './launcher-pool.ts'
import { killMarked } from './marker.ts'
import { bestRung, type Rung } from './rung.ts'
import { killCgroupsOf } from './trees.ts'
import { isLeftOver, makeWorkDirectory } from './work-directory.ts'

/** Undefined: programs of other users can run set-user-ID programs. */
export const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) =>
  existsSync(path),
)

const CLOSE_MS = 3000
const MOST_LAUNCHERS = 4

export interface RunnerOptions {
  /** Holds pipes and spooled output, in a folder of this process's own; made (0700) if absent. */
  readonly directory: string
  /** How many launchers. Default: one per core, 2 to 4. */
  readonly launchers?: number
  /** The launcher's file. Default: beside this code. */
  readonly launcherPath?: string
  /** Environment of the launchers themselves; programs get none of it. Default: a PATH for `mkfifo`. */
  readonly launcherEnvironment?: Readonly<Record<string, string>>
  /** How long an empty pipe that somebody holds open is waited for after the exit. Default 1,000. */
  readonly tailMs?: number
  /**
   * Names this node, and no other, in the markers of its programs: what an earlier life of
   * it left is found by that. No `/`. Default: a hash of the directory.
   */
  readonly node?: string
  /** How trees are held together. Default: as well as it can be done here. */
  readonly rung?: Rung
  readonly log?: Log
}

/** A Runner that also says who its launchers are, for `doctor` and tests. */
export interface LocalRunner extends Runner {
  readonly launcherPids: readonly number[]
  [Symbol.asyncDispose](): Promise<void>
}

/** Starts the first launcher. Throws if the directory cannot be made. */
export const createRunner = (options: RunnerOptions): LocalRunner =>
  new ProcessRunner(options)

/** `launcher.js` lies beside this code where it is compiled or bundled, or above its chunk. */
const defaultLauncherPath = (): string => {
  const beside = fileURLToPath(new URL('./launcher.js', import.meta.url))
  if (existsSync(beside)) return beside
  return fileURLToPath(new URL('../launcher.js', import.meta.url))
}

const defaultSize = (): number =>
  Math.min(Math.max(2, availableParallelism()), MOST_LAUNCHERS)

class ProcessRunner implements LocalRunner {
  readonly #directory: string
  readonly #launchers: LauncherPool
  /** For programs of other users: nobody that they start can gain privileges. */
  readonly #guarded: () => LauncherPool
  #guardedPool: LauncherPool | undefined
  readonly #fifos: FifoPool
  readonly #context: RunContext
  /** Running, then ended and not released. */
  readonly #runs = new Set<ActiveRun>()
  #lastId = 0
  #running = 0
  #closed: Promise<void> | undefined
  #onIdle: (() => void) | undefined

  constructor(options: RunnerOptions) {
    this.#directory = makeWorkDirectory(options.directory)
    const rung = options.rung ?? bestRung()
    const node = options.node ?? nameOf(dirname(this.#directory))
    endLeftOvers(node, rung, options.log)
    options.log?.debug('process trees', { rung: rung.kind, says: rung.says })
    const launching = {
      size: options.launchers ?? defaultSize(),
      path: options.launcherPath ?? defaultLauncherPath(),
      environment: options.launcherEnvironment ?? { PATH: '/usr/bin:/bin' },
      marker: `${node}/${basename(this.#directory)}/`,
      cgroup: rung.place,
      log: options.log,
    }
    this.#launchers = new LauncherPool({ ...launching, through: [] })
    this.#guarded = () => {
      this.#guardedPool ??= new LauncherPool({
        ...launching,
        marker: `${launching.marker}u`,
        through: noNewPrivileges(),
      })
      return this.#guardedPool
    }
    this.#fifos = new FifoPool(this.#directory, (paths, settle) =>
      this.#launchers.makeFifos(this.#nextId(), paths, settle),
    )
    this.#fifos.fill()
    this.#context = {
      directory: this.#directory,
      tailMs: options.tailMs ?? 1000,
      fifos: this.#fifos,
      launchers: (account) => (account === undefined ? this.#launchers : this.#guarded()),
      ended: () => this.#onEnded(),
      released: (run) => this.#runs.delete(run),
    }
  }

  get launcherPids(): readonly number[] {
    return [...this.#launchers.pids, ...(this.#guardedPool?.pids ?? [])]
  }

  /** u32 on the way to a launcher; no run lives as long as it takes to come round. */
  #nextId(): number {
    this.#lastId = (this.#lastId + 1) >>> 0
    return this.#lastId
  }

  start(spec: RunSpec, events: RunEvents): Run {
    if (this.#closed !== undefined) throw new Error('start: the runner is closed')
    const run = new ActiveRun(this.#nextId(), spec, events, this.#context)
    this.#runs.add(run)
    this.#running += 1
    run.begin()
    return run
  }

  #onEnded(): void {
    this.#running -= 1
    if (this.#running === 0) this.#onIdle?.()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Runs first, so that each is told its end; then those who hold them; then the files. */
  async #close(): Promise<void> {
    this.#launchers.stopReplacing()
    this.#guardedPool?.stopReplacing()
    for (const run of this.#runs) run.cancel()
    const fifosMade = this.#fifos.close()
    await withinCloseMs(Promise.all([this.#idle(), fifosMade]))
    await Promise.all([this.#launchers.close(), this.#guardedPool?.close()])
    for (const run of this.#runs) run.release()
    await rm(this.#directory, { recursive: true, force: true })
  }

  #idle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#running === 0) resolve()
      else this.#onIdle = resolve
    })
  }
}

/** prctl(PR_SET_NO_NEW_PRIVS), inherited by all that is started; util-linux has it. */
const noNewPrivileges = (): readonly string[] =>
  setpriv === undefined
    ? []
    : [setpriv, '--no-new-privs', '--inh-caps=-all', '--ambient-caps=-all', '--']

const nameOf = (directory: string): string =>
  createHash('sha256').update(directory).digest('hex').slice(0, 16)

/** What earlier lives of this node left, who died together with their launchers. */
const endLeftOvers = (node: string, { place }: Rung, log: Log | undefined): void => {
  const isOurs = (marker: string): boolean => {
    const [its, runner = ''] = marker.split('/')
    return its === node && isLeftOver(runner)
  }
  const inCgroups = place === undefined ? 0 : killCgroupsOf(place, isOurs)
  const count = inCgroups + killMarked(isOurs)
  if (count > 0) log?.warn('ended what an earlier life of this node left', { count })
}

/** A launcher that does not answer must not hold the end of everything. */
const withinCloseMs = (done: Promise<unknown>): Promise<void> =>
  new Promise((resolve) => {
    const late = setTimeout(resolve, CLOSE_MS)
    void done.then(() => {
      clearTimeout(late)
      resolve()
    })
  })
