// Output: what a reader gets of one attempt is a gapless prefix of what one run of it wrote,
// and all of it if the task was completed. Whoever is given another attempt's output, a
// later one's or an earlier one's that succeeded after all, begins with its first byte.
//
// Which run an attempt's output came from is not told: a copy that was adopted is read
// under its new number. So of all runs started under that number or an earlier one, one
// must fit everything that was read.

import type { Book, EventOf, RunBook } from './book.ts'
import type { Report } from './rules.ts'

type Read = EventOf<'read'>

interface Reading {
  readonly first: Read
  last: Read
  readonly reads: Read[]
  /** Where the next must begin at the soonest. */
  endsAt: number
}

export class StreamRules {
  readonly #book: Book
  readonly #report: Report
  /** What each reader follows now, and all that it has followed. */
  readonly #current = new Map<string, Reading>()
  readonly #readings: Reading[] = []

  constructor(book: Book, report: Report) {
    this.#book = book
    this.#report = report
  }

  wrote({ run, fd, text }: EventOf<'wrote'>): void {
    const book = this.#book.runs.get(run)
    if (book !== undefined) book.wrote[fd] += text
  }

  read(event: Read): void {
    const { client, taskId, attempt, fd, offset, text, isEof } = event
    if (text === '' && !isEof) return // nothing new yet
    const key = `${client} ${taskId} ${fd}`
    let reading = this.#current.get(key)
    if (reading === undefined || reading.first.attempt !== attempt) {
      reading = { first: event, last: event, reads: [], endsAt: 0 }
      this.#current.set(key, reading)
      this.#readings.push(reading)
    }
    this.#inOrder(reading, event)
    reading.reads.push(event)
    reading.last = event
    reading.endsAt = Math.max(reading.endsAt, offset + text.length)
  }

  #inOrder({ last, endsAt }: Reading, event: Read): void {
    const { offset, lost } = event
    if (offset < endsAt) {
      const says = `${where(event)} came again from ${offset}, it was read up to ${endsAt}`
      this.#report('stream-in-order', says, last, event)
    } else if (offset - endsAt > lost) {
      const says = `${where(event)} misses ${offset - endsAt} bytes before ${offset}, ${lost} were lost`
      this.#report('stream-in-order', says, last, event)
    }
  }

  finish(): void {
    for (const { reads, first, last } of this.#readings) {
      const task = this.#book.task(first.taskId)
      const runs = task.runs.filter(({ started }) => started.attempt <= first.attempt)
      // Of a task that was aborted, or went with its worker, what was not read yet is gone;
      // one that could not be started, or has no program, wrote nothing.
      const isWhole = task.closed?.state === 'completed'
      const isFitting = (run: RunBook) => reads.every((read) => fits(read, run, isWhole))
      const isNothing =
        (!isWhole || runs.length === 0) && reads.every(({ text }) => text === '')
      if (isNothing || runs.some(isFitting)) continue
      const says = `${where(last)} is not what any run of it wrote`
      this.#report('stream-true', says, ...reads)
    }
  }
}

const where = ({ taskId, attempt, fd, client }: Read): string =>
  `descriptor ${fd} of task ${taskId}, attempt ${attempt}, as ${client} reads it,`

const fits = (
  { fd, offset, text, isEof }: Read,
  { wrote, exited }: RunBook,
  isWhole: boolean,
): boolean => {
  const all = wrote[fd]
  const isDue = isWhole && exited?.how === 'exit' // one that was ended lost what it wrote last
  if (isEof && isDue && offset + text.length !== all.length) return false
  return all.startsWith(text, offset)
}
