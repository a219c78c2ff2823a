// The worker's side of a relationship in its role: whom it asks, what it takes from whom,
// and what the answers to what it says mean.

import t from 'tap'
import type { Handlers } from '../../protocol/index.ts'
import { memoryOutbox } from '../../src/outbox/memory.ts'
import type { Peer } from '../../src/ports.ts'
import {
  assignment,
  LEASE_MS,
  LEDGER,
  managedWorld,
  OTHER_LEDGER,
  PING_MS,
  PlayedManager,
  WORKER,
  world,
} from '../support/worker-world.ts'

const ID = `${LEDGER}-1`
const LARGE = 'x'.repeat(40_000)

const turn = () => new Promise(setImmediate)

/** Accepts with a lease that the test's silence does not end. */
const grants = (manager: PlayedManager, leaseMs: number): Handlers<Peer> => ({
  ...manager.handlers,
  ManagerRequest: (_body, respond) =>
    respond('ManagerAnswer', {
      accepted: true,
      rel: manager.rel,
      epoch: 1,
      ping_ms: PING_MS,
      lease_ms: leaseMs,
    }),
})

/** The address of the output that an outcome told of. */
const refTold = (manager: PlayedManager): string => {
  const [told] = manager.heard('TaskCompleted')
  if (told === undefined) throw new Error('no outcome was told')
  // It was written by our own worker, whose row says so.
  return (told.body as { result: { stdout: { ref: string } } }).result.stdout.ref
}

t.test('only managers that it may serve are asked', async (t) => {
  const { network, manager, worker } = world({ managers: ['m2', 'host-m3'] })
  const others = ['m2', 'm3'].map((name) => new PlayedManager(network, name, LEDGER))
  for (const other of others) other.accepts = false
  network.add({ name: 'w2', role: 'worker', ledgerId: LEDGER })
  for (const name of ['m1', 'w2', 'm2', 'm3']) network.connect(WORKER, name)
  network.run()
  t.same(manager.heard('ManagerRequest'), [])
  const asked = network.said.filter(({ kind }) => kind === 'ManagerRequest')
  t.same([...new Set(asked.map(({ to }) => to))], ['m2'])
  t.notOk(network.said.some(({ to }) => to === 'w2'))
  await worker.close()
})

t.test('a manager that may not manage it is told why, the log once', async (t) => {
  const lines: string[] = []
  const warn = (event: string, fields: object = {}) =>
    void lines.push(`${event} ${JSON.stringify(fields)}`)
  const log = { info() {}, error() {}, debug() {}, warn }
  const { network, worker } = world({ managers: ['m2'] }, { log })
  for (let time = 1; time <= 2; time++) {
    network.connect(WORKER, 'm1')
    network.run()
    const told = network.said.filter(({ kind }) => kind === 'ManagerBye')
    t.equal(told.length, time)
    t.match(told.at(-1), { to: 'm1', body: { rel: 'none', reason: /other managers/ } })
    network.cut(WORKER, 'm1')
  }
  t.same(lines.length, 1)
  t.match(lines[0], /manager-passed-over .*m1/)
  await worker.close()
})

t.test('what a stranger asks is NotMine, whatever it is', async (t) => {
  const { manager, worker, network, runner } = managedWorld()
  manager.execute(assignment(1, { stdin_live: true }))
  runner.run().started()
  const stranger = new PlayedManager(network, 'm2', OTHER_LEDGER)
  network.connect(WORKER, 'm2')
  network.run()
  const { rel } = manager
  const at = { rel, task_id: ID, attempt: 1 }
  const read = { ...at, fd: 1, offset: 0, max: 10, wait_ms: 0 } as const
  const input = { ...at, offset: 0, data: Buffer.from('x'), eof: false }
  for (const from of [stranger, manager]) {
    const wrong = from === manager ? { rel: 'other' } : {}
    const answers = [
      from.ask('TaskOutputRead', { ...read, ...wrong }),
      from.ask('TaskInput', { ...input, ...wrong }),
    ]
    t.same(
      answers.map(({ answer }) => answer?.kind),
      ['NotMine', 'NotMine'],
    )
  }
  t.equal(manager.ask('TaskOutputRead', read).answer?.kind, 'TaskOutputData')
  t.equal(manager.ask('TaskInput', input).answer?.kind, 'Ack')
  await worker.close()
})

t.test('what a worker tells is NotMine to a worker', async (t) => {
  const { manager, worker } = managedWorld()
  const at = { rel: manager.rel, task_id: ID, attempt: 1 }
  const answers = [
    manager.ask('TaskStarted', { ...at, at_ms: 1 }),
    manager.ask('TaskError', { ...at, error: { kind: 'TimedOut' } }),
    manager.ask('TaskCompleted', { ...at, result: { run_ms: 1, exit_code: 0 } }),
  ]
  t.same(
    answers.map(({ answer }) => answer?.kind),
    ['NotMine', 'NotMine', 'NotMine'],
  )
  await worker.close()
})

t.test('kept output is released by its own ledger alone', async (t) => {
  const { manager, worker, network, runner } = managedWorld()
  manager.execute(assignment(1))
  runner.run().output = [LARGE, '']
  runner.run().started()
  runner.run().end()
  network.run()
  const ref = refTold(manager)
  const stranger = new PlayedManager(network, 'm2', OTHER_LEDGER)
  network.connect(WORKER, 'm2')
  network.run()
  const read = { ref, offset: 0, max: 10 }
  t.equal(stranger.ask('BlobRead', read).answer?.kind, 'NotFound')
  t.equal(stranger.ask('BlobRelease', { refs: [ref] }).answer?.kind, 'Ack')
  t.equal(manager.ask('BlobRead', read).answer?.kind, 'BlobData')
  manager.ask('BlobRelease', { refs: [ref] })
  t.equal(manager.ask('BlobRead', read).answer?.kind, 'NotFound')
  await worker.close()
})

t.test('drops of an acceptance end what runs and forget what has ended', async (t) => {
  const { manager, worker, network, runner } = managedWorld()
  manager.taskAnswer = 'busy'
  manager.execute(assignment(1), assignment(2))
  for (const run of runner.runs) run.started()
  runner.run(0).output = [LARGE, '']
  runner.run(0).end()
  network.run()
  const ref = refTold(manager)
  network.cut(WORKER, 'm1')
  network.run()
  manager.drop = [1, 2].map((n) => ({ task_id: `${LEDGER}-${n}`, attempt: 1 }))
  network.connect(WORKER, 'm1')
  network.run()
  t.match(worker.status, { undelivered: 0, manager: 'm1' })
  t.same(runner.run(1).signals, ['SIGTERM'])
  const read = { ref, offset: 0, max: 10 }
  t.equal(manager.ask('BlobRead', read).answer?.kind, 'BlobData', 'recorded, so kept')
  runner.run(1).end({ signal: 'SIGTERM' })
  network.run()
  t.same(manager.heard('TaskError'), [], 'nobody wants to hear of it')
  await worker.close()
})

t.test('an Error or silence is a refusal: it asks again', async (t) => {
  const { clock, network, manager, worker } = world()
  const accepting = manager.handlers
  manager.handlers = {
    ...accepting,
    ManagerRequest: (_body, respond) =>
      respond('Error', { code: 'busy', retry_after_ms: 3000 }),
  }
  network.connect(WORKER, 'm1')
  network.run()
  clock.advance(2999)
  t.equal(manager.heard('ManagerRequest').length, 1, 'as long as it says')
  manager.handlers = { ...accepting, ManagerRequest: () => undefined }
  clock.advance(1)
  t.equal(manager.heard('ManagerRequest').length, 2)
  manager.handlers = accepting
  clock.advance(10_000)
  t.equal(worker.status.manager, undefined)
  clock.advance(500)
  t.equal(worker.status.manager, 'm1')
  await worker.close()
})

t.test('three pings in a row without an answer end the socket', async (t) => {
  const { clock, network, manager, node, worker } = world()
  manager.handlers = grants(manager, 600_000)
  manager.answersPings = false
  network.connect(WORKER, 'm1')
  network.run()
  clock.advance(4 * PING_MS - 1)
  t.same(node.terminated, [])
  clock.advance(1)
  t.same(node.terminated, ['m1'])
  t.same(node.redialled, ['m1'])
  await worker.close()
})

t.test('a ping that a lost socket took with it counts as none', async (t) => {
  const { clock, network, manager, node, worker } = world()
  manager.handlers = grants(manager, 600_000)
  manager.answersPings = false
  network.connect(WORKER, 'm1')
  network.run()
  clock.advance(3 * PING_MS)
  network.cut(WORKER, 'm1')
  network.run()
  t.same(node.terminated, [])
  t.same(node.redialled, ['m1'])
  await worker.close()
})

t.test('NotMine to a ping or to TaskStarted brings a new relationship', async (t) => {
  const { clock, manager, runner, network, worker } = managedWorld()
  clock.advance(PING_MS - 1)
  manager.rel = 'forgotten'
  clock.advance(1)
  t.equal(manager.heard('ManagerRequest').length, 2)
  t.notMatch(manager.heard('ManagerRequest')[1], { body: { rel: String } }, 'cleared')
  clock.advance(1000)
  manager.execute(assignment(1))
  manager.taskAnswer = 'NotMine'
  runner.run().started()
  network.run()
  t.match(manager.heard('ManagerRequest')[2], {
    body: { tasks: [{ task_id: ID, status: 'Started' }] },
  })
  t.same(runner.run().signals, [], 'the task goes on')
  await worker.close()
})

t.test('the lease counts from when the request was sent, not answered', async (t) => {
  const { clock, network, manager, node, worker } = world()
  const accepting = manager.handlers.ManagerRequest
  manager.handlers = {
    ManagerRequest: (body, respond, from) =>
      void clock.after(3000, () => accepting?.(body, respond, from)),
  }
  network.connect(WORKER, 'm1')
  network.run()
  clock.advance(3000)
  t.equal(worker.status.manager, 'm1')
  network.silence('m1', true)
  clock.advance(LEASE_MS - 3001)
  t.same(node.terminated, [])
  clock.advance(1)
  t.same(node.terminated, ['m1'])
  await worker.close()
})

t.test('a pong renews the lease from when the ping was sent', async (t) => {
  const { clock, network, manager, node, worker } = managedWorld()
  manager.handlers = {
    ...manager.handlers,
    ManagerPing: ({ rel }, respond) =>
      void clock.after(3000, () => respond('ManagerPong', { rel })),
  }
  clock.advance(PING_MS + 3000)
  network.silence('m1', true)
  clock.advance(LEASE_MS - 3001)
  t.same(node.terminated, [])
  clock.advance(1)
  t.same(node.terminated, ['m1'])
  await worker.close()
})

t.test('a manager that was taken out of the mesh is left, its work ended', async (t) => {
  const { manager, network, runner, worker } = managedWorld()
  manager.execute(assignment(1))
  network.run()
  network.cut(WORKER, 'm1', { clean: false, isExpelled: true })
  network.run()
  t.equal(worker.status.manager, undefined)
  t.match(runner.run().signals, ['SIGTERM'])
  await worker.close()
})

t.test('an inventory ends where the worker leaves', async (t) => {
  const { manager, network, runner, clock, worker } = managedWorld({
    pendingLimit: 3000,
    cores: 1,
  })
  const tasks = Array.from({ length: 1500 }, (_, n) => assignment(n + 1))
  for (let from = 0; from < 1500; from += 250)
    manager.execute(...tasks.slice(from, from + 250))
  network.cut(WORKER, 'm1')
  network.run()
  const next: (() => void)[] = []
  manager.handlers = {
    ...manager.handlers,
    ManagerRequest: (_body, respond) =>
      void next.push(() => respond('ManagerAnswer', { accepted: false, continue: true })),
  }
  network.connect(WORKER, 'm1')
  network.run()
  t.match(manager.heard('ManagerRequest')[1], { body: { more: true } })
  const drained = worker.drain(0)
  clock.advance(0)
  await turn()
  runner.run().end({ signal: 'SIGTERM' })
  await turn()
  clock.advance(5000) // its outcome cannot be delivered
  await drained
  for (const respond of next) respond()
  network.run()
  t.equal(manager.heard('ManagerRequest').length, 2, 'no further page')
  await worker.close()
})

t.test('leaving, it gives what runs its grace, and each its own ladder', async (t) => {
  const { manager, runner, network, clock, worker } = managedWorld()
  manager.execute(assignment(1, { kill_grace_ms: 60_000 }))
  runner.run().started()
  const drained = worker.drain(1000)
  clock.advance(999)
  await turn()
  t.same(runner.run().signals, [])
  clock.advance(1)
  await turn()
  t.same(runner.run().signals, ['SIGTERM'])
  clock.advance(50_000)
  await turn()
  t.same(manager.heard('ManagerBye'), [], 'the group may be alive for another 10 s')
  clock.advance(10_000)
  t.same(runner.run().signals, ['SIGTERM', 'SIGKILL'])
  manager.taskAnswer = 'busy'
  runner.run().end({ signal: 'SIGKILL' })
  network.run()
  for (let n = 0; n < 3; n += 1) await turn()
  t.same(manager.heard('ManagerBye'), [], 'its outcome is not delivered')
  manager.taskAnswer = 'Ack'
  clock.advance(2000)
  for (let n = 0; n < 3; n += 1) {
    await turn()
    network.run()
  }
  await drained
  t.equal(manager.heard('ManagerBye').length, 1)
  t.equal(worker.status.undelivered, 0)
  await worker.close()
})

t.test(
  'a start is told again while the task runs, unless it was malformed',
  async (t) => {
    const { manager, runner, clock, network, worker } = managedWorld()
    manager.taskAnswer = 'busy'
    manager.execute(assignment(1), assignment(2))
    runner.run(0).started()
    network.run()
    clock.advance(999)
    t.equal(manager.heard('TaskStarted').length, 1)
    clock.advance(1)
    t.equal(manager.heard('TaskStarted').length, 2)
    manager.taskAnswer = 'Ack'
    runner.run(0).end()
    network.run()
    clock.advance(5000)
    t.equal(manager.heard('TaskStarted').length, 2, 'it has ended')
    manager.taskAnswer = 'malformed'
    runner.run(1).started()
    network.run()
    clock.advance(5000)
    t.equal(manager.heard('TaskStarted').length, 3)
    await worker.close()
  },
)

t.test('what an earlier life took is not judged anew', async (t) => {
  const outbox = memoryOutbox()
  const large = assignment(1, { requires: { cores: 8 } })
  outbox.putPending(large)
  const { manager, worker } = managedWorld({ cores: 2 }, { outbox })
  t.equal(manager.execute(large)?.kind, 'Ack')
  t.match(manager.execute({ ...large, task_id: `${LEDGER}-2` }), {
    body: { refused: [{ reason: 'specs' }] },
  })
  await worker.close()
})

/** A worker of another manager, with outcomes of the first one. */
const settling = (count: number, output: string) => {
  const made = managedWorld({ cores: count })
  const { manager, network, runner, clock } = made
  manager.execute(...Array.from({ length: count }, (_, n) => assignment(n + 1)))
  network.cut(WORKER, 'm1')
  for (const run of runner.runs) {
    run.output = [output, '']
    run.started()
    run.end()
  }
  clock.advance(10 * LEASE_MS)
  const other = new PlayedManager(network, 'm2', OTHER_LEDGER)
  network.connect(WORKER, 'm2')
  network.run()
  const settled = () =>
    manager
      .heard('ManagerRequest')
      .filter(({ body }) => 'settle' in body)
      .map(({ body: { tasks } }) => (Array.isArray(tasks) ? tasks.length : 0))
  return { ...made, other, settled }
}

t.test('outcomes are handed over in pages of 64 KiB', async (t) => {
  const { manager, network, settled, worker } = settling(5, 'y'.repeat(30_000))
  manager.handlers = {
    ...manager.handlers,
    ManagerRequest: ({ tasks }, respond) =>
      respond('ManagerAnswer', {
        accepted: false,
        drop: tasks.map(({ task_id, attempt }) => ({ task_id, attempt })),
      }),
  }
  network.connect(WORKER, 'm1')
  network.run()
  t.same(settled(), [2, 2, 1])
  t.equal(worker.status.undelivered, 0)
  await worker.close()
})

t.test('outcomes that nobody takes are offered again, not at once', async (t) => {
  const { clock, network, settled, worker } = settling(1, '')
  network.connect(WORKER, 'm1')
  network.run()
  t.same(settled(), [1])
  clock.advance(29_000)
  t.same(settled(), [1])
  clock.advance(1000)
  t.same(settled(), [1, 1])
  await worker.close()
})

t.test('a manager that takes a settlement for a request is sent away', async (t) => {
  const { manager, network, other, worker } = settling(1, '')
  manager.handlers = grants(manager, LEASE_MS)
  network.connect(WORKER, 'm1')
  network.run()
  t.match(manager.heard('ManagerBye'), [{ body: { rel: manager.rel } }])
  t.equal(worker.status.manager, other.nodeId)
  await worker.close()
})

t.test(
  'a manager that was there before is settled with after an acceptance',
  async (t) => {
    const { manager, network, runner, clock, worker } = managedWorld({ cores: 1 })
    manager.execute(assignment(1))
    runner.run().started()
    network.cut(WORKER, 'm1')
    runner.run().end()
    network.run()
    manager.accepts = false
    manager.drop = [{ task_id: ID, attempt: 1 }]
    network.connect(WORKER, 'm1')
    const other = new PlayedManager(network, 'm2', OTHER_LEDGER)
    network.connect(WORKER, 'm2')
    clock.advance(11 * LEASE_MS)
    t.equal(worker.status.manager, other.nodeId)
    t.equal(worker.status.undelivered, 0)
    await worker.close()
  },
)
