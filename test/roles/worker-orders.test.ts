// Orders of a manager to its worker, and what must not come of them.

import t from 'tap'
import { memoryOutbox } from '../../src/outbox/memory.ts'
import {
  assignment,
  LEDGER,
  managedWorld,
  OTHER_LEDGER,
  PlayedManager,
  WORKER,
  world,
} from '../support/worker-world.ts'

const ID = `${LEDGER}-1`

t.test('the output of an aborted task is gone with its outcome', async (t) => {
  const { manager, runner, network, worker } = managedWorld()
  manager.taskAnswer = 'busy'
  manager.execute(assignment(1))
  runner.run().output = ['x'.repeat(40_000), '']
  runner.run().started()
  runner.run().end()
  network.run()
  t.equal(worker.status.undelivered, 1)
  t.notOk(runner.run().isReleased)
  const { rel } = manager
  t.match(manager.ask('TasksAbord', { rel, tasks: [{ task_id: ID, attempt: 1 }] }), {
    answer: { kind: 'Ack' },
  })
  t.equal(worker.status.undelivered, 0)
  t.ok(runner.run().isReleased)
  await worker.close()
})

t.test('what the owner of the machine does not allow is refused in words', async (t) => {
  const jobs = {
    objection: (address: string) =>
      address === 'exec:no' ? 'no, says its owner' : undefined,
    prepare: () => undefined,
  }
  const limited = managedWorld({ isLimited: true }, { jobs })
  const no = { job_addr: 'exec:no' }
  const answer = limited.manager.execute(assignment(1, no), assignment(2))
  t.match(answer, {
    kind: 'TasksRefused',
    body: { refused: [{ reason: 'forbidden', message: 'no, says its owner' }] },
  })
  await limited.worker.close()
  const free = managedWorld({}, { jobs })
  t.match(free.manager.execute(assignment(1, no)), { kind: 'Ack' }, 'nothing is asked')
  await free.worker.close()
})

t.test('an abort of an earlier attempt does not wait for the later one', async (t) => {
  const { manager, runner, clock, worker } = managedWorld()
  manager.execute(assignment(1, { timeout_ms: 1000 }))
  runner.run().started()
  manager.execute(assignment(1, { timeout_ms: 1000, attempt: 2 }))
  clock.advance(1000)
  t.same(runner.run().signals, ['SIGTERM'])
  const { rel } = manager
  const ask = (attempt: number) =>
    manager.ask('TasksAbord', { rel, tasks: [{ task_id: ID, attempt }] })
  t.match(ask(1), { answer: { kind: 'Ack' } })
  const waiting = ask(2)
  t.notOk(waiting.answer)
  runner.run().end({ signal: 'SIGTERM' })
  clock.advance(0)
  t.match(waiting, { answer: { kind: 'Ack' } })
  await worker.close()
})

for (const isDurable of [true, false])
  t.test(`dropped while it is recorded, an outcome is gone: ${isDurable}`, async (t) => {
    const waiting: ((isDurable: boolean) => void)[] = []
    let isSlow = false
    const kept = memoryOutbox()
    const outbox = {
      ...kept,
      sync: (done: (isDurable: boolean) => void) => {
        if (isSlow) waiting.push(done)
        else done(true)
      },
    }
    const { manager, runner, network, clock, worker } = managedWorld({}, { outbox })
    manager.execute(assignment(1))
    runner.run().started()
    isSlow = true
    runner.run().end()
    const { rel } = manager
    manager.ask('TasksAbord', { rel, tasks: [{ task_id: ID, attempt: 1 }] })
    for (const done of waiting) done(isDurable)
    network.run()
    clock.advance(5000)
    t.same(manager.heard('TaskCompleted'), [])
    t.same(kept.load().outcomes, [])
    t.equal(worker.status.undelivered, 0)
    await worker.close()
  })

t.test('what an earlier life took binds the worker to its ledger', async (t) => {
  const outbox = memoryOutbox()
  outbox.putPending(assignment(1))
  const { network, clock, worker } = world({}, { outbox })
  const other = new PlayedManager(network, 'm2', OTHER_LEDGER)
  network.connect(WORKER, 'm2')
  clock.advance(149_999)
  t.same(other.heard('ManagerRequest'), [])
  clock.advance(1)
  t.equal(worker.status.manager, 'm2')
  t.equal(worker.status.pending, 0)
  await worker.close()
})

t.test('the same attempt of what has ended brings its outcome at once', async (t) => {
  const { manager, runner, network, worker } = managedWorld()
  manager.taskAnswer = 'busy'
  manager.execute(assignment(1))
  runner.run().started()
  runner.run().end()
  network.run()
  manager.taskAnswer = 'Ack'
  t.equal(manager.execute(assignment(1))?.kind, 'Ack')
  t.equal(manager.heard('TaskCompleted').length, 2)
  t.equal(worker.status.undelivered, 0)
  t.equal(runner.runs.length, 1)
  await worker.close()
})
