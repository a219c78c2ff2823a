// Event log: the last events of a node, each with a number, read by cursor.

import {
  EVENTS_PAGE,
  type Event,
  holdsAt,
  type Topic,
  type Where,
} from '../../protocol/index.ts'

/** What a reader gets. */
export interface EventsPart {
  readonly events: Event[]
  /** The cursor after these. */
  readonly next: string
  /** Some before these are gone. */
  readonly reset?: true
}

export interface EventReader {
  /** A cursor; undefined: from now on. */
  readonly after: string | undefined
  readonly topics: readonly Topic[] | undefined
  /** Where the reader may read. */
  readonly where: Where
}

export class EventLog {
  readonly #boot: string
  readonly #keeps: number
  /** undefined: something was passed over there. */
  #events: (Event | undefined)[] = []
  /** The number of the first that is kept. */
  #first = 1
  /** The number at which events of a topic were last passed over. */
  readonly #gaps = new Map<Topic, number>()
  /** Topics of which something was passed over since anybody read. */
  readonly #unread = new Set<Topic>()

  /** `boot`: of this node's start, so that a cursor of an earlier one is known. */
  constructor(boot: string, keeps: number) {
    this.#boot = boot
    this.#keeps = keeps
  }

  /** The number that the next one gets. */
  get #next(): number {
    return this.#first + this.#events.length
  }

  /** Kept with its cursor: every reader gets the same object. */
  add(event: Event): void {
    this.#push({ ...event, id: this.#cursor(this.#next + 1) })
  }

  #push(event: Event | undefined): void {
    this.#events.push(event)
    // In steps: each event is moved once or twice in its life.
    if (this.#events.length < 2 * this.#keeps) return
    const gone = this.#events.length - this.#keeps
    this.#events = this.#events.slice(gone)
    this.#first += gone
  }

  /**
   * An event of the topic is not kept: whoever has not read past this place is told so. False:
   * nobody has read since the last one.
   */
  skip(topic: Topic): boolean {
    if (this.#unread.has(topic)) return false
    this.#unread.add(topic)
    this.#gaps.set(topic, this.#next)
    this.#push(undefined)
    return true
  }

  /** Is there anything for the reader, or something it must be told? */
  read({ after, topics, where }: EventReader): EventsPart {
    this.#unread.clear()
    const from = after === undefined ? this.#next : this.#numberOf(after)
    if (from === undefined || this.#isGapped(from, topics))
      return { events: [], next: this.#cursor(this.#next), reset: true }
    const events: Event[] = []
    let at = from - this.#first
    for (; at < this.#events.length && events.length < EVENTS_PAGE; at++) {
      const event = this.#events[at]
      if (event === undefined) continue
      if (topics !== undefined && !topics.includes(event.topic)) continue
      if (holdsAt(where, event.host_name)) events.push(event)
    }
    return { events, next: this.#cursor(this.#first + Math.max(0, at)) }
  }

  #cursor(next: number): string {
    return `${this.#boot}-${next - 1}`
  }

  /** The number of the first event after a cursor; undefined: it cannot be had any more. */
  #numberOf(cursor: string): number | undefined {
    const [boot, text = ''] = cursor.split('-')
    if (boot !== this.#boot || !/^\d{1,15}$/.test(text)) return undefined
    const from = Number(text) + 1
    return from < this.#first || from > this.#next ? undefined : from
  }

  #isGapped(from: number, topics: readonly Topic[] | undefined): boolean {
    for (const [topic, at] of this.#gaps)
      if (from <= at && (topics === undefined || topics.includes(topic))) return true
    return false
  }
}
