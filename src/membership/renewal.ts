// Renewal of this node's own certificate while it runs: made here where the authority's key
// is, else asked for over the mesh, of who has the key or can pass the question on. New
// connections show the new one; to those that are open it is shown within them, so that not
// one is ended for it. Nothing of what the node does is touched.

import type { Credentials, Trust } from '../identity/credentials.ts'
import { isAuthorityHere } from '../identity/issue.ts'
import { dateOf } from '../identity/refusals.ts'
import { dueMs, keepRenewed, renewedHere } from '../identity/renewal.ts'
import type { MeshState } from '../identity/state.ts'
import { parseCertificate } from '../identity/subject.ts'
import type { Cancel, Clock, Log, Peer, Random } from '../ports.ts'
import { ISSUER, lists, MEMBERSHIP, type MembershipMesh } from './ports.ts'

const ASK_MS = 10_000
/** Tries within what is left of a certificate's life, and the longest pause between two. */
const TRIES = 24
const LONGEST_PAUSE_MS = 3_600_000
/** A peer that connected so shortly before may have seen the old certificate. */
const MEETING_MS = 15_000
/** Nobody renews it: a person should know, once a day. */
const REMIND_MS = 86_400_000

export interface RenewalOptions {
  readonly mesh: MembershipMesh
  readonly state: MeshState
  /** The directory of this node's key and certificate. */
  readonly place: string
  readonly credentials: Credentials
  /** How long certificates are good for that are made here. */
  readonly lifeMs?: number | undefined
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** New connections show these from now on. */
  readonly onRenewed: (credentials: Credentials) => void
  /** It has ended: nobody lets this node in any more. */
  readonly onEnded: (reason: string) => void
}

export class Renewal {
  readonly #options: RenewalOptions
  #own: Credentials
  #cancel: Cancel = () => undefined
  #renewedMs: number | undefined
  /** Peers that have not confirmed the certificate that this node has now. */
  readonly #unshown = new Set<Peer>()
  #lastReason = ''
  #remindedMs = Number.NEGATIVE_INFINITY
  #isClosed = false

  constructor(options: RenewalOptions) {
    this.#options = options
    this.#own = options.credentials
  }

  start(): void {
    this.#sleep(dueMs(this.#own) - this.#options.clock.wall())
  }

  peerConnected(peer: Peer): void {
    const isLate =
      this.#renewedMs !== undefined &&
      this.#options.clock.now() - this.#renewedMs < MEETING_MS
    if (isLate) this.#show(peer)
  }

  peerLost(peer: Peer): void {
    this.#unshown.delete(peer)
  }

  close(): void {
    this.#isClosed = true
    this.#cancel()
  }

  #sleep(ms: number): void {
    const wake = () => void this.#wake()
    this.#cancel()
    this.#cancel = this.#options.clock.after(Math.min(ms, LONGEST_PAUSE_MS), wake)
  }

  async #wake(): Promise<void> {
    const { clock, onEnded } = this.#options
    for (const peer of this.#unshown) this.#show(peer)
    if (clock.wall() < dueMs(this.#own)) return this.start()
    const fresh = await this.#renew()
    if (this.#isClosed) return
    if (fresh !== undefined) return this.#renewed(fresh)
    const leftMs = this.#own.notAfterMs - clock.wall()
    if (leftMs <= 0) return onEnded(endedReason(this.#own, clock.wall()))
    this.#sleep(this.#pauseMs(leftMs))
  }

  /** Not all at once, where many nodes were made together. */
  #pauseMs(leftMs: number): number {
    const { random } = this.#options
    return Math.ceil((leftMs / TRIES) * (0.75 + random.fraction() / 2))
  }

  async #renew(): Promise<Credentials | undefined> {
    const { state, place, clock, lifeMs } = this.#options
    if (!isAuthorityHere(state)) return await this.#renewAfar()
    const nowMs = clock.wall()
    const life = { nowMs, ...(lifeMs !== undefined && { lifeMs }) }
    try {
      const fresh = await renewedHere({ state, place, credentials: this.#own, ...life })
      if (fresh !== this.#own) return fresh
      this.#failed('the key of the authority cannot be used')
    } catch (error) {
      this.#failed(error instanceof Error ? error.message : String(error))
    }
    return undefined
  }

  /** Asks one after the other, who has the key first. */
  async #renewAfar(): Promise<Credentials | undefined> {
    const { mesh, place, state } = this.#options
    const able = mesh.peers.filter((peer) => lists(peer, MEMBERSHIP))
    const asked = [
      ...able.filter((peer) => lists(peer, ISSUER)),
      ...able.filter((peer) => !lists(peer, ISSUER) && peer.role === 'manager'),
    ]
    if (asked.length === 0) this.#failed('no node is connected that could pass it on')
    for (const peer of asked) {
      const fresh = await this.#askFor(peer, place, state.trust)
      if (fresh !== undefined || this.#isClosed) return fresh
    }
    return undefined
  }

  #askFor(peer: Peer, place: string, trust: Trust): Promise<Credentials | undefined> {
    const certificate = derOf(this.#own)
    return new Promise((resolve) =>
      this.#options.mesh.ask(
        peer.nodeId,
        'CertificateRenew',
        { certificate },
        ASK_MS,
        (outcome) => {
          const answer = outcome._tag === 'Right' ? outcome.right : undefined
          const fresh =
            answer?.kind === 'CertificateRenewed'
              ? this.#keep(place, trust, answer.body.certificate)
              : undefined
          if (answer?.kind === 'Refused')
            this.#failed(`${peer.hostName}: ${answer.body.message}`)
          else if (fresh === undefined)
            this.#failed(
              `${peer.hostName} did not give one (${answer?.kind ?? 'silence'})`,
            )
          resolve(fresh)
        },
      ),
    )
  }

  #keep(place: string, trust: Trust, der: Uint8Array): Credentials | undefined {
    try {
      return keepRenewed(place, trust, this.#own, der)
    } catch (error) {
      // A full disk: what is not kept is not used, and asked for again.
      this.#failed(error instanceof Error ? error.message : String(error))
      return undefined
    }
  }

  #failed(reason: string): void {
    const { log, clock } = this.#options
    const { notAfterMs } = this.#own
    const fields = { reason, ends: new Date(notAfterMs).toISOString(), cure: CURE }
    const isNews =
      reason !== this.#lastReason || clock.now() - this.#remindedMs > REMIND_MS
    if (!isNews) {
      log.debug('certificate not renewed', fields)
      return
    }
    this.#lastReason = reason
    this.#remindedMs = clock.now()
    log.warn('certificate not renewed', fields)
  }

  #renewed(fresh: Credentials): void {
    const { log, clock, mesh, onRenewed } = this.#options
    this.#own = fresh
    this.#lastReason = ''
    this.#renewedMs = clock.now()
    log.info('certificate renewed', { until: new Date(fresh.notAfterMs).toISOString() })
    onRenewed(fresh)
    for (const peer of mesh.peers) this.#show(peer)
    this.start()
  }

  #show(peer: Peer): void {
    if (!lists(peer, MEMBERSHIP)) return
    const { mesh, log } = this.#options
    const shown = this.#own
    this.#unshown.add(peer)
    const body = { certificate: derOf(shown) }
    mesh.ask(peer.nodeId, 'CertificateShow', body, ASK_MS, (outcome) => {
      if (outcome._tag === 'Left' || shown !== this.#own) return
      const { kind } = outcome.right
      if (kind === 'Ack') this.#unshown.delete(peer)
      else log.warn('certificate not taken', { peer: peer.hostName, answer: kind })
    })
  }
}

const CURE =
  'let a node run where the mesh was made (the directory with mesh/ca.key), within reach of this one'

/** For a node past its certificate's end, by its own clock. */
export const endedReason = ({ party, notAfterMs }: Credentials, nowMs: number): string =>
  `the certificate of ${party.hostName} ended on ${dateOf(notAfterMs)} and nobody renewed it in time (it is ${dateOf(nowMs)} here); ${rejoin(party)}`

/** For a node whose clock, or its issuer's, is wrong. */
export const earlyReason = ({ notBeforeMs }: Credentials, nowMs: number): string =>
  `the clock of this machine says ${dateOf(nowMs)}, and its certificate is valid from ${dateOf(notBeforeMs)}: nobody lets it in before the clock is set`

/** How a member whose certificate has ended becomes one again. */
export const rejoin = ({ role, hostName }: Credentials['party']): string =>
  `where the mesh was made: manyhands invite --role ${role} --name ${hostName}, then here: manyhands join TOKEN`

const derOf = ({ certificatePem }: Credentials): Buffer =>
  parseCertificate(certificatePem)?.raw ?? Buffer.alloc(0)
