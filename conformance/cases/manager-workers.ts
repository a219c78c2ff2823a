// A manager and its workers: whom it takes, as whom they come back, how they part.

import type { Case } from '../case.ts'
import { newLedger, newRel } from '../manager-side.ts'
import { identity } from '../peer.ts'
import { equal, expect, pause } from '../stage.ts'
import { record, submit, summary } from '../worker-side.ts'
import { accepted, allNotMine, entry, handedOut } from './manager-support.ts'

export const managerWorkerCases: readonly Case[] = [
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
