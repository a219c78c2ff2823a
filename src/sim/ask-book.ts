// The book of asks: numbers each request of a world, and writes into its history when it was
// asked, answered and settled. Without a history there is no book, and it costs nothing.

import type { AnswerOf, Kind, RequestOf, Respond } from '../../protocol/index.ts'
import type { Settle } from '../ports.ts'
import type { Historian, TaskAttempt } from './history.ts'
import type { Life } from './life.ts'

interface OpenAsk {
  readonly life: Life
  readonly untilMs: number
}

/** Beyond its time, for the grain of alarms and for clocks that drift. */
const SLACK_MS = 1000
const DRIFT = 1.2

export class AskBook {
  readonly #historian: Historian
  readonly #open = new Map<number, OpenAsk>()
  #last = 0

  constructor(historian: Historian) {
    this.#historian = historian
  }

  /** How many requests there were. */
  get count(): number {
    return this.#last
  }

  /** Asks of living processes whose time is over. */
  overdue(nowMs: number): number[] {
    const numbers: number[] = []
    for (const [ask, { life, untilMs }] of this.#open)
      if (!life.isOver && untilMs + SLACK_MS < nowMs) numbers.push(ask)
    return numbers
  }

  asked<K extends Kind>(
    life: Life,
    exchange: K,
    body: RequestOf<K>,
    to: string,
    timeoutMs: number,
  ): number {
    this.#last += 1
    const ask = this.#last
    const { nowMs: atMs } = life.schedule
    this.#open.set(ask, { life, untilMs: atMs + timeoutMs * DRIFT })
    const { node, bootId: boot } = life
    const tasks = tasksOf(exchange, body)
    this.#historian(
      tasks === undefined
        ? { kind: 'asked', atMs, node, boot, ask, exchange, to }
        : { kind: 'asked', atMs, node, boot, ask, exchange, to, tasks },
    )
    return ask
  }

  /** The same settle function, which writes first. */
  settling<K extends Kind>(life: Life, ask: number, settle: Settle<K>): Settle<K> {
    return (outcome) => {
      this.#open.delete(ask)
      const { node, bootId: boot } = life
      const { nowMs: atMs } = life.schedule
      if (outcome._tag === 'Left') {
        const { kind: failure } = outcome.left
        this.#historian({ kind: 'settled', atMs, node, boot, ask, failure })
      } else {
        const { kind: answer } = outcome.right
        const leaseMs = leaseOf(outcome.right)
        this.#historian(
          leaseMs === undefined
            ? { kind: 'settled', atMs, node, boot, ask, answer }
            : { kind: 'settled', atMs, node, boot, ask, answer, leaseMs },
        )
      }
      settle(outcome)
    }
  }

  /** The same responder, which writes first. */
  answering<K extends Kind>(
    life: Life,
    ask: number,
    kind: Kind,
    body: unknown,
    respond: Respond<K>,
  ): Respond<K> {
    return (answer, answerBody) => {
      const { node, bootId: boot } = life
      const { nowMs: atMs } = life.schedule
      const tasks = tasksOf(kind, body)
      this.#historian(
        tasks === undefined
          ? { kind: 'answered', atMs, node, boot, ask, answer }
          : { kind: 'answered', atMs, node, boot, ask, answer, tasks },
      )
      respond(answer, answerBody)
    }
  }
}

const leaseOf = (answer: { kind: string; body: unknown }): number | undefined => {
  if (answer.kind !== 'ManagerAnswer') return undefined
  const { body } = answer as AnswerOf<'ManagerRequest'> & { kind: 'ManagerAnswer' }
  return body.accepted ? body.lease_ms : undefined
}

interface Named {
  readonly task_id: string
  readonly attempt: number
}

/** The tasks that a request between a manager and its worker speaks of. */
const tasksOf = (kind: Kind, body: unknown): readonly TaskAttempt[] | undefined => {
  switch (kind) {
    case 'TaskCompleted':
    case 'TaskError': {
      const { task_id: taskId, attempt } = body as RequestOf<'TaskError'>
      return [{ taskId, attempt }]
    }
    case 'ManagerRequest': {
      const { settle, tasks } = body as RequestOf<'ManagerRequest'>
      return settle === true ? tasks.map(named) : undefined
    }
    case 'TasksPing': // of whatever attempt
      return (body as RequestOf<'TasksPing'>).tasks.map((taskId) => ({
        taskId,
        attempt: 0,
      }))
    case 'TasksAbord': {
      const { tasks } = body as RequestOf<'TasksAbord'>
      return tasks.flatMap((task) => (typeof task === 'string' ? [] : [named(task)]))
    }
    case 'TasksExecute':
      return (body as RequestOf<'TasksExecute'>).tasks.map(named)
    default:
      return undefined
  }
}

const named = ({ task_id: taskId, attempt }: Named): TaskAttempt => ({ taskId, attempt })
