// Input: every run of a task reads what was written to it, from the first byte, without a gap,
// and its end only behind all of it: half an input must not pass for a whole one.

import type { TaskId } from '../../protocol/index.ts'
import type { Book, EventOf } from './book.ts'
import type { Report } from './rules.ts'

type Took = EventOf<'took'>

export class InputRules {
  readonly #book: Book
  readonly #report: Report
  readonly #typed = new Map<TaskId, EventOf<'typed'>>()
  readonly #took = new Map<number, Took[]>()

  constructor(book: Book, report: Report) {
    this.#book = book
    this.#report = report
  }

  /** A client that comes back writes the same again. */
  typed(event: EventOf<'typed'>): void {
    this.#typed.set(event.taskId, event)
  }

  took(event: Took): void {
    const run = this.#book.runs.get(event.run)
    if (run === undefined) return
    run.took += event.text
    run.tookEnd ||= event.isEof
    this.#took.set(event.run, [...(this.#took.get(event.run) ?? []), event])
  }

  finish(): void {
    for (const [number, events] of this.#took) {
      const run = this.#book.runs.get(number)
      if (run === undefined) continue
      const typed = this.#typed.get(run.task.id)
      const text = typed?.text ?? ''
      if (run.tookEnd ? run.took === text : text.startsWith(run.took)) continue
      const how = run.tookEnd ? ' and its end' : ''
      const says = `run ${number} of task ${run.task.id} read ${run.took.length} bytes${how}, ${text.length} were written to it`
      this.#report('input-whole', says, ...(typed ? [typed] : []), ...events)
    }
  }
}
