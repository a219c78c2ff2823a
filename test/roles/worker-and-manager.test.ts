// A real manager and real workers in one process: both sides of the protocol meet.

import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import type { AnswerOf, Kind, RequestOf, TaskRequest } from '../../protocol/index.ts'
import { createMemoryLedger } from '../../src/ledger/memory.ts'
import { memoryOutbox } from '../../src/outbox/memory.ts'
import { startManager } from '../../src/roles/manager.ts'
import { Worker } from '../../src/roles/worker.ts'
import { WORKER_DEFAULTS } from '../../src/roles/worker-config.ts'
import { FakeRunner } from '../support/fake-runner.ts'
import { quiet } from '../support/manager-world.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { createMemoryMesh } from '../support/memory-mesh.ts'

const LEDGER = 'abcdefghij'
const MANAGER = 'a'.repeat(32)
const nodeIdOf = (n: number) => String(n).repeat(32)

const mesh = async (workerCount: number) => {
  const clock = createManualClock()
  const network = createMemoryMesh(clock)
  const settle = async () => {
    for (let n = 0; n < 20; n += 1) {
      network.run()
      await new Promise(setImmediate)
    }
  }
  const bootId = '00000000000000aa'
  const self = { name: MANAGER, nodeId: MANAGER, bootId, hostName: 'manager' }
  let ids = 0
  const random = { fraction: () => 0.5, hex: () => `rel${++ids}` }
  const ledger = createMemoryLedger({ id: LEDGER })
  const begin = async (boot: Partial<typeof self> = {}) => {
    const node = network.add({ ...self, ...boot, role: 'manager', ledgerId: LEDGER })
    const manager = await startManager({
      clock,
      random,
      mesh: node.mesh,
      ledger,
      log: quiet,
      soon: queueMicrotask,
      self: { node_id: MANAGER, boot_id: bootId, host_name: 'manager' },
    })
    network.attach(MANAGER, manager)
    return { manager, node }
  }
  const { manager } = await begin()
  const workers = Array.from({ length: workerCount }, (_, index) => {
    const identity = {
      nodeId: nodeIdOf(index + 1),
      bootId: `000000000000000${index + 1}`,
      hostName: `worker-${index + 1}`,
      listenPort: 4001 + index,
    }
    const node = network.add({ ...identity, name: identity.nodeId, role: 'worker' })
    const runner = new FakeRunner()
    const worker = new Worker({
      clock,
      random,
      mesh: node.mesh,
      runner,
      jobs: {
        objection: () => undefined,
        prepare: (_address, done) => done(E.right({ program: '/bin/true', leading: [] })),
      },
      outbox: memoryOutbox(),
      log: quiet,
      config: {
        ...WORKER_DEFAULTS,
        ...identity,
        cores: 2,
        memoryBytes: 1e9,
        environment: {},
        directory: '/tmp',
      },
    })
    network.attach(identity.nodeId, worker)
    network.connect(identity.nodeId, MANAGER)
    return { worker, runner, node }
  })
  const client = network.add({
    name: 'c'.repeat(32),
    nodeId: 'c'.repeat(32),
    bootId: '00000000000000cc',
    hostName: 'client',
    role: 'client',
  })
  network.connect('c'.repeat(32), MANAGER)
  await settle()
  const ask = async <K extends Kind>(kind: K, body: RequestOf<K>) => {
    const asked: { answer?: AnswerOf<K> } = {}
    client.mesh.ask(MANAGER, kind, body, 600_000, (outcome) => {
      if (E.isRight(outcome)) asked.answer = outcome.right
    })
    await settle()
    return asked.answer
  }
  const submit = (count: number, more: Partial<TaskRequest> = {}) =>
    ask('TasksSubmit', {
      key: `key-${count}`,
      tasks: Array.from({ length: count }, () => ({
        job_addr: 'exec:true',
        arguments: [],
        timeout_ms: 0,
        ...more,
      })),
    })
  const states = async () => {
    const answer = await ask('TasksList', { limit: 1000 })
    if (answer?.kind !== 'TaskList') throw new Error('no list')
    return answer.body.tasks.map(({ state }) => state)
  }
  const close = async () => {
    for (const { worker } of workers) await worker.close()
    await manager.close()
  }
  /** The manager's process is gone; another one reads its ledger. */
  const restart = async () => {
    for (const { node } of workers) network.cut(node.nodeId, MANAGER)
    network.cut('c'.repeat(32), MANAGER)
    await manager.close()
    const second = await begin({ bootId: '00000000000000bb' })
    network.connect('c'.repeat(32), MANAGER)
    await settle()
    return second
  }
  return { clock, network, workers, settle, ask, submit, states, close, restart }
}

t.test('noop tasks are spread and complete', async (t) => {
  const { submit, states, workers, close } = await mesh(2)
  await submit(200, { job_addr: 'noop:' })
  t.same(new Set(await states()), new Set(['completed']))
  for (const { worker } of workers) t.match(worker.status, { running: 0, undelivered: 0 })
  await close()
})

t.test('tasks run on both workers, and their ends are known', async (t) => {
  const { submit, states, workers, settle, close } = await mesh(2)
  await submit(4)
  t.same(
    workers.map(({ runner }) => runner.runs.length),
    [2, 2],
  )
  for (const { runner } of workers) {
    for (const run of runner.runs) run.started()
  }
  await settle()
  t.same(new Set(await states()), new Set(['running']))
  for (const { runner } of workers) for (const run of runner.runs) run.end()
  await settle()
  t.same(new Set(await states()), new Set(['completed']))
  await close()
})

t.test('a worker that comes back after a cut resumes its tasks', async (t) => {
  const { submit, states, workers, settle, network, clock, close } = await mesh(1)
  await submit(2)
  const runner = workers[0]?.runner
  for (const run of runner?.runs ?? []) run.started()
  network.cut(nodeIdOf(1), MANAGER)
  await settle()
  runner?.run(0).end()
  clock.advance(2000)
  network.connect(nodeIdOf(1), MANAGER)
  await settle()
  t.same((await states()).sort(), ['completed', 'running'])
  runner?.run(1).end()
  await settle()
  t.same(new Set(await states()), new Set(['completed']))
  t.equal(runner?.runs.length, 2, 'nothing was started twice')
  await close()
})

t.test('a cancelled task ends at its worker', async (t) => {
  const { submit, ask, workers, settle, close, states } = await mesh(1)
  const submitted = await submit(1)
  if (submitted?.kind !== 'TasksSubmitted') throw new Error('refused')
  const runner = workers[0]?.runner
  runner?.run().started()
  await ask('TasksCancel', { task_ids: submitted.body.task_ids })
  t.same(runner?.run().signals, ['SIGTERM'])
  runner?.run().end({ signal: 'SIGTERM' })
  await settle()
  t.same(await states(), ['aborted'])
  await close()
})

t.test('a drained worker hands its tasks back', async (t) => {
  const { submit, workers, settle, clock, close, states } = await mesh(2)
  await submit(2)
  const [one, two] = workers
  if (one === undefined || two === undefined) throw new Error('two workers')
  for (const { runner } of workers) for (const run of runner.runs) run.started()
  await settle()
  const drained = one.worker.drain(100)
  clock.advance(100)
  await settle()
  for (const run of one.runner.runs) run.end({ signal: 'SIGTERM' })
  await settle()
  await drained
  for (let n = 0; n < 3; n += 1) {
    clock.advance(1000)
    await settle()
    for (const run of two.runner.runs) run.end()
    await settle()
  }
  t.same(new Set(await states()), new Set(['completed']))
  await close()
})

t.test('a manager that starts dials the workers of its ledger', async (t) => {
  const { submit, states, workers, settle, restart, network, close } = await mesh(2)
  await submit(4)
  for (const { runner } of workers) for (const run of runner.runs) run.started()
  await settle()
  // No clock is moved from here on: no worker's back-off ends.
  const { manager, node } = await restart()
  t.same(node.dialled.sort(), ['ws://127.0.0.1:4001', 'ws://127.0.0.1:4002'])
  t.ok(network.peer(nodeIdOf(1), MANAGER), 'it is connected')
  t.same(new Set(await states()), new Set(['running']), 'their inventories tell')
  for (const { runner } of workers) for (const run of runner.runs) run.end()
  await settle()
  t.same(new Set(await states()), new Set(['completed']))
  t.same(
    workers.map(({ runner }) => runner.runs.length),
    [2, 2],
    'nothing was started twice',
  )
  await manager.close()
  await close()
})

t.test('a manager that starts with a worker gone waits for it no less', async (t) => {
  const { submit, states, workers, settle, restart, network, close } = await mesh(1)
  await submit(1)
  workers[0]?.runner.run().started()
  await settle()
  network.unplug(nodeIdOf(1))
  const { manager, node } = await restart()
  t.same(node.dialled, ['ws://127.0.0.1:4001'], 'once')
  t.throws(() => network.peer(nodeIdOf(1), MANAGER))
  t.same(await states(), ['sent'], 'it may be there still')
  await manager.close()
  await close()
})
