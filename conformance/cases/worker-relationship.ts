// A worker and its manager: how it asks, whom it obeys, and what it does when the manager
// falls silent, leaves, comes back, or comes back as another.

import type { Case } from '../case.ts'
import { type ManagerSide, newLedger, newRel, script } from '../manager-side.ts'
import { describe, identity, type Peer } from '../peer.ts'
import type { Body } from '../protocol.ts'
import { equal, expect, pause, type Stage } from '../stage.ts'

const SLEEP = { job_addr: 'exec:sleep', arguments: ['60'] }

/** Requests of a manager, with this rel. */
const ORDERS = (rel: string): readonly (readonly [string, object])[] => [
  ['ManagerPing', { rel }],
  ['TasksExecute', { rel, epoch: 1, boot: '0'.repeat(16), tasks: [] }],
  ['TasksPing', { rel, tasks: [] }],
  ['TasksAbord', { rel, tasks: [] }],
  [
    'TaskOutputRead',
    { rel, task_id: '0123456789-1', attempt: 1, fd: 1, offset: 0, max: 1, wait_ms: 0 },
  ],
]

const allNotMine = async (peer: Peer, rel: string): Promise<void> => {
  for (const [kind, body] of ORDERS(rel))
    equal((await peer.ask(kind, body)).k, 'NotMine', `the answer to ${kind}`)
}

/** Is a process of this machine alive? Undefined where that cannot be seen. */
const isAlive = (pid: unknown): boolean | undefined => {
  if (typeof pid !== 'number') return undefined
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** A task that runs, with its pid. */
const running = async (manager: ManagerSide, more: object = {}) => {
  const task = await manager.start({ ...SLEEP, ...more })
  const { b } = await manager.told('TaskStarted', task)
  return { task, pid: b.pid }
}

const gone = async (stage: Stage, pid: unknown): Promise<void> => {
  const until = performance.now() + stage.patienceMs
  while (isAlive(pid) === true) {
    expect(performance.now() < until, () => `the process ${pid} goes on`)
    await pause(20)
  }
}

/** The inventory of a ManagerRequest: attempt and status of each task. */
const inventory = ({ request }: ManagerSide): Readonly<Record<string, string>> => {
  const tasks = request.b.tasks as readonly Body[]
  return Object.fromEntries(
    tasks.map(({ task_id, attempt, status }) => [
      String(task_id),
      `${attempt} ${status}`,
    ]),
  )
}

export const workerRelationshipCases: readonly Case[] = [
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
    name: 'relationship: it pings',
    role: 'worker',
    isAlone: true,
    rule: 'pings every `ping_ms` -> managed',
    run: async (stage) => {
      const { peer, rel } = await stage.manager({ ping_ms: 100, lease_ms: 5000 })
      const begun = performance.now()
      const first = await peer.request('ManagerPing')
      equal(first.b.rel, rel, 'its rel')
      await peer.request('ManagerPing', () => true, peer.frames.length)
      const ms = performance.now() - begun
      expect(ms > 130, () => `two pings in ${Math.round(ms)} ms`)
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
        retry_after_ms: 1300,
      })
      const third = await asks(more)
      expect(
        third.ms > 1250,
        () => `told 1300 ms, it asked after ${Math.round(third.ms)} ms`,
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
    rule: 'ends and forgets what `drop` names (as TasksAbord; what has ended, as Ack)',
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
      equal(await again.refusal(done), undefined, 'the ended one again')
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
      const task = await manager.start({})
      await manager.told('TaskCompleted', task)
      const begun = performance.now()
      await manager.told('TaskCompleted', task, peer.frames.length)
      const ms = performance.now() - begun
      expect(ms > 700, () => `it told it again after ${Math.round(ms)} ms`)
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
