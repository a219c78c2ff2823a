// Occupancy: how much of a worker its tasks take, and whether another one fits beside
// them. It counts what it is told; the table of tasks tells it of every entry.

import type { Assignment } from '../../protocol/index.ts'
import type { Entry } from './worker-task.ts'

/** What there is to take. */
export interface Room {
  readonly cores: number
  readonly memoryBytes: number
  readonly resources: Readonly<Record<string, number>>
  /** Tasks that run at a time, those that need no core too; default: 256 beside the cores. */
  readonly running?: number
}

/** Tasks that need no core and run at a time, beside those that do. */
const CORELESS = 256

/** Cores that a task takes. `noop:` runs nothing. */
export const coresOf = ({ job_addr: job, requires }: Assignment): number =>
  requires?.cores ?? (job.startsWith('noop:') ? 0 : 1)

export class Occupancy {
  readonly #room: Room
  #pending = 0
  #finished = 0
  #running = 0
  #cores = 0
  #memoryBytes = 0
  readonly #resources = new Map<string, number>()

  constructor(room: Room) {
    this.#room = room
  }

  get pending(): number {
    return this.#pending
  }
  get finished(): number {
    return this.#finished
  }
  /** Tasks that hold a slot. */
  get running(): number {
    return this.#running
  }
  get freeCores(): number {
    return Math.max(0, this.#room.cores - this.#cores)
  }

  /** Does it fit beside what holds a slot now? */
  hasRoom(task: Assignment): boolean {
    const { requires } = task
    const { cores, memoryBytes, resources, running = cores + CORELESS } = this.#room
    if (this.#running >= running) return false
    if (this.#cores + coresOf(task) > cores) return false
    if (requires === undefined) return true
    if (this.#memoryBytes + (requires.memory ?? 0) > memoryBytes) return false
    for (const [name, amount] of Object.entries(requires.resources ?? {})) {
      const used = this.#resources.get(name) ?? 0
      if (used + amount > (resources[name] ?? 0)) return false
    }
    return true
  }

  /** An entry came (1) or went (-1). */
  count(entry: Entry, sign: 1 | -1): void {
    if (entry.kind === 'pending') {
      this.#pending += sign
      return
    }
    if (entry.kind === 'finished') {
      this.#finished += sign
      return
    }
    if (entry.kind === 'ending' && entry.next !== undefined) this.#pending += sign
    this.#take(entry.task, sign)
  }

  #take(task: Assignment, sign: 1 | -1): void {
    const { requires } = task
    this.#running += sign
    this.#cores += sign * coresOf(task)
    if (requires === undefined) return
    this.#memoryBytes += sign * (requires.memory ?? 0)
    for (const [name, amount] of Object.entries(requires.resources ?? {})) {
      this.#resources.set(name, (this.#resources.get(name) ?? 0) + sign * amount)
    }
  }
}
