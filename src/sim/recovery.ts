// Recovery: how long after a fault everything that a struck worker was running has started
// again, or is over. After a manager's death it is until it has something on record again.

import type { LedgerId, TaskId } from '../../protocol/index.ts'
import type { Change } from '../records.ts'
import type { Fault } from './scenario.ts'
import type { Watch, World } from './world.ts'

interface Strike {
  readonly atMs: number
  readonly left: Set<TaskId>
  /** Of a manager that died: what it records next. */
  readonly ledgerId: LedgerId | undefined
}

export class Recovery implements Watch {
  /** Of each fault that struck something, in milliseconds of the world. */
  readonly tookMs: number[] = []
  #open: Strike[] = []
  #nowMs: () => number = () => 0

  /** Sees what each fault is about to strike. Before `planFaults`. */
  plan(world: World): void {
    const { scenario, schedule } = world
    this.#nowMs = () => schedule.nowMs
    for (const fault of scenario.faults)
      schedule.at(fault.atMs, () => this.#struck(world, fault))
  }

  #struck(world: World, fault: Fault): void {
    const atMs = this.#nowMs()
    const names = new Set(namesOf(fault))
    const manager = world.managers.find(({ name }) => names.has(name))
    if (fault.what === 'crash' && manager !== undefined) {
      this.#open.push({ atMs, left: new Set(), ledgerId: manager.store.id })
      return
    }
    const left = new Set<TaskId>()
    for (const { name, runner } of world.workers)
      if (names.has(name)) for (const run of runner?.running ?? []) left.add(run.taskId)
    if (left.size > 0) this.#open.push({ atMs, left, ledgerId: undefined })
  }

  started(taskId: TaskId): void {
    if (this.#open.length > 0) this.#settled(taskId)
  }

  durable(ledgerId: LedgerId, changes: readonly Change[]): void {
    if (this.#open.length === 0) return
    for (const strike of this.#open)
      if (strike.ledgerId === ledgerId) this.#isOver(strike)
    for (const change of changes)
      if (change.kind === 'closed') this.#settled(`${ledgerId}-${change.seq}`)
  }

  #settled(taskId: TaskId): void {
    for (const strike of this.#open)
      if (strike.left.delete(taskId) && strike.left.size === 0) this.#isOver(strike)
  }

  #isOver(strike: Strike): void {
    this.#open = this.#open.filter((one) => one !== strike)
    this.tookMs.push(this.#nowMs() - strike.atMs)
  }
}

/** Whom it strikes. */
const namesOf = (fault: Fault): readonly string[] => {
  switch (fault.what) {
    case 'partition':
      return fault.to
    case 'cut':
    case 'half-open':
    case 'slow':
      return [fault.to]
    default:
      return [fault.node]
  }
}
