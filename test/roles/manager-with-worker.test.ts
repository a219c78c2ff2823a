// The manager with real workers, over a mesh that cuts, delays and forgets: whatever
// happens on the way, every task that was accepted ends, and ends once.

import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { memoryOutbox } from '../../src/outbox/memory.ts'
import type { Outbox } from '../../src/ports.ts'
import { Worker } from '../../src/roles/worker.ts'
import { WORKER_DEFAULTS } from '../../src/roles/worker-config.ts'
import { createWorld, exec, noop, quiet, type World } from '../support/manager-world.ts'

/** Starts a worker in a boot of its own; what it owed in an earlier one is in `outbox`. */
const boot = (world: World, name: string, bootNumber: number, outbox: Outbox): Worker => {
  const bootId = bootNumber.toString(16).padStart(16, '0')
  const { mesh, nodeId } = world.net.add({
    name,
    role: 'worker',
    bootId,
    listenPort: 7000,
  })
  const worker = new Worker({
    clock: world.clock,
    random: { fraction: () => 0.5, hex: (bytes) => '0'.repeat(2 * bytes) },
    mesh,
    // Only tasks that start no program, or whose program is not there.
    runner: {
      start: () => {
        throw new Error('nothing is started here')
      },
      close: async () => {},
    },
    jobs: {
      objection: () => undefined,
      prepare: (_, settle) =>
        settle(E.left({ kind: 'spawn', code: 'ENOENT', reason: 'no such program' })),
    },
    outbox,
    log: quiet,
    config: {
      ...WORKER_DEFAULTS,
      nodeId,
      bootId,
      hostName: name,
      cores: 2,
      memoryBytes: 1e9,
      environment: {},
      directory: '/',
    },
  })
  world.net.attach(name, worker)
  return worker
}

t.test('a batch is spread over two workers, every message acknowledged', async (t) => {
  const world = createWorld()
  const workers = ['w1', 'w2'].map((name) => boot(world, name, 1, memoryOutbox()))
  for (const name of ['w1', 'w2']) world.net.connect(name, 'manager')
  await world.net.settle()
  const client = world.client('c')
  const tasks = Array.from({ length: 250 }, () => noop())
  for (const key of ['k1', 'k2', 'k3', 'k4'])
    client.begin('TasksSubmit', { key, batch: 'b', tasks })
  client.begin('TasksSubmit', { key: 'x', batch: 'b', tasks: [exec({ retries: 1 })] })
  await world.net.settle()
  world.clock.advance(1_000)
  await world.net.settle()
  t.same(world.manager.counts, { open: 0, queued: 0, running: 0, closed: 1_001 })
  const count = (kind: string) => world.net.said.filter((one) => one.kind === kind).length
  t.equal(count('TaskStarted'), 1_000)
  t.equal(count('TaskCompleted'), 1_000)
  t.equal(count('TaskError'), 2)
  t.ok(
    world.net.said.every(({ answer }) => answer !== undefined && answer.kind !== 'Error'),
  )
  for (const worker of workers) await worker.close()
})

const turn = () => new Promise((resume) => setImmediate(resume))

/** What befalls a worker. */
const actions = fc.array(
  fc.record({
    name: fc.constantFrom('w1', 'w2'),
    kind: fc.constantFrom(
      'deliver',
      'deliver',
      'turn',
      'cut',
      'connect',
      'restart',
      'wait',
    ),
    amount: fc.integer({ min: 1, max: 40 }),
  }),
  { maxLength: 60, size: 'max' },
)

t.test('cuts, restarts and waits lose no task and close none twice', async (t) => {
  await fc.assert(
    fc.asyncProperty(actions, async (history) => {
      const world = createWorld()
      const names = ['w1', 'w2']
      const outboxes = new Map(names.map((name) => [name, memoryOutbox()]))
      const boots = new Map(names.map((name) => [name, 0]))
      const workers = new Map<string, Worker>()
      const connected = new Set<string>()
      const cut = (name: string) => {
        if (connected.delete(name)) world.net.cut(name, 'manager')
      }
      const connect = (name: string) => {
        cut(name) // the manager may have ended it without our knowing
        connected.add(name)
        world.net.connect(name, 'manager')
      }
      const restart = async (name: string) => {
        cut(name)
        await workers.get(name)?.close()
        const number = (boots.get(name) ?? 0) + 1
        boots.set(name, number)
        const outbox = outboxes.get(name) ?? memoryOutbox()
        workers.set(name, boot(world, name, number, outbox))
        connect(name)
      }
      for (const name of names) await restart(name)
      const client = world.client('c')
      const tasks = Array.from({ length: 12 }, (_, i) =>
        i % 3 === 0
          ? exec({ retries: 1 })
          : noop(i % 2 === 0 ? { requires: { cores: 1 } } : {}),
      )
      client.begin('TasksSubmit', { key: 'k', tasks })
      for (const { name, kind, amount } of history) {
        if (kind === 'cut') cut(name)
        else if (kind === 'connect') connect(name)
        else if (kind === 'restart') await restart(name)
        else if (kind === 'wait') world.clock.advance(amount * 250)
        else if (kind === 'turn') await turn()
        else for (let i = 0; i < amount; i++) world.net.deliver()
      }
      for (let round = 0; round < 60 && world.manager.counts.closed < 12; round++) {
        if (round % 10 === 0) for (const name of names) connect(name)
        world.clock.advance(5_000)
        await world.net.settle()
      }
      const { answer } = client.begin('TasksWait', { batch: 'k', after: 0, wait_ms: 0 })
      if (answer !== undefined) throw new Error('nothing is answered in the same turn')
      const wait = await client.ask('TasksWait', { batch: 'k', after: 0, wait_ms: 0 })
      for (const worker of workers.values()) await worker.close()
      if (wait.kind !== 'TasksDone') throw new Error(`answered ${wait.kind}`)
      const ids = new Set(wait.body.done.map(({ task_id }) => task_id))
      if (ids.size !== 12 || wait.body.done.length !== 12)
        throw new Error(
          `${wait.body.done.length} outcomes of ${ids.size} tasks, ${JSON.stringify(world.manager.counts)}`,
        )
      for (const { task_id, state } of wait.body.done) {
        const isNoop = (Number(task_id.slice(11)) - 1) % 3 !== 0
        if (state === 'failed' && isNoop) {
          const record = await client.ask('TaskShow', { task_id })
          if (record.kind === 'TaskRecord' && record.body.losses < 3)
            throw new Error(`${task_id} failed without three losses`)
        }
      }
    }),
    { numRuns: 100 },
  )
  t.pass()
})
