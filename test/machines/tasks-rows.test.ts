// The manager's side of a task: what the rows of its table say beyond the next state.

import t from 'tap'
import type { Assignment } from '../../protocol/index.ts'
import { backOffMs } from '../../src/machines/back-off.ts'
import { managerDefaults } from '../../src/machines/manager-config.ts'
import type { TaskEvent } from '../../src/machines/task-events.ts'
import { TaskTable } from '../../src/machines/tasks.ts'
import type { RecordedTask } from '../../src/records.ts'
import { done, exec, LEDGER, taskId } from '../support/manager-world.ts'
import { claims, type Staged, stage } from '../support/task-stage.ts'

const ID = taskId(1)
const { busyMs, drainingMs } = managerDefaults
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
    waits,
    waits.map((_, index) =>
      backOffMs({ seq: task.seq, failures: index + 1 }, managerDefaults),
    ),
  )
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

t.test(
  'a deadline stands still while its worker is away, and goes on after',
  async (t) => {
    const staged = stage('running', { timeout_ms: 1000 })
    const { act, worker, at, pass, task, table } = staged
    const { killGraceMs, deadlineSlackMs } = managerDefaults
    const dueMs = 1000 + killGraceMs + deadlineSlackMs
    pass(1000)
    act({ kind: 'suspect', worker, ...at() })
    pass(5000)
    const inventory = [{ task_id: ID, attempt: 1, status: 'Started' as const }]
    act({ kind: 'reconcile', claims: claims('w1'), inventory, reborn: false, ...at() })
    pass(dueMs - 6000)
    t.same(act({ kind: 'tick', ...at() }), [], 'it was away for 5 s of them')
    t.equal(table.nextDueMs(at().nowMs), dueMs + 5000)
    pass(4999)
    t.same(act({ kind: 'tick', ...at() }), [])
    pass(1)
    t.match(act({ kind: 'tick', ...at() }), [{ kind: 'ask', tasks: [task] }])
  },
)

t.test(
  'over its limit, but its outcome is on its way: waited for, asked again',
  async (t) => {
    const staged = stage('running', { timeout_ms: 1000 })
    const { act, worker, at, pass, task } = staged
    const { killGraceMs, deadlineSlackMs, askMs } = managerDefaults
    pass(1000 + killGraceMs + deadlineSlackMs)
    t.match(act({ kind: 'tick', ...at() }), [{ kind: 'ask' }])
    const result = done()
    act({
      kind: 'statuses',
      worker,
      statuses: [[ID, { kind: 'Completed', result }]],
      ...at(),
    })
    pass(askMs - 1)
    t.same(act({ kind: 'tick', ...at() }), [])
    pass(1)
    t.match(act({ kind: 'tick', ...at() }), [{ kind: 'ask', tasks: [task] }])
    t.equal(task.state, 'running')
  },
)

t.test('what another worker does not know says nothing', async (t) => {
  for (const from of ['sent', 'running'] as const) {
    const staged = stage(from)
    const { act, other, task, at } = staged
    const statuses = [[ID, { kind: 'Unknown' }]] as const
    t.same(act({ kind: 'statuses', worker: other, statuses, ...at() }), [])
    t.match([task.state, task.attempt], [from, 1])
  }
})

t.test('tasks that were not taken stand in their old order', async (t) => {
  const staged = stage('queued')
  const { act, commit, worker, table, at, pass } = staged
  act({ kind: 'submit', key: 'k2', batch: 'b', tasks: [exec()], ...at() })
  commit()
  place(staged)
  const both = [1, 2].map((n) => ({ task_id: taskId(n), attempt: 1, ...exec() }))
  act({ kind: 'rejected', worker, sent: both, retryAfterMs: 10, ...at() })
  pass(10)
  act({ kind: 'place', ...at() })
  t.match(commit(), [
    { kind: 'execute', tasks: [table.find(taskId(1)), table.find(taskId(2))] },
  ])
})

const cancel = ({ task, at }: Staged): TaskEvent => ({
  kind: 'cancel',
  tasks: [task],
  ticket: { aborted: 0, closed: 0, unknown: 0, left: 1 },
  ...at(),
})

t.test('an abort ends with the Ack of its attempt, not of an earlier one', async (t) => {
  const staged = stage('running')
  const { act, commit, worker, task } = staged
  task.attempt = 2
  act(cancel(staged))
  commit()
  const acked = (attempt: number) =>
    act({ kind: 'abort-acked', worker, tasks: [{ task_id: ID, attempt }] })
  t.same(acked(1), [])
  t.equal(worker.aborting.size, 1)
  t.match(acked(2), [{ kind: 'cancelled' }])
  t.equal(worker.aborting.size, 0)
})

t.test('no abort leaves before its outcome is on record', async (t) => {
  const staged = stage('running')
  const { act, commit, worker, at, pass } = staged
  act(cancel(staged))
  act({ kind: 'suspect', worker, ...at() })
  const inventory = [{ task_id: ID, attempt: 1, status: 'Started' as const }]
  const reconcile = { kind: 'reconcile', claims: claims('w1'), inventory } as const
  const kinds = act({ ...reconcile, reborn: false, ...at() }).map(({ kind }) => kind)
  t.same(kinds, ['drop'], 'the worker drops it by itself')
  act({ kind: 'abort-unanswered', worker, nowMs: at().nowMs })
  pass(10_000)
  t.same(act({ kind: 'tick', ...at() }), [])
  t.match(commit(), [{ kind: 'closed' }, { kind: 'abort' }])
})

t.test('at a worker that is lost nothing is left to abort', async (t) => {
  const staged = stage('running')
  const { act, commit, worker, at } = staged
  act(cancel(staged))
  act({ kind: 'lost', worker, cost: 'pending', ...at() })
  t.match(commit(), [{ kind: 'closed' }, { kind: 'cancelled' }])
  t.equal(worker.aborting.size, 0)
})

const recorded = (more: Partial<RecordedTask> = {}): RecordedTask => {
  const request = exec({ retries: 1 })
  return {
    seq: 4,
    submission: { first: 4, key: 'k', batch: 'b', tasks: [request, request], atMs: 1 },
    request,
    attempt: 3,
    failures: 1,
    losses: 2,
    notBeforeMs: 0,
    assigned: [
      {
        kind: 'assigned',
        seq: 4,
        attempt: 3,
        nodeId: 'w1',
        bootId: 'b1',
        hostName: 'w1',
        atMs: 1,
      },
    ],
    ...more,
  }
}

t.test('at a start a task goes on with all that its record says', async (t) => {
  const table = new TaskTable(managerDefaults, LEDGER, 1)
  const at = { nowMs: 0, wallMs: 10 }
  table.apply({ kind: 'restored', task: recorded(), ...at })
  const task = table.find(taskId(4))
  t.match(task, { state: 'sent', attempt: 3, failures: 1, losses: 2 })
  t.match(task?.worker, { nodeId: 'w1', bootId: 'b1', status: 'suspect' })
  t.equal(table.nextSeq, 6, 'the rest of its submission has its numbers')
  t.ok(table.hasKey('k'))
  const failed = { kind: 'error', nodeId: 'w1', taskId: taskId(4), attempt: 3 } as const
  const error = { kind: 'RunningError', exit_code: 1 } as const
  t.match(table.apply({ ...failed, error, result: undefined, ...at }), [
    { kind: 'record', change: { kind: 'closed', state: 'failed', failures: 2 } },
    { kind: 'ack', when: 'durable' },
  ])
})

t.test('at a start what was requeued waits as its new attempt', async (t) => {
  const table = new TaskTable(managerDefaults, LEDGER, 1)
  const task = recorded({ attempt: 4 })
  table.apply({ kind: 'restored', task, nowMs: 0, wallMs: 10 })
  t.match(table.find(taskId(4)), { state: 'queued', attempt: 4, worker: undefined })
})
