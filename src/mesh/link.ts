// A link: one proven socket with a conversation on it, from the introduction to the end.
//
//   introducing --both introductions--> open --any reason--> ended
//
// It knows nothing of other links: which of two to keep is pairs.ts's, who is dialled
// again dialler.ts's. An end is reported once, in a later turn than the call that caused
// it, so a role is never called back from within its own call.

import { type Denials, denialsFor, isDenied } from '../../protocol/access.ts'
import { Conversation } from '../../protocol/conversation.ts'
import type { Introduction, Kind, RequestOf, Respond } from '../../protocol/index.ts'
import { rightsOf } from '../../protocol/scopes.ts'
import type { Party } from '../identity/subject.ts'
import type { Cancel, Clock, Log, Peer, Settle } from '../ports.ts'
import {
  CLOSE_FALSE_CLAIM,
  CLOSE_GOING_AWAY,
  CLOSE_INTERNAL,
  CLOSE_NO_MEMBER,
  type Ending,
} from './closing.ts'
import { CorkedSender } from './corked.ts'
import type { Rate } from './crowd.ts'
import { Pings } from './pings.ts'
import { hostInUrl, type ProvenSocket } from './transport.ts'

/** RFC 6455 section 5.5: a close reason has at most 123 bytes. */
const MAX_REASON = 120
const TOO_FAST = 'more requests a second than one member may make'
/** The wall clock is looked at this often: it may be set. */
const LOOK_MS = 600_000

/** What a link tells its owner. */
export interface LinkEvents {
  /** Both sides know each other. Called once, before any request of the peer is passed on. */
  introduced(link: Link): void
  /** A request of the introduced peer that it may make. */
  request<K extends Kind>(
    link: Link,
    kind: K,
    body: RequestOf<K>,
    respond: Respond<K>,
  ): void
  /** It asked what it may not, or more than its share; it was told so. */
  refused?(link: Link, how: 'denied' | 'busy', kind?: Kind): void
  /** The link has ended; `peer` tells whether it ever was introduced. Called once. */
  ended(link: Link, ending: Ending): void
}

export interface LinkOptions {
  readonly socket: ProvenSocket
  readonly self: Introduction
  readonly clock: Clock
  readonly log: Log
  readonly events: LinkEvents
  /** How many requests its member may still make, over all connections; none: as many as it likes. */
  readonly rate?: Rate
}

export class Link {
  readonly #options: LinkOptions
  readonly #sender: CorkedSender
  readonly #pings: Pings
  readonly #conversation: Conversation
  readonly openedAtMs: number
  /** Did this node dial? */
  readonly isOurs: boolean
  #peer: Peer | undefined
  /** What this peer may not ask; nothing is asked before it is known. */
  #denials: Denials = new Map()
  #ending: Ending | undefined
  #lastError: string | undefined
  #notAfterMs: number
  #cancelEnd: Cancel = () => undefined

  constructor(options: LinkOptions) {
    this.#options = options
    const { socket, clock, self } = options
    this.openedAtMs = clock.now()
    this.isOurs = socket.dialledUrl !== undefined
    this.#notAfterMs = socket.notAfterMs
    const { ws, raw } = socket
    this.#sender = new CorkedSender({ ws, raw, isClient: this.isOurs })
    this.#pings = new Pings(ws)
    this.#conversation = new Conversation({
      send: (bytes) => this.#sender.send(bytes),
      close: (code, reason) => this.end(code, reason),
      bufferedBytes: () => this.#sender.bufferedBytes,
      receivedBytes: () => raw.bytesRead,
      probe: (arrived) => this.#pings.send(arrived),
      clock,
      handle: (kind, body, respond) => {
        const waitMs = options.rate?.take(clock.now()) ?? 0
        if (waitMs > 0) {
          respond('Error', { code: 'busy', retry_after_ms: waitMs, message: TOO_FAST })
          options.events.refused?.(this, 'busy', kind)
          return
        }
        if (isDenied(this.#denials, kind, respond)) {
          options.events.refused?.(this, 'denied', kind)
          return
        }
        options.events.request(this, kind, body, respond)
      },
      limits: { maxInFlight: self.max_in_flight, maxFrame: self.max_frame },
      introduction: {
        own: () => self,
        accept: (peer) => this.#judge(peer),
        onIntroduced: (peer) => this.#introduced(peer),
      },
      onCounted: (what) => {
        if (what === 'busy') options.events.refused?.(this, 'busy')
      },
      onStalled: () => this.terminate('it takes nothing any more'),
      onTimeouts: () => this.terminate('it answers nothing any more'),
      onBug: (error) => this.#fault(error),
    })
    this.#listen()
    this.#conversation.start()
    this.#awaitEnd()
    socket.ws.resume()
  }

  /** The far end, once introduced. */
  get peer(): Peer | undefined {
    return this.#peer
  }

  /** Who the far end proved to be, introduced or not. */
  get party() {
    return this.#options.socket.party
  }

  /** The address that was dialled, if this node did. */
  get dialledUrl(): string | undefined {
    return this.#options.socket.dialledUrl
  }

  get ending(): Ending | undefined {
    return this.#ending
  }

  ask<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    settle: Settle<K>,
  ): void {
    this.#conversation.ask(kind, body, timeoutMs, settle)
  }

  /** Holds back what arrives, until `resume`. */
  pause(): void {
    this.#options.socket.ws.pause()
  }

  resume(): void {
    this.#options.socket.ws.resume()
  }

  /**
   * Does the far end answer within `ms`? Asked below the conversation, by a WebSocket ping.
   * Whatever comes meanwhile counts too: the pong may stand behind a long frame.
   */
  isAlive(ms: number): Promise<boolean> {
    const { ws, raw } = this.#options.socket
    const heardBytes = raw.bytesRead
    return new Promise((resolve) => {
      const settle = (isAlive: boolean) => {
        cancel()
        ws.off('close', onClose)
        resolve(isAlive)
      }
      const onClose = () => settle(false)
      const cancel = this.#options.clock.after(ms, () =>
        settle(raw.bytesRead > heardBytes),
      )
      if (this.#ending !== undefined || ws.readyState !== ws.OPEN) return settle(false)
      ws.on('close', onClose)
      this.#pings.send(() => settle(true))
    })
  }

  /** Ends it in words: the far end gets the code and the reason, asks fail with `disconnected`. */
  end(code: number, why: string): void {
    if (this.#ending !== undefined) return
    this.#options.socket.ws.close(code, why.slice(0, MAX_REASON))
    this.#finish({ clean: false, isTheirs: false, code, why })
  }

  /** The far end is a member for longer: it showed a newer certificate for its key. */
  extend(notAfterMs: number): void {
    this.#notAfterMs = Math.max(this.#notAfterMs, notAfterMs)
  }

  /**
   * Ends it because the far end was taken out of the mesh. In words, so that what was sent
   * to it before (why) still arrives; nothing of what it sends is heard any more.
   */
  expel(why: string): void {
    if (this.#ending !== undefined) return
    this.#options.socket.ws.close(CLOSE_NO_MEMBER, why.slice(0, MAX_REASON))
    const code = CLOSE_NO_MEMBER
    this.#finish({ clean: false, isTheirs: false, code, why, isExpelled: true })
  }

  /** Ends it at once, without a word: for a far end that no longer listens. */
  terminate(why: string): void {
    this.#options.socket.ws.terminate()
    this.#finish({ clean: false, isTheirs: false, code: 1006, why })
  }

  /** Ends it in good order; resolves when the socket is closed. */
  close(): Promise<void> {
    const { ws } = this.#options.socket
    this.end(CLOSE_GOING_AWAY, 'the node is closing')
    if (ws.readyState === ws.CLOSED) return Promise.resolve()
    return new Promise((resolve) => ws.once('close', () => resolve()))
  }

  #listen(): void {
    const { ws } = this.#options.socket
    ws.on('message', (bytes, isBinary) => {
      if (this.#ending !== undefined) return
      // ws gives a Buffer: binaryType is its default, 'nodebuffer'.
      if (isBinary) this.#conversation.receive(bytes as Buffer)
      else this.#conversation.receiveText()
    })
    this.#options.socket.raw.on('drain', () => this.#conversation.drained())
    ws.on('error', (error) => {
      this.#lastError = 'code' in error ? String(error.code) : error.message
    })
    ws.on('close', (code, reason) => {
      const why = this.#lastError ?? (reason.toString() || `closed (${code})`)
      this.#finish({ clean: isClean(this.#lastError), isTheirs: true, code, why })
    })
  }

  /** With its certificate ends its connection, unless it showed a newer one. */
  #awaitEnd(): void {
    const leftMs = this.#notAfterMs - this.#options.clock.wall()
    if (leftMs <= 0) {
      this.end(CLOSE_NO_MEMBER, 'its certificate has ended')
      return
    }
    const look = () => this.#awaitEnd()
    this.#cancelEnd = this.#options.clock.after(Math.min(leftMs, LOOK_MS), look)
  }

  /** The introduction must agree with what was proven. */
  #judge({ node_type, node_id, host_name }: Introduction) {
    const { party } = this.#options.socket
    const isProven =
      isIdOf(party, node_id) && node_type === party.role && host_name === party.hostName
    const reason = 'node_id, node_type or host_name is not the one that was proven'
    return (
      isProven || ({ code: 'forbidden', closeCode: CLOSE_FALSE_CLAIM, reason } as const)
    )
  }

  #introduced(introduction: Introduction): void {
    if (this.#ending !== undefined) return
    const { self, socket } = this.#options
    this.#peer = peerOf(introduction, socket)
    this.#denials = denialsFor(this.#peer, {
      role: self.node_type,
      hostName: self.host_name,
    })
    this.#options.events.introduced(this)
  }

  /** The one guard of a connection: a bug of ours is logged, and costs this link alone. */
  #fault(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#options.log.error('a bug while serving a connection', {
      peer: this.#peer?.hostName ?? this.party.nodeId,
      error: text,
    })
    this.end(CLOSE_INTERNAL, 'internal error')
  }

  #finish(ending: Ending): void {
    if (this.#ending !== undefined) return
    this.#ending = ending
    this.#cancelEnd()
    this.#conversation.closed()
    process.nextTick(() => this.#options.events.ended(this, ending))
  }
}

/** A client may have many connections: each appends a slash and a name of its own to its id. */
const isIdOf = ({ role, nodeId }: Party, claimed: string): boolean =>
  claimed === nodeId || (role === 'client' && claimed.startsWith(`${nodeId}/`))

const peerOf = (introduction: Introduction, socket: ProvenSocket): Peer => ({
  ...(socket.party.scopes && { rights: rightsOf(socket.party.scopes) }),
  ...(socket.party.labels && { issued: socket.party.labels }),
  nodeId: introduction.node_id,
  bootId: introduction.boot_id,
  hostName: introduction.host_name,
  role: introduction.node_type,
  introduction,
  remoteAddress: socket.remoteAddress,
  address: socket.dialledUrl ?? statedUrl(introduction, socket.remoteAddress),
})

const statedUrl = ({ listen_port: port }: Introduction, host: string) => {
  if (port === undefined) return undefined
  return `wss://${hostInUrl(host)}:${port}`
}

/** Errors of the path, not of the far end: they say nothing about whether it lives. */
const PATH_ERRORS = ['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN', 'ENETRESET']

const isClean = (error: string | undefined): boolean =>
  error === undefined || !PATH_ERRORS.includes(error)
