// What a ledger records, and what clients are told of it: one outcome for each task, earned
// by a run, shown as it was recorded; re-runs, losses and failures counted as they were.

import type { Book, Closed, EventOf, LifeBook, Requeued, TaskBook } from './book.ts'
import type { CheckOptions, Report } from './rules.ts'

/** Leases after which a worker that is not back counts as gone. */
const LEASES_AWAY = 10

type Shown = EventOf<'shown'>

export class RecordRules {
  readonly #book: Book
  readonly #report: Report
  readonly #options: CheckOptions
  /** What each client saw last of each task. */
  readonly #shown = new Map<string, Map<string, Shown>>()

  constructor(book: Book, report: Report, options: CheckOptions) {
    this.#book = book
    this.#report = report
    this.#options = options
  }

  acknowledged(event: EventOf<'acknowledged'>): void {
    for (const id of event.taskIds) this.#book.task(id).acknowledged ??= event
    for (const id of event.exclusive ?? []) this.#book.task(id).isExclusive = true
  }

  assigned(event: EventOf<'assigned'>): void {
    const task = this.#book.task(event.taskId)
    this.#notClosed(task, event)
    task.assigned.push(event)
  }

  requeued(event: Requeued): void {
    const task = this.#book.task(event.taskId)
    this.#notClosed(task, event)
    const attempt = (task.requeued.at(-1)?.attempt ?? 1) + 1
    if (event.attempt !== attempt) {
      const says = `task ${task.id} was requeued as attempt ${event.attempt}, the next is ${attempt}`
      this.#report('reruns-shown', says, event)
    }
    task.requeued.push(event)
    task.raisedAt = this.#book.at
    this.#losses(task, event)
    const { size } = task.doubted
    if (event.failures > size) {
      const says = `task ${task.id} counts ${event.failures} failures, ${size} of its attempts were told or asked about`
      this.#report('failures-real', says, event)
    }
  }

  closed(event: Closed): void {
    const task = this.#book.task(event.taskId)
    if (task.closed !== undefined) {
      const says = `task ${task.id} was closed as ${task.closed.state}, and again as ${event.state}`
      this.#report('one-outcome', says, task.closed, event)
      return
    }
    task.closed = event
    task.closedAt = this.#book.at
    const last = task.requeued.at(-1)?.attempt ?? 1
    if (event.attempt !== last) {
      const says = `task ${task.id} was closed under attempt ${event.attempt}, its last is ${last}`
      this.#report('reruns-shown', says, ...task.requeued, event)
    }
    this.#losses(task, event)
    this.#earned(task, event)
  }

  #notClosed(task: TaskBook, event: Requeued | EventOf<'assigned'>): void {
    if (task.closed === undefined) return
    const says = `task ${task.id} was ${event.kind} after it was closed`
    this.#report('nothing-after-outcome', says, task.closed, event)
  }

  #earned(task: TaskBook, event: Closed): void {
    if (event.state === 'aborted') return
    if (event.state === 'completed') {
      if (isEarned(task)) return
    } else if (event.losses > 0 || task.doubted.size > 0) return
    const says = `task ${task.id} was closed as ${event.state}, no run of it ended so`
    this.#report('outcome-earned', says, ...exits(task), event)
  }

  #losses(task: TaskBook, event: Requeued | Closed): void {
    if (event.losses === task.losses) return
    task.losses = event.losses
    const lost = lostLives(this.#book, task, event, this.#options).length
    if (event.losses <= lost + launcherLosses(task)) return
    const says = `task ${task.id} counts ${event.losses} losses, ${lost} lives that held it are over`
    this.#report('losses-real', says, ...task.assigned, event)
  }

  shown(event: Shown): void {
    const { client, shown } = event
    let seen = this.#shown.get(client)
    if (seen === undefined) {
      seen = new Map()
      this.#shown.set(client, seen)
    }
    const before = seen.get(shown.taskId)
    seen.set(shown.taskId, event)
    if (before !== undefined && goesBack(before, event)) {
      const says = `${client} was shown task ${shown.taskId} as ${briefly(before)}, then as ${briefly(event)}`
      this.#report('shown-once', says, before, event)
    }
    if (isOver(event)) this.#asRecorded(event)
    const last = this.#book.task(shown.taskId).requeued.at(-1)?.attempt ?? 1
    if (shown.attempt <= last) return
    const says = `task ${shown.taskId} was shown as ${briefly(event)}, the last on record is ${last}`
    this.#report('shown-as-recorded', says, event)
  }

  #asRecorded(event: Shown): void {
    const { taskId, state, attempt } = event.shown
    const { closed } = this.#book.task(taskId)
    if (closed?.state === state && closed.attempt === attempt) return
    const recorded =
      closed === undefined ? 'is open' : `is ${closed.state}, attempt ${closed.attempt}`
    const says = `task ${taskId} was shown as ${briefly(event)}, on record it ${recorded}`
    const events = closed === undefined ? [event] : [closed, event]
    this.#report('shown-as-recorded', says, ...events)
  }

  cancelled(event: EventOf<'cancelled'>): void {
    for (const id of event.taskIds) {
      const { closed } = this.#book.task(id)
      if (closed !== undefined || this.#book.isForgiven(id)) continue
      this.#report(
        'cancel-closes',
        `the cancel of task ${id} was answered, it is open`,
        event,
      )
    }
  }

  finish(): void {
    for (const task of this.#book.tasks.values()) {
      if (!this.#book.isForgiven(task.id)) this.#finishTask(task)
    }
  }

  #finishTask(task: TaskBook): void {
    const { id, acknowledged, closed } = task
    if (acknowledged !== undefined && closed === undefined) {
      this.#report(
        'no-task-lost',
        `task ${id} was acknowledged, it has no outcome`,
        acknowledged,
      )
    }
    if (closed === undefined) return
    const attempts = new Set(task.runs.map(({ started }) => started.attempt))
    const highest = Math.max(0, ...attempts)
    if (highest <= closed.attempt && attempts.size <= closed.attempt) return
    const says = `task ${id} started as attempts ${[...attempts].join(', ')}, shown is attempt ${closed.attempt}`
    this.#report(
      'reruns-counted',
      says,
      ...task.runs.map(({ started }) => started),
      closed,
    )
  }
}

const isOver = ({ shown: { state } }: Shown): boolean =>
  state === 'completed' || state === 'failed' || state === 'aborted'

const briefly = ({ shown: { state, attempt } }: Shown): string =>
  `${state}, attempt ${attempt}`

const goesBack = (before: Shown, after: Shown): boolean =>
  after.shown.attempt < before.shown.attempt ||
  (isOver(before) &&
    (after.shown.state !== before.shown.state ||
      after.shown.attempt !== before.shown.attempt))

const exits = (task: TaskBook): readonly EventOf<'exited'>[] =>
  task.runs.flatMap(({ exited }) => (exited === undefined ? [] : [exited]))

/**
 * Did a run of it end with 0 where it had been assigned? Or, of a task without a program,
 * did a worker report so under an attempt that had been assigned to it?
 */
const isEarned = ({ runs, assigned, succeeded }: TaskBook): boolean =>
  runs.some(
    ({ exited, life }) =>
      exited?.exitCode === 0 && assigned.some(({ worker }) => worker === life.node),
  ) ||
  succeeded.some(
    ({ node, attempt }) =>
      !runs.some(({ life }) => life.node === node) &&
      assigned.some((one) => one.worker === node && one.attempt === attempt),
  )

const launcherLosses = (task: TaskBook): number =>
  exits(task).filter(({ how }) => how === 'launcher-lost').length

/** The lives that held the task and are over, or away for so long that they count as over. */
const lostLives = (
  book: Book,
  task: TaskBook,
  { atMs, node: manager }: Requeued | Closed,
  { managerLeaseMs }: CheckOptions,
): readonly LifeBook[] => {
  const held = new Set<LifeBook>()
  for (const { worker: node, workerBoot: boot } of task.assigned) {
    const life = book.life({ node, boot })
    const { lastMs, longestMs } = life.contact.get(manager) ?? { lastMs: 0, longestMs: 0 }
    const awayMs = Math.max(longestMs, atMs - lastMs)
    const isAway = managerLeaseMs !== undefined && awayMs >= LEASES_AWAY * managerLeaseMs
    if (life.ended !== undefined || isAway) held.add(life)
  }
  return [...held]
}
