// The worker's side of a task, row by row: what each event leaves undone as well as done.

import t from 'tap'
import { Tombstones } from '../../src/machines/tombstones.ts'
import { WorkerTasks } from '../../src/machines/worker-tasks.ts'
import {
  id,
  job,
  kinds,
  LEDGER,
  limits,
  reasons,
  result,
  table,
} from '../support/worker-table.ts'

const OTHER = 'bbbbbbbbbb'
const forget = { kind: 'forget', ledgerId: LEDGER, nowMs: 0 } as const

t.test('what is ending when its ledger is forgotten is not told of', async (t) => {
  const { tasks, running, of, exited, kind } = table()
  running(1, 1, { timeout_ms: 10 })
  of('timer', 1, 1, 10)
  t.equal(kind(1), 'ending')
  t.same(tasks.apply(forget), [])
  t.same(tasks.inventory(LEDGER), [], 'nor listed')
  t.same(kinds(exited(1, 1)), ['gone'])
})

t.test('what waits behind an ending one is forgotten with its ledger', async (t) => {
  const { tasks, running, execute, of, exited, kind } = table()
  running(1, 1, { timeout_ms: 10 })
  of('timer', 1, 1, 10)
  execute(job(1, { attempt: 2, timeout_ms: 10 }))
  t.same(kinds(tasks.apply(forget)), ['unpend', 'dropped'])
  exited(1, 1)
  t.equal(kind(1), undefined)
})

t.test('to forget one ledger leaves the work of another', async (t) => {
  const tasks = new WorkerTasks(limits)
  const mine = { ...job(1), task_id: `${OTHER}-1` }
  const outcome = { kind: 'Completed', result } as const
  tasks.restore({ pending: [], outcomes: [{ kind: 'finished', task: mine, outcome }] })
  t.same(tasks.apply(forget), [])
  t.ok(tasks.hasWork(OTHER))
  t.same(kinds(tasks.apply({ ...forget, ledgerId: OTHER })), ['discard'])
  t.notOk(tasks.hasWork(OTHER))
})

t.test('what was given back may come again', async (t) => {
  const { tasks, running, execute } = table()
  running(1, 1)
  execute(job(2))
  const release = { kind: 'release', ledgerId: LEDGER, nowMs: 0 } as const
  t.same(kinds(tasks.apply(release)), ['unpend', 'dropped'])
  t.same(kinds(tasks.apply({ kind: 'execute', task: job(2), nowMs: 0 })), ['pend'])
})

t.test('nothing starts while it drains, although a slot is free', async (t) => {
  const { tasks, running, execute, exited, of } = table()
  running(1, 1)
  execute(job(2))
  tasks.apply({ kind: 'drain' })
  t.same(kinds(exited(1, 1)), ['gone', 'outcome'])
  t.same(tasks.apply({ kind: 'lease', untilMs: 1e9, nowMs: 0 }), [])
  t.equal(tasks.freeSlots, 0)
  t.match(tasks, { running: 0, pending: 1, isDraining: true })
  t.same(of('prepared', 2, 2), [])
})

t.test('what is being fetched when it drains goes back', async (t) => {
  const { tasks, execute, of } = table()
  execute(job(1))
  tasks.apply({ kind: 'drain' })
  t.same(kinds(of('prepared', 1, 1)), ['gone', 'pend'])
  t.equal(tasks.running, 0)
})

t.test('a draining worker adopts nothing that would have to start anew', async (t) => {
  const { tasks, running, execute, of, exited, kind } = table({ cores: 2 })
  running(1, 1, { timeout_ms: 10 })
  of('timer', 1, 1, 10)
  running(2, 2)
  exited(2, 2, { exitCode: 1 })
  tasks.apply({ kind: 'drain' })
  t.same(reasons(execute(job(1, { attempt: 2, timeout_ms: 10 }))), ['draining'])
  t.same(reasons(execute(job(2, { attempt: 2 }))), ['draining'])
  t.equal(kind(2), 'finished', 'its outcome stays')
  t.same(kinds(exited(1, 1)), ['gone', 'outcome'], 'and so does this one')
})

t.test('no record, no start, whatever happens meanwhile', async (t) => {
  const { tasks, running, exited, kind } = table()
  running(1, 1)
  t.same(kinds(tasks.apply({ kind: 'execute', task: job(2), nowMs: 0 })), ['pend'])
  t.same(kinds(exited(1, 1)), ['gone', 'outcome'])
  t.same(tasks.apply({ kind: 'lease', untilMs: 1e9, nowMs: 0 }), [])
  t.equal(kind(2), 'pending')
  t.same(kinds(tasks.apply({ kind: 'persisted', tasks: [job(2)], nowMs: 0 })), [
    'prepare',
  ])
})

t.test('a worker full of outcomes takes no more', async (t) => {
  const { running, exited, execute, acked } = table({ finished: 1 })
  running(1, 1)
  exited(1, 1)
  t.same(reasons(execute(job(2))), ['busy'])
  acked(1)
  t.same(reasons(execute(job(2))), [])
})

t.test('a program that cannot be got frees its slot and is told', async (t) => {
  const { tasks, execute } = table()
  execute(job(1))
  execute(job(2))
  const error = { kind: 'DownloadError', reason: 'gone' } as const
  const effects = tasks.apply({
    kind: 'unprepared',
    taskId: id(1),
    run: 1,
    error,
    nowMs: 0,
  })
  t.match(effects, [
    { kind: 'gone', taskId: id(1), run: 1 },
    { kind: 'outcome', outcome: { kind: 'Error', error } },
    { kind: 'prepare', task: { task_id: id(2) } },
  ])
})

t.test('what an earlier run of a task says is old', async (t) => {
  const { tasks, execute, of, exited, kind } = table()
  execute(job(1))
  tasks.apply({ kind: 'lease', untilMs: 5, nowMs: 0 })
  t.same(kinds(of('prepared', 1, 1, 10)), ['gone', 'pend'], 'the lease is over')
  t.same(kinds(tasks.apply({ kind: 'lease', untilMs: 1e9, nowMs: 10 })), ['prepare'])
  t.same(of('prepared', 1, 1, 10), [])
  t.same(of('go', 1, 1, 10), [])
  t.same(exited(1, 1), [])
  t.equal(kind(1), 'preparing')
  t.same(kinds(of('prepared', 1, 2, 10)), ['start'])
})

t.test('the end of a run that was not started is none', async (t) => {
  const { execute, exited, kind } = table()
  execute(job(1))
  t.same(exited(1, 1), [])
  t.equal(kind(1), 'preparing')
})

t.test('a time limit runs from the start, the ladder from its end', async (t) => {
  const { execute, of, started, exited } = table()
  execute(job(1, { timeout_ms: 50 }))
  of('prepared', 1, 1, 100)
  of('go', 1, 1, 100)
  t.match(started(1, 1, 100), [
    { kind: 'report-started' },
    { kind: 'timer', afterMs: 50 },
  ])
  t.match(of('timer', 1, 1, 149), [{ kind: 'timer', afterMs: 1 }])
  t.match(of('timer', 1, 1, 150), [
    { kind: 'signal', signal: 'SIGTERM' },
    { kind: 'timer', afterMs: limits.killGraceMs },
  ])
  t.match(of('timer', 1, 1, 151), [{ kind: 'timer', afterMs: limits.killGraceMs - 1 }])
  t.match(of('timer', 1, 1, 150 + limits.killGraceMs), [
    { kind: 'signal', signal: 'SIGKILL' },
  ])
  t.match(exited(1, 1), [{ kind: 'gone' }, { outcome: { error: { kind: 'TimedOut' } } }])
})

t.test('a limit longer than a timer can be is waited for in pieces', async (t) => {
  const { execute, of, started } = table()
  const longest = 2 ** 31 - 1
  execute(job(1, { timeout_ms: longest + 10 }))
  of('prepared', 1, 1)
  of('go', 1, 1)
  t.match(started(1, 1), [{}, { kind: 'timer', afterMs: longest }])
  t.match(of('timer', 1, 1, longest), [{ kind: 'timer', afterMs: 10 }])
})

t.test('an aborted attempt is fenced, wherever it was', async (t) => {
  const { execute, abort, running, exited, of } = table()
  execute(job(1))
  t.same(kinds(abort(1, 1)), ['unpend', 'gone'])
  running(2, 2)
  exited(2, 2)
  t.same(kinds(abort(2, 1)), ['discard'])
  running(3, 3, { timeout_ms: 10 })
  of('timer', 3, 3, 10)
  t.same(abort(3, 1), [], 'the ladder runs already')
  t.same(kinds(exited(3, 3)), ['gone'], 'and nobody wants to hear of it')
  for (const again of [job(1), job(2), job(3, { timeout_ms: 10 })]) {
    t.same(reasons(execute(again)), ['stale-attempt'])
    t.same(reasons(execute({ ...again, attempt: 2 })), [], 'a later one may come')
    abort(Number(again.task_id.split('-')[1]), 2)
  }
})

t.test('an abort of the attempt that ends leaves the one that waits', async (t) => {
  const { running, abort, execute, exited, kind } = table()
  running(1, 1)
  abort(1, 1)
  execute(job(1, { attempt: 2 }))
  t.same(abort(1, 1), [])
  t.same(kinds(exited(1, 1)), ['gone', 'prepare'])
  t.equal(kind(1), 'preparing')
})

t.test('an abort of the attempt that waits fences it', async (t) => {
  const { running, abort, execute, exited, kind } = table()
  running(1, 1)
  abort(1, 1)
  execute(job(1, { attempt: 2 }))
  t.same(kinds(abort(1, 2)), ['unpend', 'dropped'])
  t.same(kinds(exited(1, 1)), ['gone'])
  t.equal(kind(1), undefined)
  t.same(reasons(execute(job(1, { attempt: 2 }))), ['stale-attempt'])
  t.same(reasons(execute(job(1, { attempt: 3 }))), [])
})

t.test('an attempt that waits does not start before it is on record', async (t) => {
  const { tasks, running, abort, exited, kind } = table()
  running(1, 1)
  abort(1, 1)
  const task = job(1, { attempt: 2 })
  t.same(kinds(tasks.apply({ kind: 'execute', task, nowMs: 0 })), ['pend'])
  t.same(kinds(exited(1, 1)), ['gone'])
  t.same(tasks.apply({ kind: 'lease', untilMs: 1e9, nowMs: 0 }), [])
  t.equal(kind(1), 'pending')
  t.same(kinds(tasks.apply({ kind: 'persisted', tasks: [task], nowMs: 0 })), ['prepare'])
})

t.test('an aborted attempt that still ends is over', async (t) => {
  const { tasks, running, abort, execute } = table()
  running(1, 1)
  abort(1, 1)
  t.same(reasons(execute(job(1))), ['stale-attempt'])
  t.same(tasks.status(id(1)), { kind: 'Unknown' })
  t.same(tasks.inventory(LEDGER), [])
})

t.test('a higher attempt of what is fetched runs under its number', async (t) => {
  const { execute, of, started } = table()
  execute(job(1))
  t.same(execute(job(1, { attempt: 2 })), [])
  of('prepared', 1, 1)
  t.match(of('go', 1, 1), [{ kind: 'spawn', task: { attempt: 2 } }])
  t.match(started(1, 1), [{ kind: 'report-started', attempt: 2 }])
})

t.test('a higher attempt behind an ending one silences it, and comes once', async (t) => {
  const { tasks, running, of, execute, exited } = table()
  running(1, 1, { timeout_ms: 10 })
  of('timer', 1, 1, 10)
  const next = job(1, { timeout_ms: 10, attempt: 2 })
  t.same(kinds(execute(next)), ['pend'])
  t.same(execute(next), [], 'told again')
  t.same(reasons(execute(job(1, { timeout_ms: 10 }))), ['stale-attempt'])
  t.same(reasons(execute({ ...next, attempt: 3, arguments: ['x'] })), ['conflict'])
  t.same(tasks.status(id(1)), { kind: 'Pending' })
  t.match(exited(1, 1), [{ kind: 'gone' }, { kind: 'prepare', task: { attempt: 2 } }])
})

t.test(
  'a full worker keeps no attempt waiting, and no failure is lost for it',
  async (t) => {
    const { running, abort, execute, exited, kind } = table({ pending: 1 })
    running(1, 1)
    exited(1, 1, { exitCode: 1 })
    running(2, 2)
    execute(job(3))
    t.same(reasons(execute(job(1, { attempt: 2 }))), ['busy'])
    t.equal(kind(1), 'finished')
    abort(2, 1)
    t.same(reasons(execute(job(2, { attempt: 2 }))), ['busy'])
    t.same(kinds(exited(2, 2)), ['gone', 'prepare'])
    t.equal(kind(2), undefined)
  },
)

t.test('a record is of the attempt that it names', async (t) => {
  const { tasks, kind } = table()
  const second = job(1, { attempt: 2 })
  tasks.apply({ kind: 'execute', task: job(1), nowMs: 0 })
  tasks.apply({ kind: 'execute', task: second, nowMs: 0 })
  t.same(tasks.apply({ kind: 'persisted', tasks: [job(1)], nowMs: 0 }), [])
  t.same(tasks.apply({ kind: 'unpersisted', tasks: [job(1)] }), [])
  t.equal(kind(1), 'pending')
  t.match(tasks.apply({ kind: 'persisted', tasks: [second], nowMs: 0 }), [
    { kind: 'prepare', task: second },
  ])
})

t.test(
  'what waits behind an ending one and cannot be recorded is not here',
  async (t) => {
    const { tasks, running, abort, exited, kind } = table()
    running(1, 1)
    abort(1, 1)
    const second = job(1, { attempt: 2 })
    tasks.apply({ kind: 'execute', task: second, nowMs: 0 })
    t.same(kinds(tasks.apply({ kind: 'unpersisted', tasks: [second] })), ['unpend'])
    t.same(kinds(exited(1, 1)), ['gone'])
    t.equal(kind(1), undefined)
  },
)

t.test('an inventory is of one ledger, a status without output', async (t) => {
  const tasks = new WorkerTasks(limits)
  const stdout = { size: 2, sha256: '0'.repeat(64), inline: Buffer.from('hi') }
  const outcome = { kind: 'Completed', result: { ...result, stdout } } as const
  const other = { ...job(1), task_id: `${OTHER}-1` }
  tasks.restore({
    pending: [job(2)],
    outcomes: [
      { kind: 'finished', task: job(1), outcome },
      { kind: 'finished', task: other, outcome },
    ],
  })
  t.same(
    tasks
      .inventory(LEDGER)
      .map(({ task_id }) => task_id)
      .sort(),
    [id(1), id(2)],
  )
  const status = tasks.status(id(1))
  t.match(status, { kind: 'Completed', result: { stdout: { size: 2 } } })
  t.notMatch(status, { result: { stdout: { inline: stdout.inline } } })
})

t.test('tombstones that are too old are gone, not only overlooked', async (t) => {
  const stones = new Tombstones({ ageMs: 100, count: 10 })
  stones.put(id(1), 1, false, 0)
  stones.put(id(2), 1, false, 101)
  t.equal(stones.size, 1)
})
