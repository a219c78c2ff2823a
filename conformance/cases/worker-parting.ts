// A worker whose manager disowns it, leaves, falls silent, comes back, or comes back as
// another: what becomes of its tasks.

import type { Case } from '../case.ts'
import { newLedger, script } from '../manager-side.ts'
import { identity } from '../peer.ts'
import type { Body } from '../protocol.ts'
import { equal, expect, pause } from '../stage.ts'
import { gone, inventory, isAlive, running, SLEEP } from './worker-support.ts'

export const workerPartingCases: readonly Case[] = [
  {
    name: 'relationship: disowned, it asks anew and goes on',
    role: 'worker',
    isAlone: true,
    rule: 'ManagerRequest without `rel` (at the earliest 0.5 s after it was accepted); its tasks go on -> requesting',
    run: async (stage) => {
      const manager = await stage.manager({ ping_ms: 150, lease_ms: 5000 })
      const { peer } = manager
      const { task } = await running(manager)
      const seen = peer.frames.length
      peer.handle('ManagerPing', () => ['NotMine', {}])
      const again = await peer.request('ManagerRequest', () => true, seen)
      equal(again.b.rel, undefined, 'its rel')
      equal(
        (again.b.tasks as readonly Body[]).map(({ task_id, status }) => [
          task_id,
          status,
        ]),
        [[task.task_id, 'Started']],
        'its inventory',
      )
      peer.handle('ManagerPing', ({ b: { rel } }) => ['ManagerPong', { rel }])
      peer.answer(again, 'ManagerAnswer', { ...manager.acceptance() })
      equal(await manager.status(task.task_id), 'Started', 'the state of its task')
    },
  },
  {
    name: 'relationship: a bye ends its work',
    role: 'worker',
    isAlone: true,
    rule: 'Ack; ends its tasks and forgets their outcomes; may ask again after the back-off -> detached',
    run: async (stage) => {
      const manager = await stage.manager()
      const { peer } = manager
      peer.handlers.delete('TaskCompleted')
      const { pid } = await running(manager)
      const done = await manager.start({})
      await manager.told('TaskCompleted', done)
      await manager.end()
      await gone(stage, pid)
      const again = await stage.again(manager)
      equal(inventory(again), {}, 'its inventory afterwards')
    },
  },
  {
    name: 'relationship: it comes back with its tasks and its rel',
    role: 'worker',
    isAlone: true,
    rule: 'ManagerRequest with its inventory, and with `rel` if it is the same boot of that manager -> requesting',
    run: async (stage) => {
      const manager = await stage.manager()
      const { cores } = manager
      const { task, pid } = await running(manager, { requires: { cores } })
      const waits = await manager.start({ ...SLEEP, requires: { cores } })
      await manager.peer.cut()
      const again = await stage.again(manager, { rel: manager.rel, resumed: true })
      equal(again.request.b.rel, manager.rel, 'its rel')
      const expected = { [task.task_id]: '1 Started', [waits.task_id]: '1 Pending' }
      equal(inventory(again), expected, 'its inventory')
      equal(await again.status(task.task_id), 'Started', 'the state of its task')
      expect(isAlive(pid) !== false, () => 'its process is gone')
    },
  },
  {
    name: 'relationship: another boot of its manager has no rel of it',
    role: 'worker',
    isAlone: true,
    rule: 'ManagerRequest with its inventory, and with `rel` if it is the same boot of that manager -> requesting',
    run: async (stage) => {
      const manager = await stage.manager()
      const { task } = await running(manager)
      await manager.peer.cut()
      const { boot_id } = identity('manager')
      const again = await stage.again(manager, {}, { boot_id })
      equal(again.request.b.rel, undefined, 'its rel')
      equal(inventory(again), { [task.task_id]: '1 Started' }, 'its inventory')
    },
  },
  {
    name: 'relationship: another ledger ends the work of the old one',
    role: 'worker',
    isAlone: true,
    rule: "Another `ledger_id` of a manager that it served means that the old ledger is gone, and with it that ledger's work",
    run: async (stage) => {
      const manager = await stage.manager()
      const { pid } = await running(manager)
      await manager.peer.cut()
      const { boot_id } = identity('manager')
      const again = await stage.again(manager, {}, { boot_id, ledger_id: newLedger() })
      equal(inventory(again), {}, 'its inventory')
      await gone(stage, pid)
    },
  },
  {
    name: 'relationship: what is dropped ends',
    role: 'worker',
    isAlone: true,
    rule: 'ends and forgets what `drop` names (as TasksAbord; of what has ended, the output stays)',
    run: async (stage) => {
      const manager = await stage.manager()
      manager.peer.handlers.delete('TaskCompleted')
      const { task, pid } = await running(manager)
      const done = await manager.start({})
      await manager.told('TaskCompleted', done)
      await manager.peer.cut()
      const drop = [task, done].map(({ task_id, attempt }) => ({ task_id, attempt }))
      const again = await stage.again(manager, { drop })
      await gone(stage, pid)
      equal(await again.status(task.task_id), 'Unknown', 'the state of the one that ran')
      equal(again.count('TaskCompleted', done.task_id), 0, 'outcomes told afterwards')
      equal(await again.refusal(task), 'stale-attempt', 'the same attempt again')
      equal(await again.refusal(done), 'stale-attempt', 'the ended one again')
    },
  },
  {
    name: 'relationship: three pings without an answer',
    role: 'worker',
    isAlone: true,
    rule: 'socket lost, or three pings without an answer',
    run: async (stage) => {
      const { peer } = await stage.manager({ ping_ms: 100, lease_ms: 60_000 })
      peer.handlers.delete('ManagerPing')
      await peer.closeCode()
      const pings = peer.frames.filter(({ k }) => k === 'ManagerPing').length
      expect(pings >= 3, () => `it gave up after ${pings} pings`)
    },
  },
  {
    name: 'relationship: the lease is over',
    role: 'worker',
    isAlone: true,
    rule: 'ends the socket; KILL to tasks of `on_orphan: "kill"`, reported later as `Aborted`; starts nothing until the next acceptance',
    run: async (stage) => {
      const manager = await stage.manager({ ping_ms: 100_000, lease_ms: 900 })
      const { cores, peer } = manager
      const kill = await running(manager, { on_orphan: 'kill', requires: { cores } })
      const waits = await manager.start({ requires: { cores } })
      await peer.closeCode()
      await gone(stage, kill.pid)
      await pause(100)
      const again = await stage.again(manager)
      equal(inventory(again)[waits.task_id], '1 Pending', 'what waited')
      const { b } = await again.told('TaskError', kill.task)
      equal((b.error as Body).kind, 'Aborted', 'the error of what was killed')
      await again.told('TaskCompleted', waits)
    },
  },
  {
    name: 'relationship: what may finish, does',
    role: 'worker',
    isAlone: true,
    rule: '`on_orphan` | `finish`',
    run: async (stage) => {
      const manager = await stage.manager({ ping_ms: 100_000, lease_ms: 300 })
      const task = await manager.start(script('sleep 0.6; echo done'))
      await manager.peer.closeCode()
      await pause(400)
      const again = await stage.again(manager)
      const { b } = await again.told('TaskCompleted', task)
      equal((b.result as Body).exit_code, 0, 'its exit code')
    },
  },
]
