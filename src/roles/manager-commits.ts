// Group commit: one commit is under way; what gathers meanwhile goes into the next. Where
// many tasks are open, and each commit costs the disk, they follow each other at a distance;
// where few are, somebody waits for one of them, and there is none. What may be said only when something is durable (an Ack) waits with its group.

import type { Cancel, Clock, Ledger } from '../ports.ts'
import type { Change, Submitted } from '../records.ts'

interface Group {
  changes: Change[]
  acks: (() => void)[]
}

export interface CommitEvents {
  durable(changes: readonly Change[]): void
  /** The ledger has no room: these were never submitted. */
  notStored(change: Submitted): void
  /** Fenced or failed: nothing can be promised any more. */
  stopped(why: string): void
  /** Are so many tasks open that nobody waits for one of them? */
  hasMany(): boolean
}

/** A full ledger is tried again after this, since outcomes must get in. */
const FULL_AGAIN_MS = 200
/** The most in one commit; the rest goes into the next. */
const MAX_CHANGES = 4_096

export class Commits {
  readonly #ledger: Ledger
  readonly #clock: Clock
  readonly #events: CommitEvents
  #gathering: Group = { changes: [], acks: [] }
  #underWay: Group | undefined
  #isStopped = false
  /** It ends: a full ledger is waited for no longer. */
  #isLast = false
  #begunAtMs = Number.NEGATIVE_INFINITY
  #timer: Cancel | undefined
  readonly #idle: (() => void)[] = []

  constructor(ledger: Ledger, clock: Clock, events: CommitEvents) {
    this.#ledger = ledger
    this.#clock = clock
    this.#events = events
  }

  get isStopped(): boolean {
    return this.#isStopped
  }

  add(change: Change): void {
    this.#gathering.changes.push(change)
  }

  /** Calls `ack` when all that was added so far is durable; never if it cannot be. */
  afterwards(ack: () => void): void {
    if (this.#gathering.changes.length > 0) this.#gathering.acks.push(ack)
    else if (this.#underWay !== undefined) this.#underWay.acks.push(ack)
    else if (!this.#isStopped) ack()
  }

  /** At the end of a turn. */
  flush(): void {
    if (this.#underWay !== undefined || this.#isStopped) return
    if (this.#gathering.changes.length === 0 || this.#waits()) return
    const group = this.#gathering
    this.#gathering = { changes: [], acks: [] }
    if (group.changes.length > MAX_CHANGES) {
      // The acks wait for all of it, so they stay with the rest.
      this.#gathering = { changes: group.changes.slice(MAX_CHANGES), acks: group.acks }
      this.#commit({ changes: group.changes.slice(0, MAX_CHANGES), acks: [] })
      return
    }
    this.#commit(group)
  }

  /** Is it too soon for another? Then its time comes by itself. */
  #waits(): boolean {
    const { gatherMs = 0 } = this.#ledger
    if (gatherMs === 0 || this.#isLast || !this.#events.hasMany()) return false
    const waitMs = this.#begunAtMs + gatherMs - this.#clock.now()
    if (waitMs <= 0) return false
    this.#timer ??= this.#clock.after(waitMs, () => {
      this.#timer = undefined
      this.flush()
    })
    return true
  }

  /**
   * Resolves when nothing is under way or gathered, or the ledger has no room for it: what
   * is not acknowledged then, its worker keeps. For the end: a full ledger is not tried again.
   */
  async drained(): Promise<void> {
    this.#isLast = true
    this.flush()
    if (this.#underWay === undefined || this.#isStopped) return
    await new Promise<void>((done) => this.#idle.push(done))
  }

  #commit(group: Group): void {
    this.#underWay = group
    this.#begunAtMs = this.#clock.now()
    this.#ledger.commit(group.changes, (result) => {
      switch (result.kind) {
        case 'durable':
          this.#underWay = undefined
          this.#events.durable(group.changes)
          for (const ack of group.acks) ack()
          this.flush()
          if (this.#underWay === undefined) this.#wake()
          return
        case 'full':
          return this.#full(group)
        case 'fenced':
          return this.#stop('another manager has taken over the ledger')
        case 'failed':
          return this.#stop(result.reason)
      }
    })
  }

  // Nothing of it was applied. New submissions give way to what must get in.
  #full(group: Group): void {
    const rest: Change[] = []
    for (const change of group.changes) {
      if (change.kind === 'submitted') this.#events.notStored(change)
      else rest.push(change)
    }
    group.changes = rest
    if (this.#isLast && rest.length > 0) {
      this.#isStopped = true
      this.#wake()
      return
    }
    if (rest.length > 0) {
      this.#clock.after(FULL_AGAIN_MS, () => this.#commit(group))
      return
    }
    this.#underWay = undefined
    for (const ack of group.acks) ack()
    this.flush()
    if (this.#underWay === undefined) this.#wake()
  }

  #stop(why: string): void {
    if (this.#isStopped) return
    this.#isStopped = true
    this.#events.stopped(why)
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#idle.splice(0)) wake()
  }
}
