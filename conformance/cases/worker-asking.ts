// A worker and its manager: how it asks, whom it obeys, and what it says to everybody else.

import type { Frame } from '../bytes.ts'
import type { Case } from '../case.ts'
import { type ManagerSide, newLedger, newRel } from '../manager-side.ts'
import { identity } from '../peer.ts'
import { equal, expect, pause } from '../stage.ts'
import { allNotMine, running } from './worker-support.ts'

export const workerAskingCases: readonly Case[] = [
  {
    name: 'relationship: it asks the manager that it meets',
    role: 'worker',
    isAlone: true,
    rule: 'ManagerRequest with its inventory of that ledger -> requesting',
    run: async (stage) => {
      const manager = await stage.manager()
      const { cores, memory, tasks, more, rel } = manager.request.b
      expect(Number(cores) >= 1 && Number(memory) >= 1, () => 'no cores, or no memory')
      equal([tasks, more, rel], [[], false, undefined], 'tasks, more and rel')
      const pong = await manager.peer.ask('ManagerPing', { rel: manager.rel })
      equal([pong.k, pong.b.rel], ['ManagerPong', manager.rel], 'its answer to a ping')
    },
  },
  {
    name: 'relationship: strangers get NotMine',
    role: 'worker',
    rule: 'every message of it carries it, on the connection of that manager, and gets `NotMine` else',
    run: async (stage) => {
      await allNotMine(await stage.open(), newRel())
    },
  },
  {
    name: 'relationship: another rel gets NotMine',
    role: 'worker',
    isAlone: true,
    rule: 'every message of it carries it, on the connection of that manager, and gets `NotMine` else',
    run: async (stage) => {
      const manager = await stage.manager()
      await allNotMine(manager.peer, newRel())
      const pong = await manager.peer.ask('ManagerPing', { rel: manager.rel })
      equal(pong.k, 'ManagerPong', 'the answer to the right rel')
    },
  },
  {
    name: 'relationship: the right rel of another gets NotMine',
    role: 'worker',
    isAlone: true,
    rule: 'every message of it carries it, on the connection of that manager, and gets `NotMine` else',
    run: async (stage) => {
      const manager = await stage.manager()
      await allNotMine(await stage.open(), manager.rel)
      const rival = await stage.open(identity('manager', { ledger_id: newLedger() }))
      await allNotMine(rival, manager.rel)
    },
  },
  {
    name: "relationship: a stranger's bye changes nothing",
    role: 'worker',
    isAlone: true,
    rule: 'Ends the relationship. From a stranger it changes nothing, and is acknowledged.',
    run: async (stage) => {
      const manager = await stage.manager()
      const { task } = await running(manager)
      const stranger = await stage.open()
      const { rel } = manager
      equal((await stranger.ask('ManagerBye', { rel })).k, 'Ack', 'the answer')
      const old = await manager.peer.ask('ManagerBye', { rel: newRel() })
      equal(old.k, 'Ack', 'the answer to another rel')
      equal(await manager.status(task.task_id), 'Started', 'the state of its task')
    },
  },
  {
    name: 'relationship: it is managed by one at a time',
    role: 'worker',
    isAlone: true,
    rule: 'A worker has one manager at a time.',
    run: async (stage) => {
      const manager = await stage.manager()
      const rival = await stage.open(identity('manager', { ledger_id: newLedger() }))
      await pause(300)
      const asked = rival.frames.some(
        ({ q, k }) => q !== undefined && k === 'ManagerRequest',
      )
      expect(!asked, () => 'it asks a second manager')
      const pong = await manager.peer.ask('ManagerPing', { rel: manager.rel })
      equal(pong.k, 'ManagerPong', 'the answer to its manager')
    },
  },
  {
    name: 'relationship: what follows the acceptance is heard',
    role: 'worker',
    isAlone: true,
    rule: 'a frame takes effect before the next one is looked at',
    run: async (stage) => {
      const manager = await stage.manager()
      await manager.peer.cut()
      const answer = (side: ManagerSide, accept: () => void) =>
        side.peer.together(() => {
          accept()
          const task = side.assignment({})
          const body = { rel: side.rel, epoch: 1, boot: side.boot, tasks: [task] }
          side.peer.send({ q: side.peer.nextId(), k: 'TasksExecute', b: body, t: 9000 })
        })
      const next = await stage.begin(manager, { answer })
      const id = next.peer.nextId() - 1
      equal((await next.peer.answerTo(id)).k, 'Ack', 'the answer to TasksExecute')
    },
  },
  {
    name: 'relationship: what comes before the acceptance is not heard',
    role: 'worker',
    isAlone: true,
    rule: 'every message of it carries it, on the connection of that manager, and gets `NotMine` else',
    run: async (stage) => {
      const manager = await stage.manager()
      await manager.peer.cut()
      let early: Promise<Frame> | undefined
      const answer = (side: ManagerSide, accept: () => void) =>
        side.peer.together(() => {
          early = side.execute([side.assignment({})])
          accept()
        })
      await stage.begin(manager, { answer })
      equal((await early)?.k, 'NotMine', 'the answer to TasksExecute')
    },
  },
  {
    name: 'relationship: it pings',
    role: 'worker',
    isAlone: true,
    rule: 'pings every `ping_ms` -> managed',
    run: async (stage) => {
      const begun = performance.now()
      const { peer, rel } = await stage.manager({ ping_ms: 100, lease_ms: 5000 })
      const first = await peer.request('ManagerPing')
      equal(first.b.rel, rel, 'its rel')
      await peer.request('ManagerPing', () => true, peer.frames.length)
      const ms = performance.now() - begun
      expect(ms > 190, () => `two pings in ${Math.round(ms)} ms`)
    },
  },
  {
    name: 'relationship: refused, it asks again later',
    role: 'worker',
    isAlone: true,
    rule: 'after 0.5 s doubling to 10 s, half of it by chance, or `retry_after_ms` if longer',
    run: async (stage) => {
      const self = identity('manager', { ledger_id: newLedger() })
      const peer = await stage.open(self)
      const asks = async (since: number) => {
        const begun = performance.now()
        const frame = await peer.request('ManagerRequest', () => true, since)
        return { frame, ms: performance.now() - begun }
      }
      const { frame } = await asks(0)
      const seen = peer.frames.length
      peer.answer(frame, 'ManagerAnswer', { accepted: false })
      const second = await asks(seen)
      expect(second.ms > 200, () => `it asked again after ${Math.round(second.ms)} ms`)
      const more = peer.frames.length
      peer.answer(second.frame, 'ManagerAnswer', {
        accepted: false,
        retry_after_ms: 1100,
      })
      const third = await asks(more)
      expect(
        third.ms > 1050,
        () => `told 1100 ms, it asked after ${Math.round(third.ms)} ms`,
      )
      peer.answer(third.frame, 'ManagerAnswer', { accepted: false })
    },
  },
  {
    name: 'relationship: an older epoch is sent away',
    role: 'worker',
    isAlone: true,
    rule: 'accepted late, by another, or with an `epoch` under the highest seen of that ledger',
    run: async (stage) => {
      const manager = await stage.manager({ epoch: 7 })
      await manager.peer.cut()
      const rel = newRel()
      const old = await stage.again(manager, { epoch: 6, rel })
      const bye = await old.peer.request('ManagerBye')
      equal(bye.b.rel, rel, 'the rel of its bye')
      old.peer.answer(bye, 'Ack', {})
    },
  },
  {
    name: 'relationship: no more requests than the manager takes',
    role: 'worker',
    isAlone: true,
    rule: 'so an asker that keeps to them is never told `Error{busy, retry_after_ms}`. Above them it queues.',
    run: async (stage) => {
      const ledger_id = newLedger()
      const self = identity('manager', { ledger_id, max_in_flight: 2 })
      const manager = await stage.manager({}, self)
      const { peer } = manager
      for (const kind of ['TaskStarted', 'TaskCompleted']) peer.handlers.delete(kind)
      const tasks = Array.from({ length: 6 }, () => manager.assignment({}))
      await manager.execute(tasks)
      const isReport = ({ q, k }: { q?: number; k: string }) =>
        q !== undefined && (k === 'TaskStarted' || k === 'TaskCompleted')
      await peer.wait('reports', isReport)
      await pause(100)
      const open = peer.frames.filter(isReport)
      equal(open.length, 2, 'reports without an answer')
      for (const kind of ['TaskStarted', 'TaskCompleted'])
        peer.handle(kind, () => ['Ack', {}])
      for (const frame of open) peer.answer(frame, 'Ack', {})
      for (const task of tasks) await manager.told('TaskCompleted', task)
    },
  },
  {
    name: 'tasks: a worker is asked what only managers are',
    role: 'worker',
    rule: 'ManagerRequest `accepted: false`; ManagerBye `Ack`; TaskStarted, TaskError, TaskCompleted `NotMine`; the requests to a manager by clients `Error{wrong-role}`',
    run: async (stage) => {
      const peer = await stage.open()
      const asked = { cores: 1, memory: 1, tasks: [], more: false }
      const answer = await peer.ask('ManagerRequest', asked)
      equal([answer.k, answer.b.accepted], ['ManagerAnswer', false], 'to ManagerRequest')
      const about = { rel: 'x', task_id: '0123456789-1', attempt: 1 }
      for (const [kind, more] of [
        ['TaskStarted', { at_ms: 1 }],
        ['TaskError', { error: { kind: 'TimedOut' } }],
        ['TaskCompleted', { result: { run_ms: 1 } }],
      ] as const)
        equal((await peer.ask(kind, { ...about, ...more })).k, 'NotMine', `to ${kind}`)
      for (const [kind, body] of [
        ['TasksSubmit', { key: 'k', tasks: [] }],
        ['TasksList', { limit: 1 }],
        ['NodesList', {}],
      ] as const) {
        const { k, b } = await peer.ask(kind, body)
        equal([k, b.code], ['Error', 'wrong-role'], `to ${kind}`)
      }
    },
  },
]
