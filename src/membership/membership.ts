// Membership: what a running node does to stay a member, to let others stay, and to hear
// who is one no longer. It serves its exchanges beside the node's role, and the role knows
// nothing of it.

import type { Handlers } from '../../protocol/index.ts'
import type { Credentials } from '../identity/credentials.ts'
import { isAuthorityHere } from '../identity/issue.ts'
import { shownUntil } from '../identity/renewal.ts'
import type { Revocations } from '../identity/revocations.ts'
import type { MeshState } from '../identity/state.ts'
import type { Audit, Clock, Log, Peer, Random } from '../ports.ts'
import { Inviting } from './inviting.ts'
import { Issuing } from './issuing.ts'
import { RevocationNews } from './news.ts'
import { ISSUER, MEMBERSHIP, type MembershipMesh } from './ports.ts'
import { Renewal, rejoin } from './renewal.ts'

export interface MembershipOptions {
  readonly mesh: MembershipMesh
  readonly state: MeshState
  readonly place: string
  /** The address that this node listens on. */
  readonly listen: string
  readonly credentials: Credentials
  readonly revocations: Revocations
  readonly lifeMs?: number | undefined
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly audit: Audit
  /** New connections show these from now on. */
  readonly onRenewed: (credentials: Credentials) => void
  /** It is no member any more: a sentence with the cure. */
  readonly onEnded: (reason: string) => void
}

/** What a node of this state directory lists in its introduction. */
export const featuresOf = (state: MeshState): string[] =>
  isAuthorityHere(state) ? [MEMBERSHIP, ISSUER] : [MEMBERSHIP]

export class Membership {
  readonly #options: MembershipOptions
  readonly #news: RevocationNews
  readonly #renewal: Renewal
  readonly #inviting: Inviting
  readonly handlers: Handlers<Peer>

  constructor(options: MembershipOptions) {
    this.#options = options
    const { revocations } = options
    const isRevoked = (nodeId: string) => revocations.isRevoked(nodeId)
    this.#news = new RevocationNews(options)
    this.#renewal = new Renewal(options)
    this.#inviting = new Inviting(options)
    const issuing = new Issuing({ ...options, isRevoked })
    this.handlers = {
      CertificateRenew: (body, respond, from) => issuing.renew(body, respond, from),
      CertificateShow: ({ certificate }, respond, from) => {
        const untilMs = shownUntil(certificate, options.state.trust, from)
        if (untilMs === undefined) {
          respond('Refused', { reason: 'not-yours', message: 'it is not yours' })
          return
        }
        options.mesh.extend(from.nodeId, untilMs)
        respond('Ack', {})
      },
      RevocationsRead: (body, respond, from) => this.#news.read(body, respond, from),
      ...this.#inviting.handlers,
    }
  }

  start(): void {
    this.#renewal.start()
  }

  peerConnected(peer: Peer): void {
    this.#news.peerConnected(peer)
    this.#renewal.peerConnected(peer)
  }

  peerLost(peer: Peer): void {
    this.#news.peerLost(peer)
    this.#renewal.peerLost(peer)
  }

  /** Somebody more is out. Who is out hears it first, as proof; then it is cut off. */
  revocationsChanged(): void {
    const { mesh, revocations, credentials, onEnded, log, audit } = this.#options
    const { number, revoked } = revocations.list
    const ids = revoked.slice(-8).map(({ node_id }) => node_id)
    audit.record('revocations', { number, revoked: revoked.length, newest: ids })
    log.info('revocations', { number, revoked: revoked.length })
    this.#news.changed()
    mesh.expel((nodeId) => revocations.isRevoked(nodeId))
    if (revocations.isRevoked(credentials.party.nodeId))
      onEnded(takenOut(credentials.party))
  }

  /** Asks nothing more, and ends the invitations that are open here. */
  async close(): Promise<void> {
    this.#renewal.close()
    this.#news.close()
    await this.#inviting.close()
  }
}

/** For a node that was taken out. */
export const takenOut = (party: Credentials['party']): string =>
  `${party.hostName} was taken out of the mesh (manyhands revoke); to be let in again, ${rejoin(party)}`
