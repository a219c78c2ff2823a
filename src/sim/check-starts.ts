// Programs at workers: every start was assigned, none happens twice, none after its worker
// was told or knows that it must not, none goes on after the outcome of its task.

import type {
  Assigned,
  Book,
  Closed,
  EventOf,
  LifeBook,
  Requeued,
  RunBook,
  TaskBook,
} from './book.ts'
import { raise } from './book.ts'
import type { CheckOptions, Report } from './rules.ts'

type Started = EventOf<'started'>

export class StartRules {
  readonly #book: Book
  readonly #report: Report
  readonly #options: CheckOptions

  /** Starts under a number that was given up, to be judged at the end. */
  readonly #givenUp: {
    readonly task: TaskBook
    readonly life: LifeBook
    readonly raised: Requeued
    readonly event: Started
  }[] = []

  /** Starts while another run of the task went on. */
  readonly #besides: {
    readonly task: TaskBook
    readonly started: Started
    readonly event: Started
  }[] = []

  constructor(book: Book, report: Report, options: CheckOptions) {
    this.#book = book
    this.#report = report
    this.#options = options
  }

  started(event: Started): void {
    const task = this.#book.task(event.taskId)
    const life = this.#book.life(event)
    this.#alive(life, event)
    this.#once(task, life, event)
    this.#allowed(life, event)
    if (this.#options.order !== 'own') {
      this.#assigned(task, life, event)
      this.#current(task, life, event)
      this.#open(task, life, event)
      this.#beside(task, event)
    }
    const run: RunBook = {
      task,
      started: event,
      life,
      exited: undefined,
      signalled: undefined,
      toldMs: undefined,
      wrote: { 1: '', 2: '' },
      took: '',
      tookEnd: false,
    }
    task.runs.push(run)
    this.#book.runs.set(event.run, run)
    life.running.add(run)
    raise(life.startedUpTo, event)
  }

  #alive(life: LifeBook, event: Started): void {
    if (life.booted !== undefined && life.ended === undefined) return
    const why = life.ended === undefined ? 'has not begun' : 'is over'
    const says = `${said(event)} in a life of ${life.node} that ${why}`
    this.#report('start-alive', says, ...(life.ended ? [life.ended] : []), event)
  }

  #once(task: TaskBook, life: LifeBook, event: Started): void {
    for (const { started } of task.runs) {
      if (started.attempt === event.attempt)
        this.#report('start-once', `${said(event)} a second time`, started, event)
    }
    for (const { started } of life.running) {
      if (started.taskId !== event.taskId) continue
      const says = `${said(event)} beside attempt ${started.attempt}, which runs there`
      this.#report('one-copy', says, started, event)
    }
    const highest = life.startedUpTo.get(task.id) ?? 0
    if (highest > event.attempt) {
      const says = `${said(event)} where attempt ${highest} had been started`
      this.#report('start-once', says, event)
    }
  }

  /** By what the worker itself had said and knew. */
  #allowed(life: LifeBook, event: Started): void {
    const reported = life.reported.get(event.taskId) ?? 0
    if (reported >= event.attempt) {
      const says = `${said(event)}, ${life.node} had reported how attempt ${reported} ended`
      this.#report('no-start-after-report', says, event)
    }
    const aborted = life.aborted.get(event.taskId) ?? 0
    if (aborted >= event.attempt) {
      const says = `${said(event)}, ${life.node} had acknowledged the abort of attempt ${aborted}`
      this.#report('no-start-after-abort', says, event)
    }
    if (!this.#book.hasLeases) return
    const { drift = 0, startMs = 0 } = this.#options
    const { leaseUntilMs, leaseMs } = life
    const untilMs = leaseUntilMs && leaseUntilMs + leaseMs * drift + startMs
    if (untilMs !== undefined && event.atMs <= untilMs) return
    const why =
      untilMs === undefined ? 'without a lease' : `its lease ended at ${untilMs}`
    this.#report(
      'no-start-without-lease',
      `${said(event)} at ${event.atMs}, ${why}`,
      event,
    )
  }

  /** The newest record of that attempt gave it to that life, or to an earlier one of the node. */
  #assigned(task: TaskBook, life: LifeBook, event: Started): void {
    const last = task.assigned.findLast(({ attempt }) => attempt === event.attempt)
    if (last !== undefined && isOf(last, life)) return
    const says =
      last === undefined
        ? `${said(event)}, which was never assigned`
        : `${said(event)}, it was assigned to ${last.worker}, boot ${last.workerBoot}`
    this.#report('start-assigned', says, ...(last ? [last] : []), event)
  }

  #current(task: TaskBook, life: LifeBook, event: Started): void {
    const raised = task.requeued.at(-1)
    if (raised === undefined || raised.attempt <= event.attempt) return
    // Its manager knew of it since, and adopts it.
    if ((life.reconciled.get(raised.node) ?? -1) > task.raisedAt) return
    this.#givenUp.push({ task, life, raised, event })
  }

  /** Whether it is exclusive may be told later. */
  #beside(task: TaskBook, event: Started): void {
    for (const { started, exited, life } of task.runs)
      if (exited === undefined && life.ended === undefined)
        this.#besides.push({ task, started, event })
  }

  #judgeBesides(): void {
    for (const { task, started, event } of this.#besides) {
      if (!task.isExclusive) continue
      const says = `${said(event)} while attempt ${started.attempt} ran on ${started.node}`
      this.#report('exclusive-alone', says, started, event)
    }
  }

  /** A worker that comes back while that record is written is given the next number at once. */
  #judgeGivenUp(): void {
    for (const { task, life, raised, event } of this.#givenUp) {
      const next = task.assigned.find(({ attempt }) => attempt === raised.attempt)
      if (next !== undefined && isOf(next, life)) continue
      const says = `${said(event)}, it had been requeued as attempt ${raised.attempt}`
      this.#report('no-start-after-requeue', says, raised, event)
    }
  }

  #open(task: TaskBook, life: LifeBook, event: Started): void {
    if (task.closed === undefined || !hasHeard(life, task, task.closed)) return
    const says = `${said(event)}, ${life.node} had heard of its manager since it was closed`
    this.#report('no-start-after-outcome', says, task.closed, event)
  }

  /** A worker heard of its manager: of what runs there, the end of which tasks must it know? */
  heard(life: LifeBook, atMs: number): void {
    for (const run of life.running) {
      const { closed } = run.task
      if (closed !== undefined && hasHeard(life, run.task, closed)) run.toldMs ??= atMs
    }
  }

  signalled(event: EventOf<'signalled'>): void {
    const run = this.#book.runs.get(event.run)
    if (run === undefined || run.signalled !== undefined) return
    run.signalled = event
    this.#inTime(run, event, this.#options.signalMs)
  }

  exited(event: EventOf<'exited'>): void {
    const run = this.#book.runs.get(event.run)
    if (run === undefined) return // it could not be started
    run.exited = event
    run.life.running.delete(run)
    const { abortMs, signalMs = abortMs } = this.#options
    this.#inTime(run, event, run.signalled === undefined ? signalMs : abortMs)
  }

  /** It ended, or its worker began to end it: so soon after it heard that it is of no use? */
  #inTime(
    { task: { closed }, toldMs, started, life }: RunBook,
    event: EventOf<'exited' | 'signalled'>,
    withinMs: number | undefined,
  ): void {
    if (closed === undefined || toldMs === undefined || withinMs === undefined) return
    if (event.atMs <= toldMs + withinMs) return
    const says = `${said(started)} ran until ${event.atMs}, ${life.node} knew at ${toldMs} that it was closed`
    this.#report('no-run-after-outcome', says, closed, event)
  }

  /** Where the order between nodes is not known: is there any record at all? */
  finish(): void {
    this.#judgeGivenUp()
    this.#judgeBesides()
    if (this.#options.order !== 'own') return
    for (const task of this.#book.tasks.values()) {
      if (this.#book.isForgiven(task.id)) continue
      for (const { started, life } of task.runs) {
        const isAssigned = task.assigned.some(
          (one) => one.attempt === started.attempt && isOf(one, life),
        )
        if (isAssigned) continue
        const says = `${said(started)}, which was never assigned to it`
        this.#report('start-assigned', says, ...task.assigned, started)
      }
    }
  }
}

/** Has that life an answer of the task's manager to what it asked after the outcome? */
const hasHeard = ({ heard }: LifeBook, task: TaskBook, closed: Closed): boolean =>
  (heard.get(closed.node) ?? -1) > task.closedAt

const said = ({ taskId, attempt, node }: Started): string =>
  `attempt ${attempt} of task ${taskId} was started at ${node}`

/** Was that hand-out for this life, or left on the disk by the life it was for? */
const isOf = (
  { worker, workerBoot, taskId, attempt }: Assigned,
  life: LifeBook,
): boolean =>
  worker === life.node &&
  (workerBoot === life.boot || life.carried.get(taskId) === attempt)
