// Fake runner: programs that start and end when a test says so.

import type { OutputData } from '../../protocol/index.ts'
import type {
  KeptOutput,
  Run,
  RunEnd,
  RunEvents,
  Runner,
  RunSpec,
} from '../../src/ports.ts'

const EMPTY = { size: 0, lost: 0, sha256: '0'.repeat(64) }

export class FakeRun implements Run {
  readonly spec: RunSpec
  readonly signals: string[] = []
  readonly written: string[] = []
  isReleased = false
  isDetached = false
  output: readonly [string, string] = ['', '']
  readonly #events: RunEvents
  #isOver = false
  readonly #waiting: (() => void)[] = []

  constructor(spec: RunSpec, events: RunEvents) {
    this.spec = spec
    this.#events = events
  }

  started(pid = 4711): void {
    this.#events.started(pid)
  }

  /** Ends with a code (default 0), or as told. */
  end(how: Partial<RunEnd> = { exitCode: 0 }): void {
    this.#isOver = true
    for (const read of this.#waiting.splice(0)) read()
    const kept = (text: string): KeptOutput =>
      text === '' ? EMPTY : { ...EMPTY, size: text.length }
    const [out, err] = this.output
    const stdout = kept(out)
    const stderr = kept(err)
    this.#events.ended({ runMs: 5, stdout, stderr, lostTail: false, ...how })
  }

  kill(signal: string): void {
    this.signals.push(signal)
  }

  read(
    fd: 1 | 2,
    offset: number,
    max: number,
    waitMs: number,
    settle: (data: OutputData) => void,
  ): void {
    const text = this.output[fd - 1] ?? ''
    const data = Buffer.from(text.slice(offset, offset + max))
    const eof = this.#isOver && offset + data.length >= text.length
    if (data.length === 0 && !eof && waitMs > 0) {
      this.#waiting.push(() => this.read(fd, offset, max, 0, settle))
      return
    }
    settle({ offset, data, eof, lost: 0 })
  }

  write(
    _offset: number,
    data: Uint8Array,
    _eof: boolean,
    settle: (open: boolean) => void,
  ): void {
    this.written.push(Buffer.from(data).toString())
    settle(!this.#isOver)
  }

  detach(): void {
    this.isDetached = true
  }
  release(): void {
    this.isReleased = true
  }
}

export class FakeRunner implements Runner {
  readonly runs: FakeRun[] = []

  start(spec: RunSpec, events: RunEvents): FakeRun {
    const run = new FakeRun(spec, events)
    this.runs.push(run)
    return run
  }
  close(): Promise<void> {
    return Promise.resolve()
  }
  /** The run of that number, from 0; throws if there is none. */
  run(index = this.runs.length - 1): FakeRun {
    const run = this.runs[index]
    if (run === undefined) throw new Error(`only ${this.runs.length} runs`)
    return run
  }
}
