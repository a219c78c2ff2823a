// Conversations in memory: a clock moved by hand, and two ends joined by a list of frames.

import { Conversation, type ConversationOptions } from '../../protocol/index.ts'

/** A clock that stands still until it is moved. */
export class HandClock {
  #now = 0
  readonly #timers = new Set<{ at: number; fn: () => void }>()

  now(): number {
    return this.#now
  }

  wall(): number {
    return this.#now
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { at: this.#now + ms, fn }
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.size
  }

  /** Moves on, and calls what falls due on the way in its order. */
  move(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= end).sort(byTime)
      if (next === undefined) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.fn()
    }
    this.#now = end
  }
}

const byTime = (a: { at: number }, b: { at: number }) => a.at - b.at

/** One end, with everything that it did. */
export interface End {
  readonly conversation: Conversation
  /** Frames sent and not yet carried over. */
  readonly sent: Uint8Array[]
  readonly closes: [number, string][]
  readonly counted: string[]
  readonly bugs: unknown[]
  buffered: number
}

export const endOf = (
  clock: HandClock,
  options: Partial<ConversationOptions> = {},
): End => {
  const sent: Uint8Array[] = []
  const closes: [number, string][] = []
  const counted: string[] = []
  const bugs: unknown[] = []
  const conversation = new Conversation({
    send: (bytes) => void sent.push(bytes),
    close: (code, reason) => void closes.push([code, reason]),
    bufferedBytes: () => end.buffered,
    clock,
    handle: () => undefined,
    onCounted: (what) => void counted.push(what),
    onBug: (error) => void bugs.push(error),
    ...options,
  })
  const end: End = { conversation, sent, closes, counted, bugs, buffered: 0 }
  return end
}

/** Carries frames both ways until there are none. */
export const carry = (a: End, b: End): void => {
  while (a.sent.length + b.sent.length > 0) {
    for (const bytes of a.sent.splice(0)) b.conversation.receive(bytes)
    for (const bytes of b.sent.splice(0)) a.conversation.receive(bytes)
  }
}
