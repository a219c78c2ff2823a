// Outcomes that a worker has and its manager does not know: none is lost, none told for ever.

import type { Case } from '../case.ts'
import { script } from '../manager-side.ts'
import { describe } from '../peer.ts'
import type { Body } from '../protocol.ts'
import { equal, expect, pause } from '../stage.ts'
import { inventory, running, SLEEP } from './worker-support.ts'

export const workerOutcomeCases: readonly Case[] = [
  {
    name: 'relationship: an outcome waits for its Ack',
    role: 'worker',
    isAlone: true,
    rule: 'it is sent again after the next acceptance, or after 1 s doubling to 30 s',
    run: async (stage) => {
      const manager = await stage.manager()
      manager.peer.handlers.delete('TaskCompleted')
      const task = await manager.start(script('echo hello'))
      await manager.told('TaskCompleted', task)
      await manager.peer.cut()
      const again = await stage.again(manager)
      equal(inventory(again), { [task.task_id]: '1 Completed' }, 'its inventory')
      await again.told('TaskCompleted', task)
      await again.peer.cut()
      const third = await stage.again(again)
      equal(inventory(third), {}, 'its inventory after the Ack')
    },
  },
  {
    name: 'relationship: an outcome answered with Error is told again',
    role: 'worker',
    isAlone: true,
    rule: 'it is sent again after the next acceptance, or after 1 s doubling to 30 s; after `Error{malformed}`, never',
    run: async (stage) => {
      const manager = await stage.manager()
      const { peer } = manager
      peer.handle('TaskCompleted', ({ b }) =>
        b.task_id === bad.task_id
          ? ['Error', { code: 'malformed', path: 'result' }]
          : ['Error', { code: 'internal' }],
      )
      const bad = manager.assignment({})
      await manager.execute([bad])
      await manager.told('TaskCompleted', bad)
      const begun = performance.now()
      const task = await manager.start({})
      await manager.told('TaskCompleted', task)
      await manager.told('TaskCompleted', task, peer.frames.length)
      const ms = performance.now() - begun
      expect(ms > 900, () => `it told it again after ${Math.round(ms)} ms`)
      equal(manager.count('TaskCompleted', bad.task_id), 1, 'how often the malformed one')
    },
  },
  {
    name: 'relationship: a long inventory goes in pages',
    role: 'worker',
    isAlone: true,
    rule: 'Above 1,000 entries it goes in pages: `more: true` on all but the last, each answered with `continue: true`.',
    run: async (stage) => {
      const manager = await stage.manager()
      manager.peer.handlers.delete('TaskCompleted')
      const { cores } = manager
      await running(manager, { requires: { cores } })
      let count = 1
      for (let at = 0; at < 4; at++) {
        const tasks = Array.from({ length: 251 }, () =>
          manager.assignment({ ...SLEEP, requires: { cores } }),
        )
        const answer = await manager.execute(tasks)
        equal(answer.k, 'Ack', `the answer to ${tasks.length} tasks`)
        count += tasks.length
      }
      await manager.peer.cut()
      const peer = await stage.open(manager.self)
      const first = await peer.request('ManagerRequest')
      const seen = peer.frames.length
      equal(first.b.more, true, 'more of the first page')
      peer.answer(first, 'ManagerAnswer', { accepted: false, continue: true })
      const second = await peer.request('ManagerRequest', () => true, seen)
      equal(second.b.more, false, 'more of the second page')
      const ids = [first, second].flatMap(({ b }) =>
        (b.tasks as readonly Body[]).map(({ task_id }) => task_id),
      )
      equal(new Set(ids).size, count, 'tasks in both pages')
      const { rel } = manager
      peer.answer(second, 'ManagerAnswer', { ...manager.acceptance() })
      await peer.ask('ManagerBye', { rel })
      await peer.close()
    },
  },
  {
    name: 'relationship: outcomes are settled with their owner',
    role: 'worker',
    isAlone: true,
    rule: 'A worker that serves another ledger hands over outcomes with `settle: true` and `outcome` in each entry',
    run: async (stage) => {
      const manager = await stage.manager({ ping_ms: 100_000, lease_ms: 150 })
      manager.peer.handlers.delete('TaskCompleted')
      const task = await manager.start(script('echo kept'))
      await manager.told('TaskCompleted', task)
      await manager.peer.cut()
      await pause(1600) // ten leases, and a little more
      const other = await stage.manager()
      equal(inventory(other), {}, 'its inventory for another ledger')
      const owner = await stage.open(manager.self)
      const settle = await owner.request('ManagerRequest')
      const [entry] = settle.b.tasks as readonly Body[]
      equal([settle.b.settle, entry?.task_id], [true, task.task_id], 'what it settles')
      equal((entry?.outcome as Body | undefined)?.kind, 'Completed', 'the outcome')
      const drop = [{ task_id: task.task_id, attempt: 1 }]
      owner.answer(settle, 'ManagerAnswer', { accepted: false, drop })
      const pong = await other.peer.ask('ManagerPing', { rel: other.rel })
      equal(pong.k, 'ManagerPong', describe(pong))
      manager.forget()
    },
  },
]
