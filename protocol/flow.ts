// Flow: how much data may be on its way, so that control never stands long behind it.
//
// Pings, outcomes and aborts share the connection with output and input. Whatever of those
// is written and not yet there, control has to wait for: so there is never more of it than
// the link carries in a second, by a rate that is measured. Behind data goes a probe, one
// at a time, and its answer says that all before it has arrived, wherever it had queued: at
// this end, in the system's buffers, in a router. Control is neither counted nor held back.
// A link that is known to be fast is probed once a second or once in an eighth of what may
// be on its way: that costs it nothing that could be measured.

/** What flow needs of its conversation. */
export interface FlowPort {
  now(): number
  /** Sends a probe behind all that was written; `Flow.arrived` is owed for it. */
  probe(): void
}

/** Data may keep control waiting for about this long. */
export const WORTH_MS = 1000
/**
 * May be on its way while no rate is known, and half of it at once: what TCP sends before
 * it hears anything of a new path, so it costs a fast link no time.
 */
const FIRST_BYTES = 32 * 1024
/** Data is never cut into pieces smaller than this. */
export const LEAST_PIECE_BYTES = 512
/** With less than this share of what may be on its way, nobody needs to know whether it came. */
const LITTLE = 1 / 8
/** After as long without data the path may have become another. */
const FORGET_MS = 10_000

export class Flow {
  readonly #port: FlowPort
  /** Bytes per millisecond. */
  #rate = FIRST_BYTES / WORTH_MS
  #inFlight = 0
  /** Those of them that stand before the open probe; 0: none is open. */
  #probed = 0
  #probedAtMs = Number.NEGATIVE_INFINITY
  #movedAtMs = Number.NEGATIVE_INFINITY

  constructor(port: FlowPort) {
    this.#port = port
  }

  /** Is a probe under way? */
  get isProbing(): boolean {
    return this.#probed > 0
  }

  /** Data written behind the open probe, in bytes. */
  get behindBytes(): number {
    return this.#inFlight - this.#probed
  }

  /** The largest piece that may be written now, in bytes; 0: none. */
  room(): number {
    const window = this.#window()
    const left = window - this.#inFlight
    // In halves: one is under way while the arrival of the other travels back.
    return left < LEAST_PIECE_BYTES ? 0 : Math.min(left, window / 2)
  }

  /** May a frame that cannot be cut be written now? */
  takes(bytes: number): boolean {
    return !this.isProbing || this.#inFlight + bytes <= this.#window()
  }

  /** A frame of data was written. */
  wrote(bytes: number): void {
    const now = this.#port.now()
    this.#movedAtMs = now
    this.#inFlight += bytes
    if (!this.isProbing) this.#probeIfNeeded(now)
  }

  /** The probe was answered: all before it is there. */
  arrived(): void {
    if (!this.isProbing) return
    const now = this.#port.now()
    // Clocks that stand still for a moment must not make a rate of it.
    const ms = Math.max(0.1, now - this.#probedAtMs)
    const rate = this.#probed / ms
    // Little that arrived soon says what there was to send, not what the link carries.
    const isTelling = this.#probed >= (this.#rate * WORTH_MS) / 4 || ms >= WORTH_MS
    if (isTelling || rate > this.#rate) this.#rate = rate
    this.#movedAtMs = now
    this.#inFlight -= this.#probed
    this.#probed = 0
    if (this.#inFlight > 0) this.#probeIfNeeded(now)
  }

  #probeIfNeeded(now: number): void {
    const isLittle = this.#inFlight <= this.#rate * WORTH_MS * LITTLE
    if (isLittle && now - this.#probedAtMs < WORTH_MS) return
    this.#probed = this.#inFlight
    this.#probedAtMs = now
    this.#port.probe()
  }

  /** What may be on its way, in bytes. */
  #window(): number {
    const now = this.#port.now()
    if (!this.isProbing && now - this.#movedAtMs > FORGET_MS) {
      this.#rate = FIRST_BYTES / WORTH_MS
      this.#inFlight = 0
    }
    return Math.max(2 * LEAST_PIECE_BYTES, this.#rateAt(now) * WORTH_MS)
  }

  /** A probe that is overdue tells already that the link carries less than it did. */
  #rateAt(now: number): number {
    const ms = now - this.#probedAtMs
    if (!this.isProbing || ms <= WORTH_MS) return this.#rate
    return Math.min(this.#rate, this.#probed / ms)
  }
}
