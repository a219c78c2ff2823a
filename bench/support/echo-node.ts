// Echo node: a manager's mesh without a manager, in a process of its own. It answers
// NodesList with nothing, and tells its memory when asked. Members come as they like: the
// limits of one member are left out, for a benchmark is a crowd by itself.

import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import type { Introduction } from '../../protocol/index.ts'
import { systemClock as clock, systemRandom } from '../../src/clock.ts'
import { takeSlot } from '../../src/identity/slots.ts'
import { type MeshState, openState } from '../../src/identity/state.ts'
import type { Party } from '../../src/identity/subject.ts'
import { makeLog } from '../../src/log.ts'
import { CROWD_LIMITS } from '../../src/mesh/crowd.ts'
import { type Connection, dialMesh } from '../../src/mesh/dial.ts'
import { NodeMesh } from '../../src/mesh/mesh.ts'
import { tlsTransport } from '../../src/mesh/tls.ts'

export interface EchoNode {
  readonly url: string
  /** Its resident memory after a collection, in bytes. */
  memory(): Promise<number>
  stop(): Promise<void>
}

/** Starts one in that state directory. */
export const startEchoNode = async (directory: string): Promise<EchoNode> => {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), [directory], {
    execArgv: ['--expose-gc'],
  })
  const [url] = await once(child, 'message')
  return {
    url: String(url),
    memory: async () => {
      child.send('memory')
      const [bytes] = await once(child, 'message')
      return Number(bytes)
    },
    stop: async () => {
      child.kill()
      await once(child, 'exit')
    },
  }
}

/** The mesh of a state directory, made if there is none. */
export const openMesh = async (directory: string): Promise<MeshState> => {
  const state = await openState(directory)
  if (E.isLeft(state)) throw new Error(state.left.reason)
  return state.right
}

/** Dials as the mesh's own client, under a name of its own each time. */
export const dialler = (mesh: MeshState): ((url: string) => Promise<Connection>) => {
  const transport = tlsTransport({ credentials: mesh.client, clock })
  return async (url) => {
    const self = introduction(mesh.client.party)
    const dialled = await dialMesh({ url, transport, self, clock })
    if (E.isLeft(dialled)) throw new Error(dialled.left.reason)
    return dialled.right
  }
}

export const introduction = ({ role, nodeId, hostName }: Party): Introduction => ({
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

const serve = async (directory: string): Promise<void> => {
  const state = await openMesh(directory)
  const slot = await takeSlot({
    state,
    role: 'manager',
    name: undefined,
    baseName: 'bench',
  })
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
    crowd: { ...CROWD_LIMITS, ofOneMember: CROWD_LIMITS.connections },
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

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url))
  await serve(process.argv[2] ?? '')
