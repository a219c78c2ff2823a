// Checker: reads a history and says which rules of the mesh's promise it breaks. It knows
// nothing of who wrote the history: the simulator, or the chaos tests on real processes.
//
// The rules stand in rules.ts, with the order that each of them needs; each check-*.ts
// judges those of one subject, from the events and from the book that is kept of them.

import { Book } from './book.ts'
import { AskRules } from './check-asks.ts'
import { InputRules } from './check-inputs.ts'
import { RecordRules } from './check-records.ts'
import { StartRules } from './check-starts.ts'
import { StreamRules } from './check-streams.ts'
import type { HistoryEvent } from './history.ts'
import type { CheckOptions, Report, Violation } from './rules.ts'
import { rules } from './rules.ts'

export type { CheckOptions, RuleName, Violation } from './rules.ts'

/** More of them say nothing new. */
const MAX_VIOLATIONS = 100

export interface Checker {
  /** Takes the next event. */
  see(event: HistoryEvent): void
  /** The history is over: everything that it breaks, in the order in which it was seen. */
  finish(): readonly Violation[]
  /** What was found so far; the simulator may stop at the first. */
  readonly violations: readonly Violation[]
}

/** Which rules does a history break? */
export const checkHistory = (
  history: Iterable<HistoryEvent>,
  options: CheckOptions = {},
): readonly Violation[] => {
  const checker = createChecker(options)
  for (const event of history) checker.see(event)
  return checker.finish()
}

/** A checker that takes a history as it happens. */
export const createChecker = (options: CheckOptions = {}): Checker => {
  const book = new Book()
  const violations: Violation[] = []
  const report: Report = (rule, says, ...events) => {
    const isBeyond = options.order === 'own' && rules[rule].needs === 'across'
    // Whether a start was assigned is judged at the end instead.
    if (isBeyond && rule !== 'start-assigned') return
    if (options.except?.includes(rule) || violations.length >= MAX_VIOLATIONS) return
    violations.push({ rule, says, events })
  }
  const records = new RecordRules(book, report, options)
  const starts = new StartRules(book, report, options)
  const asks = new AskRules(book, report, starts)
  const streams = new StreamRules(book, report)
  const inputs = new InputRules(book, report)

  const dispatch = (event: HistoryEvent): void => {
    switch (event.kind) {
      case 'booted':
        book.life(event).booted = event
        return
      case 'ended-life':
        book.life(event).ended = event
        return
      case 'carried': {
        const { carried } = book.life(event)
        for (const { taskId, attempt } of event.tasks) carried.set(taskId, attempt)
        return
      }
      case 'ledger-lost':
        book.lostLedgers.add(event.ledgerId)
        return
      case 'acknowledged':
        records.acknowledged(event)
        return
      case 'shown':
        records.shown(event)
        return
      case 'cancelled':
        records.cancelled(event)
        return
      case 'assigned':
        records.assigned(event)
        return
      case 'requeued':
        records.requeued(event)
        return
      case 'closed':
        records.closed(event)
        return
      case 'started':
        starts.started(event)
        return
      case 'signalled':
        starts.signalled(event)
        return
      case 'exited':
        starts.exited(event)
        return
      case 'asked':
        asks.asked(event)
        return
      case 'settled':
        asks.settled(event)
        return
      case 'answered':
        asks.answered(event)
        return
      case 'read':
        streams.read(event)
        return
      case 'wrote':
        streams.wrote(event)
        return
      case 'typed':
        inputs.typed(event)
        return
      case 'took':
        inputs.took(event)
        return
      case 'healed':
        book.healed = event
        return
      case 'rested':
        book.rested = event
        return
      case 'fault':
        return // for the reader
    }
  }

  const finish = (): readonly Violation[] => {
    records.finish()
    starts.finish()
    streams.finish()
    inputs.finish()
    checkRest(book, report)
    return violations
  }

  return {
    see: (event) => {
      book.at += 1
      dispatch(event)
    },
    finish,
    violations,
  }
}

/** The end: it comes, and nothing is left. */
const checkRest = (book: Book, report: Report): void => {
  const { rested, healed } = book
  if (rested === undefined) {
    if (healed !== undefined)
      report('comes-to-rest', 'all was healed, it never rested', healed)
    return
  }
  const { running, open } = rested
  const runs = [...book.runs.values()].filter(
    ({ exited, life }) => exited === undefined && life.ended === undefined,
  )
  const left = new Set([...running, ...runs.map(({ started }) => started.run)])
  if (left.size > 0)
    report('rests-empty', `at rest runs ${[...left].join(', ')} go on`, rested)
  if (open.length > 0)
    report('rests-empty', `at rest tasks ${open.join(', ')} are open`, rested)
  const { asks } = rested
  if (asks.length > 0)
    report('rests-empty', `at rest requests ${asks.join(', ')} are overdue`, rested)
}
