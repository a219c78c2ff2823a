// The worker's role, against played managers.

import t from 'tap'
import { memoryOutbox } from '../../src/outbox/memory.ts'
import type { Log } from '../../src/ports.ts'
import {
  assignment,
  LEASE_MS,
  LEDGER,
  managedWorld,
  OTHER_LEDGER,
  PING_MS,
  PlayedManager,
  quiet,
  WORKER,
  world,
} from '../support/worker-world.ts'

t.test('a worker asks the manager it meets, with its specifications', async (t) => {
  const { manager, worker } = managedWorld()
  t.match(manager.heard('ManagerRequest'), [
    { body: { cores: 2, memory: 1e9, tasks: [], more: false } },
  ])
  t.equal(worker.status.manager, 'm1')
  await worker.close()
})

t.test('a task runs and is told of in order', async (t) => {
  const { manager, runner, worker } = managedWorld()
  t.same(manager.execute(assignment(1, { env: { A: 'b' } })), { kind: 'Ack', body: {} })
  t.match(runner.run().spec, {
    program: '/bin/true',
    directory: '/tmp',
    output: 'capture',
    environment: {
      PATH: '/bin',
      A: 'b',
      MANYHANDS_TASK_ID: `${LEDGER}-1`,
      MANYHANDS_HOST_NAME: 'worker-1',
      MANYHANDS_ATTEMPT: '1',
      MANYHANDS_CORES: '1',
    },
  })
  runner.run().output = ['hello', '']
  runner.run().started(99)
  runner.run().end()
  manager.ask('ManagerPing', { rel: manager.rel })
  t.match(manager.heard('TaskStarted', 'TaskCompleted', 'TaskError'), [
    { kind: 'TaskStarted', body: { task_id: `${LEDGER}-1`, attempt: 1, pid: 99 } },
    {
      kind: 'TaskCompleted',
      body: {
        result: { exit_code: 0, stdout: { size: 5, inline: Buffer.from('hello') } },
      },
    },
  ])
  t.notMatch(manager.heard('TaskCompleted'), [{ body: { result: { stderr: {} } } }])
  t.match(worker.status, { running: 0, undelivered: 0 })
  await worker.close()
})

t.test('noop tasks take the same way without a process', async (t) => {
  const { manager, runner, worker } = managedWorld()
  const tasks = Array.from({ length: 200 }, (_, n) =>
    assignment(n + 1, { job_addr: 'noop:' }),
  )
  t.equal(manager.execute(...tasks)?.kind, 'Ack')
  t.equal(manager.heard('TaskStarted').length, 200)
  t.equal(manager.heard('TaskCompleted').length, 200)
  t.equal(runner.runs.length, 0)
  t.match(worker.status, { running: 0, pending: 0, undelivered: 0 })
  await worker.close()
})

t.test('a worker refuses task by task, and says why', async (t) => {
  const { manager, worker } = managedWorld({ pendingLimit: 1 })
  manager.execute(assignment(1), assignment(2), assignment(3))
  const answer = manager.execute(
    assignment(4),
    assignment(5, { job_addr: 'docker:x' }),
    assignment(6, { requires: { cores: 3 } }),
    assignment(7, { env: { LD_PRELOAD: 'x' } }),
    assignment(8, { dir: 'relative' }),
    assignment(1, { arguments: ['other'] }),
    assignment(2),
    { ...assignment(9), task_id: `${OTHER_LEDGER}-9` },
  )
  t.match(answer, {
    kind: 'TasksRefused',
    body: {
      refused: [
        { task_id: `${LEDGER}-4`, reason: 'busy', retry_after_ms: 200 },
        { task_id: `${LEDGER}-5`, reason: 'unsupported-kind' },
        { task_id: `${LEDGER}-6`, reason: 'specs' },
        { task_id: `${LEDGER}-7`, reason: 'forbidden' },
        { task_id: `${LEDGER}-8`, reason: 'invalid' },
        { task_id: `${LEDGER}-1`, reason: 'conflict' },
        { task_id: `${OTHER_LEDGER}-9`, reason: 'invalid' },
      ],
    },
  })
  await worker.close()
})

t.test('strangers, old epochs and other boots get NotMine', async (t) => {
  const { manager, worker, network } = managedWorld()
  const stranger = new PlayedManager(network, 'm2', OTHER_LEDGER)
  network.connect(WORKER, 'm2')
  network.run()
  const { rel } = manager
  const tasks = [assignment(1)]
  const boot = 'c'.repeat(16)
  t.equal(stranger.ask('ManagerPing', { rel }).answer?.kind, 'NotMine')
  const execute = { rel, epoch: 1, boot, tasks }
  t.equal(stranger.ask('TasksExecute', execute).answer?.kind, 'NotMine')
  t.equal(stranger.ask('TasksPing', { rel, tasks: [] }).answer?.kind, 'NotMine')
  t.equal(stranger.ask('TasksAbord', { rel, tasks: [] }).answer?.kind, 'NotMine')
  t.equal(stranger.ask('ManagerBye', { rel }).answer?.kind, 'Ack')
  const request = { cores: 1, memory: 1, tasks: [], more: false }
  t.match(stranger.ask('ManagerRequest', request).answer?.body, { accepted: false })
  for (const wrong of [{ epoch: 0 }, { boot: 'd'.repeat(16) }, { rel: 'other' }]) {
    const { answer } = manager.ask('TasksExecute', { ...execute, ...wrong })
    t.equal(answer?.kind, 'NotMine')
  }
  t.equal(worker.status.manager, 'm1')
  await worker.close()
})

t.test('a time limit ends by TERM, then KILL after the grace', async (t) => {
  const { manager, runner, clock, worker } = managedWorld()
  manager.execute(assignment(1, { timeout_ms: 1000, kill_grace_ms: 200 }))
  runner.run().started()
  clock.advance(999)
  t.same(runner.run().signals, [])
  clock.advance(1)
  t.same(runner.run().signals, ['SIGTERM'])
  clock.advance(200)
  t.same(runner.run().signals, ['SIGTERM', 'SIGKILL'])
  runner.run().end({ signal: 'SIGKILL' })
  clock.advance(0)
  t.match(manager.heard('TaskError'), [{ body: { error: { kind: 'TimedOut' } } }])
  await worker.close()
})

t.test('an abort is acknowledged when the process group is gone', async (t) => {
  const { manager, runner, network, worker } = managedWorld({ cores: 1 })
  manager.execute(assignment(1), assignment(2))
  runner.run().started()
  const { rel } = manager
  const aborted = manager.ask('TasksAbord', {
    rel,
    tasks: [`${LEDGER}-1`, { task_id: `${LEDGER}-1`, attempt: 1 }],
  })
  t.equal(aborted.answer, undefined)
  t.same(runner.run().signals, ['SIGTERM'])
  runner.run().end({ signal: 'SIGTERM' })
  network.run()
  t.equal(aborted.answer?.kind, 'Ack')
  t.equal(runner.runs.length, 2, 'its slot is free')
  t.ok(runner.run(0).isReleased)
  t.same(manager.heard('TaskError', 'TaskCompleted'), [], 'nothing is reported')
  t.match(manager.execute(assignment(1)), {
    body: { refused: [{ reason: 'stale-attempt' }] },
  })
  await worker.close()
})

t.test('a program that cannot be started is a SpawnError', async (t) => {
  const { manager, runner, clock, worker } = managedWorld()
  manager.execute(assignment(1, { job_addr: 'exec:missing' }), assignment(2))
  runner.run().end({ spawnError: { code: 'EACCES', reason: 'permission' } })
  clock.advance(0)
  t.match(manager.heard('TaskError'), [
    { body: { error: { kind: 'SpawnError', code: 'ENOENT' } } },
    { body: { error: { kind: 'SpawnError', code: 'EACCES' } } },
  ])
  t.same(manager.heard('TaskStarted'), [])
  await worker.close()
})

t.test('output too large to travel inline is read by its address', async (t) => {
  const { manager, runner, clock, worker } = managedWorld()
  manager.execute(assignment(1))
  const run = runner.run()
  run.output = ['x'.repeat(40_000), 'e']
  run.started()
  run.end({ exitCode: 3 })
  clock.advance(0)
  const ref = `out:${LEDGER}-1:1:1`
  t.match(manager.heard('TaskError'), [
    {
      body: {
        error: { kind: 'RunningError', exit_code: 3 },
        result: {
          stdout: { size: 40_000, ref },
          stderr: { size: 1, ref: `out:${LEDGER}-1:1:2` },
        },
      },
    },
  ])
  const { answer } = manager.ask('BlobRead', { ref, offset: 39_990, max: 100 })
  t.match(answer, { kind: 'BlobData', body: { eof: true } })
  manager.ask('BlobRelease', { refs: [ref] })
  t.notOk(run.isReleased, 'the other one is still wanted')
  manager.ask('BlobRelease', { refs: [`out:${LEDGER}-1:1:2`] })
  t.ok(run.isReleased)
  t.equal(manager.ask('BlobRead', { ref, offset: 0, max: 1 }).answer?.kind, 'NotFound')
  await worker.close()
})

t.test('kept output ends with its age', async (t) => {
  const retention = { ageMs: 60_000, count: 10, bytes: 1e6 }
  const { manager, runner, clock, worker } = managedWorld({ retention })
  manager.execute(assignment(1))
  runner.run().output = ['x'.repeat(40_000), '']
  runner.run().end()
  clock.advance(59_999)
  t.notOk(runner.run().isReleased)
  clock.advance(1)
  t.ok(runner.run().isReleased)
  await worker.close()
})

t.test('output is read while the task waits, runs, and after its end', async (t) => {
  const { manager, runner, network, worker } = managedWorld({ cores: 1 })
  manager.execute(assignment(1), assignment(2, { output: 'stream' }))
  const { rel } = manager
  const read = { rel, task_id: `${LEDGER}-2`, attempt: 1, fd: 1, max: 100 } as const
  const early = manager.ask('TaskOutputRead', { ...read, offset: 0, wait_ms: 10_000 })
  t.equal(early.answer, undefined)
  runner.run(0).end()
  network.run()
  const run = runner.run(1)
  run.output = ['hello', '']
  const first = manager.ask('TaskOutputRead', { ...read, offset: 0, wait_ms: 10 })
  t.match(first.answer, { body: { data: Buffer.from('hello'), eof: false } })
  run.end()
  network.run()
  t.match(early.answer, { kind: 'TaskOutputData' })
  const last = manager.ask('TaskOutputRead', { ...read, offset: 5, wait_ms: 10 })
  t.match(last.answer, { body: { offset: 5, eof: true } })
  const gone = manager.ask('TaskOutputRead', {
    ...read,
    task_id: `${LEDGER}-99`,
    offset: 0,
    wait_ms: 0,
  })
  t.equal(gone.answer?.kind, 'NotFound')
  await worker.close()
})

t.test(
  'an attempt that waits for the end of another is not read from that',
  async (t) => {
    const { manager, runner, clock, network, worker } = managedWorld()
    const limited = { timeout_ms: 1000, stdin_live: true }
    manager.execute(assignment(1, limited))
    runner.run().started()
    runner.run().output = ['of the first', '']
    clock.advance(1000)
    t.same(runner.run().signals, ['SIGTERM'])
    manager.execute(assignment(1, { ...limited, attempt: 2 }))
    const { rel } = manager
    const task_id = `${LEDGER}-1`
    const read = { rel, task_id, fd: 1, offset: 0, max: 100, wait_ms: 10_000 } as const
    const first = manager.ask('TaskOutputRead', { ...read, attempt: 1 })
    t.match(first.answer, { body: { data: Buffer.from('of the first') } })
    const second = manager.ask('TaskOutputRead', { ...read, attempt: 2 })
    t.equal(second.answer, undefined)
    const input = { rel, task_id, offset: 0, data: Buffer.from('hi'), eof: true }
    const written = manager.ask('TaskInput', { ...input, attempt: 2 })
    t.equal(written.answer, undefined)
    runner.run(0).end({ signal: 'SIGTERM' })
    network.run()
    runner.run(1).output = ['of the second', '']
    runner.run(1).started()
    runner.run(1).end()
    network.run()
    t.match(second.answer, { body: { data: Buffer.from('of the second') } })
    t.equal(written.answer?.kind, 'Ack')
    t.same([runner.run(0).written, runner.run(1).written], [[], ['hi']])
    await worker.close()
  },
)

t.test('a stream that nobody reads for 30 s turns into a capture', async (t) => {
  const { manager, runner, clock, worker } = managedWorld()
  manager.execute(assignment(1, { output: 'stream' }))
  runner.run().started()
  const { rel } = manager
  const place = { rel, task_id: `${LEDGER}-1`, attempt: 1, fd: 1, max: 0 } as const
  for (let n = 0; n < 6; n += 1) {
    clock.advance(10_000)
    manager.ask('TaskOutputRead', { ...place, offset: 0, wait_ms: 0 })
  }
  t.notOk(runner.run().isDetached, 'a paused follower keeps its place')
  clock.advance(30_000)
  t.ok(runner.run().isDetached)
  await worker.close()
})

t.test('input goes to the program that wants it', async (t) => {
  const { manager, runner, network, worker } = managedWorld({ cores: 1 })
  manager.execute(assignment(1, { stdin_live: true }), assignment(2))
  const { rel } = manager
  const input = { rel, attempt: 1, offset: 0, data: Buffer.from('hi'), eof: true }
  const one = { ...input, task_id: `${LEDGER}-1` }
  t.equal(manager.ask('TaskInput', one).answer?.kind, 'Ack')
  t.same(runner.run().written, ['hi'])
  const two = { ...input, task_id: `${LEDGER}-2` }
  t.equal(manager.ask('TaskInput', two).answer?.kind, 'NotFound')
  runner.run().end()
  network.run()
  t.equal(manager.ask('TaskInput', one).answer?.kind, 'NotFound')
  await worker.close()
})

t.test('input for a program that does not start does not wait for ever', async (t) => {
  const { manager, runner, clock, worker } = managedWorld({ cores: 1 })
  manager.execute(assignment(1), assignment(2, { stdin_live: true }))
  const { rel } = manager
  const input = { rel, attempt: 1, offset: 0, data: Buffer.from('hi'), eof: true }
  const asked = manager.ask('TaskInput', { ...input, task_id: `${LEDGER}-2` })
  t.equal(asked.answer, undefined)
  const before = clock.pending
  clock.advance(10_000)
  t.equal(asked.answer, undefined)
  clock.advance(20_000)
  t.match(asked.answer, { kind: 'Error', body: { code: 'busy' } })
  t.ok(clock.pending < before, 'its timer is gone')
  runner.run(0).end()
  t.same(runner.run(1).written, [], 'what was given up is not written later')
  await worker.close()
})

t.test('a run whose launcher died is told as lost, not as failed', async (t) => {
  const { manager, runner, network, worker } = managedWorld({ cores: 1 })
  manager.execute(assignment(1))
  runner.run().started()
  runner.run().end({ signal: 'launcher-lost' })
  network.run()
  t.match(manager.heard('TaskError'), [{ body: { error: { kind: 'WorkerLost' } } }])
  await worker.close()
})

t.test('the log names the host of the manager that a relationship is with', async (t) => {
  const lines: unknown[] = []
  const info: Log['info'] = (event, fields) => void lines.push([event, fields])
  const { worker } = managedWorld({ cores: 1 }, { log: { ...quiet, info } })
  t.same(lines.at(-1), ['relationship', { phase: 'managed', manager: 'host-m1' }])
  await worker.close()
})

t.test('a lost manager is redialled, and work goes on for it', async (t) => {
  const { manager, runner, network, clock, node, worker } = managedWorld({ cores: 1 })
  manager.execute(assignment(1), assignment(2))
  runner.run().started()
  network.cut(WORKER, 'm1')
  network.run()
  t.same(node.redialled, ['m1'])
  runner.run(0).end()
  t.equal(runner.runs.length, 2, 'the lease lasts: the next one is started')
  runner.run(1).started()
  network.connect(WORKER, 'm1')
  clock.advance(1000)
  t.match(manager.heard('ManagerRequest')[1], {
    body: {
      rel: 'rel-m1-1',
      tasks: [
        { task_id: `${LEDGER}-1`, attempt: 1, status: 'Completed' },
        { task_id: `${LEDGER}-2`, attempt: 1, status: 'Started' },
      ],
    },
  })
  t.equal(manager.heard('TaskCompleted').length, 1)
  await worker.close()
})

t.test('nothing starts after the lease, and what asked for it is killed', async (t) => {
  const { manager, runner, network, clock, node, worker } = managedWorld({ cores: 2 })
  manager.execute(assignment(1, { on_orphan: 'kill' }), assignment(2), assignment(3))
  for (const run of runner.runs) run.started()
  network.silence('m1', true)
  clock.advance(LEASE_MS)
  t.same(node.terminated, ['m1'])
  t.same(runner.run(0).signals, ['SIGKILL'])
  t.same(runner.run(1).signals, [])
  runner.run(0).end({ signal: 'SIGKILL' })
  runner.run(1).end()
  clock.advance(PING_MS)
  t.equal(runner.runs.length, 2, 'the third is kept, not started')
  network.silence('m1', false)
  network.connect(WORKER, 'm1')
  clock.advance(1000)
  t.equal(runner.runs.length, 3, 'until the manager is back')
  t.match(manager.heard('TaskError'), [{ body: { error: { kind: 'Aborted' } } }])
  await worker.close()
})

t.test('what starts while it asks a manager is told when it is taken', async (t) => {
  const { manager, runner, network, clock, worker } = managedWorld()
  manager.execute(assignment(1))
  network.cut(WORKER, 'm1')
  network.run()
  const { handlers } = manager
  let accept = (): void => undefined
  manager.handlers = {
    ...handlers,
    ManagerRequest: (body, respond, from) => {
      accept = () => handlers.ManagerRequest?.(body, respond, from)
    },
  }
  network.connect(WORKER, 'm1')
  clock.advance(1000)
  t.match(manager.heard('ManagerRequest').at(-1), {
    body: { tasks: [{ status: 'Pending' }] },
  })
  runner.run().started()
  t.equal(manager.heard('TaskStarted').length, 0)
  accept()
  network.run()
  t.match(manager.heard('TaskStarted'), [
    { body: { rel: manager.rel, task_id: `${LEDGER}-1`, attempt: 1 } },
  ])
  await worker.close()
})

t.test('a bye from the manager ends its work without a word', async (t) => {
  const { manager, runner, clock, outbox, worker } = managedWorld({ cores: 1 })
  manager.execute(assignment(1), assignment(2))
  runner.run().started()
  manager.accepts = false
  t.equal(manager.ask('ManagerBye', { rel: manager.rel }).answer?.kind, 'Ack')
  t.same(runner.run().signals, ['SIGTERM'])
  runner.run().end({ signal: 'SIGTERM' })
  clock.advance(1000)
  t.same(manager.heard('TaskError'), [])
  t.match(worker.status, { running: 0, pending: 0, undelivered: 0, manager: undefined })
  t.same(outbox.load(), { pending: [], outcomes: [] })
  await worker.close()
})

t.test('an outcome stays until it is acknowledged', async (t) => {
  const { manager, runner, clock, outbox, worker } = managedWorld()
  manager.taskAnswer = 'busy'
  manager.execute(assignment(1))
  runner.run().end()
  clock.advance(0)
  t.equal(outbox.load().outcomes.length, 1)
  t.equal(manager.heard('TaskCompleted').length, 1)
  clock.advance(1000)
  t.equal(manager.heard('TaskCompleted').length, 2)
  clock.advance(1999)
  t.equal(manager.heard('TaskCompleted').length, 2, 'the pause doubles')
  manager.taskAnswer = 'Ack'
  clock.advance(1)
  t.equal(manager.heard('TaskCompleted').length, 3)
  t.equal(outbox.load().outcomes.length, 0)
  await worker.close()
})

t.test('a malformed outcome is parked and never sent again', async (t) => {
  const { manager, runner, clock, worker } = managedWorld()
  manager.taskAnswer = 'malformed'
  manager.execute(assignment(1))
  runner.run().end()
  clock.advance(100_000)
  t.equal(manager.heard('TaskCompleted').length, 1)
  t.equal(worker.status.parked, 1)
  await worker.close()
})

t.test('NotMine to an outcome brings a new relationship, then the outcome', async (t) => {
  const { manager, runner, clock, worker } = managedWorld()
  manager.execute(assignment(1))
  manager.taskAnswer = 'NotMine'
  clock.advance(1000)
  runner.run().end()
  clock.advance(0)
  t.equal(manager.heard('ManagerRequest').length, 2, 'once at once, then with pauses')
  t.notOk('rel' in (manager.heard('ManagerRequest')[1]?.body ?? {}), 'its rel is cleared')
  manager.taskAnswer = 'Ack'
  clock.advance(60_000)
  t.equal(worker.status.undelivered, 0)
  await worker.close()
})

t.test('outcomes of a manager that is served no more are settled', async (t) => {
  const { manager, runner, network, clock, worker } = managedWorld()
  manager.execute(assignment(1), assignment(2))
  network.cut(WORKER, 'm1')
  runner.run(0).end()
  clock.advance(10 * LEASE_MS)
  const other = new PlayedManager(network, 'm2', OTHER_LEDGER)
  network.connect(WORKER, 'm2')
  network.run()
  t.equal(worker.status.manager, 'm2')
  t.match(other.heard('ManagerRequest'), [{ body: { tasks: [] } }])
  manager.drop = [{ task_id: `${LEDGER}-1`, attempt: 1 }]
  network.connect(WORKER, 'm1')
  network.run()
  t.match(manager.heard('ManagerRequest')[1], {
    body: { settle: true, tasks: [{ outcome: { kind: 'Completed' } }] },
  })
  t.equal(worker.status.undelivered, 0)
  manager.drop = [{ task_id: `${LEDGER}-2`, attempt: 1 }]
  runner.run(1).end()
  network.run()
  t.equal(worker.status.undelivered, 0, 'what ends later is settled at once')
  await worker.close()
})

t.test('a drained worker ends what runs, delivers, and says bye', async (t) => {
  const { manager, runner, network, clock, worker } = managedWorld({ cores: 1 })
  manager.execute(assignment(1), assignment(2))
  runner.run().started()
  const drained = worker.drain(1000)
  t.match(manager.execute(assignment(3)), { body: { refused: [{ reason: 'draining' }] } })
  clock.advance(1000)
  await new Promise(setImmediate)
  t.same(runner.run().signals, ['SIGTERM'])
  runner.run().end({ signal: 'SIGTERM' })
  for (let n = 0; n < 5; n += 1) {
    await new Promise(setImmediate)
    network.run()
  }
  await drained
  t.match(manager.heard('TaskError', 'ManagerBye'), [
    { kind: 'TaskError', body: { error: { kind: 'Aborted' } } },
    { kind: 'ManagerBye' },
  ])
  t.equal(runner.runs.length, 1)
  await worker.close()
  t.equal(clock.pending, 0, 'no timer is left')
})

t.test('a worker that starts again brings what was left', async (t) => {
  const outbox = memoryOutbox()
  const first = managedWorld({ cores: 1 }, { outbox })
  first.manager.execute(assignment(1), assignment(2), assignment(3))
  first.network.cut(WORKER, 'm1')
  first.runner.run().end()
  await first.worker.close()
  const second = world({ cores: 1 }, { outbox })
  second.clock.advance(0)
  t.equal(second.runner.runs.length, 0, 'nothing starts before a manager accepts')
  second.network.connect(WORKER, 'm1')
  second.network.run()
  t.match(second.manager.heard('ManagerRequest'), [
    {
      body: {
        tasks: [
          { task_id: `${LEDGER}-3`, status: 'Pending' },
          { task_id: `${LEDGER}-1`, status: 'Completed' },
        ],
      },
    },
  ])
  t.equal(second.manager.heard('TaskCompleted').length, 1)
  t.equal(second.runner.runs.length, 1)
  await second.worker.close()
})

t.test('the inventory goes in pages', async (t) => {
  const { manager, network, worker, clock } = managedWorld({ pendingLimit: 3000 })
  for (let n = 0; n < 10; n += 1) {
    const tasks = Array.from({ length: 210 }, (_, k) => assignment(n * 210 + k + 1))
    manager.execute(...tasks)
  }
  network.cut(WORKER, 'm1')
  network.connect(WORKER, 'm1')
  clock.advance(1000)
  const pages = manager.heard('ManagerRequest').slice(1)
  t.same(
    pages.map(({ body: { tasks, more } }) => [
      Array.isArray(tasks) && tasks.length,
      more,
    ]),
    [
      [1000, true],
      [1000, true],
      [100, false],
    ],
  )
  t.equal(worker.status.manager, 'm1')
  await worker.close()
})

/** An outbox whose disk is as slow, or as full, as a test wants. */
const slowOutbox = () => {
  const waiting: ((isDurable: boolean) => void)[] = []
  const flush = (isDurable = true): void => {
    for (const done of waiting.splice(0)) done(isDurable)
  }
  const flushOne = (isDurable: boolean): void => waiting.shift()?.(isDurable)
  const outbox = {
    ...memoryOutbox(),
    sync: (done: (ok: boolean) => void) => void waiting.push(done),
  }
  return { outbox, flush, flushOne }
}

t.test('nothing is acknowledged, started or sent before it is recorded', async (t) => {
  const { outbox, flush } = slowOutbox()
  const { manager, runner, network, worker } = managedWorld({}, { outbox })
  t.equal(manager.execute(assignment(1)), undefined)
  t.equal(runner.runs.length, 0)
  flush()
  t.equal(runner.runs.length, 0, 'its start is to be recorded too')
  flush()
  runner.run().started()
  runner.run().end()
  network.run()
  t.equal(manager.heard('TaskStarted').length, 1)
  t.equal(manager.heard('TaskCompleted').length, 0)
  flush()
  network.run()
  t.equal(manager.heard('TaskCompleted').length, 1)
  await worker.close()
})

t.test('a task that is being recorded is spoken of when that is settled', async (t) => {
  const { outbox, flush } = slowOutbox()
  const { manager, network, worker } = managedWorld({}, { outbox })
  manager.execute(assignment(1))
  const { rel } = manager
  const asked = manager.ask('TasksPing', { rel, tasks: [`${LEDGER}-1`] })
  t.equal(asked.answer, undefined, 'it may be refused yet')
  flush(false)
  network.run()
  t.match(asked.answer?.body, { tasks_status: [[`${LEDGER}-1`, { kind: 'Unknown' }]] })
  await worker.close()
})

for (const isDurable of [true, false])
  t.test(
    `what is being recorded is asked about when it is settled: ${isDurable}`,
    async (t) => {
      const { outbox, flush } = slowOutbox()
      const { manager, runner, network, clock, worker } = managedWorld({}, { outbox })
      manager.execute(assignment(1))
      network.cut(WORKER, 'm1')
      network.run()
      network.connect(WORKER, 'm1')
      clock.advance(1000)
      t.equal(manager.heard('ManagerRequest').length, 1, 'it may be here, or not')
      const task = { task_id: `${LEDGER}-1`, attempt: 1 }
      manager.drop = [task]
      flush(isDurable)
      network.run()
      const tasks = isDurable ? [{ ...task, status: 'Pending' }] : []
      const { tasks: told } = manager.heard('ManagerRequest')[1]?.body ?? {}
      t.strictSame(told, tasks)
      flush()
      network.run()
      t.equal(runner.runs.length, 0, 'what is dropped does not run')
      await worker.close()
    },
  )

t.test('what waits on record stays, sent again to a full disk', async (t) => {
  const { outbox, flush } = slowOutbox()
  const { manager, runner, network, worker } = managedWorld({ cores: 1 }, { outbox })
  manager.execute(assignment(1), assignment(2))
  flush()
  flush()
  runner.run().started()
  const { rel, epoch } = manager
  const order = { rel, epoch, boot: 'c'.repeat(16), tasks: [assignment(2)] }
  const again = manager.ask('TasksExecute', order)
  flush(false)
  network.run()
  t.equal(again.answer?.kind, 'Ack')
  t.equal(worker.status.pending, 1)
  runner.run().end()
  network.run()
  flush()
  t.equal(runner.runs.length, 2)
  await worker.close()
})

t.test('sent twice and not recorded the first time, it is refused twice', async (t) => {
  const { outbox, flushOne } = slowOutbox()
  const { manager, network, worker } = managedWorld({}, { outbox })
  const { rel, epoch } = manager
  const body = { rel, epoch, boot: 'c'.repeat(16), tasks: [assignment(1)] }
  const first = manager.ask('TasksExecute', body)
  const second = manager.ask('TasksExecute', body)
  flushOne(false)
  flushOne(true)
  network.run()
  for (const { answer } of [first, second])
    t.match(answer?.body, { refused: [{ reason: 'busy' }] })
  t.match(worker.status, { pending: 0, running: 0 })
  await worker.close()
})

t.test(
  'a full disk: tasks are refused as busy, outcomes and starts tried again',
  async (t) => {
    const { outbox, flush } = slowOutbox()
    const { manager, runner, network, clock, worker } = managedWorld({}, { outbox })
    const { rel, epoch } = manager
    const boot = 'c'.repeat(16)
    const refused = manager.ask('TasksExecute', {
      rel,
      epoch,
      boot,
      tasks: [assignment(1)],
    })
    flush(false)
    network.run()
    t.match(refused.answer?.body, { refused: [{ reason: 'busy' }] })
    t.match(worker.status, { pending: 0, running: 0 })
    manager.execute(assignment(2))
    flush()
    flush(false)
    t.equal(runner.runs.length, 0)
    clock.advance(1000)
    flush()
    runner.run().end()
    flush(false)
    clock.advance(1000)
    t.equal(manager.heard('TaskCompleted').length, 0)
    flush()
    network.run()
    t.equal(manager.heard('TaskCompleted').length, 1)
    await worker.close()
  },
)

t.test('a start that is recorded at the second try is removed at both', async (t) => {
  const removed: string[] = []
  const { outbox, flush } = slowOutbox()
  const watched = {
    ...outbox,
    removePending: (taskId: string) => void removed.push(taskId),
  }
  const { manager, clock, worker } = managedWorld({}, { outbox: watched })
  manager.execute(assignment(1))
  flush()
  t.equal(removed.length, 1)
  flush(false) // the disk is full: the removal may be undone
  clock.advance(1000)
  t.equal(removed.length, 2)
  manager.ask('TasksAbord', {
    rel: manager.rel,
    tasks: [{ task_id: assignment(1).task_id, attempt: 1 }],
  })
  t.equal(removed.length, 3)
  manager.execute(assignment(1, { attempt: 2 }))
  flush(false)
  clock.advance(1000)
  t.equal(removed.length, 4, 'of the attempt that could not be recorded, none of the old')
  await worker.close()
})

t.test('a full disk does not send away what runs already', async (t) => {
  const { outbox, flush } = slowOutbox()
  const { manager, runner, network, worker } = managedWorld({}, { outbox })
  manager.execute(assignment(1))
  flush()
  flush()
  t.equal(runner.runs.length, 1)
  const { rel, epoch } = manager
  const tasks = [assignment(1), assignment(2)]
  const again = manager.ask('TasksExecute', { rel, epoch, boot: 'c'.repeat(16), tasks })
  flush(false)
  network.run()
  t.match(again.answer?.body, { refused: [{ task_id: assignment(2).task_id }] })
  t.match(worker.status, { running: 1, pending: 0 })
  await worker.close()
})

t.test('a NotMine that comes after the new relationship is sent again', async (t) => {
  const { manager, runner, network, clock, worker } = managedWorld()
  const late: (() => void)[] = []
  const { TaskCompleted: takes } = manager.handlers
  manager.handlers = {
    ...manager.handlers,
    TaskCompleted: (_body, respond) => void late.push(() => respond('NotMine', {})),
  }
  clock.advance(1000)
  manager.execute(assignment(1), assignment(2))
  for (const run of runner.runs) run.end()
  network.run()
  if (takes !== undefined) {
    manager.handlers = { ...manager.handlers, TaskCompleted: takes }
  }
  for (const say of late) {
    say()
    network.run()
  }
  clock.advance(2000)
  t.match(worker.status, { undelivered: 0, manager: 'm1' })
  await worker.close()
})

t.test('5,000 outcomes are delivered through a window, in order', async (t) => {
  const { manager, network, worker } = managedWorld({ outcomeLimit: 20_000 })
  manager.taskAnswer = 'busy'
  for (let n = 0; n < 20; n += 1) {
    const tasks = Array.from({ length: 250 }, (_, k) =>
      assignment(n * 250 + k + 1, { job_addr: 'noop:' }),
    )
    manager.execute(...tasks)
  }
  t.equal(worker.status.undelivered, 5000)
  manager.taskAnswer = 'Ack'
  network.cut(WORKER, 'm1')
  network.run()
  network.connect(WORKER, 'm1')
  network.run()
  t.equal(worker.status.undelivered, 0)
  await worker.close()
})
