// Connecting: where a mesh's manager is (or, without one, its hub), and a client on a connection to it. Looked for in
// this order: the given address alone; else the managers that left their address in the
// state directory; else those that were named when this machine joined; else those that
// announce themselves. Certificates decide who is let in
// and who is believed, never the place where an address was found.

import { randomBytes } from 'node:crypto'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { Introduction } from '../../protocol/index.ts'
import { systemClock } from '../clock.ts'
import type { Credentials } from '../identity/credentials.ts'
import { readPeers } from '../identity/place-membership.ts'
import { readRevoked } from '../identity/revocations.ts'
import { RequestSigner } from '../identity/signed-requests.ts'
import {
  hasHadManager,
  listAddresses,
  type MeshState,
  readState,
  stateDirectory,
} from '../identity/state.ts'
import { type Connection, type DialFailure, dialMesh } from '../mesh/dial.ts'
import { tlsTransport } from '../mesh/tls.ts'
import type { Transport } from '../mesh/transport.ts'
import type { Log } from '../ports.ts'
import { Client } from './client.ts'
import { ClientError, type ClientFailure } from './failures.ts'
import type { DialUrl } from './host.ts'
import { Link, type LinkOptions } from './link.ts'
import { freshHere, keepFresh } from './own-certificate.ts'

export interface ConnectOptions extends LinkOptions {
  /** The state directory; default `$XDG_STATE_HOME/manyhands`, else `~/.local/state/manyhands`. */
  readonly state?: string
  /** A manager's address (`wss://127.0.0.1:4000`) instead of looking for one. */
  readonly at?: string
  /** Listens for announced managers too, this long (default 1,500); 0: it does not. */
  readonly discoverMs?: number
  /** False: asks hosts directly, also where there is a hub. */
  readonly hub?: boolean
  readonly log?: Log
  readonly signal?: AbortSignal
}

/** Finds the mesh and connects. Rejects with a ClientError: `no-mesh`, `state`, `refused`, `lost`. */
export const connect = async (options: ConnectOptions = {}): Promise<Client> => {
  const directory = stateDirectory(options.state, process.env)
  const state = readState(directory)
  if (E.isLeft(state)) throw new ClientError(stateFailure(state.left))
  const self = introduction(state.right)
  const out = readRevoked(directory, state.right.trust)
  if (E.isLeft(out)) throw new ClientError(stateFailure(out.left))
  const revoked = new Set(out.right.revoked.map(({ node_id }) => node_id))
  const own = await freshHere(state.right)
  const transport = tlsTransport({
    credentials: own,
    clock: systemClock,
    isRevoked: (nodeId) => revoked.has(nodeId),
  })
  const dial = (signal?: AbortSignal) =>
    dialManager({ options, state: state.right, transport, self, signal })
  const first = await dial(options.signal)
  if (E.isLeft(first)) throw new ClientError(first.left)
  const link = new Link(first.right, dial, options)
  let signer: RequestSigner | undefined
  let credentials = own
  const onRenewed = (renewed: Credentials) => {
    transport.renew(renewed)
    credentials = renewed
    signer = undefined
  }
  const signerNow = () => {
    signer ??= new RequestSigner(credentials, systemClock)
    return signer
  }
  if (first.right.peer.introduction.features.includes('membership'))
    await keepFresh({ link, state: state.right, own, onRenewed, log: options.log })
  const dialUrl: DialUrl = async (url, signal) => {
    // To the manager itself, too: a second connection needs a name of its own.
    const other = introduction(state.right)
    const search = { options, state: state.right, transport, self: other, signal }
    return E.mapLeft(anyFailure)(await dialAny(search, url))
  }
  return new Client(link, dialUrl, options.hub === false ? undefined : signerNow)
}

const stateFailure = (failure: {
  readonly kind: string
  readonly path: string
  readonly reason: string
}): ClientFailure =>
  failure.kind === 'no-mesh'
    ? { kind: 'no-mesh', looked: [`in ${failure.path}`] }
    : { kind: 'state', path: failure.path, reason: failure.reason }

/** Who this client is: the same member each time, with a name for this connection. */
const introduction = ({ client: { party } }: MeshState): Introduction => ({
  node_type: 'client',
  node_id: `${party.nodeId}/${randomBytes(8).toString('hex')}`,
  boot_id: randomBytes(8).toString('hex'),
  host_name: party.hostName,
  minor: 0,
  features: [],
  max_in_flight: 1024,
  max_frame: 1024 * 1024,
  pid: process.pid,
})

interface Search {
  readonly options: ConnectOptions
  readonly state: MeshState
  readonly transport: Transport
  readonly self: Introduction
  readonly signal: AbortSignal | undefined
}

type Dialled = Either<ClientFailure, Connection>

/** Whom a client asks, in this order. */
const ROLES: readonly string[] = ['manager', 'hub']

/** Tries each address once; a refusal says more than silence, so it is what is reported. */
const dialManager = async (search: Search): Promise<Dialled> => {
  const { options, state } = search
  if (options.at !== undefined)
    return E.mapLeft(anyFailure)(await dialOne(search, options.at))
  const all = listAddresses(state.directory)
  // A hub will do where there is no manager: it has the nodes and their processes.
  const here = ROLES.flatMap((role) => all.filter((node) => node.role === role))
  const first = await dialEach(
    search,
    here.map(({ url }) => url),
    [`in ${state.directory}`],
  )
  if (E.isRight(first) || first.left.kind !== 'no-mesh') return first
  const { looked } = first.left
  const peers = readPeers(state.directory)
  if (peers.length === 0) return await dialAnnounced(search, looked)
  // A machine that is away costs seconds to find out, and another may have its part now.
  return await firstOf(search.signal, [
    (signal) => dialEach({ ...search, signal }, peers, looked),
    (signal) => dialAnnounced({ ...search, signal }, []),
  ])
}

/** One after the other; `looked`: where it was looked for before. */
const dialEach = async (
  search: Search,
  urls: readonly string[],
  looked: readonly string[],
): Promise<Dialled> => {
  const places = [...looked]
  let refusal: ClientFailure | undefined
  for (const url of urls) {
    const dialled = await dialOne(search, url)
    if (E.isRight(dialled)) return dialled
    const failure = anyFailure(dialled.left)
    if (failure.kind === 'no-mesh') places.push(`at ${url}`)
    else refusal ??= failure
  }
  return E.left(refusal ?? { kind: 'no-mesh', looked: places })
}

/** Several ways at once: the first that leads somewhere ends the others. */
const firstOf = (
  signal: AbortSignal | undefined,
  ways: readonly ((signal: AbortSignal) => Promise<Dialled>)[],
): Promise<Dialled> =>
  new Promise((resolve) => {
    const others = new AbortController()
    const abort = () => others.abort()
    signal?.addEventListener('abort', abort)
    const failures: ClientFailure[] = []
    const settle = (result: Dialled) => {
      signal?.removeEventListener('abort', abort)
      others.abort()
      resolve(result)
    }
    for (const way of ways)
      void way(others.signal).then((result) => {
        if (E.isRight(result)) {
          if (others.signal.aborted) void result.right.close()
          else settle(result)
        } else if (failures.push(result.left) === ways.length)
          settle(E.left(worstOf(failures)))
      })
  })

/** A refusal says more than silence; else everywhere that was looked at. */
const worstOf = (failures: readonly ClientFailure[]): ClientFailure =>
  failures.find(({ kind }) => kind !== 'no-mesh') ?? {
    kind: 'no-mesh',
    looked: failures.flatMap((failure) =>
      failure.kind === 'no-mesh' ? failure.looked : [],
    ),
  }

/** Announcements on a network that loses some are repeated within this. */
const DISCOVER_MS = 1_500
/** Where nodes have run on this machine and none does now: what lives is heard this soon. */
const DISCOVER_AGAIN_MS = 300

const dialAnnounced = async (
  search: Search,
  looked: readonly string[],
): Promise<Either<ClientFailure, Connection>> => {
  const { options, state, self, signal } = search
  const byDefault = hasHadManager(state.directory) ? DISCOVER_AGAIN_MS : DISCOVER_MS
  const { discoverMs: limitMs = byDefault } = options
  if (limitMs === 0) return E.left({ kind: 'no-mesh', looked })
  // Loaded here: whoever finds the mesh in the state directory pays nothing for it.
  const { discoverManager } = await import('./discover.ts')
  const url = await discoverManager({ meshId: state.meshId, self, limitMs, signal })
  if (url === undefined)
    return E.left({ kind: 'no-mesh', looked: [...looked, 'by mDNS'] })
  return E.mapLeft(anyFailure)(await dialOne(search, url))
}

const dialAny = (
  { options, transport, self, signal }: Search,
  url: string,
): Promise<Either<DialFailure, Connection>> =>
  dialMesh({
    url,
    transport,
    self,
    clock: systemClock,
    ...(options.log && { log: options.log }),
    ...(signal && { signal }),
  })

const dialOne = async (
  search: Search,
  url: string,
): Promise<Either<DialFailure | ClientFailure, Connection>> => {
  const dialled = await dialAny(search, url)
  if (E.isLeft(dialled) || ROLES.includes(dialled.right.peer.role)) return dialled
  const { hostName, role } = dialled.right.peer
  await dialled.right.close()
  return E.left({
    kind: 'refused',
    address: url,
    reason: `${hostName} is a ${role}`,
    remedy: 'give the address of a manager or a hub',
  })
}

const anyFailure = (failure: DialFailure | ClientFailure): ClientFailure =>
  'url' in failure ? dialFailure(failure) : failure

const dialFailure = (failure: DialFailure): ClientFailure => {
  switch (failure.kind) {
    case 'aborted':
      return { kind: 'aborted' }
    case 'unreachable':
    case 'timeout':
      return { kind: 'no-mesh', looked: [`at ${failure.url}: ${failure.reason}`] }
    case 'refused':
    case 'stranger':
      return {
        kind: 'refused',
        address: failure.url,
        reason: failure.reason,
        remedy: "give a manager's address, and its mesh's state directory with --state",
      }
  }
}
