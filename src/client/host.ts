// Host: what a client asks of one host about the programs there: by way of a hub, if there
// is one, else on a connection of its own. Then the host's address is its manager's word;
// that it is that host, its certificate's.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import {
  DATA_BYTES,
  type NodeInfo,
  type ProcessInfo,
  type ProcessSpec,
  type Signal,
} from '../../protocol/index.ts'
import { ClientError, type ClientFailure } from './failures.ts'
import { type AskOptions, type Asks, Link, type LinkConnection } from './link.ts'
import { type OutputOptions, readPlaces } from './output.ts'
import { newKey } from './submit.ts'
import { askViaHub, type HubRoute } from './via-hub.ts'

/** Dials an address, whoever is there. */
export type DialUrl = (
  url: string,
  signal?: AbortSignal,
) => Promise<Either<ClientFailure, HostConnection>>

/** What a host's connection tells of it besides. */
export type HostConnection = LinkConnection & {
  readonly peer: { readonly introduction?: { readonly features?: readonly string[] } }
}

/** Which process: its pid, its process_id, which stays over restarts, or the key of its start. */
export type WhichProcess = number | string | { readonly key: string }

export interface StartedProcess {
  readonly pid: number
  readonly processId: string
}

/** What a host is asked through: a connection of its own, or a hub. */
export interface HostLink extends Asks {
  close(): Promise<void>
}

/** How long a start may take: the operating system's, not the program's. */
const START_MS = 30_000
const WAIT_MS = 20_000
const GRACE_MS = 5_000

export class Host {
  readonly hostName: string
  readonly #link: HostLink

  constructor(hostName: string, link: HostLink) {
    this.hostName = hostName
    this.#link = link
  }

  /** Starts a program; resolves when the operating system has it. Rejects with `rejected`. */
  async start(
    spec: ProcessSpec,
    key = newKey(),
    { timeoutMs = START_MS, signal }: AskOptions = {},
  ): Promise<StartedProcess> {
    const options = { timeoutMs, signal }
    const answer = await this.#link.ask('ProcessStart', { spec, key }, options)
    if (answer.kind === 'Refused') {
      const { reason: code, message } = answer.body
      throw new ClientError({ kind: 'rejected', exchange: 'ProcessStart', code, message })
    }
    return { pid: answer.body.pid, processId: answer.body.process_id }
  }

  /** Asks it to end: INT, after 5 s TERM, after 5 s more KILL. Does not wait for it. */
  async stop(which: WhichProcess): Promise<void> {
    const answer = await this.#link.ask('ProcessStop', refOf(which))
    if (answer.kind === 'NotFound') throw this.#none(which)
  }

  /** Sends a signal to its process group. */
  async signal(which: WhichProcess, signal: Signal): Promise<void> {
    const answer = await this.#link.ask('ProcessSignal', { signal, ...refOf(which) })
    if (answer.kind === 'NotFound') throw this.#none(which)
  }

  /** What is known of it, for some minutes after its end too. */
  async query(which: WhichProcess): Promise<ProcessInfo> {
    const answer = await this.#link.ask('ProcessQuery', refOf(which))
    if (answer.kind === 'NotFound') throw this.#none(which)
    return answer.body
  }

  /** Resolves when it is ready (or has ended for good), or has ended for good. */
  async wait(
    which: WhichProcess,
    until: 'ready' | 'exited' = 'exited',
    signal?: AbortSignal,
  ): Promise<ProcessInfo> {
    const body = { until, wait_ms: WAIT_MS, ...refOf(which) }
    const options = { timeoutMs: WAIT_MS + GRACE_MS, signal }
    for (;;) {
      const answer = await this.#link.ask('ProcessWait', body, options)
      if (answer.kind === 'NotFound') throw this.#none(which)
      const { state, ready } = answer.body
      if (state === 'exited' || (until === 'ready' && ready)) return answer.body
    }
  }

  /** Those that run; `all`: those too that wait for a restart or have ended. */
  async processes({ all = false } = {}): Promise<readonly ProcessInfo[]> {
    const found: ProcessInfo[] = []
    let after: string | undefined
    do {
      const body = { all, ...(after !== undefined && { after }) }
      const answer = await this.#link.ask('ProcessList', body)
      found.push(...answer.body.processes)
      after = answer.body.next
    } while (after !== undefined)
    return found
  }

  /** What it writes or wrote; `isRetried` goes on with its next runs. */
  output(which: WhichProcess, options: OutputOptions = {}): AsyncIterable<Uint8Array> {
    const { fd = 1, follow = true, signal } = options
    const waitMs = follow ? WAIT_MS : 0
    return readPlaces(async ({ offset, attempt: run }) => {
      const ref = { ...refOf(which), ...(run !== undefined && { run }) }
      const answer = await this.#link.ask(
        'ProcessOutputRead',
        { fd, offset, max: DATA_BYTES, wait_ms: waitMs, ...ref },
        { timeoutMs: waitMs + GRACE_MS, signal },
      )
      if (answer.kind === 'NotFound') throw this.#none(which)
      return answer.body
    }, options)
  }

  close(): Promise<void> {
    return this.#link.close()
  }

  #none(which: WhichProcess): ClientError {
    const name = typeof which === 'object' ? which.key : which
    const what = `process ${name} on ${this.hostName}`
    return new ClientError({ kind: 'not-found', what, list: 'manyhands ps --all' })
  }
}

const refOf = (which: WhichProcess) => {
  if (typeof which === 'object') return which
  return typeof which === 'number' ? { pid: which } : { process_id: which }
}

/** The host by way of a hub, whose connection it does not own. */
export const hostViaHub = (hostName: string, route: HubRoute): Host =>
  new Host(hostName, {
    ask: (kind, body, options) => askViaHub(route, hostName, kind, body, options),
    close: () => Promise.resolve(),
  })

/** Finds the host among the nodes, now and whenever its connection is lost, and connects. */
export const openHost = async (
  hostName: string,
  nodes: () => Promise<readonly NodeInfo[]>,
  dial: DialUrl,
): Promise<Host> => {
  const dialHost = async (
    signal?: AbortSignal,
  ): Promise<Either<ClientFailure, LinkConnection>> => {
    const node = (await nodes()).find(
      ({ host_name, role }) => host_name === hostName && role !== 'client',
    )
    if (node === undefined) {
      const what = `host ${hostName}`
      return E.left({ kind: 'not-found', what, list: 'manyhands nodes' })
    }
    if (node.address === undefined)
      return unreachable(hostName, 'nobody can connect to it; start it with --listen')
    const dialled = await dial(node.address, signal)
    if (E.isLeft(dialled)) return dialled
    return await checked(hostName, dialled.right)
  }
  const first = await dialHost()
  if (E.isLeft(first)) throw new ClientError(first.left)
  return new Host(hostName, new Link(first.right, dialHost))
}

/** Another node may have taken its address; and not every node has processes. */
const checked = async (
  hostName: string,
  connection: HostConnection,
): Promise<Either<ClientFailure, LinkConnection>> => {
  const { hostName: found, introduction } = connection.peer
  const isServing = introduction?.features?.includes('processes') === true
  if (found === hostName && isServing) return E.right(connection)
  await connection.close()
  return unreachable(
    hostName,
    found === hostName
      ? 'it runs no processes for others; start it with --processes'
      : `its address is ${found}'s now`,
  )
}

const unreachable = (host: string, reason: string): Either<ClientFailure, never> =>
  E.left({ kind: 'unreachable', host, reason })
