// The dialler keeps trying: each address that is worth a connection is dialled, and again
// after it was lost, at once and then with growing pauses.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { NodeId } from '../../protocol/index.ts'
import type { Cancel, Clock, Log, Random } from '../ports.ts'
import type { DialFailure } from './failures.ts'

/** The first pause; it doubles with each failure. */
export const FIRST_PAUSE_MS = 500
/** The longest: a node that comes back is met again within this. */
export const LONGEST_PAUSE_MS = 10_000
/** An address that was only found, not given by a person, is forgotten after this long in vain. */
export const FORGET_MS = 60_000
/** Found addresses kept at once: discovery hears whatever the network says. */
const MAX_TARGETS = 1024

export interface DiallerOptions {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Connects and resolves with whom; never rejects. */
  readonly connect: (
    url: string,
    /** Only this node will do. */
    wanted: NodeId | undefined,
  ) => Promise<Either<DialFailure, NodeId>>
  readonly isConnected: (nodeId: NodeId) => boolean
}

interface Target {
  readonly url: string
  /** Given by a person: never forgotten. */
  readonly isGiven: boolean
  nodeId: NodeId | undefined
  /** Whom the address was said to be of; a person's word is for whoever is there. */
  wanted: NodeId | undefined
  state: 'dialling' | 'waiting' | 'connected'
  failures: number
  failingSinceMs: number
  lastReason: string
  cancel: Cancel
}

const nothing: Cancel = () => undefined

export class Dialler {
  readonly #options: DiallerOptions
  readonly #targets = new Map<string, Target>()
  #isClosed = false

  constructor(options: DiallerOptions) {
    this.#options = options
  }

  /** An address worth a connection. Known ones are left to their own pace. */
  offer(url: string, nodeId: NodeId | undefined, isGiven: boolean): void {
    const known = this.#targets.get(url)
    if (known !== undefined) this.#correct(known, nodeId)
    if (this.#isClosed || known !== undefined) return
    if (nodeId !== undefined && this.#options.isConnected(nodeId)) return
    if (!isGiven && this.#targets.size >= MAX_TARGETS) return
    const target: Target = {
      url,
      isGiven,
      nodeId,
      wanted: isGiven ? undefined : nodeId,
      state: 'waiting',
      failures: 0,
      failingSinceMs: this.#options.clock.now(),
      lastReason: '',
      cancel: nothing,
    }
    this.#targets.set(url, target)
    this.#dial(target)
  }

  /** Another node has the address now, it is said. It is dialled in its own time. */
  #correct(target: Target, nodeId: NodeId | undefined): void {
    if (target.isGiven || nodeId === undefined || target.wanted === nodeId) return
    if (target.state === 'connected') return
    target.wanted = nodeId
    target.failures = 0
  }

  /** The connection to a node ended: its addresses are dialled again at once. */
  lost(nodeId: NodeId): void {
    for (const target of this.#targets.values()) {
      if ((target.nodeId ?? target.wanted) !== nodeId) continue
      // One that waits was of no use while the node itself had dialled; its pause is over.
      target.failures = 0
      target.failingSinceMs = this.#options.clock.now()
      if (target.state !== 'dialling') this.#dial(target)
    }
  }

  /** Dials a node's addresses now instead of after their pause. */
  redial(nodeId: NodeId): void {
    for (const target of this.#targets.values())
      if (target.nodeId === nodeId && target.state === 'waiting') this.#dial(target)
  }

  close(): void {
    this.#isClosed = true
    for (const target of this.#targets.values()) target.cancel()
    this.#targets.clear()
  }

  #dial(target: Target): void {
    target.cancel()
    target.cancel = nothing
    target.state = 'dialling'
    const { connect, isConnected } = this.#options
    void connect(target.url, target.wanted).then((result) => {
      if (this.#isClosed) return
      if (E.isRight(result)) target.nodeId = result.right
      const { nodeId } = target
      // Another connection to the same node may have been kept instead of this one.
      if (nodeId !== undefined && isConnected(nodeId)) this.#succeeded(target)
      else this.#failed(target, E.isLeft(result) ? result.left.reason : 'lost at once')
    })
  }

  #succeeded(target: Target): void {
    target.state = 'connected'
    target.failures = 0
    target.lastReason = ''
  }

  #failed(target: Target, reason: string): void {
    const { clock, log, random } = this.#options
    if (target.failures === 0) target.failingSinceMs = clock.now()
    const fields = { url: target.url, reason, failures: target.failures + 1 }
    // Each reason once: a node that is away for a day must not fill a log.
    if (reason === target.lastReason) log.debug('cannot connect', fields)
    else log.info('cannot connect', fields)
    target.lastReason = reason
    if (!target.isGiven && clock.now() - target.failingSinceMs > FORGET_MS) {
      this.#targets.delete(target.url)
      return
    }
    target.state = 'waiting'
    const pauseMs = pauseAfter(target.failures, random.fraction())
    target.failures += 1
    target.cancel = clock.after(pauseMs, () => this.#dial(target))
  }
}

/** The pause after so many failures in a row, varied by a quarter either way. */
export const pauseAfter = (failures: number, fraction: number): number => {
  const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10))
  return full * (0.75 + fraction / 2)
}
