// News of who was taken out: each node keeps one question open at every peer that knows of
// the exchange, "is there a list newer than mine?". So a list that reaches one node reaches
// all that are connected, one hop after the other, within one flight each, and an idle mesh
// says a few words every five minutes.

import type { AnswerBodyOf, RequestOf, Respond } from '../../protocol/index.ts'
import type { Revocations } from '../identity/revocations.ts'
import type { Cancel, Clock, Log, Peer } from '../ports.ts'
import { lists, MEMBERSHIP, type MembershipMesh } from './ports.ts'

/** How long a question stays open; a node whose word was lost hears of it within this. */
const WAIT_MS = 300_000
/** The answer's own time on top. */
const SLACK_MS = 30_000
/** After an answer that is none, or a list that is not believed. */
const PAUSE_MS = 60_000
/** After an answer that came at once and told nothing new: nobody shall make us ask in a loop. */
const BREATH_MS = 1000

export interface NewsOptions {
  readonly mesh: MembershipMesh
  readonly revocations: Revocations
  readonly clock: Clock
  readonly log: Log
}

export class RevocationNews {
  readonly #options: NewsOptions
  /** Who is connected, with the pause before it is asked again. */
  readonly #peers = new Map<Peer, Cancel>()
  /** Questions that wait for a newer list. */
  readonly #waiting = new Map<Peer, Set<() => void>>()

  constructor(options: NewsOptions) {
    this.#options = options
  }

  peerConnected(peer: Peer): void {
    if (!lists(peer, MEMBERSHIP)) return
    this.#peers.set(peer, () => undefined)
    this.#ask(peer)
  }

  peerLost(peer: Peer): void {
    this.#peers.get(peer)?.()
    this.#peers.delete(peer)
    for (const tell of this.#waiting.get(peer) ?? []) tell()
    this.#waiting.delete(peer)
  }

  /** RevocationsRead: at once if there is something to tell, else when there is. */
  read(
    { after, wait_ms: waitMs }: RequestOf<'RevocationsRead'>,
    respond: Respond<'RevocationsRead'>,
    from: Peer,
  ): void {
    const { revocations, clock } = this.#options
    if (revocations.list.number > after || waitMs === 0) {
      this.#tell(after, respond)
      return
    }
    const waiting = this.#waiting.get(from) ?? new Set()
    this.#waiting.set(from, waiting)
    const tell = () => {
      cancel()
      waiting.delete(tell)
      this.#tell(after, respond)
    }
    const cancel = clock.after(Math.min(waitMs, WAIT_MS), tell)
    waiting.add(tell)
  }

  /** There is a newer list: whoever waits for it hears it now. */
  changed(): void {
    for (const waiting of this.#waiting.values()) for (const tell of waiting) tell()
  }

  close(): void {
    for (const cancel of this.#peers.values()) cancel()
    this.#peers.clear()
    for (const peer of [...this.#waiting.keys()]) this.peerLost(peer)
  }

  #tell(after: number, respond: Respond<'RevocationsRead'>): void {
    const { number, bytes } = this.#options.revocations.list
    const isNews = number > after
    respond('Revocations', { number, ...(isNews && { signed: bytes }) })
  }

  #ask(peer: Peer): void {
    const { mesh, revocations, clock } = this.#options
    const body = { after: revocations.list.number, wait_ms: WAIT_MS }
    const sentMs = clock.now()
    mesh.ask(peer.nodeId, 'RevocationsRead', body, WAIT_MS + SLACK_MS, (outcome) => {
      if (!this.#peers.has(peer)) return
      const answer = outcome._tag === 'Right' ? outcome.right : undefined
      const heard =
        answer?.kind === 'Revocations' ? this.#hear(answer.body, peer) : 'nothing'
      if (heard === 'nothing') this.#askAfter(peer, PAUSE_MS)
      else if (heard === 'news' || clock.now() - sentMs > BREATH_MS) this.#ask(peer)
      else this.#askAfter(peer, BREATH_MS)
    })
  }

  #hear(
    { number, signed }: AnswerBodyOf<'RevocationsRead', 'Revocations'>,
    { hostName: peer }: Peer,
  ): 'news' | 'no-news' | 'nothing' {
    const { revocations, log } = this.#options
    // Another peer was quicker, or the time was over.
    if (number <= revocations.list.number) return 'no-news'
    const verdict = signed === undefined ? 'not-signed' : revocations.adopt(signed)
    if (verdict === 'kept') return 'news'
    log.warn('revocations', { peer, reason: `its list is not believed (${verdict})` })
    return 'nothing'
  }

  #askAfter(peer: Peer, ms: number): void {
    const ask = () => this.#ask(peer)
    this.#peers.set(peer, this.#options.clock.after(ms, ask))
  }
}
