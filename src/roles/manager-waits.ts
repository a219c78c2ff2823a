// Long polls of a manager's clients: who waits for what, how long, and how many at most.
//
// What becomes true in a turn is told once, at its end. A wait ends by being answered, by
// its time, or with the connection it came by; it never outlives any of them.

import type { Batch, Task } from '../machines/task-record.ts'
import type { Cancel, Clock, Peer } from '../ports.ts'

export interface Wait {
  /** Something it waits for may have become true. */
  readonly wake: () => void
  /** Its time is over. */
  readonly expire: () => void
  readonly peer: Peer
  cancel: Cancel
  isOver: boolean
  leave: () => void
}

export class Waits {
  readonly #clock: Clock
  readonly #perClient: number
  readonly #byPeer = new Map<Peer, Set<Wait>>()
  readonly #byBatch = new Map<Batch, Set<Wait>>()
  readonly #byTask = new Map<Task, Set<Wait>>()
  readonly #ready = new Set<Wait>()

  constructor(clock: Clock, perClient: number) {
    this.#clock = clock
    this.#perClient = perClient
  }

  get size(): number {
    let size = 0
    for (const waits of this.#byPeer.values()) size += waits.size
    return size
  }

  hasPlace(peer: Peer): boolean {
    return (this.#byPeer.get(peer)?.size ?? 0) < this.#perClient
  }

  /** `wake` may be called again and again until `end`; `expire` once, and it is over. */
  onBatch(
    peer: Peer,
    batch: Batch,
    ms: number,
    how: Pick<Wait, 'wake' | 'expire'>,
  ): Wait {
    const wait = this.#begin(peer, ms, how)
    enter(this.#byBatch, batch, wait)
    wait.leave = () => leave(this.#byBatch, batch, wait)
    return wait
  }

  onTasks(
    peer: Peer,
    tasks: readonly Task[],
    ms: number,
    how: Pick<Wait, 'wake' | 'expire'>,
  ): Wait {
    const wait = this.#begin(peer, ms, how)
    for (const task of tasks) {
      task.watched = true
      enter(this.#byTask, task, wait)
    }
    wait.leave = () => {
      for (const task of tasks) if (leave(this.#byTask, task, wait)) task.watched = false
    }
    return wait
  }

  end(wait: Wait): void {
    if (wait.isOver) return
    wait.isOver = true
    wait.cancel()
    wait.leave()
    this.#ready.delete(wait)
    leave(this.#byPeer, wait.peer, wait)
  }

  closed(task: Task): void {
    if (this.#byBatch.size > 0) this.#stir(this.#byBatch.get(task.batch))
    if (task.watched) this.moved(task)
  }

  moved(task: Task): void {
    this.#stir(this.#byTask.get(task))
  }

  /** A batch that is gone (its only submission was not stored). */
  stir(batch: Batch): void {
    this.#stir(this.#byBatch.get(batch))
  }

  /** The end of the turn. */
  tell(): void {
    if (this.#ready.size === 0) return
    const ready = [...this.#ready]
    this.#ready.clear()
    for (const wait of ready) if (!wait.isOver) wait.wake()
  }

  peerLost(peer: Peer): void {
    for (const wait of [...(this.#byPeer.get(peer) ?? [])]) this.end(wait)
  }

  close(): void {
    for (const peer of [...this.#byPeer.keys()]) this.peerLost(peer)
  }

  #begin(peer: Peer, ms: number, how: Pick<Wait, 'wake' | 'expire'>): Wait {
    const wait: Wait = {
      wake: how.wake,
      expire: how.expire,
      peer,
      cancel: () => {},
      isOver: false,
      leave: () => {},
    }
    enter(this.#byPeer, peer, wait)
    wait.cancel = this.#clock.after(ms, () => {
      this.end(wait)
      wait.expire()
    })
    return wait
  }

  #stir(waits: ReadonlySet<Wait> | undefined): void {
    if (waits !== undefined) for (const wait of waits) this.#ready.add(wait)
  }
}

const enter = <K>(map: Map<K, Set<Wait>>, key: K, wait: Wait): void => {
  const waits = map.get(key)
  if (waits === undefined) map.set(key, new Set([wait]))
  else waits.add(wait)
}

/** Was it the last one there? */
const leave = <K>(map: Map<K, Set<Wait>>, key: K, wait: Wait): boolean => {
  const waits = map.get(key)
  if (waits === undefined) return false
  waits.delete(wait)
  return waits.size === 0 && map.delete(key)
}
