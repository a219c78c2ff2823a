// Requests: each is settled once at its asker, answered at most once where it was sent, by
// an answer of its row in the table of exchanges. What they say of leases, aborts and
// outcomes goes into the book.

import type { Kind } from '../../protocol/index.ts'
import { kinds, rowOf } from '../../protocol/index.ts'
import { type Book, type EventOf, type LifeBook, raise, type TaskBook } from './book.ts'
import type { StartRules } from './check-starts.ts'
import type { TaskAttempt } from './history.ts'
import type { Report } from './rules.ts'

interface AskBook {
  /** Its place in the history. */
  readonly at: number
  readonly asked: EventOf<'asked'>
  settled: EventOf<'settled'> | undefined
  answered: EventOf<'answered'> | undefined
}

const allowed: ReadonlyMap<Kind, ReadonlySet<string>> = new Map(
  kinds.map((kind) => [kind, new Set([...Object.keys(rowOf(kind).answers), 'Error'])]),
)

/** How an ask may fail between nodes that keep the protocol. */
const failures: ReadonlySet<string> = new Set(['timeout', 'disconnected', 'unreachable'])

export class AskRules {
  readonly #book: Book
  readonly #report: Report
  readonly #starts: StartRules
  readonly #asks = new Map<number, AskBook>()

  constructor(book: Book, report: Report, starts: StartRules) {
    this.#book = book
    this.#report = report
    this.#starts = starts
  }

  asked(event: EventOf<'asked'>): void {
    const ask = {
      at: this.#book.at,
      asked: event,
      settled: undefined,
      answered: undefined,
    }
    this.#asks.set(event.ask, ask)
    if (event.tasks !== undefined) this.#reported(event, event.tasks)
  }

  /** TaskCompleted, TaskError; or ManagerRequest, which settles outcomes of either kind. */
  #reported(event: EventOf<'asked'>, tasks: readonly TaskAttempt[]): void {
    const { exchange, node } = event
    if (exchange === 'TasksPing')
      for (const { taskId } of tasks) this.#overdue(this.#book.task(taskId))
    const isOutcome = exchange === 'ManagerRequest'
    if (!isOutcome && exchange !== 'TaskCompleted' && exchange !== 'TaskError') return
    const life = this.#book.life(event)
    for (const one of tasks) {
      raise(life.reported, one)
      const task = this.#book.task(one.taskId)
      if (exchange === 'TaskError') this.#ownFailure(task, life, one, event)
      if (exchange !== 'TaskCompleted') task.doubted.add(one.attempt)
      if (exchange !== 'TaskError') task.succeeded.push({ node, attempt: one.attempt })
    }
  }

  /** A copy that was ending is not adopted: what it comes to is no end of a later attempt. */
  #ownFailure(
    task: TaskBook,
    life: LifeBook,
    { attempt }: TaskAttempt,
    event: EventOf<'asked'>,
  ): void {
    const run = task.runs.findLast((one) => one.life === life)
    if (run?.signalled === undefined || run.started.attempt >= attempt) return
    const assigned = task.assigned.find(
      (one) => one.attempt === attempt && one.worker === life.node,
    )
    if (assigned === undefined || assigned.atMs <= run.signalled.atMs) return
    const says = `attempt ${attempt} of task ${task.id} was told as failed, ${life.node} had none but attempt ${run.started.attempt}, which it was ending before`
    this.#report('failure-own', says, run.started, run.signalled, assigned, event)
  }

  /** Asked of a worker that does not say: a time limit may be over. */
  #overdue({ doubted, requeued }: TaskBook): void {
    doubted.add(requeued.at(-1)?.attempt ?? 1)
  }

  settled(event: EventOf<'settled'>): void {
    const ask = this.#asks.get(event.ask)
    const { answer, failure } = event
    if (ask === undefined || ask.settled !== undefined) {
      const why = ask === undefined ? 'was never asked' : 'was settled before'
      const says = `request ${event.ask} was settled at ${event.node}, it ${why}`
      this.#report('one-settlement', says, ...(ask?.settled ? [ask.settled] : []), event)
      return
    }
    ask.settled = event
    if ((answer === undefined) === (failure === undefined)) {
      const says = `request ${event.ask} was settled by ${answer ?? 'neither answer'} and ${failure ?? 'nor failure'}`
      this.#report('one-settlement', says, ask.asked, event)
      return
    }
    if (failure !== undefined && !failures.has(failure))
      this.#notAllowed(ask, `failed by ${failure}`, event)
    if (answer !== undefined) this.#arrived(ask, answer, event)
  }

  #arrived(ask: AskBook, answer: string, event: EventOf<'settled'>): void {
    if (!isAllowed(ask, answer)) this.#notAllowed(ask, `got ${answer}`, event)
    // An Error may come from before the handler: it was busy, or late, or unknown there.
    const { exchange } = ask.asked
    if (answer !== 'Error' && ask.answered?.answer !== answer) {
      const given = ask.answered === undefined ? 'nothing' : ask.answered.answer
      const says = `${exchange} ${event.ask} got ${answer}, ${ask.asked.to} had answered ${given}`
      this.#report('answer-given', says, ask.asked, event)
    }
    this.#grant(ask, answer, event)
  }

  /** A worker's lease counts from when it asked. */
  #grant({ asked, at }: AskBook, answer: string, event: EventOf<'settled'>): void {
    const { leaseMs, atMs } = event
    if (leaseMs === undefined && answer !== 'ManagerPong') return
    const life = this.#book.life(event)
    if (leaseMs !== undefined) {
      this.#book.hasLeases = true
      life.leaseMs = leaseMs
      life.leaseUntilMs = asked.atMs + leaseMs
    } else if (life.leaseUntilMs !== undefined) {
      life.leaseUntilMs = Math.max(life.leaseUntilMs, asked.atMs + life.leaseMs)
    }
    life.heard.set(asked.to, at)
    this.#starts.heard(life, atMs)
  }

  answered(event: EventOf<'answered'>): void {
    const ask = this.#asks.get(event.ask)
    if (ask === undefined || ask.answered !== undefined || ask.asked.to !== event.node) {
      const why =
        ask === undefined
          ? 'was never asked'
          : ask.answered === undefined
            ? `was sent to ${ask.asked.to}`
            : 'was answered before'
      const says = `request ${event.ask} was answered by ${event.node}, it ${why}`
      this.#report('one-answer', says, ...(ask ? [ask.asked] : []), event)
      return
    }
    ask.answered = event
    if (!isAllowed(ask, event.answer)) this.#notAllowed(ask, `got ${event.answer}`, event)
    this.#note(ask, event)
  }

  #note({ asked }: AskBook, event: EventOf<'answered'>): void {
    const { exchange } = asked
    if (exchange === 'ManagerRequest' || exchange === 'ManagerPing') {
      const { reconciled, contact } = this.#book.life(asked)
      if (exchange === 'ManagerRequest') reconciled.set(asked.to, this.#book.at)
      noteContact(contact, event)
    }
    if (asked.exchange !== 'TasksAbord' || event.answer !== 'Ack') return
    const { aborted } = this.#book.life(event)
    for (const one of event.tasks ?? asked.tasks ?? []) raise(aborted, one)
  }

  #notAllowed(
    { asked }: AskBook,
    what: string,
    event: EventOf<'settled' | 'answered'>,
  ): void {
    const says = `${asked.exchange} ${asked.ask} of ${asked.node} ${what}`
    this.#report('answer-allowed', says, asked, event)
  }
}

const noteContact = (
  contact: LifeBook['contact'],
  { node, atMs }: EventOf<'answered'>,
): void => {
  const known = contact.get(node)
  if (known === undefined) contact.set(node, { lastMs: atMs, longestMs: 0 })
  else {
    known.longestMs = Math.max(known.longestMs, atMs - known.lastMs)
    known.lastMs = atMs
  }
}

const isAllowed = ({ asked }: AskBook, answer: string): boolean =>
  allowed.get(asked.exchange)?.has(answer) === true
