// A link in memory that carries so many bytes a second one way, in order, and any number the
// other way; on it two conversations. Control is timed from its asking to its arrival.

import { Conversation, type Handle } from '../../protocol/index.ts'
import { HandClock } from './conversations.ts'

export interface SlowLinkOptions {
  readonly bytesPerSecond: number
  /** One way. */
  readonly latencyMs: number
  /** What the system takes without being seen: not counted as buffered. */
  readonly unseenBytes: number
  /** With WebSocket pings, or only with looks at what is buffered. */
  readonly withProbes: boolean
  /** Serves the far end's requests. */
  readonly handle: Handle
}

export interface SlowLink {
  readonly clock: HandClock
  /** Its frames go over the slow way. */
  readonly near: Conversation
  readonly far: Conversation
  /** Bytes that have arrived at the far end. */
  readonly arrived: number
}

/** A WebSocket ping with four bytes, masked. */
const PING_BYTES = 10

export const slowLink = (options: SlowLinkOptions): SlowLink => {
  const { bytesPerSecond, latencyMs, unseenBytes } = options
  const clock = new HandClock()
  const perMs = bytesPerSecond / 1000
  let freeAtMs = 0
  let arrived = 0
  const carry = (bytes: number, deliver: () => void) => {
    freeAtMs = Math.max(freeAtMs, clock.now()) + bytes / perMs
    clock.after(freeAtMs - clock.now(), () => {
      if (!options.withProbes && clock.now() >= freeAtMs) near.drained()
    })
    clock.after(freeAtMs + latencyMs - clock.now(), () => {
      arrived += bytes
      deliver()
    })
  }
  const back = (deliver: () => void) => void clock.after(latencyMs, deliver)
  const shared = {
    clock,
    close: (code: number, reason: string) => {
      throw new Error(`closed: ${code} ${reason}`)
    },
  }
  const near = new Conversation({
    ...shared,
    handle: options.handle,
    send: (bytes) => carry(bytes.length, () => far.receive(bytes)),
    bufferedBytes: () =>
      Math.max(0, Math.round((freeAtMs - clock.now()) * perMs) - unseenBytes),
    ...(options.withProbes && {
      probe: (answered: () => void) => carry(PING_BYTES, () => back(answered)),
    }),
  })
  const far = new Conversation({
    ...shared,
    handle: (_kind, _body, respond) => respond('Error', { code: 'busy' }),
    send: (bytes) => back(() => near.receive(bytes)),
    bufferedBytes: () => 0,
  })
  return {
    clock,
    near,
    far,
    get arrived() {
      return arrived
    },
  }
}
