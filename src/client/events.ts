// Events as an async iterable: read by cursor, so that a connection that breaks loses none.

import type { Event, RequestOf, Topic } from '../../protocol/index.ts'
import type { Answered, AskOptions } from './link.ts'

export interface EventsOptions {
  /** Default: all. */
  readonly topics?: readonly Topic[]
  /** The cursor that `onCursor` told last: goes on from there. */
  readonly after?: string
  readonly onCursor?: (next: string) => void
  /** Some were missed. */
  readonly onReset?: () => void
  readonly signal?: AbortSignal
}

const WAIT_MS = 20_000
const GRACE_MS = 5_000

/** Whatever can be asked for events. */
export interface EventsLink {
  ask(
    kind: 'EventsRead',
    body: RequestOf<'EventsRead'>,
    options: AskOptions,
  ): Promise<Answered<'EventsRead'>>
}

/** One by one. */
export async function* readEvents(
  link: EventsLink,
  options: EventsOptions,
): AsyncGenerator<Event> {
  for await (const events of readEventPages(link, options)) yield* events
}

/** As they come: those that happened at about the same time together. */
export async function* readEventPages(
  link: EventsLink,
  { topics, after: first, onCursor, onReset, signal }: EventsOptions,
): AsyncGenerator<readonly Event[]> {
  let after = first
  for (;;) {
    const body = {
      wait_ms: WAIT_MS,
      ...(after !== undefined && { after }),
      ...(topics && { topics: [...topics] }),
    }
    const options = { timeoutMs: WAIT_MS + GRACE_MS, signal }
    const answer = await link.ask('EventsRead', body, options)
    const { events, next, reset } = answer.body
    if (reset === true) onReset?.()
    // Nothing, where some were missed: whoever reads hears of it now.
    if (events.length > 0 || reset === true) yield events
    after = next
    onCursor?.(next)
  }
}
