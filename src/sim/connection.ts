// A connection between two lives, seen from each of its ends: frames in order, in chunks as
// they happen to come together; an end that both hear of, that one hears of, or nobody.
//
//   introducing --both know each other--> open --any reason--> ended

import {
  ALL_SCOPES,
  type Denials,
  denialsFor,
  type Introduction,
  type Kind,
  type NodeType,
  type RequestOf,
  rightsOf,
} from '../../protocol/index.ts'
import type { Peer, Settle } from '../ports.ts'
import type { Life } from './life.ts'
import type { Path } from './paths.ts'
import type { Planned } from './schedule.ts'

/** What travels. `atMs` is when it arrives; the kinds of talk fill in what they need. */
export interface Frame {
  readonly kind: 'hello' | 'known' | 'request' | 'answer' | 'bytes' | 'end'
  atMs: number
  readonly id: number
  readonly name: string
  readonly body: unknown
  readonly timeoutMs: number
  /** The number of the ask in the history; 0: none. */
  readonly ask: number
}

/** How requests and answers become frames: as objects, or as the bytes of the protocol. */
export interface Talk {
  start(): void
  receive(frame: Frame): void
  ask<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    settle: Settle<K>,
    ask: number,
  ): void
  /** The connection is over: what is open settles. */
  closed(): void
}

/** Whose end it is. */
export interface EndOwner {
  readonly life: Life
  readonly name: string
  readonly role: NodeType
  introduced(end: End): void
  /** It has ended; told in a later step of the same turn. */
  ended(end: End, how: { readonly clean: boolean }): void
}

export interface EndOptions {
  readonly owner: EndOwner
  readonly out: Path
  readonly isOurs: boolean
  /** Frames that follow so closely arrive in one chunk with those before. */
  readonly chunkMs: number
}

const CLIENT_RIGHTS = rightsOf(ALL_SCOPES)

export class End {
  readonly owner: EndOwner
  readonly life: Life
  /** Did this node dial? */
  readonly isOurs: boolean
  /** By the clock of its life. */
  readonly openedAtMs: number
  state: 'introducing' | 'open' | 'ended' = 'introducing'
  peer: Peer | undefined
  /** What the far end may not ask. */
  denials: Denials = new Map()
  /** Nothing passes in either direction, and nobody hears of it. */
  isSevered = false
  readonly #out: Path
  readonly #chunkMs: number
  #other: End | undefined
  #talk: Talk | undefined
  #inbox: Frame[] = []
  #planned: Planned | undefined
  #isHeld = false
  #isPaused = false
  #lastMs = 0

  constructor(options: EndOptions) {
    this.owner = options.owner
    this.life = options.owner.life
    this.isOurs = options.isOurs
    this.openedAtMs = this.life.clock.now()
    this.#out = options.out
    this.#chunkMs = options.chunkMs
  }

  join(other: End, talk: Talk): void {
    this.#other = other
    this.#talk = talk
  }

  get other(): End {
    if (this.#other === undefined) throw new Error('Expected an end that is joined')
    return this.#other
  }

  get talk(): Talk {
    if (this.#talk === undefined) throw new Error('Expected an end that is joined')
    return this.#talk
  }

  get out(): Path {
    return this.#out
  }

  /** The far end has said who it is, and knows who this is. */
  introduced(introduction: Introduction): void {
    if (this.state !== 'introducing') return
    this.state = 'open'
    this.peer = {
      nodeId: introduction.node_id,
      bootId: introduction.boot_id,
      hostName: introduction.host_name,
      role: introduction.node_type,
      introduction,
      remoteAddress: introduction.host_name,
      // Where it listens is its name.
      address:
        introduction.listen_port === undefined ? undefined : introduction.host_name,
      // Every client is the user who made the mesh.
      rights: CLIENT_RIGHTS,
    }
    this.denials = denialsFor(this.peer, {
      role: this.owner.role,
      hostName: this.owner.name,
    })
    this.owner.introduced(this)
  }

  send(frame: Frame): void {
    if (this.isSevered) return
    this.other.#expect(frame, this.#out.delayMs())
  }

  #expect(frame: Frame, delayMs: number): void {
    const { nowMs } = this.life.schedule
    const atMs = nowMs + delayMs
    // In order, and what follows closely comes in the same chunk.
    frame.atMs = atMs < this.#lastMs + this.#chunkMs ? this.#lastMs : atMs
    if (frame.atMs <= nowMs) frame.atMs = atMs
    this.#lastMs = frame.atMs
    this.#inbox.push(frame)
    if (this.#inbox.length === 1) this.#plan(frame.atMs)
  }

  #plan(atMs: number): void {
    if (this.#planned !== undefined || this.#isHeld || this.#isPaused) return
    this.#planned = this.life.schedule.at(atMs, this.#deliver, this.life)
  }

  readonly #deliver = (): void => {
    this.#planned = undefined
    const way = this.other.#out
    if (way.isBlocked) {
      this.#isHeld = true
      way.whenFree(() => {
        this.#isHeld = false
        this.#plan(this.life.schedule.nowMs + way.resendMs())
      })
      return
    }
    const inbox = this.#inbox
    const { nowMs } = this.life.schedule
    let taken = 0
    for (; taken < inbox.length && !this.#isPaused; taken++) {
      const frame = inbox[taken]
      if (frame === undefined || frame.atMs > nowMs) break
      this.#take(frame)
    }
    if (taken === inbox.length) inbox.length = 0
    else inbox.splice(0, taken)
    const [next] = inbox
    if (next !== undefined) this.#plan(next.atMs)
  }

  #take(frame: Frame): void {
    if (this.state === 'ended') return
    if (frame.kind === 'end') this.finish({ clean: true, isTold: true })
    else this.talk.receive(frame)
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    const [next] = this.#inbox
    if (next !== undefined) this.#plan(next.atMs)
  }

  /**
   * Ends this end, in a turn of its life. Its open asks settle at once, its owner hears of it
   * after that. `isTold`: the far end knows; else it is told, if anything passes.
   */
  finish(how: { readonly clean: boolean; readonly isTold: boolean }): void {
    if (this.state === 'ended') return
    if (!how.isTold) this.send(lastFrame())
    this.state = 'ended'
    this.talk.closed()
    this.life.tick(() => this.owner.ended(this, how))
  }

  /** Its life is over. `silent`: nothing tells the far end (the machine has no power). */
  abandon(how: { readonly silent: boolean; readonly kept: number }): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    if (how.silent) return
    this.other.#losesTail(how.kept)
    this.send(lastFrame())
  }

  /** Of what is under way, the last part never arrives. */
  #losesTail(kept: number): void {
    const left = Math.ceil(this.#inbox.length * kept)
    if (left > 0 && left < this.#inbox.length) this.#inbox.length = left
  }

  /** Nothing passes any more, and neither end is told. */
  sever(): void {
    this.isSevered = true
    this.other.isSevered = true
    this.#inbox.length = 0
    this.other.#inbox.length = 0
  }
}

const lastFrame = (): Frame => ({
  kind: 'end',
  atMs: 0,
  id: 0,
  name: '',
  body: undefined,
  timeoutMs: 0,
  ask: 0,
})
