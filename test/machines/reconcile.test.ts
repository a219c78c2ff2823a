// What a manager makes of an inventory, entry by entry, and of a worker's other lives.

import t from 'tap'
import type { InventoryEntry } from '../../protocol/index.ts'
import { managerDefaults } from '../../src/machines/manager-config.ts'
import type { TaskEffect, TaskEvent } from '../../src/machines/task-events.ts'
import { done, LEDGER, taskId } from '../support/manager-world.ts'
import { invariants } from '../support/task-invariants.ts'
import { claims, type Stage, type Staged, stage } from '../support/task-stage.ts'

const ID = taskId(1)

const reconcile = (
  { at }: Staged,
  entries: readonly Partial<InventoryEntry>[],
  more: {
    readonly name?: string
    readonly boot?: string
    readonly reborn?: boolean
  } = {},
): TaskEvent => ({
  kind: 'reconcile',
  claims: claims(more.name ?? 'w1', { bootId: more.boot ?? 'b1' }),
  inventory: entries.map((entry) => ({
    task_id: ID,
    attempt: 1,
    status: 'Started',
    ...entry,
  })),
  reborn: more.reborn ?? false,
  ...at(),
})

const cancel = ({ task, at }: Staged): TaskEvent => ({
  kind: 'cancel',
  tasks: [task],
  ticket: { aborted: 0, closed: 0, unknown: 0, left: 1 },
  ...at(),
})

const complete = ({ at }: Staged, attempt = 1): TaskEvent => ({
  kind: 'completed',
  nodeId: 'w1',
  taskId: ID,
  attempt,
  result: done(),
  ...at(),
})

const dropsOf = (effects: readonly TaskEffect[]) =>
  effects.flatMap((effect) => (effect.kind === 'drop' ? effect.drops : []))

const statuses = ['Pending', 'Started', 'Ending', 'Error', 'Completed'] as const

t.test('a task that nobody knows is dropped, with its attempt', async (t) => {
  const staged = stage('queued')
  for (const status of statuses) {
    const entry = { task_id: taskId(99), attempt: 7, status }
    const effects = staged.act(reconcile(staged, [entry], { name: 'w2' }))
    t.same(dropsOf(effects), [{ task_id: taskId(99), attempt: 7 }], status)
  }
})

t.test('a task of another ledger is dropped', async (t) => {
  const staged = stage('running')
  const entry = { task_id: `${'z'.repeat(LEDGER.length)}-1` }
  const effects = staged.act(reconcile(staged, [{}, entry]))
  t.same(dropsOf(effects), [{ task_id: entry.task_id, attempt: 1 }])
})

t.test('a closed task is dropped, whatever became of it there', async (t) => {
  for (const status of statuses) {
    const staged = stage('running')
    staged.act(complete(staged))
    staged.commit()
    const effects = staged.act(reconcile(staged, [{ attempt: 3, status }]))
    t.same(dropsOf(effects), [{ task_id: ID, attempt: 3 }], status)
  }
})

t.test('a task that is being aborted is dropped before that is on record', async (t) => {
  for (const status of ['Pending', 'Started'] as const) {
    const staged = stage('running')
    staged.act(cancel(staged))
    const effects = staged.act(reconcile(staged, [{ status }]))
    t.same(dropsOf(effects), [{ task_id: ID, attempt: 1 }], status)
  }
})

t.test('what is over is not dropped before the outcome is on record', async (t) => {
  const ways = [cancel, (staged: Staged) => complete(staged, 1)]
  for (const way of ways)
    for (const status of ['Ending', 'Error', 'Completed'] as const) {
      const staged = stage('running')
      staged.act(way(staged))
      t.same(dropsOf(staged.act(reconcile(staged, [{ status }]))), [], status)
      staged.commit()
      const effects = staged.act(reconcile(staged, [{ status }]))
      t.same(dropsOf(effects), [{ task_id: ID, attempt: 1 }], status)
    }
})

t.test('what is recorded as completed only now is not adopted', async (t) => {
  const staged = stage('running')
  staged.act({ kind: 'lost', worker: staged.worker, cost: 'pending', ...staged.at() })
  staged.commit()
  staged.act(complete(staged))
  const effects = staged.act(reconcile(staged, [{}], { name: 'w2' }))
  t.same(dropsOf(effects), [{ task_id: ID, attempt: 1 }])
  staged.commit()
  t.equal(staged.task.state, 'completed')
  t.same(invariants(staged.table), [])
})

t.test('what is not on record yet is nobodys copy', async (t) => {
  const staged = stage('arriving')
  const effects = staged.act(reconcile(staged, [{}], { name: 'w2' }))
  t.same(dropsOf(effects), [{ task_id: ID, attempt: 1 }])
  t.equal(staged.task.worker, undefined)
})

for (const [status, isAdopted] of [
  ['Pending', true],
  ['Started', true],
  ['Ending', false],
  ['Error', false],
  ['Completed', false],
] as const)
  t.test(`queued, found as ${status}: ${isAdopted ? 'adopted' : 'left'}`, async (t) => {
    const staged = stage('queued')
    const { act, commit, task, other } = staged
    const effects = act(reconcile(staged, [{ attempt: 9, status }], { name: 'w2' }))
    t.same(dropsOf(effects), [], 'what is over comes by the outbox')
    t.equal(task.worker, isAdopted ? other : undefined)
    const sent = commit().filter(({ kind }) => kind === 'execute')
    t.match(sent, isAdopted ? [{ worker: other, tasks: [task] }] : [])
    t.equal(task.attempt, 1, 'the copy takes the current number')
  })

for (const [status, isDropped] of [
  ['Pending', true],
  ['Started', true],
  ['Ending', true],
  ['Error', true],
  ['Completed', false],
] as const)
  t.test(
    `at w1, found at w2 as ${status}: ${isDropped ? 'dropped' : 'left'}`,
    async (t) => {
      const staged = stage('running')
      const effects = staged.act(reconcile(staged, [{ status }], { name: 'w2' }))
      t.same(dropsOf(effects), isDropped ? [{ task_id: ID, attempt: 1 }] : [])
      t.equal(staged.task.worker, staged.worker)
    },
  )

t.test('on its way to w1, found there: that adopts it', async (t) => {
  const staged = stage('placed')
  const effects = staged.act(reconcile(staged, [{ attempt: 1 }]))
  t.same(dropsOf(effects), [])
  t.match(staged.commit(), [{ kind: 'execute', tasks: [staged.task] }])
})

t.test('at w1 under an old number: the current one is sent again', async (t) => {
  for (const status of ['Pending', 'Started', 'Error'] as const) {
    const staged = stage('queued')
    const { act, commit, task, worker } = staged
    task.attempt = 2
    act({ kind: 'place', ...staged.at() })
    commit()
    t.equal(task.state, 'sent')
    const effects = act(reconcile(staged, [{ attempt: 1, status }]))
    t.same(dropsOf(effects), [], status)
    const sent = effects.filter(({ kind }) => kind === 'execute')
    t.match(sent, [{ worker, tasks: [task] }], status)
    t.equal(task.state, 'sent', 'that number is not acknowledged')
  }
})

t.test('at w1, completed under an old number: its outcome is waited for', async (t) => {
  const staged = stage('queued')
  const { act, commit, task } = staged
  task.attempt = 2
  act({ kind: 'place', ...staged.at() })
  commit()
  const effects = act(reconcile(staged, [{ attempt: 1, status: 'Completed' }]))
  t.same(
    effects.map(({ kind }) => kind),
    ['drop'],
  )
  t.match([task.state, task.attempt], ['accepted', 2])
})

for (const [from, status, state] of [
  ['sent', 'Pending', 'accepted'],
  ['sent', 'Ending', 'accepted'],
  ['sent', 'Started', 'running'],
  ['accepted', 'Started', 'running'],
  ['running', 'Started', 'running'],
  ['running', 'Pending', 'running'],
] as const satisfies readonly (readonly [Stage, string, string])[])
  t.test(`at w1, ${from}, found as ${status}: ${state}`, async (t) => {
    const staged = stage(from)
    const effects = staged.act(reconcile(staged, [{ status }]))
    t.same(
      effects.map(({ kind }) => kind),
      ['drop'],
    )
    t.equal(staged.task.state, state)
  })

t.test('another boot is another life, whoever says so', async (t) => {
  const staged = stage('running')
  staged.act(reconcile(staged, [], { boot: 'b2' }))
  t.match([staged.task.attempt, staged.task.losses], [2, 1])
})

t.test('what was placed and not sent was meant for the old boot', async (t) => {
  const staged = stage('placed')
  const { act, commit, task } = staged
  act(reconcile(staged, [], { boot: 'b2', reborn: true }))
  t.match(
    [task.state, task.worker, task.attempt, task.losses],
    ['queued', undefined, 1, 0],
  )
  t.same(
    commit().filter(({ kind }) => kind === 'execute'),
    [],
    'what is on record now leaves nobody',
  )
  t.same(invariants(staged.table), [])
})

t.test('what becomes durable while its worker is suspect is not sent', async (t) => {
  const staged = stage('placed')
  const { act, commit, worker, task } = staged
  act({ kind: 'suspect', worker, ...staged.at() })
  t.same(commit(), [])
  t.equal(task.state, 'sent')
  const effects = act(reconcile(staged, []))
  t.match(
    effects.filter(({ kind }) => kind === 'execute'),
    [{ tasks: [task] }],
  )
})

t.test('with an old boot its aborts end, and who waits for them hears so', async (t) => {
  const staged = stage('running')
  const { act, commit, worker, task } = staged
  act(cancel(staged))
  t.match(commit(), [{ kind: 'closed' }, { kind: 'abort', tasks: [task] }])
  const effects = act(reconcile(staged, [], { boot: 'b2', reborn: true }))
  t.equal(effects.filter(({ kind }) => kind === 'cancelled').length, 1)
  t.equal(worker.aborting.size, 0)
})

t.test('in the same boot, aborts are said again', async (t) => {
  const staged = stage('running')
  const { act, commit, worker, task } = staged
  act(cancel(staged))
  commit()
  act({ kind: 'suspect', worker, ...staged.at() })
  t.match(
    act(reconcile(staged, [])).filter(({ kind }) => kind === 'abort'),
    [{ worker, tasks: [task] }],
  )
})

t.test(
  'a worker that said bye is forgotten, unless losses of it are pending',
  async (t) => {
    const staged = stage('running')
    const { act, table, worker, at } = staged
    act({ kind: 'lost', worker, cost: 'none', ...at() })
    t.equal(table.worker('w1'), undefined)
    t.equal(table.nextDueMs(at().nowMs), Number.POSITIVE_INFINITY)
  },
)

const lose = ({ worker, at }: Staged, cost: 'certain' | 'pending'): TaskEvent => ({
  kind: 'lost',
  worker,
  cost,
  ...at(),
})

t.test('a loss that is pending is none if that boot comes back', async (t) => {
  const staged = stage('running')
  const { act, commit, task } = staged
  act(lose(staged, 'pending'))
  commit()
  act(reconcile(staged, []))
  act(reconcile(staged, [], { boot: 'b2', reborn: true }))
  t.match([task.losses, task.state], [0, 'queued'])
})

t.test('a pending loss counts once, at the next boot', async (t) => {
  const staged = stage('running')
  const { act, commit, task } = staged
  act(lose(staged, 'pending'))
  commit()
  t.equal(task.losses, 0)
  act(reconcile(staged, [], { boot: 'b2', reborn: true }))
  t.equal(task.losses, 1)
  act(reconcile(staged, [], { boot: 'b3', reborn: true }))
  t.equal(task.losses, 1)
})

t.test('a pending loss counts when ten leases are over, and not before', async (t) => {
  const staged = stage('running')
  const { act, commit, task, table, at, pass } = staged
  act(lose(staged, 'pending'))
  commit()
  const dueMs = 10 * managerDefaults.managerLeaseMs
  t.equal(table.nextDueMs(at().nowMs), dueMs)
  pass(dueMs - 1)
  act({ kind: 'tick', ...at() })
  t.equal(task.losses, 0)
  pass(1)
  act({ kind: 'tick', ...at() })
  t.equal(task.losses, 1)
  t.equal(table.worker('w1'), undefined, 'and it is forgotten')
})

t.test('a task that has closed meanwhile lost nothing', async (t) => {
  const staged = stage('running')
  const { act, commit, task } = staged
  act(lose(staged, 'pending'))
  commit()
  act(complete(staged))
  commit()
  act(reconcile(staged, [], { boot: 'b2', reborn: true }))
  t.match([task.state, task.losses], ['completed', 0])
})

t.test('a last loss that counts late stops the copy that runs elsewhere', async (t) => {
  const staged = stage('running', {}, { maxLosses: 1 })
  const { act, commit, task, other, at } = staged
  act(lose(staged, 'pending'))
  act({ ...reconcile(staged, []), claims: claims('w2', { cores: 2 }) } as TaskEvent)
  act({ kind: 'place', ...at() })
  commit()
  t.match([task.worker, task.state], [other, 'sent'])
  act(reconcile(staged, [], { boot: 'b2', reborn: true }))
  t.match(commit(), [{ kind: 'closed' }, { kind: 'abort', worker: other, tasks: [task] }])
  t.match(task.closing?.outcome, { error: { kind: 'WorkerLost' } })
})
