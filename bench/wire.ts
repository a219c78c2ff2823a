// A typed request and its answer on one connection of the mesh, 64 in flight, beside raw ws
// echo of as many bytes; and what an idle connection costs the node that accepted it.

import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isLeft } from 'fp-ts/lib/Either.js'
import { systemClock } from '../src/clock.ts'
import { readState } from '../src/identity/state.ts'
import { type Connection, dialMesh } from '../src/mesh/dial.ts'
import { startNode } from '../src/node.ts'
import type { PrepareRole } from '../src/node-role.ts'
import { DEFAULTS } from '../src/options.ts'
import { residentBytes } from './support/mesh.ts'
import { report } from './support/report.ts'
import { interleave, median, ratio } from './support/rounds.ts'
import { rawEchoRate } from './yardsticks/echo.ts'

const COUNT = 100_000
const IN_FLIGHT = 64
const ROUNDS = 7
const CONNECTIONS = 5_000
const REL = 'bench'

/** A manager that answers pings, and does nothing else. */
const answering: PrepareRole = async () => ({
  introduction: {},
  about: 'answers pings',
  begin: async () => ({
    handlers: { ManagerPing: ({ rel }, respond) => respond('ManagerPong', { rel }) },
    peerConnected: () => undefined,
    peerLost: () => undefined,
    close: async () => undefined,
  }),
})

const serve = async (state: string): Promise<void> => {
  const node = await startNode(
    { ...DEFAULTS, role: 'manager', state, mdns: false, local: false, logLevel: 'error' },
    {
      environment: {},
      version: 'bench',
      print: () => undefined,
      writeLog: (line) => process.stderr.write(line),
      prepare: { manager: answering, worker: answering },
    },
  )
  if (isLeft(node)) throw new Error(node.left.reason)
  process.send?.(node.right.url)
  process.on('message', () => {
    globalThis.gc?.()
    process.send?.('collected')
  })
}

const dial = async (state: string, url: string): Promise<Connection> => {
  const mesh = readState(state)
  if (isLeft(mesh)) throw new Error(mesh.left.reason)
  const { meshId, secret } = mesh.right
  const connection = await dialMesh({
    url,
    meshId,
    secret,
    clock: systemClock,
    self: {
      node_type: 'client',
      node_id: randomBytes(16).toString('hex'),
      boot_id: randomBytes(8).toString('hex'),
      host_name: `bench-${randomBytes(4).toString('hex')}`,
      minor: 0,
      features: [],
      max_in_flight: 1024,
      max_frame: 2 ** 20,
    },
  })
  if (isLeft(connection)) throw new Error(JSON.stringify(connection.left))
  return connection.right
}

const typedRate = (connection: Connection): Promise<number> =>
  new Promise((resolve, reject) => {
    const start = performance.now()
    let asked = 0
    let answered = 0
    const ask = (): void => {
      if (asked === COUNT) return
      asked += 1
      connection.ask('ManagerPing', { rel: REL }, 10_000, (outcome) => {
        if (isLeft(outcome) || outcome.right.kind !== 'ManagerPong')
          return reject(new Error(JSON.stringify(outcome)))
        answered += 1
        if (answered === COUNT) resolve(COUNT / ((performance.now() - start) / 1000))
        else ask()
      })
    }
    for (let places = 0; places < IN_FLIGHT; places += 1) ask()
  })

const measure = async (): Promise<void> => {
  const state = join(await mkdtemp(join(tmpdir(), 'manyhands-bench-')), 'state')
  const server = fork(fileURLToPath(import.meta.url), [state], {
    execArgv: ['--expose-gc'],
  })
  const connections: Connection[] = []
  try {
    const [url] = await once(server, 'message')
    const connection = await dial(state, String(url))
    connections.push(connection)
    const bytes = 40 // a ManagerPing as packed
    const pairs = await interleave(
      ROUNDS,
      () => typedRate(connection),
      () => rawEchoRate(COUNT, IN_FLIGHT, bytes),
    )
    report({
      what: 'typed request and answer, 64 in flight, by raw ws echo',
      value: ratio(pairs),
      unit: 'x',
      goal: ['>=', 0.35],
      note: `${median(pairs.map((pair) => pair.subject)).toFixed(0)}/s by ${median(pairs.map((pair) => pair.yardstick)).toFixed(0)}/s`,
    })
    const resident = async (): Promise<number> => {
      server.send('collect')
      await once(server, 'message')
      return residentBytes(server.pid ?? 0)
    }
    const before = await resident()
    while (connections.length < CONNECTIONS)
      connections.push(
        ...(await Promise.all(
          Array.from({ length: 25 }, () => dial(state, String(url))),
        )),
      )
    report({
      what: `memory of an idle connection, at ${CONNECTIONS}, in the accepting node`,
      value: ((await resident()) - before) / CONNECTIONS / 1024,
      unit: 'KiB',
      goal: ['<=', 20],
    })
  } finally {
    server.kill('SIGKILL')
    await Promise.all(connections.map((connection) => connection.close()))
    await rm(join(state, '..'), { recursive: true, force: true })
  }
}

if (process.send === undefined) await measure()
else await serve(process.argv[2] ?? '')
