// A manager and its workers: whom it takes, what it makes of an inventory, and what becomes
// of the tasks of a worker that leaves, falls silent, or comes back as another life.

import { createServer } from 'node:net'
import type { Case } from '../case.ts'
import { newLedger, newRel } from '../manager-side.ts'
import { identity, type Peer } from '../peer.ts'
import type { Body } from '../protocol.ts'
import { equal, expect, pause, Skip, type Stage } from '../stage.ts'
import {
  over,
  record,
  submit,
  summary,
  tasksOf,
  type WorkerSide,
} from '../worker-side.ts'

/** A task at a worker of this case alone, submitted by a client. */
export const handedOut = async (stage: Stage, more: object = {}) => {
  const [worker, client] = await Promise.all([stage.worker(), stage.open()])
  const [id = ''] = await submit(client, [worker.job(more)])
  const task = await worker.assigned(id)
  return { worker, client, id, task }
}

/** Until the manager has heard the Ack of a hand-out: it shows the task as accepted. */
export const accepted = async (client: Peer, id: string): Promise<void> => {
  for (let tries = 0; tries < 200; tries++) {
    const { state } = await summary(client, id)
    if (state !== 'queued' && state !== 'sent') return
    await pause(5)
  }
  throw new Error('its Ack of TasksExecute was not heard')
}

const reports = (rel: string): readonly (readonly [string, object])[] => {
  const about = { rel, task_id: '0123456789-1', attempt: 1 }
  return [
    ['ManagerPing', { rel }],
    ['TaskStarted', { ...about, at_ms: 1 }],
    ['TaskError', { ...about, error: { kind: 'TimedOut' } }],
    ['TaskCompleted', { ...about, result: { run_ms: 1 } }],
  ]
}

const allNotMine = async (peer: Peer, rel: string): Promise<void> => {
  for (const [kind, body] of reports(rel))
    equal((await peer.ask(kind, body)).k, 'NotMine', `the answer to ${kind}`)
}

const entry = (task_id: string, attempt: number, status: string) => ({
  ...{ task_id, attempt, status },
  ...(status === 'Started' && { at_ms: Date.now() }),
})

/** How long its lease is, if that can be waited for. */
const leaseOf = ({ answer }: WorkerSide): number => {
  const ms = (Number(answer.lease_ms) * 4) / 3
  if (ms > 5000) throw new Skip(`its lease is ${ms} ms; start it with a short one`)
  return ms
}

/** A port on which nobody listens. */
const refusedPort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })

export const managerRelationshipCases: readonly Case[] = [
  {
    name: 'workers: one is accepted',
    role: 'manager',
    rule: 'known | ManagerRequest | accepted, with a new `rel` -> managing',
    run: async (stage) => {
      const { answer, peer, rel } = await stage.worker()
      const { accepted: isAccepted, resumed, epoch, ping_ms, lease_ms } = answer
      equal([isAccepted, resumed ?? false], [true, false], 'accepted and resumed')
      expect(
        Number(epoch) >= 0 && Number(lease_ms) > Number(ping_ms) && Number(ping_ms) > 0,
        () => `epoch ${epoch}, ping_ms ${ping_ms}, lease_ms ${lease_ms}`,
      )
      const pong = await peer.ask('ManagerPing', { rel })
      equal([pong.k, pong.b.rel], ['ManagerPong', rel], 'its answer to a ping')
      expect(typeof peer.far.node_id === 'string', () => 'it has no node_id')
    },
  },
  {
    name: 'workers: others are not',
    role: 'manager',
    rule: 'ManagerRequest of a node that is no worker, or of one that it does not take',
    run: async (stage) => {
      const asked = { cores: 1, memory: 1, tasks: [], more: false }
      for (const type of ['client', 'manager']) {
        const ledger = type === 'manager' ? { ledger_id: newLedger() } : {}
        const peer = await stage.open(identity(type, ledger))
        const { k, b } = await peer.ask('ManagerRequest', asked)
        equal([k, b.accepted], ['ManagerAnswer', false], `the answer to a ${type}`)
      }
    },
  },
  {
    name: 'workers: strangers get NotMine',
    role: 'manager',
    rule: 'a message with another rel, or over another connection, gets `NotMine`',
    run: async (stage) => {
      const worker = await stage.worker()
      const stranger = await stage.open(identity('worker'))
      await allNotMine(stranger, newRel())
      await allNotMine(stranger, worker.rel)
      await allNotMine(worker.peer, newRel())
      const bye = await stranger.ask('ManagerBye', { rel: worker.rel })
      equal(bye.k, 'Ack', 'the answer to its ManagerBye')
      const { rel, peer } = worker
      equal((await peer.ask('ManagerPing', { rel })).k, 'ManagerPong', 'to its worker')
    },
  },
  {
    name: 'workers: it is asked what only workers are',
    role: 'manager',
    rule: 'the requests to a worker (TasksExecute, TasksPing, TasksAbord, TaskOutputRead) `NotMine`',
    run: async (stage) => {
      const peer = await stage.open()
      const rel = 'x'
      const about = { rel, task_id: '0123456789-1', attempt: 1 }
      for (const [kind, body] of [
        ['TasksExecute', { rel, epoch: 1, boot: '0'.repeat(16), tasks: [] }],
        ['TasksPing', { rel, tasks: [] }],
        ['TasksAbord', { rel, tasks: [] }],
        ['TaskOutputRead', { ...about, fd: 1, offset: 0, max: 1, wait_ms: 0 }],
      ] as const)
        equal((await peer.ask(kind, body)).k, 'NotMine', `the answer to ${kind}`)
    },
  },
  {
    name: 'workers: one comes back with its rel',
    role: 'manager',
    rule: 'accepted with that `rel`, `resumed: true` -> managing',
    run: async (stage) => {
      const { worker, id } = await handedOut(stage)
      await worker.peer.cut()
      const { rel } = worker
      const back = await stage.back(worker, { rel, tasks: [entry(id, 1, 'Started')] })
      equal([back.rel, back.answer.resumed], [rel, true], 'rel and resumed')
      equal(back.answer.drop ?? [], [], 'drop')
      await back.peer.sync()
      equal(back.attempts(id), [], 'hand-outs of what it runs')
    },
  },
  {
    name: 'workers: one comes back without its rel',
    role: 'manager',
    rule: 'accepted with a new `rel`, `resumed: false` -> managing',
    run: async (stage) => {
      const { worker, id } = await handedOut(stage)
      await worker.peer.cut()
      const back = await stage.back(worker, { tasks: [entry(id, 1, 'Started')] })
      expect(back.rel !== worker.rel, () => 'it has the old rel')
      equal(back.answer.resumed, false, 'resumed')
      const { rel } = worker
      const old = await back.peer.ask('ManagerPing', { rel })
      equal(old.k, 'NotMine', 'the answer to the old rel')
      equal(back.attempts(id), [], 'hand-outs of what it runs')
    },
  },
  {
    name: 'workers: the acceptance comes before what follows',
    role: 'manager',
    rule: 'a frame takes effect before the next one is looked at',
    run: async (stage) => {
      const worker = await stage.worker()
      const { rel } = worker
      await worker.peer.cut()
      const peer = await stage.open(worker.self)
      const q = peer.nextId()
      peer.together(() => {
        const b = { cores: 1, memory: 1, tasks: [], more: false, rel }
        peer.send({ q, k: 'ManagerRequest', b, t: 9000 })
        peer.send({ q: q + 1, k: 'ManagerPing', b: { rel }, t: 9000 })
      })
      equal((await peer.answerTo(q + 1)).k, 'ManagerPong', 'the answer to the ping')
    },
  },
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
    name: 'workers: one that says bye gives its tasks back',
    role: 'manager',
    rule: 'Ack; queues its tasks again, at no cost -> known',
    run: async (stage) => {
      const { worker, client, id } = await handedOut(stage)
      await accepted(client, id)
      equal((await worker.bye()).k, 'Ack', 'the answer')
      const { rel, peer } = worker
      equal((await peer.ask('ManagerPing', { rel })).k, 'NotMine', 'to a ping afterwards')
      await peer.cut()
      const back = await stage.back(worker)
      await back.assigned(id, 2)
      const { losses, failures } = await record(client, id)
      equal([losses, failures], [0, 0], 'losses and failures')
    },
  },
  {
    name: 'workers: one that denies the relationship is cut off',
    role: 'manager',
    rule: '`NotMine` to a request with the current `rel` | ends the connection, takes nothing back -> suspect',
    run: async (stage) => {
      const worker = await stage.worker({}, undefined, (peer) =>
        peer.handle('TasksExecute', () => ['NotMine', {}]),
      )
      const client = await stage.open()
      const [id = ''] = await submit(client, [worker.job()])
      await worker.peer.closeCode()
      const { attempt } = await summary(client, id)
      equal(attempt, 1, 'the attempt of its task')
      const back = await stage.back(worker, { rel: worker.rel })
      await back.assigned(id, 1)
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
  {
    name: 'workers: no more requests than a worker takes',
    role: 'manager',
    rule: 'so an asker that keeps to them is never told `Error{busy, retry_after_ms}`. Above them it queues.',
    run: async (stage) => {
      const self = identity('worker', { max_in_flight: 1 })
      const worker = await stage.worker({}, self, (peer) =>
        peer.handlers.delete('TasksExecute'),
      )
      const client = await stage.open()
      const { peer } = worker
      const ids: string[] = []
      for (let at = 0; at < 3; at++) ids.push(...(await submit(client, [worker.job()])))
      await worker.assigned(ids[0] ?? '')
      await client.sync()
      await pause(50)
      const open = peer.frames.filter(
        ({ q, k }) => q !== undefined && k === 'TasksExecute',
      )
      equal(open.length, 1, 'requests without an answer')
      peer.handle('TasksExecute', () => ['Ack', {}])
      for (const frame of open) peer.answer(frame, 'Ack', {})
      for (const id of ids) await worker.assigned(id)
    },
  },
]
