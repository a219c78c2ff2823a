// Events: what happens at this node, told to whoever reads along. Readers are answered
// together, a moment after the first event, so that a busy node answers each of them now
// and then instead of at every event.

import type { Event, Handlers, RequestOf, Respond, Topic } from '../../protocol/index.ts'
import { whereOf } from '../machines/entitlement.ts'
import { EventLog, type EventReader } from '../machines/event-log.ts'
import type { Cancel, Clock, Loss, Peer } from '../ports.ts'

/** About a megabyte at most. */
const KEEPS = 4096
/** How long events are gathered for those who wait. */
const GATHER_MS = 20
/** A topic is told for so long after somebody asked for it. */
const WANTED_MS = 60_000
/** Who waits asks again before that. */
const LONGEST_MS = 55_000

/** What is told; the log adds when. */
export type News = Omit<Event, 'at_ms'>

interface Waiting {
  reader: EventReader & { readonly after: string }
  readonly respond: Respond<'EventsRead'>
  readonly cancel: Cancel
}

export class Events {
  readonly handlers: Handlers<Peer>
  readonly #clock: Clock
  readonly #log: EventLog
  readonly #waiting = new Set<Waiting>()
  /** Until when somebody is taken to read it. */
  readonly #wanted = new Map<Topic, number>()
  /** Told when a topic that nobody read is read. */
  readonly #onWanted: (topic: Topic) => void
  #cancelFlush: Cancel | undefined
  #isClosed = false

  constructor(clock: Clock, boot: string, onWanted: (topic: Topic) => void = nothing) {
    this.#clock = clock
    this.#log = new EventLog(boot, KEEPS)
    this.#onWanted = onWanted
    this.handlers = {
      EventsRead: (body, respond, from) => this.#read(body, respond, from),
    }
  }

  /** Does anybody read it? What happens often is told to readers alone. */
  isWanted(topic: Topic): boolean {
    return (this.#wanted.get(topic) ?? 0) > this.#clock.now()
  }

  tell(news: News): void {
    this.add({ ...news, at_ms: this.#clock.wall() })
  }

  /** One that another node told. */
  add(event: Event): void {
    this.#log.add(event)
    this.#armFlush()
  }

  /** Something was not told. */
  skip(topic: Topic): void {
    if (this.#log.skip(topic)) this.#armFlush()
  }

  close(): void {
    this.#isClosed = true
    this.#cancelFlush?.()
    for (const { cancel } of this.#waiting) cancel()
    this.#waiting.clear()
  }

  #read(
    { after, topics, wait_ms: waitMs }: RequestOf<'EventsRead'>,
    respond: Respond<'EventsRead'>,
    from: Peer,
  ): void {
    for (const topic of topics ?? ALL) this.#want(topic)
    const reader = { after, topics, where: whereOf(from, 'read') }
    const part = this.#log.read(reader)
    if (part.events.length > 0 || part.reset || after === undefined || waitMs === 0) {
      respond('Events', part)
      return
    }
    // What was passed over for this reader is passed over once.
    const waiting: Waiting = {
      reader: { ...reader, after: part.next },
      respond,
      cancel: this.#clock.after(Math.min(waitMs, LONGEST_MS), () =>
        this.#answer(waiting),
      ),
    }
    this.#waiting.add(waiting)
  }

  #want(topic: Topic): void {
    const isNew = !this.isWanted(topic)
    this.#wanted.set(topic, this.#clock.now() + WANTED_MS)
    if (isNew) this.#onWanted(topic)
  }

  #armFlush(): void {
    if (this.#waiting.size === 0 || this.#cancelFlush !== undefined) return
    this.#cancelFlush = this.#clock.after(GATHER_MS, () => {
      this.#cancelFlush = undefined
      this.#flush()
    })
  }

  #flush(): void {
    for (const waiting of [...this.#waiting]) {
      const { events, reset, next: after } = this.#log.read(waiting.reader)
      if (events.length > 0 || reset) this.#answer(waiting)
      // What it does not read is looked at once, and does not push it out of the log.
      else waiting.reader = { ...waiting.reader, after }
    }
  }

  #answer(waiting: Waiting): void {
    if (this.#isClosed || !this.#waiting.delete(waiting)) return
    waiting.cancel()
    waiting.respond('Events', this.#log.read(waiting.reader))
  }
}

/** A node came. */
export const cameNews = ({ role, hostName: host_name, nodeId: node_id }: Peer): News => ({
  ...{ topic: 'nodes', name: 'node-connected', host_name, role, node_id },
})

/** And went. */
export const leftNews = (peer: Peer, { isExpelled }: Loss): News => ({
  ...cameNews(peer),
  name: 'node-lost',
  about: isExpelled === true ? 'taken out of the mesh' : 'its connection ended',
})

const ALL: readonly Topic[] = ['nodes', 'processes', 'tasks']
const nothing = (): void => undefined
