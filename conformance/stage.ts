// Stage: everything a case may open, and everything closed again after it.

import { type Beginning, type Grant, ManagerSide } from './manager-side.ts'
import { type Identity, identity, Peer, type PeerOptions } from './peer.ts'
import type { Target } from './target.ts'
import type { Watch } from './watch.ts'
import { WorkerSide } from './worker-side.ts'

/** Thrown by a case that cannot be seen here, with the reason. */
export class Skip extends Error {}

/** What a case expected; the message says what it saw. */
export const expect = (isSo: boolean, instead: () => string): void => {
  if (!isSo) throw new Error(instead())
}

export const equal = (actual: unknown, expected: unknown, what: string): void =>
  expect(
    JSON.stringify(actual) === JSON.stringify(expected),
    () => `${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`,
  )

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms))

export class Stage {
  readonly target: Target
  /** Milliseconds that anything may take which should come at once. */
  readonly patienceMs: number
  readonly #watch: Watch
  readonly #peers = new Set<Peer>()
  readonly #workers = new Set<WorkerSide>()
  readonly #managers = new Map<string, ManagerSide>()

  constructor(target: Target, patienceMs: number, watch: Watch) {
    this.target = target
    this.patienceMs = patienceMs
    this.#watch = watch
  }

  get options(): Omit<PeerOptions, 'self'> {
    const { target, patienceMs } = this
    return { target, patienceMs, watch: this.#watch }
  }

  /** A connection on which nothing was said yet. */
  async enter(self: Identity = identity('client')): Promise<Peer> {
    return this.#keep(await Peer.enter({ ...this.options, self }))
  }

  /** An introduced connection. */
  async open(
    self: Identity = identity('client'),
    prepare?: (peer: Peer) => void,
  ): Promise<Peer> {
    return this.#keep(await Peer.open({ ...this.options, self }, prepare))
  }

  /** The manager of the worker that is tested. */
  async manager(grant: Partial<Grant> = {}, self?: Identity): Promise<ManagerSide> {
    const options = { ...this.options, ...(self && { self }) }
    return this.#manage(await ManagerSide.begin(options, { grant }))
  }

  /** The same manager on a new connection; `change`: what is new of it. */
  async again(
    manager: ManagerSide,
    accept: Beginning['accept'] = {},
    change: Partial<Identity> = {},
  ): Promise<ManagerSide> {
    return this.begin(manager, { accept }, change)
  }

  async begin(
    { self, grant, nextSequence }: ManagerSide,
    beginning: Beginning,
    change: Partial<Identity> = {},
  ): Promise<ManagerSide> {
    const options = { ...this.options, self: { ...self, ...change } }
    const side = await ManagerSide.begin(options, {
      ...{ grant, sequence: nextSequence, ...beginning },
    })
    return this.#manage(side)
  }

  /** A worker of the manager that is tested, with a label that no other has. */
  async worker(
    more: object = {},
    self?: Identity,
    prepare?: (peer: Peer) => void,
  ): Promise<WorkerSide> {
    const options = { ...this.options, ...(self && { self }) }
    return this.#work(await WorkerSide.begin(options, more, undefined, prepare))
  }

  /** The same worker on a new connection; `change`: what is new of it. */
  async back(
    { self, label }: WorkerSide,
    more: object = {},
    change: Partial<Identity> = {},
    prepare?: (peer: Peer) => void,
  ): Promise<WorkerSide> {
    const options = { ...this.options, self: { ...self, ...change } }
    return this.#work(await WorkerSide.begin(options, more, label, prepare))
  }

  #work(side: WorkerSide): WorkerSide {
    this.#keep(side.peer)
    this.#workers.add(side)
    return side
  }

  /** Ends what the case has left open. */
  async close(): Promise<void> {
    for (const manager of this.#managers.values()) await this.#release(manager)
    for (const { peer, rel } of this.#workers)
      if (!peer.isClosed) await peer.ask('ManagerBye', { rel }).catch(() => undefined)
    await Promise.all([...this.#peers].map((peer) => peer.cut()))
  }

  /** The worker is to have no manager for the next case, however this one ended. */
  async #release(manager: ManagerSide): Promise<void> {
    if (manager.isEnded) return
    try {
      const current = manager.peer.isClosed ? await this.again(manager) : manager
      await current.end()
    } catch {
      // What is wrong with it was the case's to say.
    }
  }

  #manage(side: ManagerSide): ManagerSide {
    this.#keep(side.peer)
    // Of one manager that came again, the last connection counts.
    this.#managers.set(side.self.node_id, side)
    return side
  }

  #keep(peer: Peer): Peer {
    this.#peers.add(peer)
    return peer
  }
}
