// What is fuzzed: a manager and a worker as they are, each behind a conversation with a peer
// that was introduced and proven, and is hostile. When the conversation is ended for a
// broken rule, the peer comes back with another one.

import * as E from 'fp-ts/lib/Either.js'
import { denialsFor, isDenied } from '../../protocol/access.ts'
import {
  Conversation,
  type Handlers,
  type Kind,
  kinds,
  type NodeType,
  packed,
  type RequestOf,
  type Respond,
  SignedRequest,
  unpacked,
} from '../../protocol/index.ts'
import { ALL_SCOPES, rightsOf } from '../../protocol/scopes.ts'
import type { Log, Peer, VerifySigned } from '../../src/ports.ts'
import { Events } from '../../src/roles/events.ts'
import { HostRequests } from '../../src/roles/host-requests.ts'
import { Hub } from '../../src/roles/hub.ts'
import { createWorld, exec, LEDGER, noop } from '../support/manager-world.ts'
import { createManualClock, type ManualClock } from '../support/manual-clock.ts'
import { createMemoryMesh } from '../support/memory-mesh.ts'
import { assignment, managedWorld } from '../support/worker-world.ts'
import type { Known } from './frames.ts'

/** What has come of the frames so far. */
export interface Reached {
  /** Requests that a handler was given. */
  handled: number
  /** Connections that were ended for a broken rule. */
  closed: number
  /** Bytes that were answered. */
  answered: number
}

export interface Target {
  readonly known: Known
  /** The kinds that the peer may ask of it. */
  readonly served: readonly Kind[]
  /** A frame from the peer. Throws nothing: a bug of ours is kept in `bugs`. */
  receive(bytes: Uint8Array): void
  /** Lets time pass, and what waits for its turn have it. */
  rest(): Promise<void>
  /** Was the connection ended for the last frame? The next one comes on another. */
  readonly isEnded: boolean
  readonly reached: Reached
  readonly bugs: readonly unknown[]
}

/** A node's role, its peer, and its clock. */
export interface Served {
  readonly role: NodeType
  readonly handlers: Handlers<Peer>
  readonly peer: Peer
  readonly clock: ManualClock
  readonly known: Known
  readonly settle: () => Promise<void>
}

const asked = ['ManagerPing', 'ManagerBye', 'ManagerPing', 'ManagerPing'] as const

export const target = (served: Served): Target => {
  const { role, handlers, peer, clock } = served
  const reached: Reached = { handled: 0, closed: 0, answered: 0 }
  const bugs: unknown[] = []
  const denials = denialsFor(peer, { role, hostName: 'target' })
  let isEnded = false
  const handle = <K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    respond: Respond<K>,
  ): void => {
    if (isDenied(denials, kind, respond)) return
    const handler: Handlers<Peer>[K] | undefined = handlers[kind]
    if (handler === undefined) {
      respond('Error', { code: 'wrong-role' })
      return
    }
    reached.handled += 1
    handler(body, respond, peer)
  }
  const connect = (): Conversation => {
    const made = new Conversation({
      send: (bytes) => {
        reached.answered += bytes.length
      },
      close: () => {
        isEnded = true
        reached.closed += 1
      },
      bufferedBytes: () => 0,
      clock,
      handle,
      onBug: (error) => bugs.push(error),
    })
    // So that there is something to answer.
    for (const kind of asked) made.ask(kind, { rel: 'rel' }, 60_000, () => undefined)
    return made
  }
  let conversation = connect()
  return {
    known: served.known,
    served: kinds.filter((kind) => handlers[kind] !== undefined && !denials.has(kind)),
    reached,
    bugs,
    get isEnded() {
      return isEnded
    },
    receive: (bytes) => {
      if (isEnded) {
        isEnded = false
        conversation = connect()
      }
      conversation.receive(bytes)
    },
    rest: async () => {
      clock.advance(20)
      await served.settle()
    },
  }
}

export const peerOf = (peer: Pick<Peer, 'role' | 'nodeId' | 'hostName'>): Peer => ({
  bootId: 'b'.repeat(16),
  rights: rightsOf(ALL_SCOPES),
  introduction: {
    node_type: peer.role,
    node_id: peer.nodeId,
    boot_id: 'b'.repeat(16),
    host_name: peer.hostName,
    minor: 0,
    features: [],
    max_in_flight: 1024,
    max_frame: 1024 * 1024,
  },
  remoteAddress: '127.0.0.1',
  address: undefined,
  ...peer,
})

/** A manager with a queue, a running task and a batch; the peer is a client or its worker. */
const fuzzedManager = async (from: 'client' | 'worker'): Promise<Target> => {
  const { manager, clock, net, worker, client } = createWorld()
  const one = await worker('w1', { cores: 2 })
  await one.request()
  const tasks = [
    exec(),
    noop(),
    exec({ stdin_live: true }),
    exec({ requires: { cores: 9 } }),
  ]
  await client('c1').ask('TasksSubmit', { key: 'key', batch: 'batch', tasks })
  await net.settle()
  const peer = peerOf({
    role: from,
    hostName: from === 'worker' ? 'w1' : 'c1',
    nodeId: from === 'worker' ? one.nodeId : 'c'.repeat(32),
  })
  if (from === 'client') manager.peerConnected(peer)
  return target({
    role: 'manager',
    handlers: manager.handlers,
    peer,
    clock,
    known: { ...KNOWN, rel: [one.rel], host_name: ['w1'] },
    settle: () => net.settle(),
  })
}

/** A worker that runs one task and has another waiting; the peer is its manager. */
const fuzzedWorker = async (): Promise<Target> => {
  const { worker, clock, network, manager, runner } = managedWorld()
  manager.execute(assignment(1), assignment(2), assignment(3))
  runner.run(0).started(99)
  network.run()
  const { rel, nodeId } = manager
  return target({
    role: 'worker',
    handlers: worker.handlers,
    peer: peerOf({ role: 'manager', nodeId, hostName: nodeId }),
    clock,
    known: { ...KNOWN, rel: [rel], boot: ['c'.repeat(16)] },
    settle: async () => {
      network.run()
    },
  })
}

const ids = [1, 2, 3, 4, 5].map((seq) => `${LEDGER}-${seq}`)
const KNOWN: Known = {
  task_id: ids,
  task_ids: ids,
  tasks: ids,
  batch: ['batch'],
  key: ['key', 'other'],
  job_addr: ['exec:true', 'noop:'],
}

const silence = (): void => undefined
const log: Log = { info: silence, warn: silence, error: silence, debug: silence }

/** Believes every signature, so that what is signed gets as far as it can. */
const credulous: VerifySigned = ({ s }) => {
  const map = unpacked(s)
  const request = E.isRight(map) ? SignedRequest.decode(map.right) : undefined
  if (request === undefined || E.isLeft(request)) return { fault: 'no request' }
  const signer = {
    nodeId: request.right.from,
    hostName: 'c',
    rights: rightsOf(ALL_SCOPES),
  }
  return { request: request.right, signer, content: '' }
}

/** What hubs hand on, at a node that serves what a hub and a manager would. */
const hostRequestsOf = (clock: ManualClock, handlers: Handlers<Peer>) =>
  new HostRequests({
    ...{ clock, log, audit: { record: silence }, verify: credulous, handlers },
    self: { hostName: 'pi', role: 'worker' },
    objection: () => undefined,
  })

/** A hub with a node, or (from a hub) that node itself. */
const fuzzedHub = async (from: 'client' | 'hub'): Promise<Target> => {
  const clock = createManualClock()
  const net = createMemoryMesh(clock)
  const events = new Events(clock, 'b'.repeat(16))
  const answer: Handlers<Peer> = {
    ...events.handlers,
    ProcessStart: (_body, respond) =>
      respond('ProcessStarted', { pid: 1, process_id: 'p1' }),
    ProcessList: (_body, respond) =>
      respond('ProcessesList', { pids: [], processes: [] }),
  }
  const { handlers } = hostRequestsOf(clock, answer)
  const { mesh } = net.add({ name: 'hub', role: 'hub' })
  const features = ['host-requests', 'events', 'processes']
  net.add({ name: 'pi', role: 'worker', features })
  net.attach('pi', { handlers, peerConnected: silence, peerLost: silence })
  const self = { node_id: 'h'.repeat(32), boot_id: 'b'.repeat(16), host_name: 'hub' }
  const hub = new Hub({
    ...{ clock, mesh, log, audit: { record: silence }, self },
    answerHere: (_ask, respond) => respond('Error', { code: 'wrong-role' }),
  })
  net.attach('hub', {
    handlers: hub.handlers,
    peerConnected: (peer) => hub.peerConnected(peer),
    peerLost: (peer, how) => hub.peerLost(peer, how),
  })
  net.connect('hub', 'pi')
  net.run()
  const kinds = ['ProcessList', 'ProcessStart', 'EventsRead', 'HubForward', 'ManagerBye']
  const bodies = [{}, { spec: { path: 'x' } }, { wait_ms: 1 }].map(packed)
  const now = clock.wall()
  const signed = kinds.map((kind) => ({
    ...{ to: 'pi', from: 'c', id: kind, iat: now, exp: now + 60_000 },
    ...{ kind, body: bodies[1] },
  }))
  return target({
    role: from === 'client' ? 'hub' : 'worker',
    handlers: from === 'client' ? hub.handlers : handlers,
    peer: peerOf({ role: from, hostName: from, nodeId: 'c'.repeat(32) }),
    clock,
    known: {
      ...{ host_name: ['pi', 'hub'], kind: kinds, body: bodies, s: signed.map(packed) },
      cert_id: ['0'.repeat(64)],
    },
    settle: async () => {
      net.run()
    },
  })
}

export const fuzzedHubs = [() => fuzzedHub('client'), () => fuzzedHub('hub')] as const

/** Each in its turn. */
export const TARGETS = [
  () => fuzzedManager('client'),
  () => fuzzedManager('worker'),
  fuzzedWorker,
  ...fuzzedHubs,
] as const
