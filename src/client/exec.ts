// Exec: one program on many hosts at once, and what came of it on each of them, by a
// deadline, whatever the others do.

import { setMaxListeners } from 'node:events'
import type { ProcessSpec } from '../../protocol/index.ts'
import { ClientError, isClientError } from './failures.ts'
import type { Host } from './host.ts'
import { newKey } from './submit.ts'

export interface ExecOptions {
  /** Every host has its result by then. */
  readonly deadlineMs: number
  /** Kept of each output; what comes after is counted. Default 1 MiB. */
  readonly outputBytes?: number
  /** Ends it everywhere: what runs is stopped. */
  readonly signal?: AbortSignal
}

/**
 * How it ended on a host. `exited`: with `exitCode` (128 + N by a signal). `not-started`: the
 * host was asked and said no. `unreachable`: it could not be asked. `deadline`: it had not
 * ended in time, and was stopped; or the host has not answered.
 */
export interface ExecResult {
  readonly hostName: string
  readonly state: 'exited' | 'not-started' | 'unreachable' | 'deadline'
  readonly exitCode?: number
  readonly reason?: string
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
  /** Bytes of both that were not kept. */
  readonly lostBytes: number
  readonly runMs: number
}

const LATE = 'not in time'
/** So that it is the deadline that ends what does not answer. */
const GRACE_MS = 1_000
const OUTPUT_BYTES = 1024 * 1024

/** Calls `tell` once for each host, in the order in which they end; resolves with the last. */
export const execOn = async (
  hosts: readonly { readonly hostName: string; open(): Promise<Host> }[],
  spec: ProcessSpec,
  options: ExecOptions,
  tell: (result: ExecResult) => void,
): Promise<void> => {
  const over = new AbortController()
  // Some for each host.
  setMaxListeners(0, over.signal)
  const timer = setTimeout(() => over.abort(), options.deadlineMs)
  const abort = () => over.abort()
  options.signal?.addEventListener('abort', abort)
  const onOne = async ({ hostName, open }: (typeof hosts)[number]) =>
    tell(await new Execution(hostName, open, spec, options, over.signal).result())
  try {
    await Promise.all(hosts.map(onOne))
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', abort)
  }
}

class Execution {
  readonly #hostName: string
  readonly #open: () => Promise<Host>
  readonly #spec: ProcessSpec
  readonly #options: ExecOptions
  readonly #over: AbortSignal
  readonly #beganMs = performance.now()
  readonly #kept: Readonly<Record<1 | 2, Uint8Array[]>> = { 1: [], 2: [] }
  #lostBytes = 0

  constructor(
    hostName: string,
    open: () => Promise<Host>,
    spec: ProcessSpec,
    options: ExecOptions,
    over: AbortSignal,
  ) {
    this.#hostName = hostName
    this.#open = open
    this.#spec = spec
    this.#options = options
    this.#over = over
  }

  /** Never later than the deadline; never rejects but for a bug. */
  async result(): Promise<ExecResult> {
    const over = new Promise<ExecResult>((resolve) => {
      const end = () => resolve(this.#result('deadline', { reason: LATE }))
      if (this.#over.aborted) end()
      this.#over.addEventListener('abort', end)
    })
    return await Promise.race([this.#run(), over])
  }

  async #run(): Promise<ExecResult> {
    const signal = this.#over
    try {
      const host = await this.#open()
      const key = newKey()
      const stop = (): void => {
        // Not waited for: who did not end in time has no more time.
        host.stop({ key }).catch((error: unknown) => {
          if (!isClientError(error)) throw error
        })
      }
      if (signal.aborted) return this.#result('deadline', { reason: LATE })
      // Sent after the start, on the same way: a host that hangs meets both when it goes on.
      signal.addEventListener('abort', stop)
      const { processId } = await host.start(this.#spec, key, {
        timeoutMs: this.#options.deadlineMs + GRACE_MS,
        signal,
      })
      await Promise.all([this.#keep(host, processId, 1), this.#keep(host, processId, 2)])
      const { exit_code } = await host.wait(processId, 'exited', signal)
      return this.#result(
        'exited',
        exit_code === undefined ? {} : { exitCode: exit_code },
      )
    } catch (error) {
      if (!(error instanceof ClientError)) throw error
      const { failure, message: reason } = error
      if (failure.kind === 'aborted') return this.#result('deadline', { reason })
      const state = failure.kind === 'rejected' ? 'not-started' : 'unreachable'
      return this.#result(state, { reason })
    }
  }

  async #keep(host: Host, processId: string, fd: 1 | 2): Promise<void> {
    const { outputBytes = OUTPUT_BYTES } = this.#options
    let left = outputBytes
    for await (const data of host.output(processId, { fd, signal: this.#over })) {
      const part = data.subarray(0, left)
      left -= part.length
      this.#lostBytes += data.length - part.length
      if (part.length > 0) this.#kept[fd].push(part)
    }
  }

  #result(
    state: ExecResult['state'],
    more: Pick<ExecResult, 'exitCode' | 'reason'>,
  ): ExecResult {
    return {
      ...{ hostName: this.#hostName, state, ...more },
      stdout: Buffer.concat(this.#kept[1]),
      stderr: Buffer.concat(this.#kept[2]),
      lostBytes: this.#lostBytes,
      runMs: Math.round(performance.now() - this.#beganMs),
    }
  }
}
