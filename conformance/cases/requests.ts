// Requests and answers: ids, strikes, deadlines, places. Each rule holds in both
// directions; here the kit asks, or answers what the implementation asks.

import type { Case } from '../case.ts'
import { describe, type Peer } from '../peer.ts'
import { facts } from '../protocol.ts'
import { equal, expect, pause, type Stage } from '../stage.ts'

const malformed = (peer: Peer) => peer.ask('ManagerPing', { rel: 5 })

export const requestCases: readonly Case[] = [
  {
    name: 'requests: an unknown kind',
    role: 'any',
    rule: '`Error{unknown-kind}`, nothing else',
    run: async (stage) => {
      const peer = await stage.open()
      for (const kind of ['Whatever', 'constructor', '__proto__', '', 'managerping']) {
        const { k, b } = await peer.ask(kind, {})
        equal([k, b.code], ['Error', 'unknown-kind'], `the answer to \`${kind}\``)
      }
      await peer.sync()
    },
  },
  {
    name: 'requests: a malformed body',
    role: 'any',
    rule: '`Error{malformed, path}`: the path names the field, never its value.',
    run: async (stage) => {
      const peer = await stage.open()
      const { k, b } = await malformed(peer)
      equal([k, b.code, b.path], ['Error', 'malformed', 'rel'], 'the answer')
      const secret = { rel: 'x', tasks: [{ task_id: 'a secret', attempt: 1 }] }
      const deep = await peer.ask('TasksPing', secret)
      equal([deep.k, deep.b.code], ['Error', 'malformed'], 'the deep answer')
      expect(!describe(deep).includes('secret'), () => `it says ${describe(deep)}`)
      expect(String(deep.b.path).startsWith('tasks'), () => `the path is ${deep.b.path}`)
      await peer.sync()
    },
  },
  {
    name: 'requests: the third strike',
    role: 'any',
    rule: 'the third strike … close 4405',
    run: async (stage) => {
      const peer = await stage.open()
      await malformed(peer)
      await malformed(peer)
      await peer.sync()
      peer.send({ q: peer.nextId(), k: 'ManagerPing', b: null, t: 9000 })
      equal(await peer.closeCode(), 4405, 'the close code')
    },
  },
  {
    name: 'requests: an id that does not grow',
    role: 'any',
    rule: 'a request id not greater than the last from that peer: close 4404',
    run: async (stage) => {
      const same = await stage.open()
      await same.ask('ManagerPing', { rel: 'x' }, 9000, 7)
      same.send({ q: 7, k: 'ManagerPing', b: { rel: 'x' }, t: 9000 })
      equal(await same.closeCode(), 4404, 'the close code after the same')
      const lower = await stage.open()
      await lower.ask('ManagerPing', { rel: 'x' }, 9000, 100)
      lower.send({ q: 99, k: 'ManagerPing', b: { rel: 'x' }, t: 9000 })
      equal(await lower.closeCode(), 4404, 'the close code after a lower one')
    },
  },
  {
    name: 'requests: an answer to an id never issued',
    role: 'any',
    rule: 'an answer to an id that was never issued … close 4403',
    run: async (stage) => {
      const peer = await stage.open()
      peer.send({ a: 1_000_000, k: 'Ack', b: {} })
      equal(await peer.closeCode(), 4403, 'the close code')
    },
  },
  {
    name: 'requests: an answer of another row',
    role: 'any',
    rule: "an answer of a kind that its request's row does not list … close 4402",
    run: async (stage) => {
      const peer = await stage.enter()
      peer.handle('NodeTypeRequest', () => ['Ack', {}])
      await peer.ask('NodeTypeRequest', peer.self)
      equal(await peer.closeCode(), 4402, 'the close code')
    },
  },
  {
    name: 'requests: a second answer is a strike',
    role: 'any',
    rule: 'a second answer to any id is a strike',
    run: async (stage) => {
      const peer = await stage.open()
      const asked = await peer.request('NodeTypeRequest')
      const again = () => peer.answer(asked, 'NodeTypeAnswer', peer.self)
      again()
      again()
      await peer.sync()
      again()
      equal(await peer.closeCode(), 4405, 'the close code after the third')
    },
  },
  {
    name: 'requests: what takes too long',
    role: 'any',
    rule: "one that is late: `Error{deadline}`, sent `t`/10, at most 500 ms, before the asker's time is over",
    run: async (stage) => {
      const { peer, kind, body } = await waiting(stage)
      const begun = performance.now()
      const { k, b } = await peer.ask(kind, body, 500)
      const ms = Math.round(performance.now() - begun)
      equal([k, b.code], ['Error', 'deadline'], 'the answer')
      expect(ms > 300, () => `it gave up after ${ms} of 500 ms`)
    },
    isAlone: true,
  },
  {
    name: 'requests: more at once than there are places',
    role: 'any',
    rule: 'Requests have places, by class; both sides count alike',
    run: async (stage) => {
      const { peer, kind, body } = await waiting(stage)
      const { waits } = facts.limits.places
      const first = peer.nextId()
      for (let at = 0; at <= waits; at++)
        peer.send({ q: peer.nextId(), k: kind, b: body, t: 60_000 })
      const { k, b } = await peer.answerTo(
        first + waits,
        'one more than there are places',
      )
      equal([k, b.code], ['Error', 'busy'], `the answer to number ${waits + 1}`)
      expect(Number(b.retry_after_ms) >= 0, () => 'it has no retry_after_ms')
      await pause(20)
      const early = peer.frames.filter(({ a = 0 }) => a >= first && a < first + waits)
      equal(early.length, 0, `of the first ${waits} answered meanwhile`)
      equal(
        (await peer.ask('ManagerPing', { rel: 'x' })).k,
        'NotMine',
        'the answer to a ping',
      )
    },
    isAlone: true,
  },
]

type Waiting = { readonly peer: Peer; readonly kind: string; readonly body: object }

/** A request that waits for what does not come. */
const waiting = async (stage: Stage): Promise<Waiting> => {
  const { node_type } = (await stage.open()).far
  return node_type === 'worker' ? atWorker(stage) : atManager(stage)
}

/** Output of a task that waits for one which takes all cores. */
const atWorker = async (stage: Stage): Promise<Waiting> => {
  const manager = await stage.manager()
  const { rel, peer, cores } = manager
  const sleep = { job_addr: 'exec:sleep', arguments: ['60'], requires: { cores } }
  await manager.start(sleep)
  const { task_id, attempt } = await manager.start(sleep)
  const body = { rel, task_id, attempt, fd: 1, offset: 0, max: 100, wait_ms: 50_000 }
  return { peer, kind: 'TaskOutputRead', body }
}

const atManager = async (stage: Stage): Promise<Waiting> => {
  const client = await stage.open()
  const tasks = [
    {
      job_addr: 'exec:true',
      arguments: [],
      timeout_ms: 0,
      requires: { labels: { kit: 'nobody has it' } },
    },
  ]
  const { b } = await client.ask('TasksSubmit', { key: `kit-${Math.random()}`, tasks })
  const body = { after: 0, wait_ms: 50_000, task_ids: b.task_ids }
  return { peer: client, kind: 'TasksWait', body }
}
