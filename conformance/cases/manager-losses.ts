// Workers that are lost: when a manager may think so, and what it costs their tasks.

import type { Case } from '../case.ts'
import { identity } from '../peer.ts'
import type { Body } from '../protocol.ts'
import { equal, expect } from '../stage.ts'
import { over, record, submit, tasksOf } from '../worker-side.ts'
import { accepted, handedOut, leaseOf, refusedPort } from './manager-support.ts'

export const managerLossCases: readonly Case[] = [
  {
    name: 'workers: another boot has lost its tasks',
    role: 'manager',
    rule: 'accepted with a new `rel`; its tasks that are not in the inventory are lost -> managing',
    run: async (stage) => {
      const { worker, client, id } = await handedOut(stage)
      await accepted(client, id)
      await worker.peer.cut()
      const { boot_id } = identity('worker')
      const back = await stage.back(worker, {}, { boot_id })
      const { attempt } = await back.assigned(id)
      const { losses } = await record(client, id)
      equal([attempt, losses], [2, 1], 'its attempt and losses')
      const frame = back.peer.frames.find(({ k }) => k === 'TasksExecute')
      equal(frame?.b.boot, boot_id, 'the boot that it was sent to')
    },
  },
  {
    name: 'workers: the third loss is the last',
    role: 'manager',
    rule: 'the third fails the task as `WorkerLost`',
    run: async (stage) => {
      const { worker, client, id } = await handedOut(stage)
      let last = worker
      for (const attempt of [2, 3]) {
        await last.peer.cut()
        last = await stage.back(worker, {}, { boot_id: identity('worker').boot_id })
        await last.assigned(id, attempt)
      }
      await last.peer.cut()
      await stage.back(worker, {}, { boot_id: identity('worker').boot_id })
      const { state, error } = await over(client, id)
      equal([state, (error as Body).kind], ['failed', 'WorkerLost'], 'state and error')
    },
  },
  {
    name: 'workers: a lost connection takes nothing back before the lease is over',
    role: 'manager',
    rule: 'hands out nothing more, takes nothing back',
    run: async (stage) => {
      const { worker, client, id } = await handedOut(stage)
      const leaseMs = leaseOf(worker)
      await accepted(client, id)
      const { label: kit } = worker
      const specs = { kinds: ['exec'], labels: { kit }, resources: {} }
      const other = await stage.worker({ specs })
      const begun = performance.now()
      await worker.peer.cut()
      await other.peer.wait(
        'the task at another worker',
        ({ k, b }) =>
          k === 'TasksExecute' && tasksOf(b).some(({ task_id }) => task_id === id),
      )
      const ms = performance.now() - begun
      equal(other.attempts(id), [2], 'its attempt')
      expect(
        ms > leaseMs * 0.7,
        () => `after ${Math.round(ms)} ms, with a lease of ${leaseMs} ms`,
      )
    },
  },
  {
    name: 'workers: a refused port means that it is gone',
    role: 'manager',
    rule: 'dials that port: refused twice in a row, 100 ms apart, it is gone at once',
    run: async (stage) => {
      const self = identity('worker', { listen_port: await refusedPort() })
      const worker = await stage.worker({}, self)
      const leaseMs = leaseOf(worker)
      const client = await stage.open()
      const [id = ''] = await submit(client, [worker.job()])
      await worker.assigned(id)
      const specs = { kinds: ['exec'], labels: { kit: worker.label }, resources: {} }
      const other = await stage.worker({ specs })
      const begun = performance.now()
      await worker.peer.close()
      await other.assigned(id, 2)
      const ms = performance.now() - begun
      expect(ms < leaseMs * 0.7, () => `after ${Math.round(ms)} of ${leaseMs} ms`)
      equal((await record(client, id)).losses, 1, 'its losses')
    },
  },
  {
    name: 'workers: one that falls silent loses its tasks',
    role: 'manager',
    rule: 'the lease is over | ends the connection, queues its tasks again -> known',
    run: async (stage) => {
      const { worker, client, id } = await handedOut(stage)
      leaseOf(worker)
      await accepted(client, id)
      worker.fallSilent()
      await worker.peer.closeCode()
      const back = await stage.back(worker, { rel: worker.rel })
      equal(
        [back.answer.resumed, back.rel !== worker.rel],
        [false, true],
        'resumed, new rel',
      )
      await back.assigned(id, 2)
    },
  },
]
