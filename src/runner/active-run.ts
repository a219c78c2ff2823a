// Active run: one program from the wish to start it until its output is released. It
// gathers pipes, asks a launcher, and joins what comes back: the exit, and the end of
// both outputs.

import { unlink, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { OutputData, Signal } from '../../protocol/index.ts'
import type { KeptOutput, Run, RunEnd, RunEvents, RunSpec } from '../ports.ts'
import type { Account } from '../records.ts'
import type { Fifo, FifoPool } from './fifos.ts'
import type { Exit, SpawnFailure, StartRequest } from './frames.ts'
import type { LauncherPool } from './launcher-pool.ts'
import type { LauncherProcess } from './launcher-process.ts'
import { LiveStdin } from './live-stdin.ts'
import { Output } from './output.ts'
import { NOTHING } from './store.ts'

/** What runs share. */
export interface RunContext {
  readonly directory: string
  readonly tailMs: number
  readonly fifos: FifoPool
  /** Those that start programs for somebody (undefined: as the node itself). */
  launchers(account: Account | undefined): LauncherPool
  /** The program is over; its output may still be read. */
  ended(run: ActiveRun): void
  released(run: ActiveRun): void
}

type How = Pick<RunEnd, 'exitCode' | 'signal' | 'spawnError'>

export class ActiveRun implements Run {
  readonly id: number
  readonly #spec: RunSpec
  readonly #events: RunEvents
  readonly #context: RunContext
  #outputs: readonly [Output, Output] | undefined
  #kept: [KeptOutput, KeptOutput] = [NOTHING, NOTHING]
  #openOutputs = 0
  #lostTail = false
  #stdin: LiveStdin | undefined
  #stdinFile: string | undefined
  /** Writes from before the pipe was there. */
  #earlyWrites: ((stdin: LiveStdin | undefined) => void)[] = []
  #earlyReads: (() => void)[] = []
  #isPrepared = false
  #launcher: LauncherProcess | undefined
  #isStarted = false
  #isDetached = false
  #isReleased = false
  #isCancelled = false
  #wantedSignal: NodeJS.Signals | undefined
  #how: How | undefined
  #runMs = 0
  #hasLeft = false
  #hasEnded = false

  constructor(id: number, spec: RunSpec, events: RunEvents, context: RunContext) {
    this.id = id
    this.#spec = spec
    this.#events = events
    this.#context = context
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Takes the pipes it needs, then asks for the start. */
  begin(): void {
    const { output, stdin } = this.#spec
    const count = (output === 'none' ? 0 : 2) + (stdin === 'live' ? 1 : 0)
    if (count === 0) {
      this.#prepare([])
      return
    }
    this.#context.fifos.take(count, (fifos) => {
      if (typeof fifos === 'string') this.#failLater({ code: 'EAGAIN', reason: fifos })
      else this.#prepare(fifos)
    })
  }

  /** `ended` is never called inside `start`. */
  #failLater(failure: SpawnFailure): void {
    const code = this.#isCancelled ? 'ECANCELED' : failure.code
    setImmediate(() => this.#onFailed({ ...failure, code }))
  }

  #prepare(fifos: readonly Fifo[]): void {
    const rest = [...fifos]
    const { output, stdin } = this.#spec
    if (output !== 'none') this.#makeOutputs(rest.shift(), rest.shift())
    try {
      const [fifo] = rest
      if (fifo !== undefined) this.#stdin = new LiveStdin(fifo)
      if (typeof stdin === 'object' && stdin.length > 0) this.#writeStdinFile(stdin)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#isPrepared = true
      this.#failLater({ code: 'EIO', reason: `stdin: ${reason}` })
      return
    }
    this.#onPrepared()
    this.#launch()
  }

  #makeOutputs(out: Fifo | undefined, err: Fifo | undefined): void {
    if (out === undefined || err === undefined) return
    const { directory, tailMs, fifos } = this.#context
    const policy = this.#spec.output === 'stream' ? 'stream' : 'capture'
    const { outputCapBytes: capBytes, account } = this.#spec
    const make = (fifo: Fifo, index: 0 | 1): Output =>
      new Output(fifo, {
        policy,
        capBytes,
        directory,
        tailMs,
        fifos,
        isOthers: account !== undefined,
        ended: (kept, lostTail) => this.#onOutputEnd(index, kept, lostTail),
      })
    this.#outputs = [make(out, 0), make(err, 1)]
    this.#openOutputs = 2
    if (this.#isDetached) for (const output of this.#outputs) output.detach()
  }

  /** Given in full, stdin is a file: nothing has to be pumped, and `/dev/stdin` can be opened. */
  #writeStdinFile(bytes: Uint8Array): void {
    const path = join(this.#context.directory, `stdin-${this.id}`)
    this.#stdinFile = path
    writeFileSync(path, bytes, { mode: 0o600, flag: 'wx' })
  }

  #onPrepared(): void {
    this.#isPrepared = true
    for (const write of this.#earlyWrites.splice(0)) write(this.#stdin)
    for (const read of this.#earlyReads.splice(0)) read()
  }

  #launch(): void {
    if (this.#isCancelled) {
      this.#failLater({ code: 'ECANCELED', reason: 'the runner is closing' })
      return
    }
    const { program, calledAs, directory, environment, account } = this.#spec
    const stdin = this.#stdin?.fifo.path ?? this.#stdinFile
    const [out, err] = this.#outputs ?? []
    const request: StartRequest = {
      program,
      ...(calledAs !== undefined && { calledAs }),
      arguments: this.#spec.arguments,
      directory,
      environment,
      ...(account !== undefined && { account }),
      ...(stdin === undefined ? {} : { stdin }),
      ...(out === undefined ? {} : { stdout: out.path }),
      ...(err === undefined ? {} : { stderr: err.path }),
    }
    const events = {
      started: (pid: number) => this.#onStarted(pid),
      failed: (failure: SpawnFailure) => this.#onFailed(failure),
      exited: (exit: Exit) => this.#onExited(exit),
      lost: () => this.#onLost(),
    }
    const { launchers } = this.#context
    launchers(account).start(this.id, request, events, (launcher) => {
      this.#launcher = launcher
    })
  }

  /** It was not over in a moment. */
  #onStarted(pid: number): void {
    this.#isStarted = true
    this.#removeStdinFile()
    this.#stdin?.started()
    for (const output of this.#outputs ?? []) output.attach()
    if (this.#wantedSignal !== undefined)
      this.#launcher?.kill(this.id, this.#wantedSignal)
    this.#events.started(pid)
  }

  #onFailed({ code, reason }: SpawnFailure): void {
    this.#how = { spawnError: { code, reason } }
    this.#closeInput()
    if (!this.#isPrepared) this.#onPrepared()
    if (this.#outputs === undefined) {
      this.#endIfDone()
      return
    }
    for (const output of this.#outputs) output.unused()
  }

  #onExited(exit: Exit): void {
    if (!this.#isStarted) this.#events.started(exit.pid)
    this.#runMs = exit.runMs
    this.#hasLeft = exit.left
    this.#how =
      exit.signal === null ? { exitCode: exit.code ?? 0 } : { signal: exit.signal }
    this.#onOver()
  }

  #onLost(): void {
    this.#how = { signal: 'launcher-lost' }
    this.#onOver()
  }

  #onOver(): void {
    this.#closeInput()
    for (const output of this.#outputs ?? []) output.exited()
    if (this.#isCancelled) this.#cutOutputs()
    this.#endIfDone()
  }

  #closeInput(): void {
    this.#removeStdinFile()
    for (const write of this.#earlyWrites.splice(0)) write(undefined)
    if (this.#stdin === undefined) return
    this.#stdin.close()
    this.#context.fifos.discard(this.#stdin.fifo)
  }

  #removeStdinFile(): void {
    if (this.#stdinFile !== undefined) unlink(this.#stdinFile, () => {})
    this.#stdinFile = undefined
  }

  #onOutputEnd(index: 0 | 1, kept: KeptOutput, lostTail: boolean): void {
    this.#kept[index] = kept
    this.#openOutputs -= 1
    this.#lostTail ||= lostTail
    this.#endIfDone()
  }

  #endIfDone(): void {
    if (this.#how === undefined || this.#openOutputs > 0 || this.#hasEnded) return
    this.#hasEnded = true
    // A run ends with its group: what the program left behind goes now.
    if (this.#hasLeft) this.#launcher?.kill(this.id, 'SIGKILL')
    if (this.#isReleased) this.#free()
    const [stdout, stderr] = this.#kept
    this.#context.ended(this)
    this.#events.ended({
      ...this.#how,
      runMs: this.#runMs,
      stdout,
      stderr,
      lostTail: this.#lostTail,
    })
  }

  kill(signal: Signal): void {
    if (this.#hasEnded) return
    if (this.#isStarted) this.#launcher?.kill(this.id, signal)
    else if (this.#wantedSignal !== 'SIGKILL') this.#wantedSignal = signal
  }

  /** The runner closes: ends soon, whoever reads or holds a pipe. */
  cancel(): void {
    this.#isCancelled = true
    this.kill('SIGKILL')
    if (this.#how !== undefined) this.#cutOutputs()
  }

  #cutOutputs(): void {
    for (const output of this.#outputs ?? []) output.cut()
  }

  read(
    fd: 1 | 2,
    offset: number,
    max: number,
    waitMs: number,
    settle: (data: OutputData) => void,
  ): void {
    if (!this.#isPrepared) {
      this.#earlyReads.push(() => this.read(fd, offset, max, waitMs, settle))
      return
    }
    const output = this.#outputs?.[fd - 1]
    if (output !== undefined) {
      output.read(offset, max, waitMs, settle)
      return
    }
    settle({ offset, data: new Uint8Array(0), eof: true, lost: 0 })
  }

  write(
    offset: number,
    data: Uint8Array,
    eof: boolean,
    settle: (open: boolean) => void,
  ): void {
    if (this.#spec.stdin !== 'live' || this.#hasEnded) {
      settle(false)
      return
    }
    const write = (stdin: LiveStdin | undefined): void => {
      if (stdin === undefined) settle(false)
      else stdin.write(offset, data, eof, settle)
    }
    if (this.#isPrepared) write(this.#stdin)
    else this.#earlyWrites.push(write)
  }

  detach(): void {
    this.#isDetached = true
    for (const output of this.#outputs ?? []) output.detach()
  }

  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    // Before the end it still has to be read, or the program would wait for ever.
    if (this.#hasEnded) this.#free()
    else this.detach()
  }

  #free(): void {
    for (const output of this.#outputs ?? []) output.release()
    this.#context.released(this)
  }
}
