// Calls the command line as a function, with streams and a manager of the test's own.

import { PassThrough, Writable } from 'node:stream'
import type { Client } from '../../src/client/client.ts'
import type { Io, OutStream } from '../../src/commands/io.ts'
import { main } from '../../src/commands/main.ts'
import { FakeManager } from '../client/fake-manager.ts'

export interface Called {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A stream that remembers what was written, and can play a reader that goes away. */
export class Screen extends Writable {
  readonly parts: Buffer[] = []
  readonly isTTY: boolean
  readonly columns = 80
  /** Breaks, as a pipe does, at the write after so many. */
  readonly #breaksAfter: number
  onData: (text: string) => void = () => undefined

  constructor(options: { isTTY?: boolean; breaksAfter?: number } = {}) {
    super({ autoDestroy: false })
    this.isTTY = options.isTTY ?? false
    this.#breaksAfter = options.breaksAfter ?? Number.POSITIVE_INFINITY
  }

  override _write(data: Buffer, _: string, done: (error?: Error) => void): void {
    if (this.parts.length >= this.#breaksAfter) {
      done(Object.assign(new Error('broken pipe'), { code: 'EPIPE' }))
      return
    }
    this.parts.push(Buffer.from(data))
    this.onData(this.text)
    done()
  }

  get text(): string {
    return Buffer.concat(this.parts).toString()
  }
}

/** The command line of one test. */
export class Shell {
  readonly manager = new FakeManager()
  stdout = new Screen()
  stderr = new Screen()
  /** Undefined: stdin is a terminal or closed. */
  input: string | undefined
  /** Reading stdin fails with it, after `input`. */
  inputFault: Error | undefined
  #interrupt: ((signal: 'SIGINT' | 'SIGTERM') => void) | undefined
  connect: () => Promise<Client> = async () => this.manager.client()

  interrupt(): void {
    this.#interrupt?.('SIGINT')
  }

  async call(...argv: string[]): Promise<Called> {
    const stdin = new PassThrough()
    if (this.inputFault !== undefined) {
      const fault = this.inputFault
      stdin.write(this.input ?? '')
      stdin.once('data', () => setImmediate(() => stdin.destroy(fault)))
      stdin.pause()
    } else if (this.input !== undefined) stdin.end(this.input)
    const io: Io = {
      stdin,
      stdout: this.stdout satisfies OutStream,
      stderr: this.stderr satisfies OutStream,
      hasInput: this.input !== undefined,
      beganMs: performance.now(),
      cwd: '/tmp',
      env: { HOME: '/home/me' },
      onInterrupt: (fn) => {
        this.#interrupt = fn
        return () => {
          this.#interrupt = undefined
        }
      },
      connect: () => this.connect(),
    }
    const code = await main(argv, io)
    return { code, stdout: this.stdout.text, stderr: this.stderr.text }
  }
}
