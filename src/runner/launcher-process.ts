// Launcher process: the node's side of one launcher. Starts it, talks to it, and says
// when it is gone.

import { type ChildProcess, spawn } from 'node:child_process'
import {
  type Exit,
  encodeFrame,
  FrameType,
  frameDecoder,
  type SpawnFailure,
  type StartRequest,
} from './frames.ts'
import { killMarked } from './marker.ts'
import { killGroup } from './proc.ts'
import { killHolders } from './strays.ts'
import { killCgroupsOf } from './trees.ts'

/** It starts programs and nothing else: a small heap is enough, and makes its forks cheap. */
const NODE_FLAGS = [
  '--max-old-space-size=32',
  '--max-semi-space-size=1',
  // No threads of V8's own: a start is an eighth cheaper, for a fork has less to copy.
  '--v8-pool-size=0',
]

/**
 * What a launcher tells of one run: started (only of a program that runs for a while) and
 * then exited; or failed; or lost.
 */
export interface LaunchEvents {
  started(pid: number): void
  failed(failure: SpawnFailure): void
  exited(exit: Exit): void
  /** The launcher died (after it had come up); the run's process group was killed. */
  lost(): void
}

interface Launch {
  readonly request: StartRequest
  readonly events: LaunchEvents
  process: { readonly pid: number; readonly startTime: number } | undefined
}

export interface LauncherOptions {
  readonly path: string
  readonly through: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  /** How the markers of its programs begin: of no other launcher's. */
  readonly marker: string
  /** The cgroup in which it makes one for itself; undefined: it makes none. */
  readonly cgroup: string | undefined
  /** It is gone; its runs are told next. `complaint`: the end of what it wrote to stderr. */
  gone(launcher: LauncherProcess, complaint: string): void
}

export class LauncherProcess {
  readonly #options: LauncherOptions
  readonly #child: ChildProcess
  readonly #launches = new Map<number, Launch>()
  readonly #makingFifos = new Map<number, (fault: string | undefined) => void>()
  #complaint = ''
  #isCorked = false
  #isReady = false
  #isGone = false
  /** It went by itself, and took what it had started along. */
  #hasKilled = false
  #starting = 0

  constructor(options: LauncherOptions) {
    this.#options = options
    // In a session of its own: a Ctrl-C at the terminal is the node's to answer.
    const { path, through, marker, cgroup } = options
    const given = cgroup === undefined ? [marker] : [marker, cgroup]
    const command = [...through, process.execPath, ...NODE_FLAGS, path, ...given]
    const child = spawn(command[0] ?? '', command.slice(1), {
      detached: true,
      // Left out, Node would hand on its own value, to the programs too.
      env: { NODE_V8_COVERAGE: '', ...options.environment },
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    this.#child = child
    child.stdout.on(
      'data',
      frameDecoder((type, run, body) => this.#take(type, run, body)),
    )
    child.stderr.on('data', (bytes: Buffer) => {
      this.#complaint = (this.#complaint + bytes.toString()).slice(-2000)
    })
    child.stdin.on('error', () => {}) // its end is heard below
    child.on('error', (error) => {
      this.#complaint += error.message
      if (child.pid === undefined) this.#onGone()
    })
    child.on('exit', (code) => {
      this.#hasKilled = code === 0
      if (this.#isReady) this.#onGone()
    })
    // One that never came up has said why: that is read to its end.
    child.on('close', (code, signal) => {
      if (this.#complaint === '') this.#complaint = `it ended with ${code ?? signal}`
      this.#onGone()
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** It was heard of: a launcher that never was cannot be expected to work next time. */
  get isReady(): boolean {
    return this.#isReady
  }

  /** More than one start is waiting for it. */
  get isQueued(): boolean {
    return this.#starting > 1
  }

  /** Starts that it has not answered yet count first: they are what a new one waits for. */
  get load(): number {
    return this.#starting * 1e6 + this.#launches.size
  }

  start(run: number, request: StartRequest, events: LaunchEvents): void {
    this.#launches.set(run, { request, events, process: undefined })
    this.#starting += 1
    this.#send(FrameType.start, run, JSON.stringify(request))
  }

  kill(run: number, signal: NodeJS.Signals): void {
    this.#send(FrameType.kill, run, signal)
  }

  makeFifos(
    id: number,
    paths: readonly string[],
    settle: (fault: string | undefined) => void,
  ): void {
    this.#makingFifos.set(id, settle)
    this.#send(FrameType.makeFifos, id, JSON.stringify(paths))
  }

  /** What is said in one turn leaves in one write. */
  #send(type: number, run: number, body: string): void {
    const stdin = this.#child.stdin
    if (stdin === null || this.#isGone) return
    if (!this.#isCorked) {
      this.#isCorked = true
      stdin.cork()
      process.nextTick(() => {
        this.#isCorked = false
        stdin.uncork()
      })
    }
    stdin.write(encodeFrame(type, run, body))
  }

  #take(type: number, run: number, body: Buffer): void {
    if (type === FrameType.ready) this.#isReady = true
    else if (type === FrameType.fifosMade) this.#onFifosMade(run, body.toString())
    else this.#onLaunch(type, run, body)
  }

  #onFifosMade(id: number, fault: string): void {
    const settle = this.#makingFifos.get(id)
    this.#makingFifos.delete(id)
    settle?.(fault === '' ? undefined : fault)
  }

  #onLaunch(type: number, run: number, body: Buffer): void {
    const launch = this.#launches.get(run)
    if (launch === undefined) return
    if (type === FrameType.started) {
      this.#starting -= 1
      const pid = body.readDoubleLE(0)
      launch.process = { pid, startTime: body.readDoubleLE(8) }
      launch.events.started(pid)
    } else if (type === FrameType.failed) {
      this.#starting -= 1
      this.#launches.delete(run)
      launch.events.failed(JSON.parse(body.toString()) as SpawnFailure) // our launcher's
    } else if (type === FrameType.exited) {
      if (launch.process === undefined) this.#starting -= 1
      this.#launches.delete(run)
      launch.events.exited(JSON.parse(body.toString()) as Exit) // our launcher's
    }
  }

  #onGone(): void {
    if (this.#isGone) return
    this.#isGone = true
    const launches = [...this.#launches.values()]
    const makingFifos = [...this.#makingFifos.values()]
    this.#launches.clear()
    this.#makingFifos.clear()
    for (const { process } of launches)
      if (process !== undefined) killGroup(process.pid, process.startTime)
    killUnacknowledged(launches)
    if (!this.#hasKilled) this.#killTrees()
    // First of all another takes its place: what ends below may start something new.
    this.#options.gone(this, this.#complaint)
    const failure = this.#isReady ? undefined : neverCameUp(this.#complaint)
    for (const { events } of launches)
      if (failure === undefined) events.lost()
      else events.failed(failure)
    for (const settle of makingFifos) settle(failure?.reason ?? 'the launcher died')
  }

  /** What left the groups of its programs, and of those that it had not swept yet. */
  #killTrees(): void {
    const { marker, cgroup } = this.#options
    const isOurs = (one: string) => one.startsWith(marker)
    if (cgroup !== undefined) killCgroupsOf(cgroup, isOurs)
    killMarked(isOurs)
  }

  /** It kills every group and goes. Its end is told by `gone`. */
  end(): void {
    this.#child.stdin?.end()
  }

  /** When it does not go by itself. */
  terminate(): void {
    this.#child.kill('SIGKILL')
  }
}

/** Why nothing can be started, from what a launcher wrote to stderr before it ended. */
export const neverCameUp = (complaint: string): SpawnFailure => {
  const lines = complaint.trim().split('\n')
  const line = lines.find((one) => /^\w*Error\b/.test(one)) ?? lines.at(-1)
  return { code: 'EAGAIN', reason: `no launcher comes up: ${line}` }
}

/** Perhaps started, perhaps not, and no pid known: found by the pipes. */
const killUnacknowledged = (launches: readonly Launch[]): void => {
  const paths = new Set<string | undefined>()
  for (const { process, request } of launches)
    if (process === undefined)
      for (const path of [request.stdout, request.stderr, request.stdin]) paths.add(path)
  paths.delete(undefined)
  if (paths.size > 0) killHolders((path) => paths.has(path))
}
