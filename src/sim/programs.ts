// Simulated programs: what a worker's runner starts. A program has a duration, an end, and
// output that it writes bit by bit; it may ignore TERM, fail to start, or fail a few times
// first. It runs outside of its worker's process: a frozen worker does not stop it, a
// crashed one takes it along, as the launchers do.

import * as E from 'fp-ts/lib/Either.js'
import type { OutputData, TaskId } from '../../protocol/index.ts'
import type {
  Jobs,
  KeptOutput,
  Run,
  RunEnd,
  RunEvents,
  Runner,
  RunSpec,
} from '../ports.ts'
import type { Life } from './life.ts'
import type { SimRandom } from './random.ts'
import type { Planned } from './schedule.ts'

/** How a program behaves. */
export interface Program {
  readonly runMs: number
  /** Each run takes up to this much longer. */
  readonly spreadMs?: number
  /** Default 0. */
  readonly exitCode?: number
  /** Its first attempts exit with 1. */
  readonly failures?: number
  /** Bytes on stdout, in so many parts over its time. */
  readonly bytes?: number
  readonly parts?: number
  readonly ignoresTerm?: boolean
  /** It begins its work when its stdin has ended. */
  readonly readsInput?: boolean
  /** It cannot be started: the system's code. */
  readonly spawnError?: string
  /** It is fetched first, for so long. */
  readonly fetchMs?: number
  readonly fetchFails?: boolean
}

/** What a world hears of its programs. */
export interface ProgramEvents {
  started(run: SimRun): void
  wrote(run: SimRun, text: string): void
  /** It read of its stdin; `isEof`: to the end. */
  took(run: SimRun, text: string, isEof: boolean): void
  /** Its worker ends it: the first signal. */
  signalled(run: SimRun): void
  exited(run: SimRun): void
}

export interface RunnerOptions {
  readonly life: Life
  readonly programs: readonly Program[]
  readonly random: SimRandom
  readonly events: ProgramEvents
  /** Runs of the whole world, numbered. */
  readonly nextRun: () => number
  /** The longest that a start takes; 0: it is over at once, for worlds that must be fast. */
  readonly spawnMs: number
  /** Bytes of a `stream` that are held for its reader before the program waits. */
  readonly streamBytes: number
}

const PREFIX = 'exec:p'

/** The job address of the program of that index. */
export const addressOf = (index: number): string => `${PREFIX}${index}`

/** Finds every program; some take a while, and some are not there. */
export const simJobs = (options: RunnerOptions): Jobs => ({
  objection: () => undefined,
  prepare: (address, settle) => {
    const index = Number(address.slice(PREFIX.length))
    const program = options.programs[index]
    const found = (): void => {
      if (program === undefined)
        settle(E.left({ kind: 'spawn', code: 'ENOENT', reason: 'no such program' }))
      else if (program.fetchFails === true)
        settle(E.left({ kind: 'download', reason: 'the server says 404' }))
      else settle(E.right({ program: `/p${index}`, leading: [] }))
    }
    if (program?.fetchMs === undefined) found()
    else options.life.input(program.fetchMs, found)
  },
})

/** What is waited for while a descriptor has nothing new. */
interface Reader {
  readonly look: () => boolean
}

const NO_OUTPUT: KeptOutput = {
  size: 0,
  lost: 0,
  sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
}
const nothing = new Uint8Array(0)

export class SimRun implements Run {
  readonly number: number
  readonly taskId: TaskId
  readonly attempt: number
  readonly life: Life
  state: 'starting' | 'running' | 'over' = 'starting'
  end: Pick<RunEnd, 'exitCode' | 'signal' | 'spawnError'> = {}
  readonly #options: RunnerOptions
  readonly #program: Program
  readonly #spec: RunSpec
  readonly #events: RunEvents
  /** Made for the first of them: most programs are never read. */
  #readers: Set<Reader> | undefined
  #planned: Planned | undefined
  #killing: Planned | undefined
  #wanted: 'SIGTERM' | 'SIGINT' | 'SIGKILL' | undefined
  #startedMs = 0
  #text = ''
  #written = 0
  /** Of a stream: all before was acknowledged. */
  #base = 0
  #isStream: boolean
  #isBlocked = false
  #isTold = false
  #isSignalled = false
  #partsLeft: number
  /** Bytes of its stdin that it has; and what came before it ran. */
  #taken = 0
  #hasInput: boolean
  /** Its worker knows that it runs. */
  #isHeard = false
  readonly #early: (() => void)[] = []

  constructor(
    options: RunnerOptions,
    number: number,
    program: Program,
    spec: RunSpec,
    events: RunEvents,
  ) {
    this.#options = options
    this.number = number
    this.life = options.life
    this.#program = program
    this.#spec = spec
    this.#events = events
    const { MANYHANDS_TASK_ID: taskId = '', MANYHANDS_ATTEMPT: attempt } =
      spec.environment
    this.taskId = taskId
    this.attempt = Number(attempt)
    this.#isStream = spec.output === 'stream'
    const writes = spec.output !== 'none' && (program.bytes ?? 0) > 0
    this.#partsLeft = writes ? (program.parts ?? 1) : 0
    this.#hasInput = spec.stdin !== 'live' || program.readsInput !== true
  }

  /** It will be running in a moment; told now, when its worker has decided it. */
  begin(): void {
    const { spawnMs } = this.#options
    if (this.#program.spawnError === undefined) this.#options.events.started(this)
    const started = (): void => this.#started()
    if (spawnMs === 0) this.life.tick(started)
    else this.#plan(spawnMs * (0.2 + 0.8 * this.#options.random.fraction()), started)
  }

  #plan(ms: number, act: () => void): void {
    const { schedule } = this.life
    this.#planned = schedule.at(this.life.slotMs(schedule.nowMs + ms), act)
  }

  #started(): void {
    const { spawnError } = this.#program
    if (spawnError !== undefined) {
      const reason = 'it cannot be started'
      this.#over({ spawnError: { code: spawnError, reason } })
      return
    }
    this.state = 'running'
    this.#startedMs = this.life.schedule.nowMs
    const tell = (): void => {
      this.#isHeard = true
      this.#events.started(1000 + this.number)
      for (const write of this.#early.splice(0)) write()
    }
    if (this.#options.spawnMs === 0) tell()
    else this.life.hear(tell)
    if (this.#wanted !== undefined) this.kill(this.#wanted)
    if (this.#hasInput) this.#goOn()
  }

  /** The next part of its output, or its end. */
  #goOn(): void {
    const { runMs, spreadMs = 0, parts = 1 } = this.#program
    const fullMs = runMs + (spreadMs > 0 ? this.#options.random.fraction() * spreadMs : 0)
    if (this.#partsLeft > 0) this.#plan(fullMs / (parts + 1), () => this.#write())
    else {
      const leftMs = (this.#program.bytes ?? 0) > 0 ? fullMs / (parts + 1) : fullMs
      this.#plan(leftMs, () => this.#exit())
    }
  }

  #exit(): void {
    const { failures = 0, exitCode = 0 } = this.#program
    // Told to end, it does not say that it has done its work.
    const hasFailed = this.#isTold || this.attempt <= failures
    this.#over({ exitCode: hasFailed ? 1 : exitCode })
  }

  #write(): void {
    const { bytes = 0, parts = 1 } = this.#program
    if (this.#isStream && this.#written - this.#base >= this.#options.streamBytes) {
      this.#isBlocked = true // until somebody reads
      return
    }
    const done = parts - this.#partsLeft
    const until = Math.floor((bytes * (done + 1)) / parts)
    this.#partsLeft -= 1
    const line = `${this.taskId} ${this.attempt} ${this.number}\n`
    const text = line.repeat(Math.ceil(bytes / line.length)).slice(this.#written, until)
    this.#text += text
    this.#written = until
    if (text !== '') this.#options.events.wrote(this, text)
    this.#goOn()
    this.life.hear(this.#tellReaders)
  }

  readonly #tellReaders = (): void => {
    const readers = this.#readers
    if (readers === undefined) return
    for (const reader of readers) if (reader.look()) readers.delete(reader)
  }

  kill(signal: 'SIGINT' | 'SIGTERM' | 'SIGKILL'): void {
    if (this.state === 'over') return
    if (!this.#isSignalled) this.#options.events.signalled(this)
    this.#isSignalled = true
    if (this.state === 'starting') {
      if (this.#wanted !== 'SIGKILL') this.#wanted = signal
      return
    }
    this.#isTold = true
    if (signal !== 'SIGKILL' && this.#program.ignoresTerm === true) return
    const { schedule } = this.life
    if (this.#killing !== undefined) {
      if (signal !== 'SIGKILL') return
      schedule.cancel(this.#killing)
    }
    const ms = signal === 'SIGKILL' ? 1 : 1 + this.#options.random.fraction() * 20
    this.#killing = schedule.at(schedule.nowMs + ms, () => this.#over({ signal }))
  }

  /** Ends it from outside: its launcher died, or its worker's process. */
  lose(signal: string): void {
    this.#over({ signal })
  }

  #over(end: Pick<RunEnd, 'exitCode' | 'signal' | 'spawnError'>): void {
    if (this.state === 'over') return
    const { schedule } = this.life
    if (this.#planned !== undefined) schedule.cancel(this.#planned)
    if (this.#killing !== undefined) schedule.cancel(this.#killing)
    this.state = 'over'
    this.end = end
    this.#options.events.exited(this)
    if (this.life.isOver) return
    const runMs = schedule.nowMs - this.#startedMs
    const stdout = this.#kept()
    this.life.hear(() => {
      this.#tellReaders()
      for (const write of this.#early.splice(0)) write()
      const how = { runMs, stdout, stderr: NO_OUTPUT, lostTail: false }
      this.#events.ended(Object.assign(how, end))
    })
  }

  #kept(): KeptOutput {
    if (this.#written === 0) return NO_OUTPUT
    const sha256 = this.number.toString(16).padStart(64, '0')
    return { size: this.#written, lost: this.#lost, sha256 }
  }

  /** What the cap of a capture dropped from the middle. */
  get #lost(): number {
    if (this.#isStream) return 0
    return Math.max(0, this.#written - this.#base - this.#spec.outputCapBytes)
  }

  read(
    fd: 1 | 2,
    offset: number,
    max: number,
    waitMs: number,
    settle: (data: OutputData) => void,
  ): void {
    const data = this.#stretch(fd, offset, max)
    if (data.data.length > 0 || data.eof || waitMs === 0) {
      settle(data)
      return
    }
    const reader: Reader = {
      look: () => {
        const now = this.#stretch(fd, offset, max)
        if (now.data.length === 0 && !now.eof) return false
        cancel()
        settle(now)
        return true
      },
    }
    const cancel = this.life.clock.after(waitMs, () => {
      if (this.#readers?.delete(reader) === true) settle(this.#stretch(fd, offset, max))
    })
    this.#readers ??= new Set()
    this.#readers.add(reader)
  }

  #stretch(fd: 1 | 2, offset: number, max: number): OutputData {
    const isOver = this.state === 'over'
    if (fd === 2) return { offset, data: nothing, eof: isOver, lost: 0 }
    if (this.#isStream) this.#acknowledge(offset)
    const place = this.#place(Math.max(offset, this.#base))
    const until = Math.min(place.until, place.from + max)
    // What it gave away while it was a stream is missing for who asks for it now.
    const gone = Math.max(0, this.#base - offset)
    return {
      offset: place.from,
      data: bytesOf(this.#text, place.from, until),
      eof: isOver && until >= this.#written,
      lost: gone + place.lost,
    }
  }

  #acknowledge(offset: number): void {
    this.#base = Math.min(Math.max(this.#base, offset), this.#written)
    if (this.#isBlocked && this.#written - this.#base < this.#options.streamBytes)
      this.#unblock()
  }

  #unblock(): void {
    this.#isBlocked = false
    this.#plan(1, () => this.#write())
  }

  /** Where the first kept byte at or after `asked` is, and up to where there are more. */
  #place(asked: number): { from: number; until: number; lost: number } {
    const written = this.#written
    const lost = this.#lost
    if (asked >= written) return { from: asked, until: asked, lost }
    if (lost === 0) return { from: asked, until: written, lost }
    const headEnd = this.#base + Math.ceil(this.#spec.outputCapBytes / 2)
    if (asked < headEnd) return { from: asked, until: headEnd, lost: 0 }
    return { from: Math.max(asked, headEnd + lost), until: written, lost }
  }

  /** As the real one takes it: what it has is passed over, what begins beyond that is not taken. */
  write(
    offset: number,
    data: Uint8Array,
    eof: boolean,
    settle: (open: boolean) => void,
  ): void {
    if (!this.#isHeard && this.state !== 'over') {
      this.#early.push(() => this.write(offset, data, eof, settle))
      return
    }
    const isOpen = this.state === 'running'
    if (isOpen && offset <= this.#taken && !this.#hasInput) this.#take(offset, data, eof)
    settle(isOpen)
  }

  #take(offset: number, data: Uint8Array, eof: boolean): void {
    const fresh = bytesAsText(data).slice(this.#taken - offset)
    this.#taken += fresh.length
    this.#options.events.took(this, fresh, eof)
    if (!eof) return
    this.#hasInput = true
    this.#goOn()
  }

  detach(): void {
    if (!this.#isStream) return
    this.#isStream = false
    if (this.#isBlocked) this.#unblock()
  }

  release(): void {
    if (this.state !== 'over') return
    this.#text = ''
  }
}

const bytesAsText = (bytes: Uint8Array): string => String.fromCharCode(...bytes)

/** Part of a text in Latin-1, as bytes. */
const bytesOf = (text: string, from: number, until: number): Uint8Array => {
  if (until <= from) return nothing
  const bytes = new Uint8Array(until - from)
  for (let i = from; i < until; i++) bytes[i - from] = text.charCodeAt(i)
  return bytes
}

export class SimRunner implements Runner {
  readonly #options: RunnerOptions
  readonly #told: RunnerOptions
  /** What runs, or is about to. */
  readonly running = new Set<SimRun>()

  constructor(options: RunnerOptions) {
    this.#options = options
    const events = { ...options.events, exited: (run: SimRun) => this.#exited(run) }
    this.#told = { ...options, events }
  }

  start(spec: RunSpec, events: RunEvents): SimRun {
    const program = this.#options.programs[Number(spec.program.slice(2))]
    if (program === undefined) throw new Error(`no program ${spec.program}`)
    const number = this.#options.nextRun()
    const run = new SimRun(this.#told, number, program, spec, events)
    this.running.add(run)
    run.begin()
    return run
  }

  #exited(run: SimRun): void {
    this.running.delete(run)
    this.#options.events.exited(run)
  }

  /** The worker's process is gone, and everything that it started with it. */
  crash(): void {
    for (const run of [...this.running]) run.lose('SIGKILL')
    this.running.clear()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
