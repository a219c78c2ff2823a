// The task table under random histories: invariants after every step, and everything that
// was accepted closes once the world is well again.

import fc from 'fast-check'
import t from 'tap'
import type { Assignment, InventoryEntry, TaskStatus } from '../../protocol/index.ts'
import { managerDefaults } from '../../src/machines/manager-config.ts'
import type { TaskEffect, TaskEvent } from '../../src/machines/task-events.ts'
import type { CancelTicket, Task } from '../../src/machines/task-record.ts'
import { TaskTable } from '../../src/machines/tasks.ts'
import type { Change } from '../../src/records.ts'
import { done, exec, LEDGER, noop } from '../support/manager-world.ts'
import { invariants } from '../support/task-invariants.ts'

const NODES = ['w1', 'w2', 'w3']
const REFUSALS = [
  'busy',
  'draining',
  'unsupported-kind',
  'specs',
  'forbidden',
  'invalid',
  'conflict',
  'stale-attempt',
] as const

/** A copy of a task at a worker, as the worker would know it. */
interface Copy {
  readonly node: string
  readonly assignment: Pick<Assignment, 'task_id' | 'attempt'>
  state: 'sent' | 'Pending' | 'Started' | 'Ending'
}

/** Plays the outside: ledger, workers, clients; and checks what the table asks for. */
class Outside {
  readonly table = new TaskTable({ ...managerDefaults, keepClosed: 1_000 }, LEDGER)
  nowMs = 0
  boots = new Map<string, number>()
  undurable: Change[] = []
  copies: Copy[] = []
  assigned = new Set<string>()
  closed = new Set<string>()
  tickets = new Set<CancelTicket>()
  keys = 0

  apply(event: TaskEvent): void {
    const effects = this.table.apply(event)
    for (const effect of effects) this.perform(effect)
    const wrong = invariants(this.table)
    if (wrong.length > 0) throw new Error(`after ${event.kind}: ${wrong.join('; ')}`)
  }

  at() {
    return { nowMs: this.nowMs, wallMs: 1_000_000 + this.nowMs }
  }

  perform(effect: TaskEffect): void {
    switch (effect.kind) {
      case 'record':
        this.undurable.push(effect.change)
        return
      case 'execute':
        for (const task of effect.tasks) this.execute(task, effect.worker.nodeId)
        return
      case 'closed': {
        if (this.closed.has(effect.task.id))
          throw new Error(`${effect.task.id} closes twice`)
        this.closed.add(effect.task.id)
        return
      }
      case 'cancelled':
        if (!this.tickets.delete(effect.ticket)) throw new Error('a ticket ends twice')
        return
      case 'taken':
      case 'refuse':
      case 'submitted':
      case 'abort':
      case 'ask':
      case 'ack':
      case 'drop':
      case 'moved':
      case 'retire':
      case 'note':
        return
    }
  }

  execute(task: Task, node: string): void {
    const key = `${task.id} ${task.attempt} ${node}`
    if (!this.assigned.has(key)) throw new Error(`${key} left before it was durable`)
    const assignment = { task_id: task.id, attempt: task.attempt }
    this.copies.push({ node, assignment, state: 'sent' })
  }

  commit(count: number): void {
    const changes = this.undurable.splice(0, count)
    for (const change of changes)
      if (change.kind === 'assigned')
        this.assigned.add(`${LEDGER}-${change.seq} ${change.attempt} ${change.nodeId}`)
    if (changes.length > 0) this.apply({ kind: 'durable', changes, ...this.at() })
  }

  claims(node: string) {
    const boot = this.boots.get(node) ?? 0
    return {
      nodeId: node,
      hostName: node,
      address: undefined,
      bootId: `boot${boot}`,
      rel: `rel-${node}`,
      cores: 2,
      memory: 1e9,
      kinds: undefined,
      labels: undefined,
      resources: undefined,
    }
  }

  join(node: string, forgets: 'nothing' | 'unsent' | 'all'): void {
    if (!this.boots.has(node)) this.boots.set(node, 1)
    const reborn = forgets === 'all'
    if (reborn) this.boots.set(node, (this.boots.get(node) ?? 0) + 1)
    const isKept = (copy: Copy) =>
      copy.node !== node || (!reborn && !(forgets === 'unsent' && copy.state === 'sent'))
    this.copies = this.copies.filter(isKept)
    const inventory = this.copies
      .filter((copy) => copy.node === node)
      .map(
        ({ assignment, state }): InventoryEntry => ({
          ...assignment,
          status: state === 'sent' ? 'Pending' : state,
        }),
      )
    const isNew = this.table.worker(node) === undefined
    this.apply({
      kind: 'reconcile',
      claims: this.claims(node),
      inventory,
      reborn: reborn && !isNew,
      ...this.at(),
    })
  }
}

type Act = (outside: Outside) => void
const index = fc.nat(1_000)
const pick = <T>(list: readonly T[], at: number): T | undefined => list[at % list.length]
const node = fc.constantFrom(...NODES)

const sentOf = ({ assignment }: Copy): Assignment => ({
  ...assignment,
  job_addr: 'noop:',
  arguments: [],
  timeout_ms: 0,
})

const withCopy =
  (at: number, act: (outside: Outside, copy: Copy) => void): Act =>
  (outside) => {
    const copy = pick(outside.copies, at)
    if (copy !== undefined) act(outside, copy)
  }

const acts: fc.Arbitrary<Act> = fc.oneof(
  fc.tuple(fc.integer({ min: 1, max: 4 }), fc.nat(2), fc.boolean()).map(
    ([count, retries, isBig]): Act =>
      (outside) => {
        const task = isBig
          ? exec({
              retries,
              requires: { cores: 2 },
              timeout_ms: 1_000,
              exclusive: retries > 0,
            })
          : noop({ retries, priority: retries, requires: { cores: retries } })
        const tasks = Array.from({ length: count }, () => task)
        const key = `k${++outside.keys}`
        const batch = `b${outside.keys % 3}`
        outside.apply({ kind: 'submit', key, batch, tasks, ...outside.at() })
      },
  ),
  index.map(
    (count): Act =>
      (outside) =>
        outside.commit(count % 8),
  ),
  fc.constant<Act>((outside) => outside.apply({ kind: 'place', ...outside.at() })),
  fc.constant<Act>((outside) => outside.apply({ kind: 'place', ...outside.at() })),
  fc.integer({ min: 1, max: 30_000 }).map(
    (ms): Act =>
      (outside) => {
        outside.nowMs += ms
        outside.apply({ kind: 'tick', ...outside.at() })
      },
  ),
  fc
    .tuple(node, fc.constantFrom('nothing' as const, 'unsent' as const, 'all' as const))
    .map(
      ([name, forgets]): Act =>
        (outside) =>
          outside.join(name, forgets),
    ),
  fc
    .tuple(node, fc.constantFrom('certain' as const, 'pending' as const, 'none' as const))
    .map(
      ([name, cost]): Act =>
        (outside) => {
          const worker = outside.table.worker(name)
          if (worker === undefined || worker.status === 'lost') return
          outside.apply({ kind: 'lost', worker, cost, ...outside.at() })
        },
    ),
  node.map(
    (name): Act =>
      (outside) => {
        const worker = outside.table.worker(name)
        if (worker !== undefined)
          outside.apply({ kind: 'suspect', worker, ...outside.at() })
      },
  ),
  fc.tuple(index, fc.option(fc.constantFrom(...REFUSALS))).map(([at, reason]) =>
    withCopy(at, (outside, copy) => {
      const worker = outside.table.worker(copy.node)
      if (worker === undefined || copy.state !== 'sent') return
      const { task_id } = copy.assignment
      const refused = reason === null ? [] : [{ task_id, reason }]
      const isKept = reason === null
      if (isKept) copy.state = 'Pending'
      else outside.copies.splice(outside.copies.indexOf(copy), 1)
      const sent = [sentOf(copy)]
      outside.apply({ kind: 'accepted', worker, sent, refused, ...outside.at() })
    }),
  ),
  index.map((at) =>
    withCopy(at, (outside, copy) => {
      const worker = outside.table.worker(copy.node)
      if (worker === undefined) return
      const sent = [sentOf(copy)]
      outside.copies.splice(outside.copies.indexOf(copy), 1)
      outside.apply({ kind: 'rejected', worker, sent, retryAfterMs: 5, ...outside.at() })
    }),
  ),
  index.map((at) =>
    withCopy(at, (outside, copy) => {
      const worker = outside.table.worker(copy.node)
      if (worker === undefined) return
      copy.state = 'Started'
      const { task_id: taskId, attempt } = copy.assignment
      const atMs = outside.nowMs
      outside.apply({ kind: 'started', worker, taskId, attempt, atMs, ...outside.at() })
    }),
  ),
  fc.tuple(index, fc.boolean()).map(([at, isLeft]) =>
    withCopy(at, (outside, copy) => {
      const { task_id: taskId, attempt } = copy.assignment
      if (!isLeft) outside.copies.splice(outside.copies.indexOf(copy), 1)
      const common = { nodeId: copy.node, taskId, attempt, ...outside.at() }
      outside.apply({ ...common, kind: 'completed', result: done() })
    }),
  ),
  fc
    .tuple(
      index,
      fc.constantFrom('RunningError' as const, 'TimedOut' as const, 'Aborted' as const),
    )
    .map(([at, kind]) =>
      withCopy(at, (outside, copy) => {
        const { task_id: taskId, attempt } = copy.assignment
        outside.copies.splice(outside.copies.indexOf(copy), 1)
        const common = { nodeId: copy.node, taskId, attempt, ...outside.at() }
        outside.apply({ ...common, kind: 'error', error: { kind }, result: undefined })
      }),
    ),
  fc
    .tuple(index, fc.constantFrom<TaskStatus['kind']>('Unknown', 'Pending', 'Started'))
    .map(([at, kind]) =>
      withCopy(at, (outside, copy) => {
        const worker = outside.table.worker(copy.node)
        if (worker?.status !== 'managing') return
        const status = kind === 'Started' ? { kind, at_ms: 0 } : { kind }
        // Only these three kinds are drawn; the others carry more than a kind.
        const statuses = [[copy.assignment.task_id, status as TaskStatus]] as const
        outside.apply({ kind: 'statuses', worker, statuses, ...outside.at() })
      }),
    ),
  fc.array(index, { maxLength: 3 }).map(
    (picks): Act =>
      (outside) => {
        const all = [...outside.table.tasks()]
        const tasks = [...new Set(picks.map((at) => pick(all, at)))].filter(
          (task) => task !== undefined,
        )
        const ticket = { aborted: 0, closed: 0, unknown: 0, left: 1 }
        outside.tickets.add(ticket)
        outside.apply({ kind: 'cancel', tasks, ticket, ...outside.at() })
      },
  ),
  node.map(
    (name): Act =>
      (outside) =>
        ackAborts(outside, name),
  ),
)

const ackAborts = (outside: Outside, name: string): void => {
  const worker = outside.table.worker(name)
  if (worker === undefined) return
  const tasks = [...worker.aborting].map(([task, { attempt }]) => ({
    task_id: task.id,
    attempt,
  }))
  outside.copies = outside.copies.filter(
    ({ node, assignment }) =>
      node !== name || !tasks.some(({ task_id }) => task_id === assignment.task_id),
  )
  outside.apply({ kind: 'abort-acked', worker, tasks })
}

/** All is well again: every worker is there, does what it is told, and succeeds. */
const heal = (outside: Outside): void => {
  for (const name of NODES) outside.join(name, 'all')
  outside.join('w4', 'nothing') // nobody has refused anything here yet
  for (let round = 0; round < 400 && outside.table.counts.open > 0; round++) {
    outside.nowMs += 1_000
    outside.apply({ kind: 'tick', ...outside.at() })
    outside.apply({ kind: 'place', ...outside.at() })
    outside.commit(Number.POSITIVE_INFINITY)
    for (const copy of outside.copies.splice(0)) {
      const { task_id: taskId, attempt } = copy.assignment
      const common = { nodeId: copy.node, taskId, attempt, ...outside.at() }
      outside.apply({ ...common, kind: 'completed', result: done() })
    }
    outside.commit(Number.POSITIVE_INFINITY)
    for (const name of [...NODES, 'w4']) ackAborts(outside, name)
  }
}

t.test('whatever happens, every task is in one place and closes once', async (t) => {
  fc.assert(
    fc.property(fc.array(acts, { maxLength: 150, size: 'max' }), (history) => {
      const outside = new Outside()
      for (const act of history) act(outside)
      heal(outside)
      const left = [...outside.table.tasks()].filter(({ id }) => !outside.closed.has(id))
      if (left.length > 0)
        throw new Error(`never closed: ${left.map((x) => `${x.id} ${x.state}`)}`)
      if (outside.tickets.size > 0) throw new Error('a cancel is never answered')
    }),
    { numRuns: 300 },
  )
  t.pass()
})
