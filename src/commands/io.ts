// Io: what a verb may touch of its process. Verbs get it handed in, so that a test calls
// them with streams of its own; `processIo` is the real one.

import { fstatSync, type Stats } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import type { Client } from '../client/client.ts'
import type { ConnectOptions } from '../client/connect.ts'

export type OutStream = Writable & { readonly isTTY?: boolean; readonly columns?: number }

export interface Io {
  readonly stdin: Readable
  readonly stdout: OutStream
  readonly stderr: OutStream
  /** Is stdin a pipe, a socket or a file, so that there is something to forward? A directory throws. */
  readonly hasInput: boolean
  readonly cwd: string
  /** When the command began, by performance.now(). */
  readonly beganMs: number
  readonly env: Readonly<Record<string, string | undefined>>
  /** Calls `fn` at each Ctrl-C or SIGTERM; gives the undoing. */
  onInterrupt(fn: (signal: 'SIGINT' | 'SIGTERM') => void): () => void
  connect(options: ConnectOptions): Promise<Client>
}

/** How to reach the mesh: on every verb. */
export interface MeshOptions {
  readonly state?: string
  readonly at?: string
}

/** A mistake in how a verb was used: one line, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The Io of this process. The client's modules are loaded when it connects. */
export const processIo = (): Io => ({
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  get hasInput() {
    return isForwardable(0)
  },
  cwd: process.cwd(),
  beganMs: 0, // its clock starts with the process
  env: process.env,
  onInterrupt(fn) {
    process.on('SIGINT', fn)
    process.on('SIGTERM', fn)
    return () => {
      process.off('SIGINT', fn)
      process.off('SIGTERM', fn)
    }
  },
  async connect(options) {
    const { connect } = await import('../client/connect.ts')
    return connect(options)
  },
})

/** Is there something to forward from that descriptor? Throws a UsageError for a directory. */
export const isForwardable = (fd: number): boolean => {
  const stat = statOf(fd)
  // Node.js gives it as an empty stream: the program would run without its input.
  if (stat?.isDirectory() === true)
    throw new UsageError('stdin is a directory; expected a file or a pipe')
  return stat !== undefined && (stat.isFIFO() || stat.isSocket() || stat.isFile())
}

const statOf = (fd: number): Stats | undefined => {
  try {
    return fstatSync(fd)
  } catch {
    return undefined // closed
  }
}

/** Connects, gives the client to `use`, and closes it whatever happens. */
export const withClient = async (
  io: Io,
  options: MeshOptions,
  use: (client: Client) => Promise<number>,
): Promise<number> => {
  const { state, at } = options
  const client = await io.connect({
    ...(state !== undefined && { state }),
    ...(at !== undefined && { at }),
    onWaiting: (why) =>
      void new Sink(io.stderr).line(
        `manyhands: the manager takes no task now: ${why}; waiting`,
      ),
  })
  try {
    return await use(client)
  } finally {
    await client.close()
  }
}

/** Writes to a stream with its back-pressure; notices when the reader has gone away. */
export class Sink {
  readonly #stream: OutStream
  #isGone = false

  constructor(stream: OutStream) {
    this.#stream = stream
    // The callback of the write tells it too; without a listener it would end the process.
    stream.on('error', () => {
      this.#isGone = true
    })
  }

  get isTerminal(): boolean {
    return this.#stream.isTTY === true
  }

  get columns(): number {
    return this.#stream.columns ?? 80
  }

  /** Resolves when it was taken; false: nobody reads any more. */
  write(data: Uint8Array | string): Promise<boolean> {
    if (this.#isGone) return Promise.resolve(false)
    return new Promise((resolve) => {
      this.#stream.write(data, (error) => {
        if (error) this.#isGone = true
        resolve(!this.#isGone)
      })
    })
  }

  line(text: string): Promise<boolean> {
    return this.write(`${text}\n`)
  }
}

/** The exit code of a tool whose reader went away: 128 + SIGPIPE. */
export const READER_GONE = 141
