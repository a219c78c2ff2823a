// up: a manager and workers on this machine, and a hub if it is asked for, each a process of
// its own in the background.
// Resolves when the workers are managed, or says what hindered it and stops what it began.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { NodeInfo } from '../../protocol/index.ts'
import { isClientError } from '../client/failures.ts'
import { takeLock } from '../identity/lock.ts'
import { listAddresses, stateDirectory } from '../identity/state.ts'
import { type Io, type MeshOptions, Sink, withClient } from './io.ts'
import { nodeTable } from './nodes.ts'
import { EXIT } from './outcome.ts'
import { formatDuration } from './values.ts'

/** Nodes are ready in half a second; a loaded machine gets this long. */
const READY_MS = 20_000
const LOOK_MS = 20

export interface UpOptions {
  readonly workers: number
  /** A hub too. */
  readonly hub?: boolean
}

export const up = async (io: Io, options: MeshOptions & UpOptions): Promise<number> => {
  const directory = stateDirectory(options.state, io.env)
  const stdout = new Sink(io.stdout)
  const stderr = new Sink(io.stderr)
  mkdirSync(join(directory, 'logs'), { recursive: true, mode: 0o700 })
  const lock = await takeLock(lockPlace(directory))
  if (!('release' in lock)) {
    await stderr.line(
      `manyhands: another \`manyhands up\` (process ${lock.pid}) is at work in this state directory`,
    )
    return EXIT.failed
  }
  try {
    const running = listAddresses(directory)
    if (running.length > 0) return await tellRunning(io, options, directory)
    const begin = performance.now()
    const started = new Started(directory)
    const undo = io.onInterrupt((signal) => started.interrupt(signal))
    const nodes = await started.all(options, io)
    undo()
    if (typeof nodes === 'string') {
      await started.stop()
      await stderr.line(`manyhands: ${nodes}`)
      return started.exitCode
    }
    await stdout.line(nodeTable(nodes))
    await stdout.line(
      `up in ${formatDuration(performance.now() - begin)}; try: manyhands run -- hostname; stop with: manyhands down`,
    )
    return EXIT.ok
  } finally {
    lock.release()
  }
}

/** A folder whose lock is that of `up`: the slots' own stay free for the nodes. */
const lockPlace = (directory: string): string => {
  const place = join(directory, 'up')
  mkdirSync(place, { recursive: true, mode: 0o700 })
  return place
}

/** A second `up`: what runs, and whether that is what was asked for. */
const tellRunning = async (
  io: Io,
  options: MeshOptions & UpOptions,
  directory: string,
): Promise<number> => {
  const roles = listAddresses(directory).map((node) => node.role)
  const hasManager = roles.includes('manager')
  if (!hasManager) {
    await new Sink(io.stderr).line(
      'manyhands: workers run here without a manager; add one with: manyhands --role manager, or stop them with: manyhands down',
    )
    return EXIT.failed
  }
  return await withClient(io, { state: directory }, async (client) => {
    const nodes = (await client.nodes()).filter((node) => node.role !== 'client')
    const stdout = new Sink(io.stdout)
    await stdout.line(nodeTable(nodes))
    const workers = nodes.filter(isManaged).length
    if (workers >= options.workers) {
      await stdout.line('it runs already; stop it with: manyhands down')
      return EXIT.ok
    }
    await new Sink(io.stderr).line(
      `manyhands: it runs already, with ${workers} managed workers instead of ${options.workers}; add one with: manyhands --role worker, or begin anew: manyhands down && manyhands up --workers ${options.workers}`,
    )
    return EXIT.failed
  })
}

const isManaged = (node: NodeInfo): boolean =>
  node.role === 'worker' && node.state === 'managed'

/** The processes that this `up` started. */
class Started {
  readonly #directory: string
  readonly #children: { readonly child: ChildProcess; readonly log: string }[] = []

  #signal: 'SIGINT' | 'SIGTERM' | undefined

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Ctrl-C: what `all` waits for is not waited for any more. */
  interrupt(signal: 'SIGINT' | 'SIGTERM'): void {
    this.#signal = signal
  }

  /** Of an `up` that did not come about. */
  get exitCode(): number {
    if (this.#signal === undefined) return EXIT.failed
    return this.#signal === 'SIGINT' ? EXIT.interrupted : 143
  }

  /** The nodes once all workers are managed, or why not. */
  async all(
    { workers, hub = false }: UpOptions,
    io: Io,
  ): Promise<readonly NodeInfo[] | string> {
    const deadline = performance.now() + READY_MS
    this.#start('manager', 'manager', [])
    const url = await this.#addressOf('manager', deadline)
    if (typeof url === 'object') return url.failure
    if (hub) {
      this.#start('hub', 'hub', ['--join', url])
      const its = await this.#addressOf('hub', deadline)
      if (typeof its === 'object') return its.failure
    }
    const cores = coresPerWorker(availableParallelism(), workers)
    for (let at = 0; at < workers; at++)
      this.#start('worker', `worker-${at + 1}`, [
        '--cores',
        String(cores[at]),
        '--join',
        url,
      ])
    let nodes: readonly NodeInfo[] = []
    let lost: string | undefined
    await withClient(io, { state: this.#directory, at: url }, async (client) => {
      while (nodes.filter(isManaged).length < workers) {
        if ((await this.#look(deadline)) !== undefined) return EXIT.failed
        nodes = await client.nodes()
      }
      return EXIT.ok
    }).catch((error: unknown) => {
      if (!isClientError(error)) throw error
      lost = error.message
    })
    const managed = nodes.filter(isManaged).length
    if (managed >= workers) return nodes.filter((node) => node.role !== 'client')
    return (
      (await this.#look(Number.POSITIVE_INFINITY)) ??
      lost ??
      `only ${managed} of ${workers} workers are managed after ${formatDuration(READY_MS)}; see ${join(this.#directory, 'logs')}`
    )
  }

  /** Once it has left one. */
  async #addressOf(
    role: 'manager' | 'hub',
    deadline: number,
  ): Promise<string | { readonly failure: string }> {
    for (;;) {
      const failure = await this.#look(deadline)
      if (failure !== undefined) return { failure }
      const found = listAddresses(this.#directory).find((node) => node.role === role)
      if (found !== undefined) return found.url
    }
  }

  #start(role: string, name: string, more: readonly string[]): void {
    const log = join(this.#directory, 'logs', `${name}.log`)
    const fd = openSync(log, 'w', 0o600)
    const child = spawn(
      process.execPath,
      [cliPath(), '--role', role, '--state', this.#directory, ...more],
      { detached: true, stdio: ['ignore', fd, fd] },
    )
    closeSync(fd)
    child.unref()
    this.#children.push({ child, log })
  }

  /** A moment later: why this cannot become well, if so. */
  async #look(deadline: number): Promise<string | undefined> {
    await pause(LOOK_MS)
    if (this.#signal !== undefined) return 'stopped; nothing was left running'
    const ended = this.#children.find(
      ({ child }) => child.exitCode !== null || child.signalCode !== null,
    )
    if (ended !== undefined) return `a node did not start: ${lastLine(ended.log)}`
    if (performance.now() > deadline)
      return `not ready after ${formatDuration(READY_MS)}; see ${join(this.#directory, 'logs')}`
    return undefined
  }

  /** Ends what was started, after a failure. */
  async stop(): Promise<void> {
    for (const { child } of this.#children) child.kill('SIGTERM')
    for (let waited = 0; waited < 5_000 && this.#isAnyAlive(); waited += LOOK_MS)
      await pause(LOOK_MS)
    for (const { child } of this.#children) child.kill('SIGKILL')
  }

  #isAnyAlive(): boolean {
    return this.#children.some(
      ({ child }) => child.exitCode === null && child.signalCode === null,
    )
  }
}

/** The machine's cores shared out; each worker gets at least one. */
export const coresPerWorker = (cores: number, workers: number): readonly number[] =>
  Array.from({ length: workers }, (_, at) =>
    Math.max(1, Math.floor(cores / workers) + (at < cores % workers ? 1 : 0)),
  )

/** The file that this command line runs from, which starts nodes too. */
const cliPath = (): string => process.argv[1] ?? ''

const lastLine = (log: string): string => {
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n')
  return `${lines.at(-1) ?? ''} (all of it: ${log})`
}
