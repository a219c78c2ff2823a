// A client that hands in a great many equal tasks, as fast as it may: so many open at a time,
// in pages, all of one batch, whose outcomes it reads by cursor.

import { TASKS_PER_MESSAGE, type TaskDone } from '../../protocol/index.ts'
import type { FloodSpec } from './scenario.ts'
import type { SimClient } from './sim-client.ts'

const SUBMIT_MS = 20_000
const WAIT_MS = 20_000
const GRACE_MS = 5_000
/** Submissions under way at a time. */
const PAGES = 4

export class SimFlood {
  readonly #client: SimClient
  readonly #spec: FloodSpec
  #pages = 0
  #underWay = 0
  #handedIn = 0
  #acknowledged = 0
  #cursor = 0
  #boot = ''
  #isWaiting = false
  /** Outcomes that it was told: how many, of those that ran again, that did not succeed. */
  done = 0
  ranAgain = 0
  failed = 0
  /** When the last of them was told, by the world's time. */
  lastMs = 0

  constructor(client: SimClient, spec: FloodSpec) {
    this.#client = client
    this.#spec = spec
  }

  /** Hands in as many as may be open. */
  goOn(): void {
    const { tasks, window } = this.#spec
    while (this.#underWay < PAGES && this.#handedIn < tasks) {
      const room = window - (this.#handedIn - this.done)
      const size = Math.min(TASKS_PER_MESSAGE, tasks - this.#handedIn, room)
      // Whole pages, unless there will be no more.
      if (size < TASKS_PER_MESSAGE && size < tasks - this.#handedIn) return
      this.#handedIn += size
      this.#pages += 1
      this.#underWay += 1
      this.#submit(`${this.#batch}-${this.#pages}`, size)
    }
  }

  get #batch(): string {
    return `${this.#client.spec.name}-flood`
  }

  get #isAllIn(): boolean {
    return this.#acknowledged === this.#spec.tasks
  }

  #count(told: readonly TaskDone[]): void {
    for (const { attempt, state } of told) {
      if (attempt > 1) this.ranAgain += 1
      if (state !== 'completed') this.failed += 1
    }
    this.done += told.length
    if (told.length > 0) this.lastMs = this.#client.life.schedule.nowMs
  }

  #submit(key: string, size: number): void {
    const tasks = new Array(size).fill(this.#spec.request)
    const again = () => this.#client.again(() => this.#submit(key, size))
    this.#client.ask(
      'TasksSubmit',
      { key, batch: this.#batch, tasks },
      SUBMIT_MS,
      (answer) => {
        if (answer.kind !== 'TasksSubmitted') {
          this.#client.again(() => this.#submit(key, size), answer.body.retry_after_ms)
          return
        }
        const { events, spec } = this.#client
        const taskIds = answer.body.task_ids
        events.acknowledged(spec.name, { taskIds, isNew: true })
        this.#underWay -= 1
        this.#acknowledged += size
        if (!this.#isWaiting) this.#wait()
        this.goOn()
      },
      again,
    )
  }

  #wait(): void {
    this.#isWaiting = true
    const { manager } = this.#client
    if (manager !== undefined && manager.bootId !== this.#boot) {
      this.#boot = manager.bootId
      this.#cursor = 0
    }
    const again = () => this.#client.again(() => this.#wait())
    this.#client.ask(
      'TasksWait',
      { batch: this.#batch, after: this.#cursor, wait_ms: WAIT_MS },
      WAIT_MS + GRACE_MS,
      (answer) => {
        if (answer.kind !== 'TasksDone') {
          // Not found: all of it closed in an earlier life of its manager.
          const isOver = answer.kind === 'NotFound' && this.#isAllIn
          if (isOver) this.#client.done()
          else again()
          return
        }
        const { done, cursor, open } = answer.body
        this.#cursor = cursor
        this.#count(done)
        this.goOn()
        const isOver = done.length === 0 && open === 0
        if (!isOver) this.#wait()
        else if (!this.#isAllIn) again()
        else this.#client.done()
      },
      again,
    )
  }
}
