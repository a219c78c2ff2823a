// The manager's side of a task: every row of its table.

import t from 'tap'
import type { Assignment, InventoryEntry, TaskRequest } from '../../protocol/index.ts'
import { managerDefaults } from '../../src/machines/manager-config.ts'
import type { TaskEffect, TaskEvent } from '../../src/machines/task-events.ts'
import { TaskTable } from '../../src/machines/tasks.ts'
import type { RecordedTask } from '../../src/records.ts'
import { done, exec, LEDGER, taskId } from '../support/manager-world.ts'
import { invariants } from '../support/task-invariants.ts'
import { claims, type Stage, type Staged, stage } from '../support/task-stage.ts'

const ID = taskId(1)
const sent = (attempt = 1): Assignment[] => [{ task_id: ID, attempt, ...exec() }]
type Refused = Extract<TaskEvent, { kind: 'accepted' }>['refused'][number]['reason']

const refused =
  (reason: Refused) =>
  ({ worker, at }: Staged): TaskEvent => ({
    kind: 'accepted',
    worker,
    sent: sent(),
    refused: [{ task_id: ID, reason }],
    ...at(),
  })
const completed =
  (attempt = 1, nodeId = 'w1') =>
  ({ at }: Staged): TaskEvent => ({
    kind: 'completed',
    nodeId,
    taskId: ID,
    attempt,
    result: done(),
    ...at(),
  })
const error =
  (kind: 'RunningError' | 'TimedOut' | 'Aborted' = 'RunningError', attempt = 1) =>
  ({ at }: Staged): TaskEvent => ({
    kind: 'error',
    nodeId: 'w1',
    taskId: ID,
    attempt,
    error: { kind },
    result: undefined,
    ...at(),
  })
const started = ({ worker, at }: Staged): TaskEvent => ({
  kind: 'started',
  worker,
  taskId: ID,
  attempt: 1,
  atMs: 0,
  ...at(),
})
const status =
  (kind: 'Pending' | 'Unknown') =>
  ({ worker, at }: Staged): TaskEvent => ({
    kind: 'statuses',
    worker,
    statuses: [[ID, { kind }]],
    ...at(),
  })
const lost =
  (cost: 'certain' | 'pending' | 'none') =>
  ({ worker, at }: Staged): TaskEvent => ({ kind: 'lost', worker, cost, ...at() })
const inventory =
  (
    entry: Partial<InventoryEntry> | undefined,
    { name = 'w1', boot = 'b1' }: { name?: string; boot?: string } = {},
  ) =>
  ({ at }: Staged): TaskEvent => ({
    kind: 'reconcile',
    claims: claims(name, { bootId: boot }),
    inventory:
      entry === undefined
        ? []
        : [{ task_id: ID, attempt: 1, status: 'Started', ...entry }],
    reborn: boot !== 'b1',
    ...at(),
  })
const cancel = ({ task, at }: Staged): TaskEvent => ({
  kind: 'cancel',
  tasks: [task],
  ticket: { aborted: 0, closed: 0, unknown: 0, left: 1 },
  ...at(),
})

/** What a row looks at: the state, the attempt, and the counts of failures and losses. */
type After = readonly [state: string, attempt: number, failures: number, losses: number]
/** The kinds of effects at once, then those after the commit of what was recorded. */
type Kinds = readonly [readonly TaskEffect['kind'][], readonly TaskEffect['kind'][]]

const rows: readonly [
  string,
  Stage,
  (staged: Staged) => TaskEvent,
  After,
  Kinds,
  Partial<TaskRequest>?,
][] = [
  [
    'placed, it waits for its commit',
    'queued',
    ({ at }) => ({ kind: 'place', ...at() }),
    ['sent', 1, 0, 0],
    [['record'], ['execute']],
  ],
  [
    'acknowledged',
    'sent',
    ({ worker, at }) => ({
      kind: 'accepted',
      worker,
      sent: sent(),
      refused: [],
      ...at(),
    }),
    ['accepted', 1, 0, 0],
    [[], []],
  ],
  ['refused as busy', 'sent', refused('busy'), ['queued', 1, 0, 0], [[], []]],
  ['refused as draining', 'sent', refused('draining'), ['queued', 1, 0, 0], [[], []]],
  ['refused: specs', 'sent', refused('specs'), ['queued', 1, 0, 0], [[], []]],
  ['refused: forbidden', 'sent', refused('forbidden'), ['queued', 1, 0, 0], [[], []]],
  [
    'refused: unsupported-kind',
    'sent',
    refused('unsupported-kind'),
    ['queued', 1, 0, 0],
    [[], []],
  ],
  [
    'refused: invalid',
    'sent',
    refused('invalid'),
    ['failed', 1, 0, 0],
    [['record'], ['closed']],
  ],
  [
    'refused: conflict',
    'sent',
    refused('conflict'),
    ['failed', 1, 0, 0],
    [['record'], ['closed']],
  ],
  [
    'refused as stale, it is asked for',
    'sent',
    refused('stale-attempt'),
    ['sent', 1, 0, 0],
    [['ask'], []],
  ],
  [
    'an old refusal means nothing',
    'running',
    refused('busy'),
    ['running', 1, 0, 0],
    [[], []],
  ],
  [
    'unanswered, it stays and is asked for',
    'sent',
    ({ worker }) => ({ kind: 'unanswered', worker, sent: sent() }),
    ['sent', 1, 0, 0],
    [['ask'], []],
  ],
  [
    'unanswered, but started meanwhile',
    'running',
    ({ worker }) => ({ kind: 'unanswered', worker, sent: sent() }),
    ['running', 1, 0, 0],
    [[], []],
  ],
  [
    'not taken at all',
    'sent',
    ({ worker, at }) => ({
      kind: 'rejected',
      worker,
      sent: sent(),
      retryAfterMs: 50,
      ...at(),
    }),
    ['queued', 1, 0, 0],
    [[], []],
  ],
  ['started before the Ack', 'sent', started, ['running', 1, 0, 0], [[], []]],
  ['started', 'accepted', started, ['running', 1, 0, 0], [[], []]],
  ['started twice', 'running', started, ['running', 1, 0, 0], [[], []]],
  ...(['sent', 'accepted', 'running'] as const).map(
    (from): [string, Stage, (staged: Staged) => TaskEvent, After, Kinds] => [
      `completed while ${from}`,
      from,
      completed(),
      ['completed', 1, 0, 0],
      [['record', 'ack'], ['closed']],
    ],
  ),
  [
    'completed by a node that never had it',
    'running',
    completed(1, 'w2'),
    ['running', 1, 0, 0],
    [['note', 'ack'], []],
  ],
  [
    'completed in an attempt that never was',
    'running',
    completed(7),
    ['running', 1, 0, 0],
    [['note', 'ack'], []],
  ],
  [
    'an error without retries',
    'running',
    error(),
    ['failed', 1, 1, 0],
    [['record', 'ack'], ['closed']],
  ],
  [
    'an error with a retry left',
    'running',
    error(),
    ['queued', 2, 1, 0],
    [['record', 'ack'], []],
    { retries: 1 },
  ],
  [
    'aborted by its worker: costs nothing',
    'running',
    error('Aborted'),
    ['queued', 2, 0, 0],
    [['record', 'ack'], []],
  ],
  [
    'an error of another attempt',
    'running',
    error('TimedOut', 2),
    ['running', 1, 0, 0],
    [['note', 'ack'], []],
  ],
  [
    'unknown to its worker and never acknowledged: sent again',
    'sent',
    status('Unknown'),
    ['sent', 1, 0, 0],
    [['execute'], []],
  ],
  [
    'unknown to its worker after its Ack: a new attempt',
    'accepted',
    status('Unknown'),
    ['queued', 2, 0, 0],
    [['record'], []],
  ],
  ['known to its worker', 'sent', status('Pending'), ['accepted', 1, 0, 0], [[], []]],
  [
    'its worker is gone for good: a loss',
    'running',
    lost('certain'),
    ['queued', 2, 0, 1],
    [['record'], []],
  ],
  [
    'its worker is silent: no loss yet',
    'running',
    lost('pending'),
    ['queued', 2, 0, 0],
    [['record'], []],
  ],
  ['its worker left', 'running', lost('none'), ['queued', 2, 0, 0], [['record'], []]],
  [
    'placed, and the worker is gone before the commit',
    'placed',
    lost('certain'),
    ['queued', 1, 0, 0],
    [[], []],
  ],
  ['in the inventory', 'accepted', inventory({}), ['running', 1, 0, 0], [['drop'], []]],
  [
    'ending in the inventory: its outcome comes',
    'running',
    inventory({ status: 'Ending' }),
    ['running', 1, 0, 0],
    [['drop'], []],
  ],
  [
    'not in the inventory, never acknowledged, same boot: sent again',
    'sent',
    inventory(undefined),
    ['sent', 1, 0, 0],
    [['drop', 'execute'], []],
  ],
  [
    'not in the inventory, same boot: a new attempt',
    'running',
    inventory(undefined),
    ['queued', 2, 0, 0],
    [['record', 'drop'], []],
  ],
  [
    'not in the inventory of a new boot: a loss',
    'running',
    inventory(undefined, { boot: 'b2' }),
    ['queued', 2, 0, 1],
    [['record', 'drop'], []],
  ],
  [
    'finished in the inventory of a new boot: its outcome comes',
    'running',
    inventory({ status: 'Completed' }, { boot: 'b2' }),
    ['running', 1, 0, 0],
    [['drop'], []],
  ],
  [
    'queued, a copy is found: adopted',
    'queued',
    inventory({}, { name: 'w2' }),
    ['sent', 1, 0, 0],
    [['record', 'drop'], ['execute']],
  ],
  [
    'queued, an ending copy is found: ignored',
    'queued',
    inventory({ status: 'Ending' }, { name: 'w2' }),
    ['queued', 1, 0, 0],
    [['drop'], []],
  ],
  [
    'here, and a copy elsewhere: that is dropped',
    'running',
    inventory({}, { name: 'w2' }),
    ['running', 1, 0, 0],
    [['drop'], []],
  ],
  [
    'cancelled while queued',
    'queued',
    cancel,
    ['aborted', 1, 0, 0],
    [['record'], ['closed', 'cancelled']],
  ],
  [
    'cancelled before it is durable',
    'arriving',
    cancel,
    ['aborted', 1, 0, 0],
    [['record'], ['submitted', 'closed', 'cancelled']],
  ],
  [
    'cancelled between placing and sending',
    'placed',
    cancel,
    ['aborted', 1, 0, 0],
    [['record'], ['closed', 'cancelled']],
  ],
  [
    'cancelled while running: its copy is stopped first',
    'running',
    cancel,
    ['aborted', 1, 0, 0],
    [['record'], ['closed', 'abort']],
  ],
]

for (const [name, from, event, after, kinds, request] of rows)
  t.test(`${from}: ${name}`, async (t) => {
    const staged = stage(from, request)
    const { task, table, act, commit } = staged
    const now = act(event(staged)).map(({ kind }) => kind)
    t.same(invariants(table), [])
    const later = commit().map(({ kind }) => kind)
    t.same(invariants(table), [])
    t.same([task.state, task.attempt, task.failures, task.losses], after)
    t.same([now, later], kinds)
  })

for (const [name, event] of [
  ['completed', completed()],
  ['error', error()],
  ['started', started],
  ['cancel', cancel],
] as const)
  t.test(`closed: ${name} changes nothing`, async (t) => {
    const staged = stage('running')
    staged.act(completed()(staged))
    staged.commit()
    const kinds = staged.act(event(staged)).map((effect) => effect.kind)
    t.notOk(kinds.includes('record'))
    t.equal(staged.task.state, 'completed')
  })

t.test('an outcome that comes again is acknowledged when it is durable', async (t) => {
  const staged = stage('running')
  const { act, commit } = staged
  act(completed()(staged))
  t.match(act(completed()(staged)), [{ kind: 'ack', when: 'durable' }])
  commit()
  t.match(act(completed()(staged)), [{ kind: 'ack', when: 'now' }])
})

t.test('an error told again is acknowledged when its first telling is on record', (t) => {
  const staged = stage('running', { retries: 1 })
  const { act, commit, at } = staged
  const fails = (): TaskEvent => ({
    kind: 'error',
    nodeId: 'w1',
    taskId: taskId(1),
    attempt: 1,
    error: { kind: 'RunningError', exit_code: 1 },
    result: undefined,
    ...at(),
  })
  const acksOf = (effects: readonly TaskEffect[]) =>
    effects.flatMap((effect) => (effect.kind === 'ack' ? effect.when : []))
  t.same(acksOf(act(fails())), ['durable'])
  t.equal(staged.task.attempt, 2)
  t.same(acksOf(act(fails())), ['durable'], 'a restart would find the first attempt')
  commit()
  t.same(acksOf(act(fails())), ['now'])
  t.end()
})

t.test('a success of an old attempt closes it, the other copy is aborted', async (t) => {
  const staged = stage('running')
  const { act, commit, task } = staged
  act(lost('pending')(staged))
  act(inventory(undefined)(staged))
  commit()
  act({ kind: 'place', ...staged.at() })
  commit()
  t.match([task.attempt, task.state], [2, 'sent'])
  act(completed(1)(staged))
  t.match(commit(), [{ kind: 'closed' }, { kind: 'abort', tasks: [task] }])
  t.equal(staged.worker.aborting.get(task)?.attempt, 2)
})

t.test('a third loss fails it: it must not kill every worker', async (t) => {
  const staged = stage('running')
  const { act, commit, task } = staged
  for (const boot of ['b2', 'b3', 'b4']) {
    act(inventory(undefined, { boot })(staged))
    commit()
    act({ kind: 'place', ...staged.at() })
    commit()
  }
  t.equal(task.state, 'failed')
  t.match(task.closing?.outcome, { kind: 'Error', error: { kind: 'WorkerLost' } })
})

t.test('a partition that heals costs no loss, one that does not costs one', async (t) => {
  for (const heals of [true, false]) {
    const staged = stage('running')
    const { act, task, pass } = staged
    act(lost('pending')(staged))
    if (heals) act(inventory({ status: 'Ending' })(staged))
    pass(200_000)
    act({ kind: 'tick', ...staged.at() })
    t.equal(task.losses, heals ? 0 : 1)
  }
})

t.test('over its limit, its worker is asked; still running, it is stopped', async (t) => {
  const staged = stage('running', { timeout_ms: 1_000, kill_grace_ms: 2_000 })
  const { act, pass, task, worker } = staged
  pass(12_999)
  t.same(act({ kind: 'tick', ...staged.at() }), [])
  pass(1)
  t.match(act({ kind: 'tick', ...staged.at() }), [{ kind: 'ask', tasks: [task] }])
  const statuses = [[ID, { kind: 'Started', at_ms: 0 }]] as const
  const kinds = act({ kind: 'statuses', worker, statuses, ...staged.at() })
  t.match(kinds, [{ kind: 'record' }, { kind: 'abort', tasks: [task] }])
  staged.commit()
  t.match(task.closing?.outcome, { kind: 'Error', error: { kind: 'TimedOut' } })
})

t.test('over its limit and silent, it is stopped too', async (t) => {
  const staged = stage('running', { timeout_ms: 1_000 })
  const { act, pass, task } = staged
  pass(16_000)
  act({ kind: 'tick', ...staged.at() })
  pass(10_000)
  t.match(act({ kind: 'tick', ...staged.at() }), [{ kind: 'record' }, { kind: 'abort' }])
  t.equal(task.closing?.state, 'failed')
})

t.test('a deadline pauses while the worker is suspect', async (t) => {
  const staged = stage('running', { timeout_ms: 1_000 })
  const { act, pass, task, worker } = staged
  pass(10_000)
  act({ kind: 'suspect', worker, ...staged.at() })
  pass(10_000)
  t.same(act({ kind: 'tick', ...staged.at() }), [])
  act(inventory({})(staged))
  pass(5_000)
  t.same(act({ kind: 'tick', ...staged.at() }), [], 'ten seconds did not count')
  pass(1_000)
  t.match(act({ kind: 'tick', ...staged.at() }), [{ kind: 'ask', tasks: [task] }])
})

t.test('a success found at a worker is not dropped there by an old abort', async (t) => {
  for (const [status, aborts] of [
    ['Completed', 0],
    ['Started', 1],
  ] as const) {
    const staged = stage('sent')
    const { act, task, worker } = staged
    worker.aborting.set(task, { attempt: 1, tickets: [] })
    const kinds = act(inventory({ status })(staged)).map(({ kind }) => kind)
    t.equal(kinds.filter((kind) => kind === 'abort').length, aborts, status)
  }
})

t.test('a cancel is answered when the outcome is on record, not before', async (t) => {
  for (const outcome of [completed(), cancel]) {
    const staged = stage('queued')
    const { act, commit, task } = staged
    if (outcome === cancel) act(cancel(staged))
    else {
      act({ kind: 'place', ...staged.at() })
      commit()
      act(outcome(staged))
    }
    t.same(act(cancel(staged)), [], 'its outcome is decided, and not durable')
    t.match(
      commit()
        .map(({ kind }) => kind)
        .filter((kind) => kind === 'cancelled'),
      ['cancelled'],
    )
    t.match(act(cancel(staged)), [{ kind: 'cancelled' }], task.state)
  }
})

t.test('an abort without its Ack is said again, and ends with the worker', async (t) => {
  const staged = stage('running')
  const { act, commit, pass, worker } = staged
  act(cancel(staged))
  commit()
  act({ kind: 'abort-unanswered', worker, nowMs: staged.at().nowMs })
  pass(2_000)
  t.match(act({ kind: 'tick', ...staged.at() }), [{ kind: 'abort' }])
  t.match(act(lost('pending')(staged)), [{ kind: 'cancelled' }])
})

t.test(
  'what settled has an owner: outcomes are recorded, all may be dropped',
  async (t) => {
    const staged = stage('running')
    const outcome = { kind: 'Completed', result: done() } as const
    const effects = staged.act({
      kind: 'settle',
      ...{ nodeId: 'w1', bootId: 'b1', isWhole: true },
      inventory: [{ task_id: ID, attempt: 1, status: 'Completed', outcome }],
      ...staged.at(),
    })
    t.match(effects, [
      { kind: 'record' },
      { kind: 'ack' },
      { kind: 'drop', drops: [{ task_id: ID, attempt: 1 }] },
    ])
    staged.commit()
    t.equal(staged.task.state, 'completed')
  },
)

t.test(
  'the oldest closed tasks are forgotten, with what their workers keep',
  async (t) => {
    const staged = stage('running', {}, { keepClosed: 0 })
    const stdout = { size: 1, sha256: '0'.repeat(64), ref: 'ref-1' }
    const { act, commit, table } = staged
    act({
      kind: 'completed',
      nodeId: 'w1',
      taskId: ID,
      attempt: 1,
      result: { ...done(), stdout },
      ...staged.at(),
    })
    t.match(commit(), [
      { kind: 'closed' },
      { kind: 'retire', seqs: [1], refs: new Map([['w1', ['ref-1']]]) },
    ])
    t.equal(table.find(ID), undefined)
    t.equal(table.batch('b'), undefined)
  },
)

t.test('of a batch whose log was read, only the last are kept', (t) => {
  const staged = stage('running', {}, { keepRead: 0 })
  const { act, commit, table, at } = staged
  act({ kind: 'submit', key: 'k2', batch: 'b', tasks: [exec(), exec()], ...at() })
  commit()
  act(completed()(staged))
  commit()
  const batch = table.batch('b')
  if (batch === undefined) throw new Error('the batch is there')
  t.same(act({ kind: 'read', batch, cursor: 0, ...at() }), [], 'nothing was read yet')
  t.match(act({ kind: 'read', batch, cursor: 9, ...at() }), [
    { kind: 'retire', seqs: [1] },
  ])
  t.match(batch, { read: 1, dropped: 1, open: 2 }, 'no further than its log goes')
  t.equal(table.find(ID), undefined)
  t.equal(table.counts.closed, 0)
  t.same(invariants(table), [])
  t.end()
})

t.test('closed tasks are bounded by the memory of their bodies too', (t) => {
  const stdin = new Uint8Array(10_000)
  const staged = stage('running', { stdin }, { keepClosedBytes: 5_000 })
  staged.act(completed()(staged))
  t.match(staged.commit(), [{ kind: 'closed' }, { kind: 'retire', seqs: [1] }])
  t.end()
})

const restored = (
  seq: number,
  more: Partial<RecordedTask>,
): Extract<TaskEvent, { kind: 'restored' }> => {
  const tasks = [exec(), exec()]
  const submission = { first: 1, key: 'k', batch: 'b', tasks, atMs: 1 }
  const counts = { attempt: 1, failures: 0, losses: 0, notBeforeMs: 0, assigned: [] }
  const task = { seq, submission, request: exec(), ...counts, ...more }
  return { kind: 'restored', task, nowMs: 500, wallMs: 10_000 }
}

const assignedTo = (seq: number, bootId: string, atMs: number) => ({
  assigned: [
    {
      kind: 'assigned' as const,
      attempt: 1,
      nodeId: 'w1',
      hostName: 'w1',
      seq,
      bootId,
      atMs,
    },
  ],
})

t.test('at a start the newest hand-out says which boot a worker has', (t) => {
  const table = new TaskTable(managerDefaults, LEDGER)
  const assigned = assignedTo
  table.apply(restored(1, assigned(1, 'b2', 20)))
  table.apply(restored(2, assigned(2, 'b1', 10)))
  t.equal(table.worker('w1')?.bootId, 'b2')
  const other = new TaskTable(managerDefaults, LEDGER)
  other.apply(restored(1, assigned(1, 'b1', 10)))
  other.apply(restored(2, assigned(2, 'b2', 20)))
  t.equal(other.worker('w1')?.bootId, 'b2')
  t.end()
})

for (const newest of ['b1', 'b2'])
  t.test(`at a start each hand-out was for its own boot, ${newest} the newest`, (t) => {
    const table = new TaskTable(managerDefaults, LEDGER)
    table.apply(restored(1, assignedTo(1, 'b1', newest === 'b1' ? 20 : 10)))
    table.apply(restored(2, assignedTo(2, 'b2', newest === 'b2' ? 20 : 10)))
    const effects = table.apply({
      kind: 'reconcile',
      claims: claims('w1', { bootId: 'b2' }),
      inventory: [],
      reborn: false,
      nowMs: 600,
      wallMs: 10_100,
    })
    // What the earlier boot got is gone with it, the other is sent to the boot it was for.
    t.match(table.at(1), { attempt: 2, losses: 1, worker: undefined })
    t.match(table.at(2), { attempt: 1, losses: 0, state: 'sent' })
    const sent = effects.flatMap((one) => (one.kind === 'execute' ? one.tasks : []))
    t.same(
      sent.map(({ seq }) => seq),
      [2],
    )
    t.end()
  })

t.test('at a start a back-off goes on, no longer than one can be', (t) => {
  const table = new TaskTable(managerDefaults, LEDGER)
  table.apply(restored(1, { attempt: 2, failures: 1, notBeforeMs: 14_000 }))
  t.match(table.find(ID), { state: 'queued', dueFor: 'retry', dueMs: 4_500 })
  t.equal(table.nextDueMs(500), 4_500)
  table.apply(restored(2, { attempt: 2, failures: 1, notBeforeMs: 1e12 }))
  t.match(table.find(taskId(2)), { dueMs: 500 + managerDefaults.retryMaxMs })
  t.same(invariants(table), [])
  t.end()
})

t.test('a run that its worker lost counts as a loss; the third fails the task', (t) => {
  const staged = stage('running')
  const { act, commit, task, worker, at } = staged
  for (const attempt of [1, 2, 3]) {
    const error = { kind: 'WorkerLost' } as const
    act({
      kind: 'error',
      nodeId: 'w1',
      taskId: ID,
      attempt,
      error,
      result: undefined,
      ...at(),
    })
    commit()
    if (attempt === 3) break
    t.match(task, { state: 'queued', failures: 0, losses: attempt })
    act({ kind: 'place', ...at() })
    commit()
    t.equal(task.worker, worker)
  }
  t.match(task, { state: 'failed', failures: 0, losses: 3 })
  t.match(task.closing?.outcome, { kind: 'Error', error: { kind: 'WorkerLost' } })
  t.same(invariants(staged.table), [])
  t.end()
})

/** A table with a worker of two cores and a batch of so many tasks, all of them placed. */
const batchOf = (count: number, maxFails: number | undefined) => {
  const staged = stage('arriving')
  const { act, commit, at } = staged
  const tasks = Array.from({ length: count }, () => exec())
  const submit = (key: string, more: object = {}) =>
    act({ kind: 'submit', key, batch: 'many', tasks, maxFails, ...more, ...at() })
  act(cancel(staged))
  commit()
  const submitted = submit('first')
  commit()
  act({ kind: 'place', ...at() })
  commit()
  const fail = (seq: number) =>
    act({
      kind: 'error',
      ...{ nodeId: 'w1', taskId: taskId(seq), attempt: 1, result: undefined },
      error: { kind: 'RunningError', exit_code: 1 },
      ...at(),
    })
  const states = () =>
    Array.from({ length: count }, (_, n) => staged.table.at(n + 2)?.state)
  return { ...staged, submit, submitted, fail, states }
}

t.test(
  'a batch ends when more of it have failed than may, once that is on record',
  (t) => {
    const { fail, commit, states, submit, table } = batchOf(5, 1)
    fail(2)
    commit()
    t.same(states(), ['failed', 'sent', 'queued', 'queued', 'queued'], 'one may')
    fail(3)
    t.same(states().slice(2), ['queued', 'queued', 'queued'], 'not before it is durable')
    const effects = commit()
    t.equal(effects.filter(({ kind }) => kind === 'record').length, 3)
    commit()
    t.same(states(), ['failed', 'failed', 'aborted', 'aborted', 'aborted'])
    t.match(table.at(4)?.closing?.outcome, {
      error: { kind: 'Aborted', reason: '2 tasks of its batch failed, at most 1 may' },
    })
    t.match(submit('second'), [
      { kind: 'refuse', reason: 'stopped', message: /2 of its/ },
    ])
    t.match(submit('second', { maxFails: undefined }), [{ kind: 'refuse' }])
    t.match(submit('first'), [{ kind: 'taken', isDurable: true }], 'known: the same ids')
    t.match(submit('other', { batch: 'other' }), [{ kind: 'taken' }, { kind: 'record' }])
    t.same(invariants(table), [])
    t.end()
  },
)

t.test('without a limit any number may fail, and the least that is said holds', (t) => {
  const free = batchOf(2, undefined)
  for (const seq of [2, 3]) free.fail(seq)
  free.commit()
  t.match(free.submit('second', { maxFails: 1 }), [{ kind: 'refuse', reason: 'stopped' }])
  t.match(free.submit('second', { maxFails: 2 }), [{ kind: 'taken' }, { kind: 'record' }])
  const one = batchOf(2, 5)
  one.submit('second', { maxFails: 0 })
  one.commit()
  one.fail(2)
  one.commit()
  one.commit()
  t.same(one.states(), ['failed', 'aborted'])
  t.end()
})

t.test('at a start the failures are counted again, the forgotten ones too', (t) => {
  const table = new TaskTable(managerDefaults, LEDGER)
  const limited = (event: ReturnType<typeof restored>) => {
    const { submission } = event.task
    const task = { ...event.task, submission: { ...submission, maxFails: 2 } }
    return { ...event, task, forgotten: { closed: 4, failed: 2 } }
  }
  const closed = {
    kind: 'closed' as const,
    ...{ seq: 1, attempt: 1, state: 'failed' as const, failures: 1, losses: 0 },
    ...{ outcome: { kind: 'Error' as const, error: { kind: 'TimedOut' as const } } },
    endedMs: 3,
  }
  table.apply(limited(restored(1, { closed })))
  table.apply(limited(restored(2, {})))
  t.match(table.batch('b'), { failed: 3, dropped: 4, open: 1 })
  const effects = table.apply({ kind: 'began', nowMs: 600, wallMs: 10_100 })
  t.match(effects, [{ kind: 'record', change: { kind: 'closed', state: 'aborted' } }])
  t.end()
})

t.test('an exclusive task waits for the next boot of a lost worker', (t) => {
  const staged = stage('running', { exclusive: true })
  const { act, commit, task, worker, pass, table, at } = staged
  act({ kind: 'suspect', worker, ...at() })
  act(lost('certain')(staged))
  commit()
  t.match(task, { state: 'running', worker, attempt: 1, losses: 0 })
  pass(11 * managerDefaults.managerLeaseMs)
  act({ kind: 'tick', ...at() })
  t.equal(table.worker('w1'), worker, 'it is not forgotten')
  t.equal(table.nextDueMs(at().nowMs), Number.POSITIVE_INFINITY)
  t.same(invariants(table), [])
  act({ kind: 'reborn', worker, bootId: 'b1', ...at() })
  t.match(task, { worker, attempt: 1 }, 'in the same boot it may be alive')
  act({ kind: 'reborn', worker, bootId: 'b2', ...at() })
  commit()
  t.match(task, { state: 'queued', worker: undefined, attempt: 2, losses: 1 })
  t.match(task.handOuts, [{ attempt: 1, ended: 'WorkerLost' }])
  t.same(invariants(table), [])
  t.end()
})

t.test('an exclusive task goes on where it was when its worker comes back', (t) => {
  const staged = stage('running', { exclusive: true })
  const { act, task, worker } = staged
  act(lost('pending')(staged))
  act(inventory({})(staged))
  t.match(task, { state: 'running', worker, attempt: 1, losses: 0 })
  const reborn = stage('running', { exclusive: true })
  reborn.act(lost('certain')(reborn))
  reborn.act(inventory(undefined, { boot: 'b2' })(reborn))
  t.match(reborn.task, { state: 'queued', attempt: 2, losses: 1 })
  const left = stage('running', { exclusive: true })
  left.act(lost('none')(left))
  t.match(left.task, { state: 'queued', attempt: 2, losses: 0 }, 'it had ended it')
  t.end()
})

t.test(
  'an exclusive task of a lost worker can be cancelled; then that is forgotten',
  (t) => {
    const staged = stage('running', { exclusive: true })
    const { act, commit, pass, table, task, at } = staged
    act(lost('pending')(staged))
    pass(11 * managerDefaults.managerLeaseMs)
    act({ kind: 'tick', ...at() })
    act(cancel(staged))
    t.ok(commit().some(({ kind }) => kind === 'cancelled'))
    t.equal(task.state, 'aborted')
    act({ kind: 'tick', ...at() })
    t.equal(table.worker('w1'), undefined)
    t.same(invariants(table), [])
    t.end()
  },
)

t.test('over its limit, an exclusive task fails without a further try', (t) => {
  const staged = stage('running', { exclusive: true, timeout_ms: 100, retries: 3 })
  const { act, commit, pass, task, at } = staged
  pass(100 + managerDefaults.killGraceMs + managerDefaults.deadlineSlackMs)
  act({ kind: 'tick', ...at() })
  pass(managerDefaults.askMs)
  act({ kind: 'tick', ...at() })
  commit()
  t.match(task, { state: 'failed', attempt: 1 })
  t.end()
})

t.test(
  'a worker that serves another manager and lists a task no more has lost it',
  (t) => {
    const settle = (
      staged: Staged,
      more: Partial<{ bootId: string; isWhole: boolean }>,
    ) =>
      staged.act({
        kind: 'settle',
        ...{ nodeId: 'w1', bootId: 'b1', isWhole: true, inventory: [], ...more },
        ...staged.at(),
      })
    const staged = stage('sent', { exclusive: true })
    settle(staged, {})
    t.match(staged.task, { state: 'sent', attempt: 1 }, 'managed, it says so otherwise')
    staged.act(lost('pending')(staged))
    settle(staged, { isWhole: false })
    settle(staged, { bootId: 'b2' })
    t.match(staged.task, { state: 'sent', attempt: 1 })
    settle(staged, {})
    staged.commit()
    t.match(staged.task, { state: 'queued', attempt: 2, losses: 0 })
    const running = stage('running', { exclusive: true })
    running.act(lost('pending')(running))
    const effects = running.act({
      kind: 'settle',
      ...{ nodeId: 'w1', bootId: 'b1', isWhole: true },
      inventory: [{ task_id: ID, attempt: 1, status: 'Started' }],
      ...running.at(),
    })
    t.match(effects, [{ kind: 'drop', drops: [] }], 'what runs there is kept')
    t.equal(running.task.state, 'running')
    t.end()
  },
)

t.test('how each hand-out went is recorded, and known after a start', (t) => {
  const staged = stage('running', { retries: 1 })
  const { act, task, at } = staged
  const fails = act({
    kind: 'error',
    ...{ nodeId: 'w1', taskId: ID, attempt: 1, result: undefined },
    error: { kind: 'RunningError', exit_code: 3 },
    ...at(),
  })
  const ran = { attempt: 1, nodeId: 'w1', ended: 'RunningError, exit code 3' }
  t.match(fails, [{ kind: 'record', change: { kind: 'requeued', ran: [ran] } }, {}])
  const table = new TaskTable(managerDefaults, LEDGER)
  const [handOut] = assignedTo(1, 'b1', 10).assigned
  if (handOut === undefined) throw new Error('Expected a hand-out')
  const went = { startedMs: 11, endedMs: 12, ended: 'TimedOut', pid: 7 }
  table.apply(restored(1, { attempt: 2, assigned: [{ ...handOut, ran: went }] }))
  t.match(table.at(1)?.handOuts, [{ attempt: 1, sentMs: 10, ...went }])
  t.equal(task.handOuts.length, 1)
  t.end()
})

for (const [name, event, ended] of [
  ['cancelled', cancel, 'Aborted'],
  ['lost with its worker', lost('certain'), 'WorkerLost'],
  ['left behind in good order', lost('none'), 'its worker left'],
  ['not there', inventory(undefined), 'not there'],
  ['gone with a boot', inventory(undefined, { boot: 'b2' }), 'WorkerLost'],
] as const)
  t.test(`why a hand-out was over: ${name}`, (t) => {
    const staged = stage('running')
    const effects = staged.act(event(staged))
    const changes = effects.flatMap((one) => (one.kind === 'record' ? one.change : []))
    t.match(changes, [{ ran: [{ attempt: 1, nodeId: 'w1', ended }] }])
    t.end()
  })

t.test('a retry knows what it repeats, and that knows the last of its retries', (t) => {
  const staged = stage('running')
  const { act, commit, table, task, at } = staged
  act(completed()(staged))
  commit()
  const again = (key: string) => {
    const its = { kind: 'submit' as const, key, batch: key, tasks: [exec()] }
    act({ ...its, retryOf: [1], ...at() })
    commit()
  }
  again('second')
  t.same(table.retriesOf(task), { retried_as: taskId(2) })
  again('third')
  t.same(table.retriesOf(task), { retried_as: taskId(3) })
  const third = table.at(3)
  t.same(third && table.retriesOf(third), { retry_of: ID })
  t.end()
})

t.test('a closed task is forgotten when it is old, and not before', (t) => {
  const staged = stage('running', {}, { keepClosedMs: 60_000 })
  const { act, commit, pass, table, at } = staged
  act(completed()(staged))
  commit()
  t.equal(table.nextDueMs(at().nowMs), 60_000)
  pass(59_999)
  t.same(act({ kind: 'tick', ...at() }), [])
  pass(1)
  t.match(act({ kind: 'tick', ...at() }), [{ kind: 'retire', seqs: [1] }])
  t.equal(table.find(ID), undefined)
  t.equal(table.nextDueMs(at().nowMs), Number.POSITIVE_INFINITY)
  t.end()
})

t.test('at a start what has ended is as old as the records say, and no younger', (t) => {
  const table = new TaskTable({ ...managerDefaults, keepClosedMs: 5_000 }, LEDGER)
  const closed = (seq: number, endedMs: number) => ({
    closed: {
      kind: 'closed' as const,
      ...{ seq, attempt: 1, state: 'completed' as const, failures: 0, losses: 0 },
      outcome: { kind: 'Completed' as const, result: done() },
      endedMs,
    },
  })
  table.apply(restored(1, closed(1, 8_000)))
  // Its clock was ahead then.
  table.apply(restored(2, closed(2, 1e12)))
  t.equal(table.nextDueMs(500), 500 + 3_000)
  t.match(table.apply({ kind: 'tick', nowMs: 3_500, wallMs: 13_000 }), [{ seqs: [1] }])
  t.equal(table.nextDueMs(3_500), 500 + 5_000)
  t.end()
})

t.test('at a start a retry is known by what it repeats', (t) => {
  const table = new TaskTable(managerDefaults, LEDGER)
  const closed = {
    kind: 'closed' as const,
    ...{ seq: 1, attempt: 1, state: 'failed' as const, failures: 1, losses: 0 },
    outcome: { kind: 'Error' as const, error: { kind: 'TimedOut' as const } },
    endedMs: 3,
  }
  table.apply(restored(1, { closed }))
  const again = restored(3, {})
  const submission = { ...again.task.submission, first: 3, key: 'again', retryOf: [1] }
  table.apply({ ...again, task: { ...again.task, submission } })
  const [first, third] = [table.at(1), table.at(3)]
  t.same(first && table.retriesOf(first), { retried_as: taskId(3) })
  t.same(third && table.retriesOf(third), { retry_of: ID })
  t.end()
})
