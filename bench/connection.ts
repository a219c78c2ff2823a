// One connection of the mesh: typed asks beside a raw ws echo, and what an idle one costs.

import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import type { Introduction } from '../protocol/index.ts'
import { systemClock, systemRandom } from '../src/clock.ts'
import { takeSlot } from '../src/identity/slots.ts'
import { type MeshState, openState } from '../src/identity/state.ts'
import type { Party } from '../src/identity/subject.ts'
import { makeLog } from '../src/log.ts'
import { type Connection, dialMesh } from '../src/mesh/dial.ts'
import { NodeMesh } from '../src/mesh/mesh.ts'
import { tlsTransport } from '../src/mesh/tls.ts'
import { comparison } from './support/figures.ts'
import { report } from './support/report.ts'
import { interleave } from './support/rounds.ts'
import { rawEchoRate } from './yardsticks/echo.ts'

const COUNT = 50_000
const IN_FLIGHT = 64
const ROUNDS = 5
/** What a small request and its answer are on the wire. */
const ECHO_BYTES = 48
const IDLE = 5000
const SETTLE_MS = 1000

const clock = systemClock

const introduction = ({ role, nodeId, hostName }: Party): Introduction => ({
  node_type: role,
  // A client may have many connections, each with a name of its own.
  node_id: role === 'client' ? `${nodeId}/${randomBytes(8).toString('hex')}` : nodeId,
  boot_id: randomBytes(8).toString('hex'),
  host_name: hostName,
  minor: 0,
  features: [],
  max_in_flight: 1024,
  max_frame: 1024 * 1024,
})

const openMesh = async (directory: string): Promise<MeshState> => {
  const state = await openState(directory)
  if (E.isLeft(state)) throw new Error(state.left.reason)
  return state.right
}

/** A process that answers; it tells its address, and its memory when asked. */
const serve = async (directory: string): Promise<void> => {
  const state = await openMesh(directory)
  const baseName = 'bench'
  const slot = await takeSlot({ state, role: 'manager', name: undefined, baseName })
  if (E.isLeft(slot)) throw new Error(slot.left.reason)
  const { credentials } = slot.right
  const mesh = new NodeMesh({
    transport: tlsTransport({ credentials, clock }),
    self: introduction(credentials.party),
    address: '127.0.0.1',
    port: 0,
    keeps: [],
    clock,
    random: systemRandom,
    log: makeLog({ level: 'error', format: 'text', clock, write: () => undefined }),
    onFatal: (reason) => {
      throw new Error(reason)
    },
  })
  const opened = await mesh.open({
    handlers: { NodesList: (_body, respond) => respond('NodesListed', { nodes: [] }) },
    peerConnected: () => undefined,
    peerLost: () => undefined,
  })
  if (E.isLeft(opened)) throw new Error(opened.left.reason)
  process.send?.(opened.right.url)
  process.on('message', () => process.send?.(residentBytes()))
}

const residentBytes = (): number => {
  globalThis.gc?.()
  const [, kilobytes = '0'] =
    /VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return Number(kilobytes) * 1024
}

const dial = async (url: string): Promise<Connection> => {
  const self = introduction(mesh.client.party)
  const dialled = await dialMesh({ url, transport, self, clock })
  if (E.isLeft(dialled)) throw new Error(dialled.left.reason)
  return dialled.right
}

const askRate = async (connection: Connection): Promise<number> => {
  const start = performance.now()
  await new Promise<void>((resolve) => {
    let sent = 0
    let answered = 0
    const ask = (): void => {
      if (sent === COUNT) return
      sent += 1
      connection.ask('NodesList', {}, 10_000, () => {
        answered += 1
        if (answered === COUNT) resolve()
        else ask()
      })
    }
    for (let places = 0; places < IN_FLIGHT; places += 1) ask()
  })
  return COUNT / ((performance.now() - start) / 1000)
}

const memoryOf = async (server: ChildProcess): Promise<number> => {
  server.send('memory')
  const [bytes] = await once(server, 'message')
  return Number(bytes)
}

const measureRate = async (url: string): Promise<void> => {
  const connection = await dial(url)
  const pairs = await interleave(
    ROUNDS,
    () => askRate(connection),
    () => rawEchoRate(COUNT, IN_FLIGHT, ECHO_BYTES),
  )
  await connection.close()
  const what = `typed ask and answer, ${IN_FLIGHT} in flight`
  const beside = { what, yardstick: 'raw ws echo', unit: '/s' }
  report(comparison({ ...beside, goal: ['>=', 0.35] }, pairs))
}

const measureIdle = async (server: ChildProcess, url: string): Promise<void> => {
  const before = await memoryOf(server)
  const connections: Connection[] = []
  for (let count = 0; count < IDLE; count += 1) connections.push(await dial(url))
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  const after = await memoryOf(server)
  report({
    what: `memory per idle connection, ${IDLE} of them`,
    value: (after - before) / IDLE / 1024,
    unit: 'KiB',
    goal: ['<=', 80], // under TLS; without, it was 16 KiB
  })
}

const directory = process.argv[2] ?? join(mkdtempSync(join(tmpdir(), 'manyhands-')), 's')
const mesh = await openMesh(directory)
const transport = tlsTransport({ credentials: mesh.client, clock })

if (process.send !== undefined) await serve(directory)
else {
  const file = fileURLToPath(import.meta.url)
  // One process for each figure: the memory of the first would hide that of the second.
  const [rated, idle] = [0, 1].map(() =>
    fork(file, [directory], { execArgv: ['--expose-gc'] }),
  )
  if (rated === undefined || idle === undefined) throw new Error('Expected two servers')
  const [[ratedUrl], [idleUrl]] = await Promise.all([
    once(rated, 'message'),
    once(idle, 'message'),
  ])
  await measureRate(String(ratedUrl))
  await measureIdle(idle, String(idleUrl))
  rated.kill()
  idle.kill()
  rmSync(dirname(directory), { recursive: true, force: true })
  process.exit()
}
