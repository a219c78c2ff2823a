// The manager's side of a task: what the rows of its table say beyond the next state.

import t from 'tap'
import type { Assignment } from '../../protocol/index.ts'
import { managerDefaults } from '../../src/machines/manager-config.ts'
import type { TaskEvent } from '../../src/machines/task-events.ts'
import { done, exec, taskId } from '../support/manager-world.ts'
import { claims, type Staged, stage } from '../support/task-stage.ts'

const ID = taskId(1)
const { busyMs, drainingMs, retryFirstMs, retryMaxMs } = managerDefaults
const sent = (attempt = 1): Assignment[] => [{ task_id: ID, attempt, ...exec() }]

type Refusal = Extract<TaskEvent, { kind: 'accepted' }>['refused'][number]

const accepted = (
  { worker, at }: Staged,
  attempt = 1,
  refused: readonly Refusal[] = [],
): TaskEvent => ({ kind: 'accepted', worker, sent: sent(attempt), refused, ...at() })

const refused = (staged: Staged, more: Omit<Refusal, 'task_id'>): TaskEvent =>
  accepted(staged, 1, [{ task_id: ID, ...more }])

const started = ({ worker, at }: Staged, attempt = 1): TaskEvent => ({
  kind: 'started',
  worker,
  taskId: ID,
  attempt,
  atMs: 0,
  ...at(),
})

const failed = ({ at }: Staged, attempt: number): TaskEvent => ({
  kind: 'error',
  nodeId: 'w1',
  taskId: ID,
  attempt,
  error: { kind: 'RunningError', exit_code: 1 },
  result: undefined,
  ...at(),
})

/** Brings a queued task to its worker. */
const place = ({ act, commit, at, task }: Staged): string => {
  act({ kind: 'place', ...at() })
  commit()
  return task.state
}

t.test('an Ack is for the hand-out that it answers', async (t) => {
  const staged = stage('sent')
  const { act, task, worker } = staged
  act({ kind: 'statuses', worker, statuses: [[ID, { kind: 'Pending' }]], ...staged.at() })
  act({ kind: 'statuses', worker, statuses: [[ID, { kind: 'Unknown' }]], ...staged.at() })
  staged.commit()
  t.equal(place(staged), 'sent')
  t.equal(task.attempt, 2)
  act(accepted(staged, 1))
  t.equal(task.state, 'sent')
  act(refused(staged, { reason: 'busy' }))
  t.equal(task.state, 'sent')
  act(started(staged, 1))
  t.equal(task.state, 'sent', 'nor is a start of another attempt one of this')
  act(accepted(staged, 2))
  t.equal(task.state, 'accepted')
})

t.test('what another worker says is not said of this hand-out', async (t) => {
  const staged = stage('sent')
  const { act, task, other } = staged
  act({ ...accepted(staged), worker: other } as TaskEvent)
  act({ ...started(staged), worker: other } as TaskEvent)
  t.equal(task.state, 'sent')
})

for (const [reason, retry_after_ms, awayMs] of [
  ['busy', undefined, busyMs],
  ['draining', undefined, drainingMs],
  ['busy', 50, 50],
] as const)
  t.test(`refused as ${reason}, the worker is left alone ${awayMs} ms`, async (t) => {
    const staged = stage('sent')
    const { act, table, at, pass } = staged
    const more = retry_after_ms === undefined ? {} : { retry_after_ms }
    act(refused(staged, { reason, ...more }))
    t.equal(place(staged), 'queued')
    t.equal(table.nextDueMs(at().nowMs), awayMs)
    pass(awayMs - 1)
    t.equal(place(staged), 'queued')
    pass(1)
    t.equal(place(staged), 'sent')
    t.equal(staged.task.attempt, 1, 'it cost nothing')
  })

t.test('not taken at all, the worker is left alone as long', async (t) => {
  for (const [retryAfterMs, awayMs] of [
    [undefined, busyMs],
    [70, 70],
  ] as const) {
    const staged = stage('sent')
    const { worker } = staged
    staged.act({
      kind: 'rejected',
      worker,
      sent: sent(),
      retryAfterMs,
      ...staged.at(),
    })
    staged.pass(awayMs - 1)
    t.equal(place(staged), 'queued')
    staged.pass(1)
    t.equal(place(staged), 'sent')
  }
})

for (const reason of ['specs', 'forbidden', 'unsupported-kind'] as const)
  t.test(`refused for ${reason}, that worker is no candidate any more`, async (t) => {
    const staged = stage('sent')
    const { act, task, at, other } = staged
    act(refused(staged, { reason }))
    t.equal(place(staged), 'queued')
    staged.pass(60_000)
    t.equal(place(staged), 'queued')
    act({
      kind: 'reconcile',
      claims: claims('w2', { cores: 1 }),
      inventory: [],
      reborn: false,
      ...at(),
    })
    t.equal(place(staged), 'sent', 'another one is')
    t.equal(task.worker, other)
  })

t.test('refused as stale and then unknown: a new attempt', async (t) => {
  const staged = stage('sent')
  const { act, task, worker, at } = staged
  act(refused(staged, { reason: 'stale-attempt' }))
  act({ kind: 'statuses', worker, statuses: [[ID, { kind: 'Unknown' }]], ...at() })
  t.match([task.state, task.attempt], ['queued', 2])
})

t.test(
  'unknown and never acknowledged: sent again once, then a new attempt',
  async (t) => {
    const staged = stage('sent')
    const { act, task, worker, at } = staged
    const unknown = {
      kind: 'statuses',
      worker,
      statuses: [[ID, { kind: 'Unknown' }]],
    } as const
    t.match(act({ ...unknown, ...at() }), [{ kind: 'execute', tasks: [task] }])
    act({ ...unknown, ...at() })
    t.match([task.state, task.attempt], ['queued', 2])
  },
)

t.test('without an answer, it is asked for only while its worker is there', async (t) => {
  const staged = stage('sent')
  const { act, worker, at } = staged
  act({ kind: 'suspect', worker, ...at() })
  t.same(act({ kind: 'unanswered', worker, sent: sent() }), [])
  t.equal(staged.task.state, 'sent')
})

t.test('the back-off of a failing task doubles, up to its bound', async (t) => {
  const staged = stage('running', { retries: 20 })
  const { act, commit, task, table, at, pass } = staged
  const waits: number[] = []
  for (let attempt = 1; attempt <= 9; attempt += 1) {
    act(failed(staged, attempt))
    commit()
    const waitMs = table.nextDueMs(at().nowMs) - at().nowMs
    waits.push(waitMs)
    pass(waitMs)
    act({ kind: 'tick', ...at() })
    place(staged)
    act(started(staged, attempt + 1))
  }
  t.same(
    waits.slice(0, 4),
    [1, 2, 4, 8].map((n) => n * retryFirstMs),
  )
  t.equal(waits.at(-1), retryMaxMs)
  t.equal(task.failures, 9)
})

t.test('outcomes are acknowledged once they are on record', async (t) => {
  const at = stage('running')
  const completed = { kind: 'completed', nodeId: 'w1', taskId: ID, attempt: 1 } as const
  const durable = [{ kind: 'record' }, { kind: 'ack', when: 'durable' }]
  t.match(at.act({ ...completed, result: done(), ...at.at() }), durable)
  for (const request of [{}, { retries: 1 }]) {
    const staged = stage('running', request)
    t.match(staged.act(failed(staged, 1)), durable)
  }
})

t.test('what a worker was away before a task began does not count', async (t) => {
  const staged = stage('accepted', { timeout_ms: 1000 })
  const { act, worker, at, pass, task } = staged
  act({ kind: 'suspect', worker, ...at() })
  pass(5000)
  const inventory = [{ task_id: ID, attempt: 1, status: 'Pending' as const }]
  act({ kind: 'reconcile', claims: claims('w1'), inventory, reborn: false, ...at() })
  act(started(staged))
  const { killGraceMs, deadlineSlackMs } = managerDefaults
  pass(1000 + killGraceMs + deadlineSlackMs)
  t.match(act({ kind: 'tick', ...at() }), [{ kind: 'ask', tasks: [task] }])
})
