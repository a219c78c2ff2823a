// Histories made by hand: each word is an event, time goes on by 1 ms from one to the next,
// and whatever is not said is ordinary. A test changes one thing and sees what breaks.

import type { Kind } from '../../protocol/index.ts'
import type { HistoryEvent } from '../../src/sim/history.ts'

const ledgerId = 'ledger0001'
const manager = { node: 'manager', boot: 'm1' }
export const task = `${ledgerId}-1`
export const other = `${ledgerId}-2`

/** A worker's life: `b` is its second one. */
export const life = (node: string, boot = 'a') => ({ node, boot: `${node}.${boot}` })
export const one = life('one')
export const two = life('two')

type Life = typeof one
type Closing = 'completed' | 'failed' | 'aborted'

/** Writes a history word by word. `at` sets the clock. */
export class Story {
  readonly events: HistoryEvent[] = []
  #nowMs = 0
  #runs = 0
  #asks = 0

  constructor() {
    this.boots(manager).boots(one).boots(two)
    this.lease(one).lease(two)
    this.add({ kind: 'acknowledged', client: 'client', ledgerId, taskIds: [task] })
  }

  add(
    event: HistoryEvent extends infer E
      ? E extends HistoryEvent
        ? Omit<E, 'atMs'>
        : never
      : never,
  ): this {
    this.#nowMs += 1
    // The event without its time, and the time: the compiler cannot join a union so.
    this.events.push({ ...event, atMs: this.#nowMs } as HistoryEvent)
    return this
  }
  at(ms: number): this {
    this.#nowMs = ms - 1
    return this
  }

  /** Told once more, with that. */
  exclusive(): this {
    const exclusive = [task]
    const its = { client: 'client', ledgerId, taskIds: [task], exclusive }
    return this.add({ kind: 'acknowledged', ...its })
  }

  boots(who: Life): this {
    return this.add({ kind: 'booted', ...who })
  }
  dies(who: Life): this {
    return this.add({ kind: 'ended-life', ...who })
  }
  carries(who: Life, attempt = 1): this {
    return this.add({ kind: 'carried', ...who, tasks: [{ taskId: task, attempt }] })
  }
  /** The ledger gave it to that life. */
  assigned(who: Life, attempt = 1): this {
    const { node: worker, boot: workerBoot } = who
    const record = { taskId: task, attempt, worker, workerBoot }
    return this.add({ kind: 'assigned', ...manager, ...record })
  }
  requeued(attempt: number, counts: { failures?: number; losses?: number } = {}): this {
    const record = { taskId: task, attempt, failures: 0, losses: 0, ...counts }
    return this.add({ kind: 'requeued', ...manager, ...record })
  }
  closed(attempt = 1, state: Closing = 'completed', losses = 0): this {
    return this.add({ kind: 'closed', ...manager, taskId: task, attempt, state, losses })
  }
  shown(state: Closing | 'running' | 'queued', attempt = 1): this {
    return this.add({
      kind: 'shown',
      client: 'client',
      shown: { taskId: task, state, attempt },
    })
  }

  /** Starts a program; it is the run that `exits` and `writes` speak of, unless told. */
  starts(who: Life, attempt = 1): this {
    this.#runs += 1
    return this.add({ kind: 'started', ...who, run: this.#runs, taskId: task, attempt })
  }
  exits(who: Life, exitCode = 0, run = this.#runs): this {
    return this.add({ kind: 'exited', ...who, run, how: 'exit', exitCode })
  }
  /** Begins to end its program. */
  ends(who: Life, run = this.#runs): this {
    return this.add({ kind: 'signalled', ...who, run })
  }
  writes(text: string, run = this.#runs): this {
    return this.add({ kind: 'wrote', run, fd: 1, text })
  }
  reads(
    offset: number,
    text: string,
    more: { lost?: number; isEof?: boolean; attempt?: number } = {},
  ): this {
    const { lost = 0, isEof = false, attempt = 1 } = more
    const read = { client: 'client', taskId: task, attempt, fd: 1 as const }
    return this.add({ kind: 'read', ...read, offset, text, lost, isEof })
  }

  types(text: string): this {
    return this.add({ kind: 'typed', client: 'client', taskId: task, text })
  }
  takes(text: string, isEof = false, run = this.#runs): this {
    return this.add({ kind: 'took', run, text, isEof })
  }

  asks(from: Life, exchange: Kind, to: string, attempt?: number): this {
    this.#asks += 1
    const tasks = attempt === undefined ? {} : { tasks: [{ taskId: task, attempt }] }
    return this.add({ kind: 'asked', ...from, ask: this.#asks, exchange, to, ...tasks })
  }
  answers(who: Life, answer: string, ask = this.#asks): this {
    return this.add({ kind: 'answered', ...who, ask, answer })
  }
  gets(who: Life, answer: string, leaseMs?: number): this {
    const lease = leaseMs === undefined ? {} : { leaseMs }
    return this.add({ kind: 'settled', ...who, ask: this.#asks, answer, ...lease })
  }
  misses(who: Life, failure: string): this {
    return this.add({ kind: 'settled', ...who, ask: this.#asks, failure })
  }
  /** Asks the manager and is accepted. */
  lease(who: Life, leaseMs = 100_000): this {
    this.asks(who, 'ManagerRequest', 'manager').answers(manager, 'ManagerAnswer')
    return this.gets(who, 'ManagerAnswer', leaseMs)
  }
  /** Hears of its manager. */
  pings(who: Life): this {
    this.asks(who, 'ManagerPing', 'manager').answers(manager, 'ManagerPong')
    return this.gets(who, 'ManagerPong')
  }
  /** Stops its copy, and says so. */
  aborts(who: Life, attempt: number): this {
    return this.asks(manager, 'TasksAbord', who.node, attempt)
      .answers(who, 'Ack')
      .gets(manager, 'Ack')
  }
  reports(who: Life, kind: 'TaskCompleted' | 'TaskError', attempt = 1): this {
    return this.asks(who, kind, 'manager', attempt)
      .answers(manager, 'Ack')
      .gets(who, 'Ack')
  }
  heals(): this {
    return this.add({ kind: 'healed' })
  }
  rests(left: { running?: number[]; open?: string[]; asks?: number[] } = {}): this {
    return this.add({ kind: 'rested', running: [], open: [], asks: [], ...left })
  }
  /** One attempt from its assignment to its good outcome. */
  succeeds(who: Life, attempt = 1): this {
    return this.assigned(who, attempt)
      .starts(who, attempt)
      .exits(who)
      .reports(who, 'TaskCompleted', attempt)
      .closed(attempt)
  }
}

export const story = (): Story => new Story()
export { manager }
