// The worker's table of tasks: every row, then random lists of events with invariants.

import fc from 'fast-check'
import t from 'tap'
import type { Assignment } from '../../protocol/index.ts'
import { isSameContent, refusal } from '../../src/machines/admission.ts'
import { Tombstones } from '../../src/machines/tombstones.ts'
import type { TaskEffect, TaskEvent } from '../../src/machines/worker-task.ts'
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

t.test('the way of a task: pending, running, outbox, tombstone', async (t) => {
  const { tasks, execute, of, started, exited, acked } = table()
  t.same(kinds(execute(job(1))), ['pend', 'prepare'])
  t.same(tasks.status(id(1)), { kind: 'Pending' })
  t.same(kinds(of('prepared', 1, 1)), ['start'])
  t.same(kinds(of('go', 1, 1)), ['spawn'])
  t.same(kinds(started(1, 1)), ['report-started'])
  t.same(tasks.status(id(1)), { kind: 'Started', at_ms: 77 })
  t.match(exited(1, 1), [
    { kind: 'gone', isSilent: false },
    { kind: 'outcome', outcome: { kind: 'Completed', result } },
  ])
  t.same(tasks.inventory(LEDGER), [{ task_id: id(1), attempt: 1, status: 'Completed' }])
  t.same(acked(1), [{ kind: 'discard', taskId: id(1), isDelivered: true }])
  t.same(tasks.status(id(1)), { kind: 'Unknown' })
  t.equal(tasks.tombstones, 1)
  t.notOk(tasks.hasWork(LEDGER))
})

t.test('nothing starts before its record is durable', async (t) => {
  const { tasks } = table()
  const task = job(1)
  t.same(kinds(tasks.apply({ kind: 'execute', task, nowMs: 0 })), ['pend'])
  const undone = tasks.apply({ kind: 'unpersisted', tasks: [task] })
  t.same(kinds(undone), ['unpend'])
  t.same(tasks.status(id(1)), { kind: 'Unknown' })
})

t.test('the same attempt again starts nothing', async (t) => {
  const { running, execute, exited, acked } = table()
  running(1, 1)
  t.same(kinds(execute(job(1))), ['report-started'])
  exited(1, 1)
  t.same(kinds(execute(job(1))), ['resend'])
  acked(1)
  t.same(execute(job(1)), [], 'delivered: accepted, and that is all')
})

t.test('a lower attempt is stale, other content a conflict', async (t) => {
  const { running, execute, exited, acked } = table()
  running(1, 1, { attempt: 2 })
  t.same(reasons(execute(job(1))), ['stale-attempt'])
  t.same(reasons(execute(job(1, { attempt: 3, arguments: ['a'] }))), ['conflict'])
  exited(1, 1)
  t.same(reasons(execute(job(1, { attempt: 2, timeout_ms: 9 }))), ['conflict'])
  acked(1, 2)
  t.same(reasons(execute(job(1))), ['stale-attempt'])
})

t.test('a higher attempt adopts what waits or runs', async (t) => {
  const { running, execute, exited, tasks } = table()
  running(1, 1)
  execute(job(2))
  t.match(execute(job(1, { attempt: 2 })), [{ kind: 'report-started', attempt: 2 }])
  t.same(kinds(execute(job(2, { attempt: 4 }))), ['pend'])
  t.match(tasks.inventory(LEDGER), [
    { attempt: 2, status: 'Started' },
    { attempt: 4, status: 'Pending' },
  ])
  t.match(exited(1, 1), [
    {},
    { kind: 'outcome', task: { attempt: 2 } },
    { kind: 'prepare', task: { attempt: 4 } },
  ])
})

t.test('an outcome that was dropped is not what an Ack has taken', async (t) => {
  for (const isDrop of [true, false]) {
    const { tasks, running, exited, execute } = table()
    running(1, 1)
    exited(1, 1)
    tasks.apply({ kind: 'acked', taskId: id(1), attempt: 1, isDrop, nowMs: 0 })
    const effects = execute(job(1))
    if (isDrop) t.match(effects, [{ kind: 'refuse', reason: 'stale-attempt' }])
    else t.same(effects, [], 'its manager has it')
  }
})

t.test('a higher attempt gets an undelivered success again, not a failure', async (t) => {
  const { running, execute, exited, acked, kind } = table()
  running(1, 1)
  exited(1, 1)
  t.match(execute(job(1, { attempt: 2 })), [{ kind: 'outcome', task: { attempt: 2 } }])
  t.same(acked(1, 1), [], 'the Ack of the old attempt is not for it')
  running(2, 2)
  exited(2, 2, { exitCode: 1 })
  t.same(kinds(execute(job(2, { attempt: 2 }))), ['discard', 'pend', 'prepare'])
  t.equal(kind(2), 'preparing')
})

t.test('a higher attempt waits until the old group is gone', async (t) => {
  const { running, execute, exited, abort, tasks } = table()
  running(1, 1)
  abort(1, 1)
  t.same(tasks.inventory(LEDGER), [], 'aborted: not spoken of')
  t.same(kinds(execute(job(1, { attempt: 2 }))), ['pend'])
  t.match(tasks.inventory(LEDGER), [{ attempt: 2, status: 'Pending' }])
  t.match(exited(1, 1), [
    { kind: 'gone', isSilent: true },
    { kind: 'prepare', task: { attempt: 2 } },
  ])
})

t.test(
  'the ladder: TERM at the limit, KILL after the grace, the cause kept',
  async (t) => {
    const { running, of, exited, kind, tasks } = table()
    running(1, 1, { timeout_ms: 1000, kill_grace_ms: 50 })
    t.match(of('timer', 1, 1, 999), [{ kind: 'timer', afterMs: 1 }])
    t.match(of('timer', 1, 1, 1000), [
      { kind: 'signal', signal: 'SIGTERM' },
      { kind: 'timer', afterMs: 50 },
    ])
    t.equal(kind(1), 'ending')
    t.match(tasks.inventory(LEDGER), [{ status: 'Ending' }])
    t.match(of('timer', 1, 1, 1050), [{ kind: 'signal', signal: 'SIGKILL' }])
    t.match(exited(1, 1), [
      {},
      { kind: 'outcome', outcome: { kind: 'Error', error: { kind: 'TimedOut' } } },
    ])
  },
)

t.test('an abort, by what it meets', async (t) => {
  const { running, execute, exited, abort, tasks } = table()
  running(1, 1)
  execute(job(2))
  t.same(kinds(abort(2, 1)), ['unpend', 'dropped'])
  t.same(reasons(execute(job(2))), ['stale-attempt'], 'a tombstone')
  t.same(abort(3, 2), [], 'absent: a fence')
  t.same(reasons(execute(job(3, { attempt: 2 }))), ['stale-attempt'])
  t.same(kinds(execute(job(3, { attempt: 3 }))), ['pend'], 'later attempts pass')
  t.same(abort(3, 2), [], 'and are not meant by an old abort')
  abort(3)
  t.same(kinds(abort(1)), ['signal', 'timer'], 'a bare id: every attempt so far')
  t.same(kinds(exited(1, 1)), ['gone'], 'no report')
  running(4, 2)
  exited(4, 2)
  t.same(abort(4, 1), [{ kind: 'discard', taskId: id(4), isDelivered: false }])
  t.notOk(tasks.hasWork(LEDGER))
})

t.test('an abort while the program is fetched frees the slot at once', async (t) => {
  const { execute, abort, of } = table()
  execute(job(1))
  execute(job(2))
  t.same(kinds(abort(1)), ['unpend', 'gone', 'prepare'])
  t.same(of('prepared', 1, 1), [], 'too late')
})

t.test('the lease is checked before each start', async (t) => {
  const { tasks, execute, of, kind } = table()
  execute(job(1))
  t.same(kinds(of('prepared', 1, 1, 1e9)), ['gone', 'pend'])
  t.equal(kind(1), 'pending')
  const again = tasks.apply({ kind: 'lease', untilMs: 2e9, nowMs: 1e9 })
  t.same(kinds(again), ['prepare'])
  of('prepared', 1, 2, 1e9)
  tasks.apply({ kind: 'orphan', ledgerId: LEDGER, nowMs: 1e9 })
  t.same(kinds(of('go', 1, 2, 1e9)), ['gone', 'pend'])
})

t.test('a lost manager: kill is killed and reported, finish goes on', async (t) => {
  const { tasks, running, exited, kind } = table({ cores: 2 })
  running(1, 1, { on_orphan: 'kill' })
  running(2, 2)
  const effects = tasks.apply({ kind: 'orphan', ledgerId: LEDGER, nowMs: 0 })
  t.same(effects, [{ kind: 'signal', taskId: id(1), run: 1, signal: 'SIGKILL' }])
  t.equal(kind(2), 'running')
  t.match(exited(1, 1, { signal: 'SIGKILL' }), [
    {},
    { outcome: { kind: 'Error', error: { kind: 'Aborted' } } },
  ])
})

t.test(
  'forget ends all of a ledger silently, release what was not started',
  async (t) => {
    const { tasks, running, execute, exited, kind } = table()
    running(1, 1)
    exited(1, 1)
    running(2, 2)
    execute(job(3))
    const released = tasks.apply({ kind: 'release', ledgerId: LEDGER, nowMs: 0 })
    t.same(kinds(released), ['unpend', 'dropped'])
    t.equal(kind(1), 'finished')
    t.equal(kind(2), 'running')
    const forgotten = tasks.apply({ kind: 'forget', ledgerId: LEDGER, nowMs: 0 })
    t.same(kinds(forgotten), ['discard', 'signal', 'timer'])
    t.same(kinds(exited(2, 2)), ['gone'])
    t.notOk(tasks.hasWork(LEDGER))
  },
)

t.test('of what was not started, release gives an exclusive task back in words', (t) => {
  const { tasks, running, execute, kind } = table({ cores: 2 })
  running(1, 1, { exclusive: true })
  running(2, 2, { exclusive: true })
  execute(job(3, { exclusive: true }))
  execute(job(4))
  const released = tasks.apply({ kind: 'release', ledgerId: LEDGER, nowMs: 0 })
  t.same(kinds(released), ['unpend', 'dropped', 'outcome', 'unpend', 'dropped'])
  t.match(released[2], {
    outcome: { error: { kind: 'Aborted', reason: /lost the man/ } },
  })
  t.same([1, 2, 3].map(kind), ['running', 'running', 'finished'])
  t.end()
})

t.test(
  'slots, memory and resources are never exceeded, and the order is kept',
  async (t) => {
    const { tasks, execute, running, exited } = table({ cores: 4, pending: 9 })
    running(1, 1, { requires: { cores: 2, memory: 60 } })
    t.same(kinds(execute(job(2, { requires: { memory: 60 } }))), ['pend'])
    t.same(kinds(execute(job(3))), ['pend'], 'it could run, but it is not its turn')
    t.equal(tasks.freeSlots, 2)
    t.same(kinds(exited(1, 1)), ['gone', 'outcome', 'prepare', 'prepare'])
    execute(job(4, { requires: { resources: { gpu: 1 } } }))
    t.same(kinds(execute(job(5, { requires: { resources: { gpu: 1 } } }))), ['pend'])
    t.match(tasks, { running: 3, pending: 1 })
  },
)

t.test('tasks that need no core do not wait for one', async (t) => {
  const { tasks, running, execute } = table()
  running(1, 1)
  t.same(kinds(execute(job(2))), ['pend'])
  t.same(kinds(execute(job(3, { requires: { cores: 0 } }))), ['pend', 'prepare'])
  t.same(kinds(execute(job(4, { job_addr: 'noop:' }))), ['pend', 'prepare'])
  t.match(tasks, { running: 3, freeSlots: 0 })
})

t.test(
  'no more run at a time than its owner allows, also of those without a core',
  async (t) => {
    const { tasks, running, execute, exited } = table({ cores: 4, running: 2 })
    running(1, 1)
    t.same(kinds(execute(job(2, { requires: { cores: 0 } }))), ['pend', 'prepare'])
    t.same(kinds(execute(job(3, { requires: { cores: 0 } }))), ['pend'])
    t.same(kinds(execute(job(4))), ['pend'])
    t.match(tasks, { running: 2, pending: 2 })
    t.same(kinds(exited(1, 1)), ['gone', 'outcome', 'prepare'])
    t.match(tasks, { running: 2, pending: 1 })
  },
)

t.test('a draining worker takes nothing and starts nothing', async (t) => {
  const { tasks, running, execute, exited } = table()
  running(1, 1)
  execute(job(2))
  tasks.apply({ kind: 'drain' })
  t.same(reasons(execute(job(3))), ['draining'])
  t.same(kinds(tasks.apply({ kind: 'end-all', nowMs: 0 })), [
    'signal',
    'timer',
    'unpend',
    'dropped',
  ])
  t.same(kinds(exited(1, 1)), ['gone', 'outcome'])
})

t.test('what an earlier life left waits for the lease', async (t) => {
  const tasks = new WorkerTasks(limits)
  const outcome = { kind: 'Completed', result } as const
  tasks.restore({
    pending: [job(1)],
    outcomes: [{ kind: 'finished', task: job(2), outcome }],
  })
  t.same(tasks.inventory(LEDGER), [
    { task_id: id(1), attempt: 1, status: 'Pending' },
    { task_id: id(2), attempt: 1, status: 'Completed' },
  ])
  t.same(kinds(tasks.apply({ kind: 'lease', untilMs: 10, nowMs: 0 })), ['prepare'])
})

t.test('tombstones end by age and by count, the oldest first', async (t) => {
  const stones = new Tombstones({ ageMs: 100, count: 3 })
  stones.put(id(1), 1, false, 0)
  stones.put(id(2), 1, false, 10)
  stones.put(id(1), 3, true, 20)
  stones.put(id(1), 2, true, 30)
  t.match(stones.get(id(1), 50), { attempt: 3 }, 'never back to a lower one')
  stones.put(id(3), 1, false, 40)
  t.equal(stones.size, 3)
  stones.put(id(4), 1, false, 45)
  t.equal(stones.get(id(2), 50), undefined)
  t.equal(stones.get(id(1), 120), undefined)
  t.match(stones.get(id(3), 120), { attempt: 1 })
})

t.test('content is compared without attempts, bytes by value', async (t) => {
  const one = job(1, { stdin: Buffer.from('a'), env: { A: '1' }, requires: { cores: 1 } })
  t.ok(isSameContent(one, { ...one, attempt: 9, stdin: new Uint8Array([97]) }))
  t.notOk(isSameContent(one, { ...one, stdin: Buffer.from('b') }))
  t.notOk(isSameContent(one, { ...one, env: { A: '1', B: '2' } }))
  t.notOk(isSameContent(one, job(1)))
})

t.test('a task is taken or refused by what it says', async (t) => {
  const at = {
    hostName: 'h',
    cores: 2,
    memoryBytes: 10,
    kinds: ['exec'],
    labels: { zone: 'a' },
    resources: { gpu: 1 },
    isLimited: false,
    users: {
      own: 'me',
      byDefault: undefined,
      others: new Map([['bob', { name: 'bob', uid: 1, gid: 1, home: '/' }]]),
    },
  }
  const rows: [Partial<Assignment>, string | undefined][] = [
    [{}, undefined],
    [{ job_addr: 'js:x' }, 'unsupported-kind'],
    [{ requires: { cores: 3 } }, 'specs'],
    [{ requires: { memory: 11 } }, 'specs'],
    [{ requires: { resources: { gpu: 2 } } }, 'specs'],
    [{ requires: { labels: { zone: 'b' } } }, 'specs'],
    [{ requires: { host_name: 'other' } }, 'specs'],
    [{ requires: { cores: 2, labels: { zone: 'a' }, resources: { gpu: 1 } } }, undefined],
    [{ env: { NODE_OPTIONS: '-r x' } }, 'forbidden'],
    [{ env: { LD_LIBRARY_PATH: '/' } }, 'forbidden'],
    [{ env: { PATH: '/' } }, undefined],
    [{ env: { LD_PRELOAD: 'x' }, unsafe_env: true }, undefined],
    [{ requires: { within: [['h*'], ['h', 'x']] } }, undefined],
    [{ requires: { within: [['h*'], ['x']] } }, 'specs'],
    [{ user: 'bob' }, undefined],
    [{ user: 'me' }, undefined],
    [{ user: 'root' }, 'forbidden'],
    [{ env: { A: 'a\0b' } }, 'invalid'],
    [{ arguments: ['a\0b'] }, 'invalid'],
    [{ dir: 'here' }, 'invalid'],
    [{ stdin: Buffer.from('x'), stdin_live: true }, 'invalid'],
  ]
  for (const [more, reason] of rows) t.equal(refusal(job(1, more), at)?.reason, reason)
  const limited = { ...at, isLimited: true }
  const vouched = { env: { LD_PRELOAD: 'x' }, unsafe_env: true }
  t.same(refusal(job(1, vouched), limited), {
    reason: 'forbidden',
    message: 'a task may not set LD_PRELOAD here',
  })
  t.match(refusal(job(1, { env: { PATH: '/' } }), limited), { message: /set PATH here/ })
  t.equal(refusal(job(1, { env: { A: 'b' } }), limited), undefined)
})

const taskNumber = fc.integer({ min: 1, max: 4 })
const attempt = fc.integer({ min: 1, max: 3 })
type Act =
  | { readonly act: 'execute'; readonly n: number; readonly attempt: number }
  | { readonly act: 'abort' | 'acked'; readonly n: number; readonly attempt: number }
  | { readonly act: 'next' | 'exit' | 'timer'; readonly n: number }
  | { readonly act: 'lease' | 'orphan' | 'forget' | 'release' }
  | { readonly act: 'pass'; readonly ms: number }
const anyAct: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      act: fc.constant('execute' as const),
      n: taskNumber,
      attempt,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      act: fc.constantFrom('next', 'exit', 'timer'),
      n: taskNumber,
    }),
  },
  fc.record({ act: fc.constantFrom('abort', 'acked'), n: taskNumber, attempt }),
  fc.record({ act: fc.constantFrom('lease', 'orphan', 'forget', 'release') }),
  fc.record({ act: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 500 }) }),
) as fc.Arbitrary<Act>

t.test('whatever happens, the invariants hold', async (t) => {
  const check = fc.check(
    fc.property(fc.array(anyAct, { maxLength: 120 }), (acts) => {
      const { tasks } = table({ cores: 2 })
      let nowMs = 0
      let leaseUntilMs = 1e9
      const begun = new Set<string>()
      const undelivered = new Set<string>()
      let mayLeave = false
      const hear = (effects: readonly TaskEffect[]): void => {
        for (const effect of effects) {
          if (effect.kind === 'spawn') {
            const key = `${effect.task.task_id} ${effect.task.attempt}`
            if (begun.has(key)) throw new Error(`started twice: ${key}`)
            begun.add(key)
            if (nowMs >= leaseUntilMs) throw new Error('started after the lease')
          }
          if (effect.kind === 'outcome') undelivered.add(effect.task.task_id)
          if (effect.kind === 'discard') {
            if (!mayLeave) throw new Error('an outcome left by itself')
            undelivered.delete(effect.taskId)
          }
        }
      }
      const apply = (event: TaskEvent): void => hear(tasks.apply(event))
      for (const act of acts) {
        mayLeave = false
        switch (act.act) {
          case 'execute': {
            const task = job(act.n, { attempt: act.attempt, timeout_ms: 100 })
            mayLeave = true // a failure gives way to a higher attempt
            apply({ kind: 'execute', task, nowMs })
            apply({ kind: 'persisted', tasks: [task], nowMs })
            break
          }
          case 'abort':
            mayLeave = true
            apply({ kind: 'abort', taskId: id(act.n), attempt: act.attempt, nowMs })
            break
          case 'acked': {
            mayLeave = true
            const ofTask = { taskId: id(act.n), attempt: act.attempt }
            apply({ kind: 'acked', ...ofTask, isDrop: act.attempt % 2 === 0, nowMs })
            break
          }
          case 'next': {
            const entry = tasks.get(id(act.n))
            if (entry === undefined || !('run' in entry)) break
            const { run } = entry
            const taskId = id(act.n)
            if (entry.kind === 'preparing') {
              apply({ kind: 'prepared', taskId, run, nowMs })
              apply({ kind: 'go', taskId, run, nowMs })
            } else apply({ kind: 'started', taskId, run, nowMs, atMs: 1, pid: 1 })
            break
          }
          case 'exit':
          case 'timer': {
            const entry = tasks.get(id(act.n))
            const run = entry !== undefined && 'run' in entry ? entry.run : 0
            const of = { taskId: id(act.n), run, nowMs }
            if (act.act === 'timer') apply({ kind: 'timer', ...of })
            else apply({ kind: 'exited', ...of, end: { exitCode: act.n % 2 }, result })
            break
          }
          case 'lease':
            leaseUntilMs = nowMs + 300
            apply({ kind: 'lease', untilMs: leaseUntilMs, nowMs })
            break
          case 'pass':
            nowMs += act.ms
            break
          default:
            mayLeave = act.act === 'forget'
            leaseUntilMs = Number.NEGATIVE_INFINITY
            apply({ kind: act.act, ledgerId: LEDGER, nowMs })
        }
        if (tasks.running > 2 || tasks.freeSlots + tasks.running !== 2) {
          throw new Error('slots')
        }
        const finished = [...tasks.entries()].filter(({ kind }) => kind === 'finished')
        if (finished.length !== tasks.finished) throw new Error('count of outcomes')
        for (const { task } of finished) {
          if (!undelivered.has(task.task_id)) throw new Error('an outcome untold')
        }
        if (undelivered.size !== finished.length) throw new Error('an outcome lost')
        if (tasks.hasWork(LEDGER) !== [...tasks.entries()].length > 0) {
          throw new Error('work')
        }
      }
    }),
    { numRuns: 500 },
  )
  t.equal(check.failed ? fc.defaultReportMessage(check) : 'holds', 'holds')
})
