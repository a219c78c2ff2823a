// The simulated time of a whole world: what is to happen, in the order of its time, and of
// its making where times are equal. A binary heap; what is cancelled stays in it until it
// comes up, or until it is half of all.

/** Something that will happen. `act` is undefined once it has happened or is cancelled. */
export interface Planned {
  readonly atMs: number
  readonly turn: number
  act: (() => void) | undefined
  /** Whose it is: it happens through `fire`, which may put it off. */
  readonly owner: Owner | undefined
  /** A timer of its owner's, not something that comes from outside. */
  readonly isTimer: boolean
}

/** Who decides how something of theirs happens: a process that may be dead or frozen. */
export interface Owner {
  /** When something planned for `atMs` happens to it: then, or a moment later. */
  slotMs(atMs: number): number
  fire(planned: Planned): void
}

const SWEEP_FROM = 4096

export class Schedule {
  nowMs = 0
  /** How many things have happened. */
  happened = 0
  readonly #heap: Planned[] = []
  #turn = 0
  #cancelled = 0

  get size(): number {
    return this.#heap.length - this.#cancelled
  }

  /** Plans `act`; not before now. */
  at(atMs: number, act: () => void, owner?: Owner, isTimer = false): Planned {
    const planned: Planned = {
      atMs: owner === undefined ? Math.max(atMs, this.nowMs) : owner.slotMs(atMs),
      turn: this.#turn++,
      act,
      owner,
      isTimer,
    }
    this.#push(planned)
    return planned
  }

  cancel(planned: Planned): void {
    if (planned.act === undefined) return
    planned.act = undefined
    this.#cancelled += 1
    if (this.#cancelled > SWEEP_FROM && this.#cancelled * 2 > this.#heap.length)
      this.#sweep()
  }

  /** Lets the next thing happen, unless it is after `untilMs`; false: there was none. */
  step(untilMs: number): boolean {
    for (;;) {
      const next = this.#heap[0]
      if (next === undefined || next.atMs > untilMs) return false
      this.#pop()
      const { act } = next
      if (act === undefined) {
        if (this.#cancelled > 0) this.#cancelled -= 1
        continue
      }
      this.nowMs = next.atMs
      this.happened += 1
      if (next.owner !== undefined) next.owner.fire(next)
      else {
        next.act = undefined
        act()
      }
      return true
    }
  }

  #push(planned: Planned): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(planned)
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = heap[above] as Planned // inside the heap
      if (isBefore(parent, planned)) break
      heap[at] = parent
      at = above
    }
    heap[at] = planned
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    this.#sink(0, last)
  }

  #sink(from: number, planned: Planned): void {
    const heap = this.#heap
    const { length } = heap
    let at = from
    for (;;) {
      let below = 2 * at + 1
      if (below >= length) break
      let child = heap[below] as Planned // inside the heap, as the next one
      const right = heap[below + 1]
      if (right !== undefined && isBefore(right, child)) {
        below += 1
        child = right
      }
      if (isBefore(planned, child)) break
      heap[at] = child
      at = below
    }
    heap[at] = planned
  }

  #sweep(): void {
    const left = this.#heap.filter(({ act }) => act !== undefined)
    this.#heap.length = 0
    for (const planned of left) this.#heap.push(planned)
    this.#cancelled = 0
    for (let at = (left.length >> 1) - 1; at >= 0; at--)
      this.#sink(at, left[at] as Planned) // inside the list
  }
}

const isBefore = (a: Planned, b: Planned): boolean =>
  a.atMs < b.atMs || (a.atMs === b.atMs && a.turn < b.turn)
