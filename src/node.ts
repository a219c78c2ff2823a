// Node: the composition root, the one place that joins all parts.
//
// A start is a straight line: state directory, slot, role, mesh, address, discovery. Each
// step may fail with a sentence; what was opened before is then closed again.

import { hostname } from 'node:os'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { Handlers, Introduction, Respond } from '../protocol/index.ts'
import { DEFAULT_LIMITS } from '../protocol/limits.ts'
import { AuditFile } from './audit/file.ts'
import { auditDirectory } from './audit/logs.ts'
import { audited } from './audit/requests.ts'
import { systemClock, systemRandom } from './clock.ts'
import { baseNameOf } from './identity/names.ts'
import { type Revocations, watchRevoked } from './identity/revocations.ts'
import { signedVerifier } from './identity/signed-requests.ts'
import { type Slot, takeSlot } from './identity/slots.ts'
import { type OpenedState, openState, stateDirectory } from './identity/state.ts'
import type { Party } from './identity/subject.ts'
import { makeLog } from './log.ts'
import { featuresOf, Membership, takenOut } from './membership/membership.ts'
import { earlyReason, endedReason } from './membership/renewal.ts'
import { NodeMesh, type Role } from './mesh/mesh.ts'
import { type TlsTransport, tlsTransport } from './mesh/tls.ts'
import { isLoopback, type Listening, type Transport } from './mesh/transport.ts'
import { NodeDiscovery } from './node-discovery.ts'
import type { Faces } from './node-faces.ts'
import { startLines } from './node-lines.ts'
import {
  CannotStart,
  type NodeRole,
  type PreparedRole,
  type PrepareRole,
} from './node-role.ts'
import { KEEPS, type NodeOptions } from './options.ts'
import type { Audit, Clock, Log, Peer, Random } from './ports.ts'
import { type HostAsk, HostRequests } from './roles/host-requests.ts'

/** What a node is given by whoever starts it. */
export interface NodeSurroundings {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly version: string
  /** A line for the person who started it. */
  readonly print: (line: string) => void
  /** A line of the log, its end included. */
  readonly writeLog: (line: string) => void
  /** Defaults: the roles of this program, loaded when used. */
  readonly prepare?: Readonly<Record<NodeOptions['role'], PrepareRole>>
  readonly clock?: Clock
  readonly random?: Random
  /** How long certificates are good for that it makes for others; default 90 days. */
  readonly certificateLifeMs?: number
  /** The user that runs this; default: the process's. */
  readonly uid?: number
  /** What carries its bytes instead of TLS: for a benchmark alone, which nobody else can reach. */
  readonly transport?: (own: Party) => Transport
}

/** Why a node did not start: a sentence that names the remedy. */
export interface StartFailure {
  readonly reason: string
}

/** A started node. */
export interface RunningNode {
  readonly hostName: string
  readonly nodeId: string
  readonly url: string
  readonly stateDirectory: string
  readonly mesh: NodeMesh
  /** Resolves with the reason if the node cannot go on; it must then be closed. */
  readonly failed: Promise<string>
  /** Takes no new work, lets what runs finish within the grace, and closes. */
  drain(): Promise<void>
  /** Closes at once: running tasks are ended. May be called twice. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const loadRoles: Readonly<Record<NodeOptions['role'], PrepareRole>> = {
  manager: async (parts) => (await import('./node-manager.ts')).prepareManager(parts),
  worker: async (parts) => (await import('./node-worker.ts')).prepareWorker(parts),
  hub: async (parts) => (await import('./node-hub.ts')).prepareHub(parts),
}

const ROOT_REFUSED =
  'as root a node listens on loopback alone: what other machines run here would run as root; start it as another user, or say --allow-root'

/** Starts a node; resolves when it listens and has said so. */
export const startNode = async (
  options: NodeOptions,
  around: NodeSurroundings,
): Promise<Either<StartFailure, RunningNode>> => {
  const { uid = process.getuid?.() } = around
  if (uid === 0 && !isLoopback(options.listen) && !options.allowRoot)
    return E.left({ reason: ROOT_REFUSED })
  const directory = stateDirectory(options.state, around.environment)
  const baseName = baseNameOf(around.environment, hostname())
  const opened = await openState(directory, baseName)
  if (E.isLeft(opened)) return opened
  const state = opened.right
  try {
    const { role, name } = options
    const slot = await takeSlot({ state, role, name, baseName })
    if (E.isLeft(slot)) return slot
    return await startIn(slot.right, state, options, around)
  } catch (error) {
    return E.left(faultOf(error))
  }
}

/** With the slot that it took; whatever goes wrong, it is given back. */
const startIn = async (
  slot: Slot,
  state: OpenedState,
  options: NodeOptions,
  around: NodeSurroundings,
): Promise<Either<StartFailure, RunningNode>> => {
  const node = new Node(options, around, state, slot)
  try {
    const listening = await node.start()
    if (E.isRight(listening)) return E.right(node)
    await node.close()
    return listening
  } catch (error) {
    await node.close()
    throw error
  }
}

/** A full disk, a folder that is not ours: a sentence. Anything else is a bug, and thrown on. */
const faultOf = (error: unknown): StartFailure => {
  if (error instanceof CannotStart) return { reason: error.message }
  if (!(error instanceof Error && 'syscall' in error)) throw error
  return { reason: `cannot start: ${error.message}` }
}

class Node implements RunningNode {
  readonly #options: NodeOptions
  readonly #around: NodeSurroundings
  readonly #state: OpenedState
  readonly #slot: Slot
  readonly #clock: Clock
  readonly #random: Random
  readonly #log: Log
  readonly #transport: TlsTransport
  readonly failed: Promise<string>
  #fail: (reason: string) => void = () => undefined
  #mesh: NodeMesh | undefined
  #role: NodeRole | undefined
  #listening: Listening | undefined
  #discovery: NodeDiscovery | undefined
  #revocations: Revocations | undefined
  #membership: Membership | undefined
  #audit: AuditFile | undefined
  #hostRequests: HostRequests | undefined
  #faces: Faces | undefined
  #introduced: Introduction | undefined
  #own: Peer | undefined
  #closed: Promise<void> | undefined

  constructor(
    options: NodeOptions,
    around: NodeSurroundings,
    state: OpenedState,
    slot: Slot,
  ) {
    const { clock = systemClock, random = systemRandom, writeLog: write } = around
    this.#options = options
    this.#around = around
    this.#state = state
    this.#slot = slot
    this.#clock = clock
    this.#random = random
    this.#log = makeLog({
      level: options.logLevel,
      format: options.logFormat,
      clock,
      write,
      fields: { node: slot.hostName },
    })
    this.#transport = tlsTransport({
      credentials: slot.credentials,
      clock,
      isRevoked: (nodeId) => this.#isRevoked(nodeId),
    })
    this.failed = new Promise((resolve) => {
      this.#fail = resolve
    })
  }

  get hostName(): string {
    return this.#slot.hostName
  }

  get nodeId(): string {
    return this.#slot.nodeId
  }

  get url(): string {
    return this.#listening?.url ?? ''
  }

  get stateDirectory(): string {
    return this.#state.directory
  }

  get mesh(): NodeMesh {
    if (this.#mesh === undefined) throw new Error('Expected a node that has started')
    return this.#mesh
  }

  async start(): Promise<Either<StartFailure, Listening>> {
    const revocations = this.#watchRevoked()
    if (E.isLeft(revocations)) return revocations
    this.#revocations = revocations.right
    const notIn = this.#whyNotIn()
    if (notIn !== undefined) return E.left({ reason: notIn })
    const self = this.#introduction()
    const audit = this.#openAudit(self)
    const { labels } = this.#slot.credentials.party
    const { prepare = loadRoles } = this.#around
    const prepared = await prepare[this.#options.role]({
      options: this.#options,
      self,
      clock: this.#clock,
      random: this.#random,
      log: this.#log,
      audit,
      directory: this.#slot.directory,
      ...(labels && { issued: labels }),
      environment: this.#around.environment,
      answerHere: (ask, respond) => this.#answerHere(ask, respond),
      fail: (reason) => this.#fail(reason),
    })
    const { introduction, features = [] } = prepared
    const introduced = {
      ...self,
      ...introduction,
      features: [...self.features, ...features],
    }
    this.#introduced = introduced
    const mesh = this.#makeMesh(introduced, audit)
    this.#mesh = mesh
    this.#role = await prepared.begin(mesh, () => this.url)
    const membership = this.#makeMembership(mesh, revocations.right, audit)
    this.#membership = membership
    const served = withMembership(this.#role, membership)
    const handlers = audited(served.handlers, audit)
    const hostRequests = this.#makeHostRequests(handlers, audit)
    this.#hostRequests = hostRequests
    const listening = await mesh.open({
      ...served,
      handlers: { ...handlers, ...hostRequests.handlers },
    })
    if (E.isLeft(listening)) return listening
    this.#listening = listening.right
    const faces = await this.#openFaces(audit)
    if (E.isLeft(faces)) return faces
    this.#faces = faces.right
    membership.start()
    this.#announce(listening.right, self)
    this.#say(listening.right, prepared)
    this.#discover(mesh, listening.right, self)
    return listening
  }

  #openAudit({ node_type: role, node_id, boot_id, version }: Introduction): Audit {
    const audit = new AuditFile({
      directory: auditDirectory(this.#state.directory),
      name: `node-${this.hostName}`,
      clock: this.#clock,
      log: this.#log,
    })
    this.#audit = audit
    const { meshId: mesh, isNew } = this.#state
    const { certificate } = this.#slot
    if (isNew) audit.record('mesh-made', { mesh })
    if (certificate === 'made') this.#recordCertificate(audit, 'certified')
    if (certificate === 'renewed') this.#recordCertificate(audit, 'renewed')
    audit.record('node-started', { role, node_id, boot_id, version, pid: process.pid })
    return audit
  }

  /** Its own. */
  #recordCertificate(audit: Audit, event: 'certified' | 'renewed'): void {
    const { hostName: peer, role, nodeId: node_id } = this.#slot.credentials.party
    audit.record(event, { peer, role, node_id })
  }

  #watchRevoked(): Either<StartFailure, Revocations> {
    const { directory, trust } = this.#state
    const [clock, log] = [this.#clock, this.#log]
    const onChange = () => this.#membership?.revocationsChanged()
    return watchRevoked({ directory, trust, clock, log, onChange })
  }

  /** Why nobody would let it in; a sentence with the cure. */
  #whyNotIn(): string | undefined {
    const { credentials } = this.#slot
    if (this.#isRevoked(this.nodeId)) return takenOut(credentials.party)
    const nowMs = this.#clock.wall()
    if (nowMs > credentials.notAfterMs) return endedReason(credentials, nowMs)
    // A machine without a clock of its own gets the time later: it need not start again.
    if (nowMs < credentials.notBeforeMs)
      this.#around.print(`  warning    ${earlyReason(credentials, nowMs)}`)
    return undefined
  }

  #makeMembership(mesh: NodeMesh, revocations: Revocations, audit: Audit): Membership {
    const { credentials, identity: place } = this.#slot
    return new Membership({
      mesh,
      state: this.#state,
      place,
      listen: this.#options.listen,
      credentials,
      revocations,
      audit,
      lifeMs: this.#around.certificateLifeMs,
      clock: this.#clock,
      random: this.#random,
      log: this.#log,
      onRenewed: (renewed) => {
        this.#transport.renew(renewed)
        this.#recordCertificate(audit, 'renewed')
      },
      onEnded: (reason) => this.#fail(reason),
    })
  }

  #makeHostRequests(handlers: Handlers<Peer>, audit: Audit): HostRequests {
    const clock = this.#clock
    const { managers: heard } = this.#options
    return new HostRequests({
      ...{ clock, audit, handlers, log: this.#log },
      self: { hostName: this.hostName, role: this.#options.role },
      verify: signedVerifier({
        trust: this.#state.trust,
        isRevoked: (nodeId) => this.#isRevoked(nodeId),
        clock,
      }),
      objection: ({ nodeId, hostName }) =>
        heard.length === 0 || ['*', nodeId, hostName].some((one) => heard.includes(one))
          ? undefined
          : `the owner of ${this.hostName} lets other hubs ask it; it takes one more with --manager ${hostName}`,
    })
  }

  /** Nothing of them is loaded where none is switched on. */
  async #openFaces(audit: Audit): Promise<Either<StartFailure, Faces | undefined>> {
    const { bluezero, http } = this.#options
    if (bluezero === undefined && http === undefined) return E.right(undefined)
    const { openFaces } = await import('./node-faces.ts')
    const faces = await openFaces({
      ...{ options: this.#options, state: this.#state, slot: this.#slot, audit },
      ...{ clock: this.#clock, log: this.#log },
      version: this.#around.version,
      self: this.#asPeer(),
      hub: this.#role?.hub,
      managerHere: this.#options.role === 'manager',
      askHere: (kind, body, asker, done) =>
        this.#hostRequests?.askHere(kind, body, asker, this.#asPeer(), done),
    })
    return E.mapLeft((reason: string): StartFailure => ({ reason }))(faces)
  }

  /** What a hub asks of itself, or a face of its own node, goes the way of all host requests. */
  #answerHere(ask: HostAsk, respond: Respond<'HostRequest'>): void {
    this.#hostRequests?.answer(ask, respond, this.#asPeer())
  }

  /** This node as its own peer; the same object for as long as it lives. */
  #asPeer(): Peer {
    this.#own ??= this.#makeOwn()
    return this.#own
  }

  #makeOwn(): Peer {
    const introduction = this.#introduced ?? this.#introduction()
    return {
      nodeId: this.nodeId,
      bootId: introduction.boot_id,
      hostName: this.hostName,
      role: this.#options.role,
      introduction,
      remoteAddress: '127.0.0.1',
      address: undefined,
    }
  }

  #isRevoked(nodeId: string): boolean {
    return this.#revocations?.isRevoked(nodeId) ?? false
  }

  async drain(): Promise<void> {
    if (this.#closed !== undefined) return this.#closed
    // Nobody else shall find it; who is connected stays until the work is done.
    await this.#discovery?.close()
    const { graceMs } = this.#options
    if (this.#role?.drain !== undefined && graceMs > 0) await this.#role.drain(graceMs)
    return this.close()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /**
   * The announcement is withdrawn first, so that nobody new comes; the role ends what it
   * runs and says its goodbyes while the sockets still carry them; then the sockets; the
   * slot last, for a node that takes it over must find the port free.
   */
  async #close(): Promise<void> {
    this.#revocations?.close()
    try {
      await Promise.all([
        this.#membership?.close(),
        this.#discovery?.close(),
        this.#faces?.close(),
      ])
    } finally {
      await this.#closeWork()
    }
  }

  /** One that fails to close keeps neither the sockets open nor the slot taken. */
  async #closeWork(): Promise<void> {
    try {
      await this.#role?.close()
    } finally {
      try {
        await this.#mesh?.close()
      } finally {
        this.#audit?.record('node-stopped')
        await this.#audit?.close()
        this.#slot.release()
      }
    }
  }

  #introduction(): Introduction {
    const { hostName: host_name, nodeId: node_id } = this.#slot
    return {
      node_type: this.#options.role,
      node_id,
      boot_id: this.#random.hex(8),
      host_name,
      minor: 0,
      features: [...featuresOf(this.#state), 'host-requests'],
      max_in_flight: DEFAULT_LIMITS.maxInFlight,
      max_frame: DEFAULT_LIMITS.maxFrame,
      pid: process.pid,
      version: this.#around.version,
    }
  }

  #makeMesh(self: Introduction, audit: Audit): NodeMesh {
    const { lastPort, credentials } = this.#slot
    return new NodeMesh({
      transport: this.#around.transport?.(credentials.party) ?? this.#transport,
      self,
      address: this.#options.listen,
      port: this.#options.port,
      ...(lastPort === undefined ? {} : { preferredPort: lastPort }),
      keeps: KEEPS[this.#options.role],
      clock: this.#clock,
      random: this.#random,
      log: this.#log,
      audit,
      onFatal: (reason) => this.#fail(reason),
    })
  }

  #announce({ url, port }: Listening, self: Introduction): void {
    const { node_id, boot_id, host_name, node_type: role } = self
    const { listen } = this.#options
    this.#slot.announce(
      { node_id, boot_id, role, host_name, pid: process.pid, url, listen },
      port,
    )
  }

  #say({ url, port }: Listening, { about }: PreparedRole): void {
    const { uid = process.getuid?.(), print } = this.#around
    const lines = startLines({
      options: this.#options,
      hostName: this.hostName,
      stateDirectory: this.#state.directory,
      ...{ url, port, about, uid },
      faces: this.#faces?.lines ?? [],
    })
    for (const line of lines) print(line)
  }

  #discover(mesh: NodeMesh, { port }: Listening, self: Introduction): void {
    this.#discovery = new NodeDiscovery({
      options: this.#options,
      mesh,
      meshId: this.#state.meshId,
      stateDirectory: this.#state.directory,
      self,
      port,
      clock: this.#clock,
      log: this.#log,
      print: this.#around.print,
    })
    this.#discovery.start()
  }
}

/** The role with the exchanges of membership beside its own. */
const withMembership = (role: NodeRole, membership: Membership): Role => ({
  handlers: { ...role.handlers, ...membership.handlers },
  peerConnected: (peer) => {
    role.peerConnected(peer)
    membership.peerConnected(peer)
  },
  peerLost: (peer, how) => {
    membership.peerLost(peer)
    role.peerLost(peer, how)
  },
})
