// Replay table: what signed requests came, and what each was answered, until it cannot come
// again. So one that is repeated (by a client whose connection broke, or by a hub that would
// have it done twice) is done once, and answered the same.

/** What a request was answered: a kind, and a packed body. */
export interface Answer {
  readonly kind: string
  readonly body: Uint8Array
}

type Listener = (answer: Answer) => void

interface Entry {
  readonly content: string
  untilMs: number
  answer: Answer | undefined
  listeners: Listener[]
}

export interface ReplayLimits {
  readonly entries: number
  readonly bytes: number
}

/** At 1,000 a second for 90 s, with some room. */
export const REPLAY_LIMITS: ReplayLimits = { entries: 100_000, bytes: 64 * 1024 * 1024 }

/** What becomes of a request. */
export type Verdict =
  /** Never seen: do it, and tell `answered`. */
  | 'new'
  /** Seen: `listener` gets its answer, at once if there is one. */
  | 'again'
  /** The id was used for something else. */
  | 'other'
  /** No room for one more. */
  | 'full'

export class ReplayTable {
  readonly #limits: ReplayLimits
  /** By sender and id, in the order in which they came. */
  readonly #entries = new Map<string, Entry>()
  #bytes = 0

  constructor(limits: ReplayLimits = REPLAY_LIMITS) {
    this.#limits = limits
  }

  get size(): number {
    return this.#entries.size
  }

  /** `content`: the same for the same kind and body alone. */
  take(
    key: string,
    content: string,
    untilMs: number,
    nowMs: number,
    listener: Listener,
  ): Verdict {
    this.#sweep(nowMs)
    const known = this.#entries.get(key)
    if (known === undefined) {
      const { entries, bytes } = this.#limits
      if (this.#entries.size >= entries || this.#bytes >= bytes) return 'full'
      const entry = { content, untilMs, answer: undefined, listeners: [listener] }
      this.#entries.set(key, entry)
      return 'new'
    }
    if (known.content !== content) return 'other'
    known.untilMs = Math.max(known.untilMs, untilMs)
    if (known.answer !== undefined) listener(known.answer)
    else known.listeners.push(listener)
    return 'again'
  }

  /** The answer to a new one: every listener gets it. Once. */
  answered(key: string, answer: Answer): void {
    const entry = this.#entries.get(key)
    // It may have been swept: then nobody waits for it any more.
    if (entry === undefined || entry.answer !== undefined) return
    entry.answer = answer
    this.#bytes += answer.body.byteLength
    for (const listener of entry.listeners.splice(0)) listener(answer)
  }

  /** It was not done at all: the same again is new. */
  undone(key: string, answer: Answer): void {
    const entry = this.#entries.get(key)
    if (entry === undefined || entry.answer !== undefined) return
    this.#entries.delete(key)
    for (const listener of entry.listeners) listener(answer)
  }

  /** From the oldest on, up to one that may come again. One that is being done stays. */
  #sweep(nowMs: number): void {
    for (const [key, { untilMs, answer }] of this.#entries) {
      if (untilMs > nowMs) return
      if (answer === undefined) continue
      this.#entries.delete(key)
      this.#bytes -= answer.body.byteLength
    }
  }
}
