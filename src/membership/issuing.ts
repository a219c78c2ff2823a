// Issuing: certificates renewed for other members, where the authority's key is. Elsewhere
// the question is passed on to a connected node that has it: no trust is needed for that,
// because the answer serves nobody but the holder of the key that it is for.

import type { RequestOf, Respond } from '../../protocol/index.ts'
import { isAuthorityHere } from '../identity/issue.ts'
import { holderOf, memberIdOf, recertify } from '../identity/renewal.ts'
import type { MeshState } from '../identity/state.ts'
import type { Clock, Log, Peer } from '../ports.ts'
import { ISSUER, lists, type MembershipMesh } from './ports.ts'

/** Certificates being made at once: each takes some 10 ms of a thread. */
const MAX_AT_WORK = 16
const PASS_ON_MS = 8000
const RETRY_MS = 60_000

export interface IssuingOptions {
  readonly mesh: MembershipMesh
  readonly state: MeshState
  readonly isRevoked: (nodeId: string) => boolean
  readonly lifeMs?: number | undefined
  readonly clock: Clock
  readonly log: Log
}

type Answer = Respond<'CertificateRenew'>

export class Issuing {
  readonly #options: IssuingOptions
  #atWork = 0

  constructor(options: IssuingOptions) {
    this.#options = options
  }

  /** CertificateRenew, of the asker's own certificate; a manager may pass others' on. */
  renew(
    { certificate }: RequestOf<'CertificateRenew'>,
    respond: Answer,
    from: Peer,
  ): void {
    const { state, mesh } = this.#options
    const isOwn = holderOf(certificate, state.trust) === memberIdOf(from.nodeId)
    if (!isOwn && from.role !== 'manager') {
      respond('Refused', { reason: 'not-yours', message: 'it is not yours' })
      return
    }
    if (isAuthorityHere(state)) return void this.#certify(certificate, respond, from)
    const issuer = mesh.peers.find((peer) => lists(peer, ISSUER) && peer !== from)
    if (issuer === undefined) respond('Refused', noIssuer)
    else this.#passOn(issuer, certificate, respond)
  }

  async #certify(certificate: Uint8Array, respond: Answer, from: Peer): Promise<void> {
    const { state, clock, isRevoked, lifeMs, log } = this.#options
    if (this.#atWork >= MAX_AT_WORK) {
      respond('Refused', {
        ...{ reason: 'busy', message: 'others are being renewed', retry_after_ms: 1000 },
      })
      return
    }
    this.#atWork += 1
    try {
      const life = { nowMs: clock.wall(), ...(lifeMs !== undefined && { lifeMs }) }
      const fresh = await recertify(state, certificate, { ...life, isRevoked })
      if (fresh._tag === 'Right') {
        log.info('renewed a certificate', { for: holderOf(certificate, state.trust) })
        respond('CertificateRenewed', { certificate: fresh.right })
      } else {
        const { reason } = fresh.left
        log.info('refused to renew a certificate', { peer: from.hostName, reason })
        respond('Refused', { ...fresh.left })
      }
    } catch (error) {
      // A disk that is full: the asker tries again, and a person reads why.
      const reason = error instanceof Error ? error.message : String(error)
      log.error('cannot renew a certificate', { peer: from.hostName, reason })
      respond('Refused', {
        ...{ reason: 'failed', message: 'the issuer could not do its part' },
        retry_after_ms: RETRY_MS,
      })
    } finally {
      this.#atWork -= 1
    }
  }

  #passOn(issuer: Peer, certificate: Uint8Array, respond: Answer): void {
    const body = { certificate }
    this.#options.mesh.ask(
      issuer.nodeId,
      'CertificateRenew',
      body,
      PASS_ON_MS,
      (outcome) => {
        const answer = outcome._tag === 'Right' ? outcome.right : undefined
        if (answer?.kind === 'CertificateRenewed') respond(answer.kind, answer.body)
        else if (answer?.kind === 'Refused') respond(answer.kind, answer.body)
        else
          respond('Refused', {
            ...{ reason: 'no-answer', message: `${issuer.hostName} did not answer` },
            retry_after_ms: RETRY_MS,
          })
      },
    )
  }
}

const noIssuer = {
  reason: 'no-issuer',
  message: 'no node with the key of the authority is connected here',
  retry_after_ms: RETRY_MS,
}
