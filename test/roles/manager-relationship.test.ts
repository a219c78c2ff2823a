// The manager's side of its relationships, in the role: what it takes from whom, what it
// makes of silence and of ports that refuse, and what it says when.

import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import type { InventoryEntry } from '../../protocol/index.ts'
import { createWorld, exec, LEDGER, taskId } from '../support/manager-world.ts'
import { nodeIdOf } from '../support/memory-mesh.ts'

const ID = taskId(1)
const MANAGER = nodeIdOf('manager')

t.test('a manager that closes takes no worker', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  const closed = world.manager.close()
  t.match(await one.request(), {
    body: { accepted: false, reason: 'it is shutting down', retry_after_ms: 5000 },
  })
  await closed
})

t.test('what is asked of workers is NotMine to a manager', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  const { rel } = one
  const tasks = [{ task_id: ID, attempt: 1, ...exec() }]
  const read = { task_id: ID, attempt: 1, fd: 1, offset: 0, max: 1, wait_ms: 0 } as const
  const answers = [
    await one.ask('TasksExecute', { rel, epoch: 1, boot: '0'.repeat(16), tasks }),
    await one.ask('TasksPing', { rel, tasks: [ID] }),
    await one.ask('TasksAbord', { rel, tasks: [{ task_id: ID, attempt: 1 }] }),
    await one.ask('TaskOutputRead', { rel, ...read }),
  ]
  t.same(
    answers.map(({ kind }) => kind),
    ['NotMine', 'NotMine', 'NotMine', 'NotMine'],
  )
})

t.test('a relationship that its worker denies is over at once', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1', { cores: 2 })
  const client = world.client('c')
  const { rel } = one
  const acks: (() => void)[] = []
  one.handlers.TasksExecute = ({ tasks }, respond) => {
    one.assigned.push(...tasks)
    acks.push(() => respond('Ack', {}))
  }
  await client.ask('TasksSubmit', { key: 'a', tasks: [exec()] })
  one.handlers.TasksExecute = (_, respond) => {
    respond('NotMine', {})
    // On their way before the socket ends: an old Ack, and word of an old start.
    for (const ack of acks) ack()
    const started = { rel, task_id: ID, attempt: 1, at_ms: 1 }
    one.mesh.ask(MANAGER, 'TaskStarted', started, 1000, () => undefined)
  }
  await client.ask('TasksSubmit', { key: 'b', tasks: [exec()] })
  const told = world.net.said.find(({ kind }) => kind === 'TaskStarted')
  t.match(told, { hasArrived: true, answer: { kind: 'NotMine' } })
  const listed = await client.ask('TasksList', { limit: 10 })
  t.match(listed, { body: { tasks: [{ state: 'sent' }, { state: 'sent' }] } })
  t.throws(() => world.net.peer('w1', 'manager'), 'the socket is ended')
})

t.test('an inventory without an end is refused', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  const page = Array.from(
    { length: 1000 },
    (_, n): InventoryEntry => ({ task_id: taskId(n + 1), attempt: 1, status: 'Pending' }),
  )
  for (let n = 0; n < 200; n += 1)
    t.match(await one.request(page, { more: true }), { body: { continue: true } })
  t.match(await one.request(page, { more: true }), {
    body: { accepted: false, retry_after_ms: 10_000, reason: /more than 200000/ },
  })
  t.match(await one.request([]), { body: { accepted: true } }, 'it begins anew')
})

t.test('drops beyond a page are said as aborts', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  const entries = Array.from(
    { length: 1001 },
    (_, n): InventoryEntry => ({ task_id: taskId(n + 1), attempt: 3, status: 'Pending' }),
  )
  await one.request(entries.slice(0, 1000), { more: true })
  const answer = await one.request(entries.slice(1000))
  t.equal(answer.kind === 'ManagerAnswer' && answer.body.drop?.length, 1000)
  t.same(one.aborted, [{ task_id: taskId(1001), attempt: 3 }])
})

t.test('a worker hears of its relationship before it gets work in it', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1')
  const client = world.client('c')
  one.handlers.TasksExecute = () => undefined // never acknowledged: sent again
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  const heard: string[] = []
  one.handlers.TasksExecute = (_, respond) => {
    heard.push('TasksExecute')
    respond('Ack', {})
  }
  world.net.cut('w1', 'manager')
  world.net.connect('w1', 'manager')
  const body = { cores: 1, memory: 1e9, tasks: [], more: false }
  one.mesh.ask(MANAGER, 'ManagerRequest', body, 1000, (outcome) =>
    heard.push(E.isRight(outcome) ? outcome.right.kind : 'nothing'),
  )
  await world.net.settle()
  t.same(heard, ['ManagerAnswer', 'TasksExecute'])
})

t.test('an answer counts as a sign of life', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1', { cores: 2 })
  const client = world.client('c')
  world.clock.advance(15_000)
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  t.equal(one.assigned.length, 1)
  world.clock.advance(19_000)
  await world.net.settle()
  t.match(await one.ask('ManagerPing', { rel: one.rel }), { kind: 'ManagerPong' })
})

t.test('tasks of a worker that left stand in their old order', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1', { cores: 3 })
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec(), exec(), exec()] })
  t.equal(one.assigned.length, 3)
  await one.ask('ManagerBye', { rel: one.rel })
  const two = await world.worker('w2', { cores: 4 })
  await world.net.settle()
  t.same(
    two.assigned.map(({ task_id }) => task_id),
    [1, 2, 3].map((n) => `${LEDGER}-${n}`),
  )
})

t.test('a port must refuse twice in a row, after one and the same loss', async (t) => {
  const world = createWorld()
  const one = await world.worker('w1', { listenPort: 4001 })
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  const { net, clock } = world
  const look = async (isRefused: boolean) => {
    if (isRefused) net.refused.add('127.0.0.1:4001')
    else net.refused.delete('127.0.0.1:4001')
    clock.advance(100)
    await net.settle()
  }
  const attempt = async () => {
    const shown = await client.ask('TaskShow', { task_id: ID })
    return shown.kind === 'TaskRecord' ? shown.body.summary.attempt : undefined
  }
  net.cut('w1', 'manager')
  await net.settle() // accepts
  for (const isRefused of [true, false, true, false]) await look(isRefused)
  t.equal(await attempt(), 1, 'never twice in a row')
  net.refused.add('127.0.0.1:4001')
  net.connect('w1', 'manager')
  await one.request([{ task_id: ID, attempt: 1, status: 'Started', at_ms: 1 }])
  net.cut('w1', 'manager')
  await net.settle() // refused once
  net.connect('w1', 'manager')
  await one.request([{ task_id: ID, attempt: 1, status: 'Started', at_ms: 1 }])
  net.cut('w1', 'manager', { clean: false })
  await look(true)
  t.equal(await attempt(), 1, 'the second time was after another loss')
  net.connect('w1', 'manager')
  await one.request([{ task_id: ID, attempt: 1, status: 'Started', at_ms: 1 }])
  net.cut('w1', 'manager')
  await net.settle() // refused once
  net.connect('w1', 'manager')
  await one.request([], { more: true })
  await look(true)
  t.equal(await attempt(), 1, 'it is back, and half through its inventory')
})

t.test(
  'workers of an earlier life are waited for, however short the leases',
  async (t) => {
    const config = {
      pingMs: 100,
      workerLeaseMs: 300,
      managerLeaseMs: 400,
      returnMs: 5_000,
    }
    const world = createWorld(config)
    const one = await world.worker('w1')
    const client = world.client('c')
    await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
    t.equal(one.assigned.length, 1)
    const next = createWorld(config, world.ledger)
    const asker = next.client('c')
    const state = async () => {
      const shown = await asker.ask('TaskShow', { task_id: ID })
      return shown.kind === 'TaskRecord' ? shown.body.summary : undefined
    }
    next.clock.advance(4_900)
    await next.net.settle()
    t.match(await state(), { state: 'sent', attempt: 1 })
    next.clock.advance(200)
    await next.net.settle()
    t.match(await state(), { state: 'queued', attempt: 2 })
  },
)

t.test(
  'an exclusive task is free once its worker is there in another boot',
  async (t) => {
    const world = createWorld()
    const one = await world.worker('w1')
    const client = world.client('c')
    const tasks = [exec({ exclusive: true })]
    await client.ask('TasksSubmit', { key: 'k', tasks })
    world.net.cut('w1', 'manager')
    world.clock.advance(60_000)
    await world.net.settle()
    const explained = await client.ask('TasksExplain', { task_id: ID })
    t.match(explained, {
      body: { summary: /at w1 .*; that worker is lost: being exclusive/ },
    })
    const two = await world.worker('w2')
    t.equal(two.assigned.length, 0)
    // It serves another manager, and is only connected here.
    const bootId = '00000000000000b2'
    world.net.add({ name: 'w1', role: 'worker', bootId })
    world.net.attach('w1', { handlers: {}, peerConnected() {}, peerLost() {} })
    world.net.connect('w1', 'manager')
    await world.net.settle()
    t.match(two.assigned, [{ task_id: ID, attempt: 2 }])
    t.equal(one.assigned.length, 1)
  },
)

t.test('output that a worker keeps is waited for while that may come back', async (t) => {
  const config = { managerLeaseMs: 4_000, returnMs: 6_000 }
  const world = createWorld(config)
  const one = await world.worker('w1')
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  const [task] = one.assigned
  if (task === undefined) throw new Error('Expected an assignment')
  const stdout = { size: 100_000, sha256: '0'.repeat(64), ref: 'ref-1' }
  await one.complete(task, { run_ms: 1, exit_code: 0, stdout })
  const read = { task_id: ID, fd: 1, offset: 0, max: 10, wait_ms: 0 } as const
  const busy = { kind: 'Error', body: { code: 'busy' } }
  world.net.cut('w1', 'manager')
  t.match(await client.ask('TaskLogRead', read), busy)
  world.clock.advance(5_000)
  await world.net.settle()
  t.match(await client.ask('TaskLogRead', read), { kind: 'NotFound' }, 'it is lost')

  // The next life of the manager has not heard of that worker yet.
  const next = createWorld(config, world.ledger)
  const asker = next.client('c')
  t.match(await asker.ask('TaskLogRead', read), busy)
  next.clock.advance(6_000)
  t.match(await asker.ask('TaskLogRead', read), { kind: 'NotFound' })
})
