// A simulated client's input to a task: piece by piece, and all of it again for every attempt
// that takes over, until the task is over, as src/client/input.ts does it.

import type { RequestOf, TaskId } from '../../protocol/index.ts'
import type { SimClient } from './sim-client.ts'

const OFFER_MS = 60_000
const SHOW_MS = 2_000
const PIECE_BYTES = 20
/** Between two pieces, as somebody types. */
const PAUSE_MS = 1_000
const nothing = new Uint8Array(0)

export class SimInput {
  readonly #client: SimClient
  readonly #taskId: TaskId
  readonly #text: string
  readonly #over: () => void
  #attempt = 1
  #taken = 0
  #hasEnd = false

  constructor(client: SimClient, taskId: TaskId, over: () => void) {
    this.#client = client
    this.#taskId = taskId
    this.#over = over
    this.#text = `to ${taskId} `.repeat(1 + (taskId.charCodeAt(taskId.length - 1) % 8))
  }

  begin(): void {
    this.#client.events.typed(this.#client.spec.name, this.#taskId, this.#text)
    this.#goOn()
  }

  #goOn(): void {
    if (this.#hasEnd) {
      this.#awaitNext()
      return
    }
    const offset = this.#taken
    const until = Math.min(this.#text.length, offset + PIECE_BYTES)
    const data = Buffer.from(this.#text.slice(offset, until), 'latin1')
    const eof = until === this.#text.length
    this.#offer({ attempt: this.#attempt, offset, data, eof }, (taken) => {
      if (taken === 'NotMine') this.#restart(this.#attempt + 1)
      else if (taken === 'NotFound') this.#awaitNext()
      else {
        this.#taken = until
        this.#hasEnd = eof
        this.#later(() => this.#goOn())
      }
    })
  }

  #later(act: () => void): void {
    this.#client.life.clock.after(this.#client.random.between(1, PAUSE_MS), act)
  }

  #restart(attempt: number): void {
    this.#attempt = attempt
    this.#taken = 0
    this.#hasEnd = false
    this.#goOn()
  }

  /** Until another attempt runs, or the task is over. */
  #awaitNext(): void {
    const attempt = this.#attempt + 1
    this.#offer({ attempt, offset: 0, data: nothing, eof: false }, (taken) => {
      if (taken === 'NotFound') this.#look(attempt)
      else this.#restart(attempt)
    })
  }

  #look(attempt: number): void {
    const again = () => this.#client.again(() => this.#look(attempt))
    this.#client.ask(
      'TaskShow',
      { task_id: this.#taskId },
      SHOW_MS,
      (answer) => {
        if (answer.kind === 'Error') return again()
        if (answer.kind === 'NotFound') return this.#over()
        const { state, attempt: shown } = answer.body.summary
        if (state === 'completed' || state === 'failed' || state === 'aborted')
          return this.#over()
        if (shown >= attempt) this.#attempt = attempt // it reads nothing either
        this.#client.again(() => this.#awaitNext())
      },
      again,
    )
  }

  #offer(
    body: Omit<RequestOf<'TaskInput'>, 'task_id'>,
    taken: (kind: 'Ack' | 'NotFound' | 'NotMine') => void,
  ): void {
    const again = () => this.#client.again(() => this.#offer(body, taken))
    const whole = { ...body, task_id: this.#taskId }
    this.#client.ask(
      'TaskInput',
      whole,
      OFFER_MS,
      (answer) => (answer.kind === 'Error' ? again() : taken(answer.kind)),
      again,
    )
  }
}
