// The manager and its workers: relationships, leases, inventories, and what goes wrong.

import t from 'tap'
import type { Assignment } from '../../protocol/index.ts'
import { createMemoryLedger } from '../../src/ledger/memory.ts'
import { startManager } from '../../src/roles/manager.ts'
import {
  createWorld,
  done,
  exec,
  LEDGER,
  noop,
  quiet,
  type TestWorker,
  taskId,
} from '../support/manager-world.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { createMemoryMesh } from '../support/memory-mesh.ts'

const only = (worker: TestWorker, index = 0): Assignment => {
  const task = worker.assigned[index]
  if (task === undefined) throw new Error(`${worker.name} has no assignment ${index}`)
  return task
}

t.test('what only a relationship allows is NotMine from anyone else', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  const two = await world.worker('w2')
  const client = world.client('c')
  const task = { task_id: taskId(1), attempt: 1 }
  for (const rel of ['nothing', one.rel]) {
    t.match(await two.ask('ManagerPing', { rel }), { kind: 'NotMine' })
    t.match(await two.ask('TaskStarted', { rel, ...task, at_ms: 1 }), { kind: 'NotMine' })
    const completed = { rel, ...task, result: done() }
    t.match(await two.ask('TaskCompleted', completed), { kind: 'NotMine' })
    const failed = { rel, ...task, error: { kind: 'TimedOut' } as const }
    t.match(await two.ask('TaskError', failed), { kind: 'NotMine' })
    t.match(await two.ask('ManagerBye', { rel }), { kind: 'Ack' })
  }
  t.match(await one.ask('ManagerPing', { rel: one.rel }), { kind: 'ManagerPong' })
  t.match(await client.ask('TasksPing', { rel: one.rel, tasks: [] }), { kind: 'NotMine' })
  t.match(await client.ask('TasksAbord', { rel: one.rel, tasks: [] }), {
    kind: 'NotMine',
  })
})

t.test('requests of the wrong role get their answer', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1')
  const client = world.client('c')
  const request = { cores: 1, memory: 1, tasks: [], more: false }
  t.match(await client.ask('ManagerRequest', request), {
    kind: 'ManagerAnswer',
    body: { accepted: false },
  })
  t.match(await worker.ask('TasksSubmit', { key: 'k', tasks: [] }), {
    kind: 'Error',
    body: { code: 'wrong-role' },
  })
  t.match(await worker.ask('NodesList', {}), { body: { code: 'wrong-role' } })
  t.match(await worker.ask('BlobRead', { ref: 'x', offset: 0, max: 1 }), {
    kind: 'NotFound',
  })
})

t.test('a manager takes only the workers that it is told to take', async (t) => {
  const world = createWorld({ workers: ['w1'] })
  const one = await world.worker('w1')
  const two = await world.worker('w2')
  t.not(one.rel, '')
  t.match(await two.request(), { body: { accepted: false, retry_after_ms: 5_000 } })
})

t.test('a worker that stays silent loses its tasks when the lease is over', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  await one.start(only(one))
  world.clock.advance(15_000)
  await one.ask('ManagerPing', { rel: one.rel })
  const two = await world.worker('w2')
  world.net.silence('w1', true)
  world.clock.advance(19_999)
  await two.ask('ManagerPing', { rel: two.rel })
  t.equal(two.assigned.length, 0)
  world.clock.advance(1)
  await world.net.settle()
  t.match(two.assigned, [{ attempt: 2 }])
  t.match(await client.ask('TaskShow', { task_id: taskId(1) }), { body: { losses: 0 } })
})

t.test(
  'a manager that was stopped itself first hears what was said meanwhile',
  async (t) => {
    const world = createWorld()
    const one = await world.worker('w1')
    const client = world.client('c')
    await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
    world.clock.stall(60_000)
    t.match(await one.ask('ManagerPing', { rel: one.rel }), { kind: 'ManagerPong' })
    world.clock.advance(19_000)
    t.match(await one.complete(only(one)), { kind: 'Ack' })
    world.clock.stall(60_000)
    world.clock.advance(20_000)
    await world.net.settle()
    t.throws(() => world.net.peer('w1', 'manager'), 'silent after that too: it is lost')
  },
)

t.test('a lost connection alone requeues nothing; coming back resumes', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  const task = only(one)
  await one.start(task)
  const two = await world.worker('w2')
  world.net.cut('w1', 'manager', { clean: true })
  await world.net.settle()
  t.match(await client.ask('NodesList', {}), {
    body: { nodes: [{ state: 'self' }, { host_name: 'w1', state: 'suspect' }, {}] },
  })
  t.match(await client.ask('TasksExplain', { task_id: taskId(1) }), {
    body: { summary: 'it runs on w1; its connection is lost, it may come back' },
  })
  world.clock.advance(10_000)
  await two.ask('ManagerPing', { rel: two.rel })
  world.net.connect('w1', 'manager')
  const { rel } = one
  const entry = { task_id: task.task_id, attempt: 1, status: 'Started' as const }
  t.match(await one.request([entry], { rel }), {
    body: { accepted: true, resumed: true, rel, drop: [] },
  })
  t.match(await one.complete(task), { kind: 'Ack' })
  t.equal(two.assigned.length, 0)
  t.equal(world.manager.counts.closed, 1)
})

t.test(
  'what a worker had that was taken out of the mesh runs elsewhere at once',
  async (t) => {
    const world = createWorld()
    const one = await world.worker('w1')
    const client = world.client('c')
    await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
    await one.start(only(one))
    const two = await world.worker('w2')
    world.net.cut('w1', 'manager', { clean: false, isExpelled: true })
    await world.net.settle()
    t.match(two.assigned, [{ task_id: taskId(1), attempt: 2 }])
  },
)

t.test('a worker of a new boot is reconciled with what it still has', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1', { cores: 2 })
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec(), exec()] })
  const [finished, running] = [only(one, 0), only(one, 1)]
  world.net.cut('w1', 'manager')
  const again = await world.worker('w1', { cores: 2, bootId: '0000000000000002' })
  // Its first request said that it has nothing, so both were lost with the old boot.
  t.match(again.assigned, [{ attempt: 2 }, { attempt: 2 }])
  t.match(await again.complete({ ...finished, attempt: 1 }), { kind: 'Ack' })
  t.match(await client.ask('TaskShow', { task_id: finished.task_id }), {
    body: { summary: { state: 'completed' }, losses: 1 },
  })
  t.match(again.aborted, [{ task_id: finished.task_id, attempt: 2 }])
  t.match(await client.ask('TaskShow', { task_id: running.task_id }), {
    body: { summary: { attempt: 2 }, losses: 1 },
  })
})

t.test('an inventory comes in pages, and only the last one counts', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1', { cores: 2 })
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec(), exec()] })
  await one.start(only(one, 0))
  await one.start(only(one, 1))
  const entry = (seq: number) => ({
    task_id: taskId(seq),
    attempt: 1,
    status: 'Started' as const,
  })
  const { rel } = one
  t.match(await one.request([entry(1)], { rel, more: true }), {
    body: { accepted: false, continue: true },
  })
  t.match(await one.request([entry(2), entry(9)], { rel }), {
    body: { accepted: true, drop: [{ task_id: taskId(9), attempt: 1 }] },
  })
  t.match(await client.ask('TasksWait', { batch: 'k', after: 0, wait_ms: 0 }), {
    body: { running: 2 },
  })
})

t.test('a worker that says bye leaves its tasks, at no cost', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  const two = await world.worker('w2')
  t.match(await one.ask('ManagerBye', { rel: one.rel }), { kind: 'Ack' })
  t.match(two.assigned, [{ attempt: 2 }])
  t.match(await client.ask('TaskShow', { task_id: taskId(1) }), { body: { losses: 0 } })
  t.match(await one.ask('ManagerPing', { rel: one.rel }), { kind: 'NotMine' })
})

t.test(
  'a worker that denies the relationship is cut, and nothing is requeued',
  async (t) => {
    const world = createWorld()
    const one = await world.worker('w1')
    const two = await world.worker('w2', { cores: 0 })
    one.handlers.TasksExecute = (_, respond) => respond('NotMine', {})
    const client = world.client('c')
    await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
    t.throws(() => world.net.peer('w1', 'manager'), 'the connection is ended')
    t.match(await client.ask('TaskShow', { task_id: taskId(1) }), {
      body: { summary: { state: 'sent', attempt: 1 } },
    })
    t.equal(two.assigned.length, 0)
  },
)

t.test('one malformed task does not take the others with it', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1', { cores: 3 })
  const { TasksExecute } = one.handlers
  one.handlers.TasksExecute = (body, respond, from) => {
    const isBad = body.tasks.some(({ arguments: [first] }) => first === 'bad')
    if (isBad) respond('Error', { code: 'malformed', path: 'tasks' })
    else TasksExecute?.(body, respond, from)
  }
  const client = world.client('c')
  const bad = exec({ arguments: ['bad'] })
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec(), bad, exec()] })
  t.same(
    one.assigned.map(({ task_id }) => task_id),
    [taskId(1), taskId(3)],
  )
  t.match(await client.ask('TasksWait', { batch: 'k', after: 0, wait_ms: 0 }), {
    body: { done: [{ task_id: taskId(2), error: { kind: 'Refused' } }], open: 2 },
  })
})

t.test('assignments leave in messages of at most 256 tasks and 64 KiB', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  const client = world.client('c')
  const many = Array.from({ length: 250 }, () => noop())
  client.begin('TasksSubmit', { key: 'k', tasks: many })
  client.begin('TasksSubmit', { key: 'l', tasks: many })
  await world.net.settle()
  t.same(
    one.executes.map(({ tasks }) => tasks.length),
    [256, 244],
  )
  const large = noop({ arguments: ['x'.repeat(15_000)] })
  await client.ask('TasksSubmit', { key: 'm', tasks: [large, large, large] })
  t.same(
    one.executes.slice(2).map(({ tasks }) => tasks.length),
    [1, 1, 1],
  )
})

t.test('a worker without an answer is asked what became of it', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  one.handlers.TasksExecute = () => {}
  const asked: string[][] = []
  one.handlers.TasksPing = ({ tasks }, respond) => {
    asked.push(tasks)
    respond('TasksPong', { tasks_status: tasks.map((id) => [id, { kind: 'Pending' }]) })
  }
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  world.clock.advance(10_000)
  await world.net.settle()
  t.same(asked, [[taskId(1)]])
  t.match(await client.ask('TaskShow', { task_id: taskId(1) }), {
    body: { summary: { state: 'accepted' } },
  })
})

t.test('outcomes of a worker that serves another are taken, and no more', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  const task = { task_id: taskId(1), attempt: 1 }
  const outcome = { kind: 'Completed', result: done() } as const
  const entry = { ...task, status: 'Completed' as const, outcome }
  t.match(await one.request([entry], { settle: true }), {
    body: { accepted: false, drop: [task] },
  })
  t.equal(world.manager.counts.closed, 1)
})

t.test(
  'the guest of a node is a worker of its own, over the same connection',
  async (t) => {
    const world = createWorld()
    const host = await world.worker('w1', { cores: 1 })
    const { rel } = host
    const answer = await host.request([], { guest: 'common' })
    t.match(answer, { body: { accepted: true, resumed: false } })
    t.not(host.rel, rel)
    t.match(await host.ask('ManagerPing', { rel }), { kind: 'ManagerPong' })
    t.match(await host.request([], { guest: 'no/slash' }), { body: { accepted: false } })
    const client = world.client('c')
    const nodes = await client.ask('NodesList', {})
    t.match(nodes, { body: { nodes: [{}, {}, { node_id: `${host.nodeId}/common` }] } })
  },
)

t.test('a manager that is started again waits for its workers', async (t) => {
  const clock = createManualClock()
  const net = createMemoryMesh(clock)
  const ledger = createMemoryLedger({ id: LEDGER })
  const { mesh, nodeId } = net.add({ name: 'manager', role: 'manager' })
  const submission = { first: 1, key: 'k', batch: 'k', tasks: [exec(), exec()], atMs: 1 }
  const bootId = '0000000000000001'
  const where = { attempt: 1, nodeId: 'gone', bootId, hostName: 'gone', atMs: 2 }
  ledger.commit(
    [
      { kind: 'submitted', submission },
      { kind: 'assigned', seq: 1, ...where },
    ],
    () => {},
  )
  await net.settle()
  clock.advance(60_000) // the machine has run for longer than a lease
  const manager = await startManager({
    clock,
    random: { fraction: () => 0, hex: () => 'aa' },
    mesh,
    ledger,
    log: quiet,
    soon: queueMicrotask,
    self: { node_id: nodeId, boot_id: bootId, host_name: 'manager' },
  })
  net.attach('manager', manager)
  clock.advance(19_999)
  await net.settle()
  t.same(manager.counts, { open: 2, queued: 1, running: 0, closed: 0 })
  clock.advance(1)
  await net.settle()
  t.same(manager.counts, { open: 2, queued: 2, running: 0, closed: 0 })
  await manager.close()
  await manager.close()
  t.equal(clock.pending, 0, 'no timer is left')
})

t.test(
  'a key stands for its tasks after a restart too, when all have closed',
  async (t) => {
    const clock = createManualClock()
    const net = createMemoryMesh(clock)
    const ledger = createMemoryLedger({ id: LEDGER })
    const { mesh, nodeId } = net.add({ name: 'manager', role: 'manager' })
    const submission = { first: 1, key: 'k', batch: 'k', tasks: [exec()], atMs: 1 }
    const closed = { kind: 'closed', seq: 1, attempt: 1, state: 'completed' } as const
    const outcome = { kind: 'Completed', result: { run_ms: 1 } } as const
    const counts = { failures: 0, losses: 0, endedMs: 2 }
    ledger.commit(
      [
        { kind: 'submitted', submission },
        { ...closed, ...counts, outcome },
      ],
      () => {},
    )
    await net.settle()
    const manager = await startManager({
      clock,
      random: { fraction: () => 0, hex: () => 'aa' },
      mesh,
      ledger,
      log: quiet,
      soon: queueMicrotask,
      self: { node_id: nodeId, boot_id: '00000000000000aa', host_name: 'manager' },
    })
    net.attach('manager', manager)
    const client = net.add({ name: 'c', role: 'client' })
    net.connect('c', 'manager')
    const answers: unknown[] = []
    for (const tasks of [[exec()], [exec(), exec()]])
      client.mesh.ask(nodeId, 'TasksSubmit', { key: 'k', tasks }, 1000, (outcome) =>
        answers.push(outcome._tag === 'Right' && outcome.right),
      )
    // What was submitted by TasksRetry, asked again: what it retried is forgotten.
    for (const task_ids of [[taskId(77)], [taskId(77), taskId(78)]])
      client.mesh.ask(nodeId, 'TasksRetry', { key: 'k', task_ids }, 1000, (outcome) =>
        answers.push(outcome._tag === 'Right' && outcome.right),
      )
    await net.settle()
    t.match(answers, [
      { kind: 'TasksSubmitted', body: { task_ids: [`${LEDGER}-1`] } },
      { kind: 'Refused', body: { reason: 'conflict' } },
      { kind: 'TasksSubmitted', body: { task_ids: [`${LEDGER}-1`] } },
      { kind: 'Refused', body: { reason: 'invalid' } },
    ])
    t.match(manager.counts, { open: 0 })
    await manager.close()
  },
)

t.test('a manager whose ledger is fenced stops at once', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  world.ledger.spoil({ kind: 'fenced' })
  await t.rejects(one.complete(only(one)), 'no Ack')
  t.throws(() => world.net.peer('w1', 'manager'), 'its relationships are ended')
})
