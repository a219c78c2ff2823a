// Carried mesh: one manager and two workers as in mesh.ts, each in a process of its own,
// whose bytes a transport carries that the benchmark chooses; and a client to them.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import { Client } from '../../src/client/client.ts'
import { Link } from '../../src/client/link.ts'
import { systemClock as clock } from '../../src/clock.ts'
import { readState } from '../../src/identity/state.ts'
import { dialMesh } from '../../src/mesh/dial.ts'
import { tlsTransport } from '../../src/mesh/tls.ts'
import { startNode } from '../../src/node.ts'
import { DEFAULTS } from '../../src/options.ts'
import { introduction } from './echo-node.ts'
import { plainTransport } from './plain-transport.ts'

export type Carrier = 'tls' | 'plain'

const WORKERS = 2

export interface CarriedMesh {
  readonly client: Client
  close(): Promise<void>
}

/** Where the manager keeps its tasks: on disk as by default, or not. */
export type LedgerKind = 'embedded' | 'memory'

export const startCarriedMesh = async (
  carrier: Carrier,
  ledger: LedgerKind = 'embedded',
): Promise<CarriedMesh> => {
  const state = await mkdtemp(join(tmpdir(), 'manyhands-bench-'))
  const manager = await startProcess(['manager', carrier, state, '', ledger])
  const url = manager.url
  const workers: { readonly child: ChildProcess }[] = []
  for (let count = 0; count < WORKERS; count += 1)
    workers.push(await startProcess(['worker', carrier, state, url]))
  const client = await clientOf(state, url, carrier)
  await allManaged(client)
  return {
    client,
    close: async () => {
      await client.close()
      for (const { child } of [...workers, manager]) {
        child.kill('SIGTERM')
        await once(child, 'exit')
      }
      await rm(state, { recursive: true, force: true })
    },
  }
}

const startProcess = async (args: readonly string[]) => {
  const child = fork(fileURLToPath(import.meta.url), args)
  const [url] = await once(child, 'message')
  return { child, url: String(url) }
}

const clientOf = async (
  state: string,
  url: string,
  carrier: Carrier,
): Promise<Client> => {
  const mesh = readState(state)
  if (E.isLeft(mesh)) throw new Error(mesh.left.kind)
  const { client: credentials } = mesh.right
  const transport =
    carrier === 'tls'
      ? tlsTransport({ credentials, clock })
      : plainTransport(credentials.party)
  const self = introduction(credentials.party)
  const connection = await dialMesh({ url, transport, self, clock })
  if (E.isLeft(connection)) throw new Error(connection.left.reason)
  const closed = { kind: 'aborted' } as const
  return new Client(
    new Link(connection.right, () => Promise.resolve(E.left(closed))),
    () => Promise.resolve(E.left(closed)),
  )
}

const allManaged = async (client: Client): Promise<void> => {
  for (;;) {
    const nodes = await client.nodes()
    const managed = nodes.filter(
      ({ role, state }) => role === 'worker' && state === 'managed',
    )
    if (managed.length === WORKERS) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const serve = async (args: readonly string[]): Promise<void> => {
  const [role, carrier, state, join, ledger] = args
  const node = await startNode(
    {
      ...DEFAULTS,
      role: role === 'manager' ? role : 'worker',
      mdns: false,
      logLevel: 'warn',
      cores: Math.max(1, Math.floor(availableParallelism() / WORKERS)),
      ...(state && { state }),
      ...(join && { join: [join] }),
      ...(ledger === 'memory' && { ledger }),
    },
    {
      environment: process.env,
      version: '0.0.0',
      print: () => undefined,
      writeLog: (line) => void process.stderr.write(line),
      ...(carrier === 'plain' && { transport: plainTransport }),
    },
  )
  if (E.isLeft(node)) throw new Error(node.left.reason)
  process.once('SIGTERM', () => void node.right.close().then(() => process.exit()))
  process.send?.(node.right.url)
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url))
  await serve(process.argv.slice(2))
