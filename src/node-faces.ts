// The HTTP faces of a node, made from their parts: an identity of their own, the way into the
// mesh, and the guarded servers. Loaded only where a face is switched on.

import { join } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import {
  type AnswerOf,
  type ErrorAnswer,
  holdsAt,
  type Kind,
  type NodeInfo,
  type RequestOf,
  type Rights,
  rightsOf,
  rowOf,
  type Scope,
} from '../protocol/index.ts'
import { blueZero, CONTENT_TYPES } from './adapters/bluezero/face.ts'
import { readEventPages } from './client/events.ts'
import { ClientError, rejectedBy } from './client/failures.ts'
import type { Answered } from './client/link.ts'
import { askViaHub, type HubRoute } from './client/via-hub.ts'
import { type FaceAddress, isLoopbackFace } from './http/address.ts'
import { API_CONTENT_TYPES, api } from './http/api/api.ts'
import type { Face, FaceClient } from './http/face.ts'
import { type HttpFace, serveHttp } from './http/serve.ts'
import { type Credentials, readCredentials } from './identity/credentials.ts'
import { isAuthorityHere, makeMember } from './identity/issue.ts'
import { renewedHere } from './identity/renewal.ts'
import { RequestSigner } from './identity/signed-requests.ts'
import type { Slot } from './identity/slots.ts'
import type { OpenedState } from './identity/state.ts'
import { rightsOfToken } from './identity/tokens.ts'
import type { NodeOptions } from './options.ts'
import type { Audit, Cancel, Clock, Log, Peer, Signer } from './ports.ts'
import type { Forwarded, Hub } from './roles/hub.ts'

export interface FacesParts {
  readonly options: NodeOptions
  readonly state: OpenedState
  readonly slot: Slot
  readonly clock: Clock
  readonly log: Log
  readonly audit: Audit
  readonly version: string
  readonly self: Peer
  readonly hub: Pick<Hub, 'forward' | 'lists'> | undefined
  /** Is this node a manager? */
  readonly managerHere: boolean
  /** Asks this node, by the table of who may ask what. */
  readonly askHere: <K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    asker: Signer,
    done: (answer: AnswerOf<K>) => void,
  ) => void
}

export interface Faces {
  /** A line for each, for whoever started the node. */
  readonly lines: readonly string[]
  close(): Promise<void>
}

const RENEWAL_MS = 3_600_000

/** How a face is made: what it may do, and how it answers. */
interface FaceKind {
  readonly name: 'bluezero' | 'http'
  readonly address: FaceAddress | undefined
  readonly isOpen: boolean
  /** What its owner gives it by switching it on. */
  readonly scopes: readonly Scope[]
  readonly contentTypes: ReadonlySet<string>
  fetch(face: Face): Parameters<typeof serveHttp>[0]['fetch']
}

const kindsOf = ({ options, clock, log, version }: FacesParts): readonly FaceKind[] => [
  {
    name: 'bluezero',
    address: options.bluezero,
    isOpen: options.adapterOpen,
    scopes: ['read', 'processes'],
    contentTypes: CONTENT_TYPES,
    fetch: (face) => blueZero({ face, now: () => clock.wall() }),
  },
  {
    name: 'http',
    address: options.http,
    isOpen: false,
    scopes: ['read', 'tasks:run', 'processes'],
    contentTypes: API_CONTENT_TYPES,
    fetch: (face) => api({ face, version, log }),
  },
]

/** Left: why a face does not listen, with what to do. */
export const openFaces = async (parts: FacesParts): Promise<Either<string, Faces>> => {
  const opened: OpenFace[] = []
  const close = async () => {
    await Promise.all(opened.map((one) => one.close()))
  }
  for (const kind of kindsOf(parts)) {
    if (kind.address === undefined) continue
    const one = await openFace(parts, kind, kind.address)
    if (E.isLeft(one)) {
      await close()
      return one
    }
    opened.push(one.right)
  }
  return E.right({ lines: opened.flatMap(({ lines }) => lines), close })
}

interface OpenFace {
  readonly lines: readonly string[]
  close(): Promise<void>
}

const openFace = async (
  parts: FacesParts,
  { name, scopes, contentTypes, isOpen: isAskedOpen, fetch }: FaceKind,
  address: FaceAddress,
): Promise<Either<string, OpenFace>> => {
  const { state, slot, clock, audit } = parts
  const identity = await FaceIdentity.open(parts, name, scopes)
  if (E.isLeft(identity)) return identity
  const isOpen = isAskedOpen && isLoopbackFace(address)
  const served = await serveHttp({
    ...{ address, isOpen, contentTypes, audit },
    defaultPath: join(slot.directory, `${name}.sock`),
    names: [slot.hostName],
    tokenRights: (token) => rightsOfToken(state.directory, token, clock.wall()),
    fetch: fetch(faceOf(parts, identity.right)),
  })
  if (E.isLeft(served)) {
    identity.right.close()
    return served
  }
  const { url } = served.right
  audit.record('face-opened', { face: name, url, open: isOpen })
  return E.right({
    lines: linesOf(name, served.right, address.kind === 'tcp' && !isOpen, isOpen),
    close: async () => {
      identity.right.close()
      await served.right.close()
    },
  })
}

const linesOf = (
  name: string,
  { url }: HttpFace,
  needsToken: boolean,
  isOpen: boolean,
): readonly string[] => [
  `  ${name.padEnd(9)}  ${url}${needsToken ? ' (takes a token: manyhands token create)' : ''}`,
  ...(isOpen
    ? [
        '  warning    whoever is on this machine may start and stop programs through it, without a token (--adapter-open)',
      ]
    : []),
]

/** Who a face is: a client of its own, made where the authority's key is; else this machine's command line. */
class FaceIdentity {
  readonly #parts: FacesParts
  readonly #place: string | undefined
  #credentials: Credentials
  #signer: RequestSigner
  #cancel: Cancel = () => undefined

  private constructor(
    parts: FacesParts,
    credentials: Credentials,
    place: string | undefined,
  ) {
    this.#parts = parts
    this.#place = place
    this.#credentials = credentials
    this.#signer = new RequestSigner(credentials, parts.clock)
    this.#renewLater()
  }

  static async open(
    parts: FacesParts,
    name: string,
    scopes: readonly Scope[],
  ): Promise<Either<string, FaceIdentity>> {
    const { state, slot } = parts
    const place = join(slot.directory, `face-${name}`)
    const known = readCredentials(place, state.trust)
    if (E.isLeft(known)) return E.left(known.left.reason)
    if (known.right !== undefined) {
      const credentials = await renewedHere({ state, place, credentials: known.right })
      return E.right(new FaceIdentity(parts, credentials, place))
    }
    if (!isAuthorityHere(state))
      return E.right(new FaceIdentity(parts, state.client, undefined))
    const hostName = `${slot.hostName}-${name}`
    const made = await makeMember(state, { role: 'client', hostName, place, scopes })
    return E.isLeft(made)
      ? E.left(made.left.reason)
      : E.right(new FaceIdentity(parts, made.right, place))
  }

  get signer(): RequestSigner {
    return this.#signer
  }

  /** As the handlers of this node see it. */
  get asSigner(): Signer {
    const { nodeId, hostName } = this.#credentials.party
    return { nodeId, hostName, rights: this.rights }
  }

  get rights(): Rights {
    return rightsOf(this.#credentials.party.scopes ?? [])
  }

  close(): void {
    this.#cancel()
  }

  #renewLater(): void {
    this.#cancel = this.#parts.clock.after(RENEWAL_MS, () => {
      void this.#renew().finally(() => this.#renewLater())
    })
  }

  async #renew(): Promise<void> {
    const { state, clock, log } = this.#parts
    if (this.#place === undefined) return
    const credentials = this.#credentials
    try {
      this.#credentials = await renewedHere({ state, place: this.#place, credentials })
      this.#signer = new RequestSigner(this.#credentials, clock)
    } catch (error) {
      log.warn('certificate not renewed', { reason: String(error) })
    }
  }
}

const faceOf = (parts: FacesParts, identity: FaceIdentity): Face => {
  const { hub, self } = parts
  const route: HubRoute = {
    forward: (body, { signal }) =>
      abortable(signal, (done) => {
        const told = (answer: Forwarded) => done(answer as Answered<'HubForward'>)
        if (hub !== undefined) hub.forward(body, identity, told)
        else told(alone(self.hostName))
      }),
    signer: () => identity.signer,
    known: new Set(),
  }
  return {
    hostName: self.hostName,
    isHub: hub !== undefined,
    as: (rights) => clientOf(parts, identity, route, rights),
  }
}

/** A node that is no hub reaches itself. */
const alone = (hostName: string): Forwarded => ({
  kind: 'HubFailed',
  body: { reason: 'unknown-host', message: `this node is ${hostName} alone` },
})

const clientOf = (
  { hub, self, askHere, managerHere }: FacesParts,
  identity: FaceIdentity,
  route: HubRoute,
  rights: Rights | undefined,
): FaceClient => {
  const ask: FaceClient['ask'] = async (hostName, kind, body, options = {}) => {
    const no = denial(kind, hostName, rights)
    if (no !== undefined) throw no
    if (hostName !== self.hostName)
      return await askViaHub(route, hostName, kind, body, options)
    const answer = await abortable<AnswerOf<typeof kind>>(options.signal, (done) =>
      askHere(kind, body, identity.asSigner, done),
    )
    if (answer.kind !== 'Error') return answer as Answered<typeof kind> // the union minus Error
    throw rejectedBy(kind, answer.body as ErrorAnswer)
  }
  const reached = (): Promise<readonly NodeInfo[]> =>
    new Promise((resolve) => {
      if (hub === undefined) resolve([])
      else hub.lists.nodes(identity.rights, resolve)
    })
  const nodes = async (): Promise<readonly NodeInfo[]> => {
    if (managerHere) return (await ask(self.hostName, 'NodesList', {})).body.nodes
    const all = await reached()
    const where = rights === undefined ? 'anywhere' : (rights.get('read') ?? [])
    return all.filter(({ host_name }) => holdsAt(where, host_name))
  }
  return {
    ask,
    nodes,
    events: (options) =>
      readEventPages(
        { ask: (kind, body, its) => ask(self.hostName, kind, body, its) },
        options,
      ),
    manager: async () => {
      if (managerHere) return self.hostName
      // Who may hand in need not be able to look around.
      const found = (await reached()).find(
        ({ role, state }) => role === 'manager' && state === 'connected',
      )
      if (found !== undefined) return found.host_name
      const what =
        'manager that this node reaches; start one with: manyhands --role manager'
      throw new ClientError({ kind: 'not-found', what, list: 'manyhands nodes' })
    },
  }
}

/** What a token does not give, its holder does not get, whatever the face may. */
const denial = (
  kind: Kind,
  hostName: string,
  rights: Rights | undefined,
): ClientError | undefined => {
  if (rights === undefined) return undefined
  const { scope, isHere } = rowOf(kind)
  const where = scope && rights.get(scope)
  if (where === 'anywhere') return undefined
  if (where !== undefined && isHere === true && holdsAt(where, hostName)) return undefined
  const message = `the token does not give the scope ${scope} on ${hostName}`
  return new ClientError({ kind: 'rejected', exchange: kind, code: 'forbidden', message })
}

const abortable = <A>(
  signal: AbortSignal | undefined,
  begin: (done: (answer: A) => void) => void,
): Promise<A> =>
  new Promise((resolve, reject) => {
    const abort = () => reject(new ClientError({ kind: 'aborted' }))
    if (signal?.aborted) return abort()
    signal?.addEventListener('abort', abort)
    begin((answer) => {
      signal?.removeEventListener('abort', abort)
      resolve(answer)
    })
  })
