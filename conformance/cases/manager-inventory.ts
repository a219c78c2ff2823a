// What a manager makes of the inventory that a worker brings.

import type { Case } from '../case.ts'
import type { Body } from '../protocol.ts'
import { equal } from '../stage.ts'
import { over, submit, summary } from '../worker-side.ts'
import { accepted, entry, handedOut, leaseOf } from './manager-support.ts'

export const managerInventoryCases: readonly Case[] = [
  {
    name: 'workers: what is over is dropped',
    role: 'manager',
    rule: 'its task has ended, or is not known | names it in `drop`',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage)
      await worker.completed(task)
      await over(client, id)
      await worker.peer.cut()
      const unknown = `${id.split('-')[0]}-999999999`
      const tasks = [entry(id, 1, 'Started'), entry(unknown, 3, 'Pending')]
      const back = await stage.back(worker, { tasks })
      const drop = back.answer.drop as readonly Body[]
      equal(
        drop.map(({ task_id, attempt }) => [task_id, attempt]).sort(),
        [
          [id, 1],
          [unknown, 3],
        ].sort(),
        'drop',
      )
    },
  },
  {
    name: 'workers: what was not acknowledged is sent again as it is',
    role: 'manager',
    rule: 'is sent again as it is if it was never acknowledged, else queued again.',
    run: async (stage) => {
      const worker = await stage.worker({}, undefined, (peer) =>
        peer.handlers.delete('TasksExecute'),
      )
      const client = await stage.open()
      const [id = ''] = await submit(client, [worker.job()])
      await worker.assigned(id, 1)
      await worker.peer.cut()
      const back = await stage.back(worker, { rel: worker.rel })
      await back.assigned(id, 1)
    },
  },
  {
    name: 'workers: what was acknowledged and is missing is queued again',
    role: 'manager',
    rule: 'is sent again as it is if it was never acknowledged, else queued again.',
    run: async (stage) => {
      const { worker, client, id } = await handedOut(stage)
      await accepted(client, id)
      await worker.peer.cut()
      const back = await stage.back(worker, { rel: worker.rel })
      const { attempt } = await back.assigned(id)
      equal(attempt, 2, 'its attempt')
    },
  },
  {
    name: 'workers: pages of an inventory are one',
    role: 'manager',
    rule: '`accepted: false`, `continue: true`; nothing is dropped or handed out before the last page',
    run: async (stage) => {
      const { worker, client, id } = await handedOut(stage)
      await accepted(client, id)
      const { self, label, rel } = worker
      await worker.peer.cut()
      const peer = await stage.open(self)
      const specs = { kinds: ['exec'], labels: { kit: label }, resources: {} }
      const body = { cores: 4, memory: 2 ** 30, specs, rel }
      const page = (tasks: readonly object[], more: boolean) =>
        peer.ask('ManagerRequest', { ...body, tasks, more })
      const unknown = `${id.split('-')[0]}-999999999`
      const first = await page([entry(unknown, 1, 'Pending')], true)
      equal([first.b.accepted, first.b.continue], [false, true], 'to the first page')
      const last = await page([entry(id, 1, 'Started')], false)
      const drop = last.b.drop as readonly Body[]
      equal(
        [last.b.accepted, drop.map(({ task_id }) => task_id)],
        [true, [unknown]],
        'to the last page',
      )
      equal((await summary(client, id)).attempt, 1, 'the attempt of its task')
      await peer.ask('ManagerBye', { rel: last.b.rel })
    },
  },
  {
    name: 'workers: what runs at one that comes back late is adopted',
    role: 'manager',
    rule: 'hands it to this worker under the current attempt, which adopts it',
    run: async (stage) => {
      const { worker, client, id } = await handedOut(stage)
      leaseOf(worker)
      await accepted(client, id)
      worker.fallSilent()
      await worker.peer.closeCode()
      const back = await stage.back(worker, { tasks: [entry(id, 1, 'Started')] })
      equal(back.answer.drop ?? [], [], 'drop')
      await back.assigned(id, 2)
    },
  },
  {
    name: 'workers: what ends at one that comes back late is not adopted',
    role: 'manager',
    rule: 'its task waits in the queue; the entry is `Ending`, `Error` or `Completed`',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage)
      leaseOf(worker)
      await accepted(client, id)
      worker.fallSilent()
      await worker.peer.closeCode()
      // It takes no tasks any more, so that this one stays in the queue.
      const specs = { kinds: ['noop'], labels: {}, resources: {} }
      const tasks = [entry(id, 1, 'Completed')]
      const back = await stage.back(worker, { tasks, specs })
      equal(back.answer.drop ?? [], [], 'drop')
      equal((await back.completed(task)).k, 'Ack', 'the answer to its outcome')
      equal((await over(client, id)).state, 'completed', 'its state')
    },
  },
  {
    name: 'workers: outcomes are settled',
    role: 'manager',
    rule: 'records the outcomes; `accepted: false`, with all of them in `drop`; no relationship begins',
    run: async (stage) => {
      const { worker, client, id } = await handedOut(stage)
      await worker.peer.cut()
      const outcome = { kind: 'Completed', result: { run_ms: 1, exit_code: 0 } }
      const tasks = [{ ...entry(id, 1, 'Completed'), outcome }]
      const { answer } = await stage.back(worker, { tasks, settle: true })
      const drop = answer.drop as readonly Body[]
      equal([answer.accepted, answer.rel], [false, undefined], 'accepted and rel')
      equal(
        drop.map(({ task_id }) => task_id),
        [id],
        'drop',
      )
      equal((await over(client, id)).state, 'completed', 'its state')
    },
  },
]
