// The manager in an in-memory mesh: tasks, from submission to outcome.

import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { createMemoryLedger, type MemoryLedger } from '../../src/ledger/memory.ts'
import {
  createWorld,
  done,
  exec,
  LEDGER,
  noop,
  taskId,
} from '../support/manager-world.ts'
import { nodeIdOf } from '../support/memory-mesh.ts'

t.test('a task goes from a client to a worker and back', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1')
  const client = world.client('c')
  const submitted = client.begin('TasksSubmit', { key: 'k', tasks: [noop(), noop()] })
  const waiting = client.begin('TasksWait', { batch: 'k', after: 0, wait_ms: 10_000 })
  await world.net.settle()
  t.match(submitted.answer, {
    kind: 'TasksSubmitted',
    body: { task_ids: [taskId(1), taskId(2)] },
  })
  t.equal(worker.executes.length, 1, 'both leave in one message')
  const [first, second] = worker.assigned
  if (first === undefined || second === undefined) throw new Error('two are assigned')
  t.match(await worker.start(first), { kind: 'Ack' })
  t.match(await client.ask('TaskShow', { task_id: taskId(1) }), {
    body: { summary: { state: 'running', host_name: 'w1' } },
  })
  t.equal(waiting.answer, undefined)
  t.match(await worker.complete(first), { kind: 'Ack' })
  t.match(waiting.answer, {
    kind: 'TasksDone',
    body: { done: [{ task_id: taskId(1), state: 'completed' }], cursor: 1, open: 1 },
  })
  await worker.complete(second)
  t.match(await client.ask('TasksWait', { batch: 'k', after: 1, wait_ms: 0 }), {
    body: { done: [{ task_id: taskId(2) }], cursor: 2, open: 0, running: 0 },
  })
  t.same(world.manager.counts, { open: 0, queued: 0, running: 0, closed: 2 })
})

t.test('the same key is the same submission, but for other tasks', async (t) => {
  const world = createWorld()
  const client = world.client('c')
  const tasks = [exec({ arguments: ['a'], env: { A: '1', B: '2' } })]
  const first = await client.ask('TasksSubmit', { key: 'k', tasks })
  const again = [exec({ env: { B: '2', A: '1' }, arguments: ['a'] })]
  t.same(await client.ask('TasksSubmit', { key: 'k', tasks: again }), first)
  t.match(await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] }), {
    kind: 'Refused',
    body: { reason: 'conflict' },
  })
  t.equal(world.manager.counts.open, 1)
})

t.test('nothing is said before it is durable', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1')
  const client = world.client('c')
  world.ledger.forgetUnsettled()
  const lost = client.begin('TasksSubmit', { key: 'k', tasks: [noop()] })
  while (world.net.deliver());
  await Promise.resolve() // the end of the turn: the commit is under way
  world.ledger.forgetUnsettled()
  await world.net.settle()
  t.equal(lost.answer, undefined)
  t.equal(worker.assigned.length, 0)
})

t.test(
  'a full ledger refuses submissions, but keeps outcomes until they fit',
  async (t) => {
    const world = createWorld()
    const worker = await world.worker('w1')
    const client = world.client('c')
    await client.ask('TasksSubmit', { key: 'k', tasks: [noop()] })
    const [task] = worker.assigned
    if (task === undefined) throw new Error('one is assigned')
    world.ledger.spoil({ kind: 'full' })
    const outcome = worker.complete(task).catch((error: unknown) => error)
    await world.net.settle()
    t.match(await outcome, { message: 'TaskCompleted has no answer' })
    world.ledger.spoil(undefined)
    world.clock.advance(200)
    await world.net.settle()
    t.equal(world.manager.counts.closed, 1)
    world.ledger.spoil({ kind: 'full' })
    t.match(await client.ask('TasksSubmit', { key: 'k2', tasks: [noop()] }), {
      kind: 'Refused',
      body: { reason: 'busy' },
    })
    t.match(await client.ask('TasksWait', { batch: 'k2', after: 0, wait_ms: 0 }), {
      kind: 'NotFound',
    })
  },
)

t.test(
  'a manager with a full ledger ends all the same, and acknowledges nothing',
  async (t) => {
    const world = createWorld()
    const worker = await world.worker('w1')
    await world.client('c').ask('TasksSubmit', { key: 'k', tasks: [noop(), noop()] })
    const [first, second] = worker.assigned
    if (first === undefined || second === undefined) throw new Error('two are assigned')
    world.ledger.spoil({ kind: 'full' })
    const outcomes = [worker.complete(first), worker.complete(second)]
    const closing = world.manager.close()
    const unanswered = await Promise.allSettled(outcomes)
    t.same(
      unanswered.map(({ status }) => status),
      ['rejected', 'rejected'],
    )
    world.clock.advance(1000)
    await closing
  },
)

t.test('a killed worker loses its tasks to another at once', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1', { listenPort: 7001 })
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  const [task] = one.assigned
  if (task === undefined) throw new Error('one is assigned')
  await one.start(task)
  const two = await world.worker('w2')
  world.net.refused.add('127.0.0.1:7001')
  world.net.cut('w1', 'manager')
  await world.net.settle()
  t.equal(two.assigned.length, 0, 'one refusal is not enough')
  world.clock.advance(100)
  await world.net.settle()
  t.match(two.assigned, [{ task_id: taskId(1), attempt: 2 }])
  t.match(await client.ask('TaskShow', { task_id: taskId(1) }), {
    body: { losses: 1, attempts: [{ host_name: 'w1' }, { host_name: 'w2' }] },
  })
})

t.test('a dying worker whose port still accepts is looked at again', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1', { listenPort: 7001 })
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  t.equal(one.assigned.length, 1)
  const two = await world.worker('w2')
  world.net.cut('w1', 'manager')
  await world.net.settle()
  world.net.refused.add('127.0.0.1:7001')
  world.clock.advance(100)
  await world.net.settle()
  t.equal(two.assigned.length, 0, 'one refusal is not enough')
  world.clock.advance(100)
  await world.net.settle()
  t.match(two.assigned, [{ task_id: taskId(1), attempt: 2 }])
})

t.test('a cancelled task answers when its process group is gone', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1')
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec(), exec()] })
  let gone = () => {}
  worker.handlers.TasksAbord = (_, respond) => {
    gone = () => respond('Ack', {})
  }
  const cancel = client.begin('TasksCancel', { batch: 'k' })
  await world.net.settle()
  t.equal(cancel.answer, undefined)
  gone()
  await world.net.settle()
  t.match(cancel.answer, { body: { aborted: 2, closed: 0, unknown: 0 } })
  t.match(await client.ask('TasksWait', { batch: 'k', after: 0, wait_ms: 0 }), {
    body: { done: [{ state: 'aborted' }, { state: 'aborted' }], open: 0 },
  })
})

t.test('the record of a task tells the pid of each attempt', async (t) => {
  const world = createWorld({ retryFirstMs: 1 })
  const worker = await world.worker('w1')
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec({ retries: 1 })] })
  for (const pid of [4711, 4712]) {
    const task = worker.assigned.at(-1)
    if (task === undefined) throw new Error('it is assigned')
    const { task_id, attempt } = task
    await worker.ask('TaskStarted', { rel: worker.rel, task_id, attempt, at_ms: 5, pid })
    await worker.fail(task)
    world.clock.advance(10)
    await world.net.settle()
  }
  t.match(await client.ask('TaskShow', { task_id: taskId(1) }), {
    body: {
      attempts: [
        { attempt: 1, host_name: 'w1', pid: 4711 },
        { attempt: 2, host_name: 'w1', pid: 4712 },
      ],
    },
  })
})

t.test('explain says why in words', async (t) => {
  const world = createWorld()
  const client = world.client('c')
  const requires = { cores: 8 }
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec({ requires })] })
  t.match(await client.ask('TasksExplain', { task_id: taskId(1) }), {
    body: { summary: 'no worker is connected', nodes: [] },
  })
  await world.worker('w1', { cores: 2 })
  t.match(await client.ask('TasksExplain', { task_id: taskId(1) }), {
    body: {
      summary: 'no worker can run it',
      nodes: [{ host_name: 'w1', candidate: false, reason: 'needs 8 cores, has 2' }],
    },
  })
})

t.test('explain says how a task ended, in one sentence', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1')
  const client = world.client('c')
  const errors = [
    undefined,
    { kind: 'RunningError', exit_code: 3 },
    { kind: 'RunningError', signal: 'SIGKILL' },
    { kind: 'SpawnError', code: 'ENOENT', reason: 'no such program' },
    { kind: 'TimedOut' },
  ] as const
  await client.ask('TasksSubmit', { key: 'k', tasks: errors.map(() => noop()) })
  for (const [at, error] of errors.entries()) {
    const task = worker.assigned[at]
    if (task === undefined) throw new Error('all are assigned')
    await (error === undefined ? worker.complete(task) : worker.fail(task, error))
  }
  const summaries: string[] = []
  for (let at = 1; at <= errors.length; at++) {
    const answer = await client.ask('TasksExplain', { task_id: taskId(at) })
    if (answer.kind === 'TaskReasons') summaries.push(answer.body.summary)
  }
  t.same(summaries, [
    'it succeeded on w1',
    'it failed on w1: RunningError, exit code 3',
    'it failed on w1: RunningError, ended by SIGKILL',
    'it failed on w1: SpawnError, no such program',
    'it failed on w1: TimedOut',
  ])
  await client.ask('TasksSubmit', {
    key: 'c',
    tasks: [exec({ requires: { cores: 64 } })],
  })
  await client.ask('TasksCancel', { batch: 'c' })
  t.match(await client.ask('TasksExplain', { task_id: taskId(6) }), {
    body: { state: 'aborted', summary: 'it was cancelled' },
  })
})

t.test('explain says which worker is kept free for a larger task', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1', { cores: 2 })
  const client = world.client('c')
  const large = exec({ requires: { cores: 2 } })
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec(), exec(), large, exec()] })
  world.clock.advance(5_000)
  const [first] = worker.assigned
  if (first === undefined) throw new Error('two are assigned')
  await worker.complete(first, done(1_000))
  t.equal(worker.assigned.length, 2, 'the free core is kept')
  t.match(await client.ask('TasksExplain', { task_id: taskId(4) }), {
    body: {
      summary: 'it waits for room; 1 of 1 workers can run it',
      nodes: [{ candidate: true, reason: 'is kept free for a larger task' }],
    },
  })
})

t.test('a failing task is tried again after a back-off, then fails', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1')
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec({ retries: 1 })] })
  const [first] = worker.assigned
  if (first === undefined) throw new Error('one is assigned')
  await worker.fail(first)
  t.equal(worker.assigned.length, 1)
  world.clock.advance(1_000)
  await world.net.settle()
  const second = worker.assigned[1]
  if (second === undefined) throw new Error('it is assigned again')
  t.equal(second.attempt, 2)
  await worker.fail(first)
  t.equal(world.manager.counts.open, 1, 'the old attempt means nothing')
  await worker.fail(second)
  t.match(await client.ask('TaskShow', { task_id: taskId(1) }), {
    body: { summary: { state: 'failed', error: { kind: 'RunningError', exit_code: 1 } } },
  })
})

t.test('inline output is read from the outcome, by offset', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1')
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  const [task] = worker.assigned
  if (task === undefined) throw new Error('one is assigned')
  const read = { task_id: taskId(1), fd: 1 as const, offset: 2, max: 10, wait_ms: 60_000 }
  worker.handlers.TaskOutputRead = (_, respond) => respond('NotFound', {})
  const early = client.begin('TaskLogRead', read)
  await world.net.settle()
  t.equal(early.answer, undefined)
  const inline = new TextEncoder().encode('hello')
  await worker.complete(task, {
    ...done(),
    stdout: { size: 5, sha256: '0'.repeat(64), inline },
  })
  t.match(early.answer, {
    kind: 'TaskOutputData',
    body: { offset: 2, data: new TextEncoder().encode('llo'), eof: true },
  })
})

t.test(
  'where many tasks are open, commits that cost are made at a distance',
  async (t) => {
    const inner = createMemoryLedger({ id: LEDGER })
    const commits: number[] = []
    const ledger: MemoryLedger = {
      ...inner,
      gatherMs: 10,
      commit: (changes, settle) => {
        commits.push(changes.length)
        inner.commit(changes, settle)
      },
    }
    const world = createWorld({}, ledger)
    const one = await world.worker('w1', { cores: 40 })
    const client = world.client('c')
    await client.ask('TasksSubmit', { key: 'one', tasks: [exec()] })
    t.same(commits, [1, 1], 'few: the submission and its hand-out, each at once')
    const tasks = Array.from({ length: 39 }, () => exec())
    const many = client.begin('TasksSubmit', { key: 'many', tasks })
    await world.net.settle()
    t.equal(many.answer, undefined, 'many are open now')
    world.clock.advance(10)
    await world.net.settle()
    t.match(many.answer, { kind: 'TasksSubmitted' })
    world.clock.advance(10)
    await world.net.settle()
    t.equal(one.assigned.length, 40)
    const before = commits.length
    const acks = one.assigned.slice(0, 5).map(({ task_id, attempt }) => {
      const body = { rel: one.rel, task_id, attempt, result: done() }
      const acked: { kind?: string } = {}
      one.mesh.ask(nodeIdOf('manager'), 'TaskCompleted', body, 60_000, (outcome) => {
        if (E.isRight(outcome)) acked.kind = outcome.right.kind
      })
      return acked
    })
    await world.net.settle()
    world.clock.advance(9)
    await world.net.settle()
    t.same(
      acks.map(({ kind }) => kind),
      Array(5).fill(undefined),
      'nothing is acknowledged before it is on record',
    )
    world.clock.advance(1)
    await world.net.settle()
    t.same(
      acks.map(({ kind }) => kind),
      Array(5).fill('Ack'),
    )
    t.equal(commits.length, before + 1, 'in one')
    const [sixth] = one.assigned.slice(5)
    if (sixth === undefined) throw new Error('Expected a sixth')
    world.clock.advance(50)
    await one.complete(sixth)
    t.equal(commits.length, before + 2, 'after a pause it is written at once')
    const closing = one.complete(one.assigned[6] ?? sixth).catch(() => undefined)
    await world.manager.close()
    await closing
    t.equal(commits.length, before + 3, 'and at the end')
  },
)
