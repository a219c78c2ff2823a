// The HTTP faces of a node, made from their parts: an identity of their own, the way into the
// mesh, and the guarded servers. Loaded only where a face is switched on.

import { join } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import {
  type AnswerOf,
  holdsAt,
  type Kind,
  type NodeInfo,
  type Respond,
  type Rights,
  rightsOf,
  rowOf,
  type Scope,
} from '../protocol/index.ts'
import { blueZero, CONTENT_TYPES } from './adapters/bluezero/face.ts'
import { type EventsLink, readEvents } from './client/events.ts'
import { ClientError } from './client/failures.ts'
import type { Answered } from './client/link.ts'
import { askViaHub, type HubRoute } from './client/via-hub.ts'
import { isLoopbackFace } from './http/address.ts'
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
import type { Audit, Cancel, Clock, Log, Peer } from './ports.ts'
import type { HostAsk } from './roles/host-requests.ts'
import { type Forwarded, type Hub, handedBack } from './roles/hub.ts'

export interface FacesParts {
  readonly options: NodeOptions
  readonly state: OpenedState
  readonly slot: Slot
  readonly clock: Clock
  readonly log: Log
  readonly audit: Audit
  readonly self: Peer
  readonly hub: Pick<Hub, 'forward' | 'lists' | 'events'> | undefined
  readonly answerHere: (ask: HostAsk, respond: Respond<'HostRequest'>) => void
}

export interface Faces {
  /** A line for each, for whoever started the node. */
  readonly lines: readonly string[]
  close(): Promise<void>
}

/** What switching the BlueZero face on gives it. */
const SCOPES: readonly Scope[] = ['read', 'processes']
const RENEWAL_MS = 3_600_000

/** Left: why a face does not listen, with what to do. */
export const openFaces = async (parts: FacesParts): Promise<Either<string, Faces>> => {
  const { options, state, slot, clock, audit } = parts
  const { bluezero: address, adapterOpen: isOpen } = options
  if (address === undefined) return E.right({ lines: [], close: () => Promise.resolve() })
  const identity = await FaceIdentity.open(parts)
  if (E.isLeft(identity)) return identity
  const face = faceOf(parts, identity.right)
  const served = await serveHttp({
    address,
    defaultPath: join(slot.directory, 'bluezero.sock'),
    names: [slot.hostName],
    isOpen: isOpen && isLoopbackFace(address),
    contentTypes: CONTENT_TYPES,
    tokenRights: (token) => rightsOfToken(state.directory, token, clock.wall()),
    fetch: blueZero({ face, now: () => clock.wall() }),
    audit,
  })
  if (E.isLeft(served)) {
    identity.right.close()
    return served
  }
  const { url } = served.right
  audit.record('face-opened', { face: 'bluezero', url, open: isOpen })
  return E.right({
    lines: linesOf(served.right, address.kind === 'tcp' && !isOpen, isOpen),
    close: async () => {
      identity.right.close()
      await served.right.close()
    },
  })
}

const linesOf = (
  { url }: HttpFace,
  needsToken: boolean,
  isOpen: boolean,
): readonly string[] => [
  `  bluezero   ${url}${needsToken ? ' (takes a token: manyhands token create)' : ''}`,
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

  static async open(parts: FacesParts): Promise<Either<string, FaceIdentity>> {
    const { state, slot } = parts
    const place = join(slot.directory, 'face')
    const known = readCredentials(place, state.trust)
    if (E.isLeft(known)) return E.left(known.left.reason)
    if (known.right !== undefined) {
      const credentials = await renewedHere({ state, place, credentials: known.right })
      return E.right(new FaceIdentity(parts, credentials, place))
    }
    if (!isAuthorityHere(state))
      return E.right(new FaceIdentity(parts, state.client, undefined))
    const hostName = `${slot.hostName}-face`
    const made = await makeMember(state, {
      role: 'client',
      hostName,
      place,
      scopes: SCOPES,
    })
    return E.isLeft(made)
      ? E.left(made.left.reason)
      : E.right(new FaceIdentity(parts, made.right, place))
  }

  get signer(): RequestSigner {
    return this.#signer
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
        else forwardHere(parts, body, told)
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
const forwardHere = (
  { self, answerHere }: FacesParts,
  { host_name, within_ms: _, ...ask }: { host_name: string; within_ms: number } & HostAsk,
  done: (answer: Forwarded) => void,
): void => {
  if (host_name !== self.hostName) {
    const message = `this node is ${self.hostName} alone`
    done({ kind: 'HubFailed', body: { reason: 'unknown-host', message } })
    return
  }
  const respond = (kind: string, body: object) =>
    // An answer of this row, whose pairs of kind and body the compiler cannot follow.
    done(handedBack({ kind, body } as AnswerOf<'HostRequest'>))
  answerHere(ask, respond as Respond<'HostRequest'>)
}

const clientOf = (
  { hub, self }: FacesParts,
  identity: FaceIdentity,
  route: HubRoute,
  rights: Rights | undefined,
): FaceClient => ({
  ask: async (hostName, kind, body, options) => {
    const no = denial(kind, hostName, rights)
    if (no !== undefined) throw no
    return await askViaHub(route, hostName, kind, body, options)
  },
  nodes: () =>
    new Promise<readonly NodeInfo[]>((resolve) => {
      if (hub === undefined) return resolve([])
      const where = rights === undefined ? 'anywhere' : (rights.get('read') ?? [])
      hub.lists.nodes(identity.rights, (nodes) =>
        resolve(nodes.filter(({ host_name }) => holdsAt(where, host_name))),
      )
    }),
  events: (topics, signal) => {
    const from = { ...self, role: 'client' as const, rights: identity.rights }
    const ask: EventsLink['ask'] = (_kind, body, options) =>
      abortable(options.signal, (done) =>
        hub?.events.handlers.EventsRead?.(
          body,
          (kind, answer) => done({ kind, body: answer } as Answered<'EventsRead'>), // of its row
          from,
        ),
      )
    return readEvents({ ask }, { topics, signal })
  },
})

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
