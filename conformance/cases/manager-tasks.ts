// Tasks at a manager: one outcome each, whatever workers tell and clients ask.

import { randomBytes } from 'node:crypto'
import type { Case } from '../case.ts'
import { identity } from '../peer.ts'
import type { Body } from '../protocol.ts'
import { equal, expect, pause } from '../stage.ts'
import { over, record, submit, summary } from '../worker-side.ts'
import { accepted, handedOut } from './manager-relationship.ts'

const key = (): string => randomBytes(8).toString('hex')

/** Refuses each task once with this reason; afterwards accepts. */
const refusing = (reason: string, retry_after_ms?: number) => {
  const refused = new Set<unknown>()
  return ({ b }: { readonly b: Body }): readonly [string, unknown] => {
    const [task] = b.tasks as readonly Body[]
    if (refused.has(task?.task_id)) return ['Ack', {}]
    refused.add(task?.task_id)
    const entry = { task_id: task?.task_id, reason }
    return [
      'TasksRefused',
      {
        refused: [{ ...entry, ...(retry_after_ms !== undefined && { retry_after_ms }) }],
      },
    ]
  }
}

export const managerTaskCases: readonly Case[] = [
  {
    name: 'queue: one goes to its worker',
    role: 'manager',
    rule: 'Assigns tasks. Those not listed in TasksRefused are accepted.',
    run: async (stage) => {
      const more = { arguments: ['a', 'b'], env: { K: 'v' }, timeout_ms: 1234 }
      const { worker, client, id, task } = await handedOut(stage, more)
      const frame = await worker.peer.request('TasksExecute')
      const { rel, epoch, boot } = frame.b
      const expected = [worker.rel, worker.answer.epoch, worker.self.boot_id]
      equal([rel, epoch, boot], expected, 'rel, epoch and boot')
      const {
        job_addr,
        arguments: list,
        env,
        timeout_ms,
        attempt,
      } = task as Body & typeof more
      equal(
        [job_addr, list, env, timeout_ms, attempt],
        ['exec:true', ...Object.values(more), 1],
        'the task',
      )
      equal((await worker.started(task)).k, 'Ack', 'the answer to TaskStarted')
      equal((await summary(client, id)).state, 'running', 'its state')
      const result = { run_ms: 5, exit_code: 0 }
      equal((await worker.completed(task, result)).k, 'Ack', 'to TaskCompleted')
      const done = await over(client, id)
      equal([done.state, done.result], ['completed', result], 'state and result')
    },
  },
  {
    name: 'queue: the same submission again',
    role: 'manager',
    rule: 'The same `key` with the same tasks gets the same ids, with others `Refused{conflict}`.',
    run: async (stage) => {
      const [worker, client] = [await stage.worker(), await stage.open()]
      const body = { key: key(), tasks: [worker.job(), worker.job()] }
      const first = await client.ask('TasksSubmit', body)
      const second = await client.ask('TasksSubmit', body)
      equal(second.b.task_ids, first.b.task_ids, 'the ids')
      const other = await client.ask('TasksSubmit', { ...body, tasks: [worker.job()] })
      equal([other.k, other.b.reason], ['Refused', 'conflict'], 'to other tasks')
      const ids = first.b.task_ids as readonly string[]
      for (const id of ids) await worker.assigned(id)
      equal(worker.attempts(ids[0] ?? ''), [1], 'hand-outs')
    },
  },
  {
    name: 'queue: an outcome is recorded once',
    role: 'manager',
    rule: 'any outcome of a task that has ended, or by a worker to which it was not handed | stays as it is: Ack, nothing else',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage)
      const result = { run_ms: 1, exit_code: 0 }
      await worker.completed(task, result)
      equal((await worker.completed(task, { run_ms: 2, exit_code: 0 })).k, 'Ack', 'again')
      equal((await worker.failed(task)).k, 'Ack', 'the answer to a failure afterwards')
      const done = await over(client, id)
      equal([done.state, done.result], ['completed', result], 'state and result')
    },
  },
  {
    name: 'queue: an outcome of a stranger is none',
    role: 'manager',
    rule: 'or by a worker to which it was not handed | stays as it is: Ack, nothing else',
    run: async (stage) => {
      const { client, id, task } = await handedOut(stage)
      const stranger = await stage.worker()
      equal((await stranger.completed(task)).k, 'Ack', 'to its TaskCompleted')
      equal((await stranger.failed(task)).k, 'Ack', 'to its TaskError')
      const { state, attempt } = await summary(client, id)
      expect(state !== 'completed' && state !== 'failed', () => `its state is ${state}`)
      equal(attempt, 1, 'its attempt')
    },
  },
  {
    name: 'queue: one that fails',
    role: 'manager',
    rule: 'TaskError of the current attempt | failed, or with `retries` left queued again after 1 s doubling to 60 s',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage)
      const error = { kind: 'RunningError', exit_code: 7 }
      equal((await worker.failed(task, error)).k, 'Ack', 'the answer')
      const done = await over(client, id)
      equal([done.state, done.error], ['failed', error], 'state and error')
    },
  },
  {
    name: 'queue: one that may be tried again',
    role: 'manager',
    rule: 'TaskError of the current attempt | failed, or with `retries` left queued again after 1 s doubling to 60 s',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage, { retries: 1 })
      const begun = performance.now()
      await worker.failed(task)
      const next = await worker.assigned(id, 2)
      const ms = performance.now() - begun
      expect(ms > 700, () => `handed out again after ${Math.round(ms)} ms`)
      // An old attempt's error has no say any more.
      equal((await worker.failed(task)).k, 'Ack', 'to the old attempt once more')
      equal((await record(client, id)).failures, 1, 'its failures')
      await worker.failed(next)
      equal((await over(client, id)).state, 'failed', 'its state')
    },
  },
  {
    name: 'queue: one that its worker stopped',
    role: 'manager',
    rule: 'TaskError `Aborted` of the current attempt | queued again, at no cost',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage)
      await worker.failed(task, { kind: 'Aborted' })
      await worker.assigned(id, 2)
      const { failures, losses } = await record(client, id)
      equal([failures, losses], [0, 0], 'failures and losses')
    },
  },
  {
    name: 'queue: a run that its worker lost',
    role: 'manager',
    rule: 'TaskError `WorkerLost` of the current attempt | queued again, a loss',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage)
      await worker.failed(task, { kind: 'WorkerLost' })
      await worker.assigned(id, 2)
      const { failures, losses } = await record(client, id)
      equal([failures, losses], [0, 1], 'failures and losses')
    },
  },
  {
    name: 'queue: a failure of a newer kind',
    role: 'manager',
    rule: 'TaskError of the current attempt | failed',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage)
      equal((await worker.failed(task, { kind: 'Melted', at: 9 })).k, 'Ack', 'the answer')
      const { error } = await over(client, id)
      equal(error, { kind: 'Unknown', name: 'Melted' }, 'its error')
    },
  },
  {
    name: 'queue: a late success counts, and ends the other copy',
    role: 'manager',
    rule: 'TaskCompleted of any attempt, by a worker to which that one was handed | completed; another copy is aborted',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage)
      await accepted(client, id)
      await worker.bye()
      const specs = { kinds: ['exec'], labels: { kit: worker.label }, resources: {} }
      const other = await stage.worker({ specs })
      await other.assigned(id, 2)
      await accepted(client, id)
      // The first one is back, and it had ended there.
      await worker.peer.cut()
      const none = { kinds: ['noop'], labels: {}, resources: {} }
      const back = await stage.back(worker, { specs: none })
      equal((await back.completed(task)).k, 'Ack', 'the answer')
      equal((await over(client, id)).state, 'completed', 'its state')
      const abort = await other.peer.request('TasksAbord')
      const [named] = abort.b.tasks as readonly Body[]
      equal([named?.task_id, named?.attempt], [id, 2], 'what is aborted')
    },
  },
  {
    name: 'queue: refused as busy',
    role: 'manager',
    rule: 'waits again, same attempt; the worker is left alone for `retry_after_ms`',
    run: async (stage) => {
      const worker = await stage.worker({}, undefined, (peer) =>
        peer.handle('TasksExecute', refusing('busy', 400)),
      )
      const client = await stage.open()
      const [id = ''] = await submit(client, [worker.job()])
      const { peer } = worker
      const first = await peer.request('TasksExecute')
      const begun = performance.now()
      await peer.request('TasksExecute', () => true, peer.frames.indexOf(first) + 1)
      const ms = performance.now() - begun
      equal(worker.attempts(id), [1, 1], 'its attempts')
      expect(ms > 300, () => `told 400 ms, it came after ${Math.round(ms)} ms`)
    },
  },
  {
    name: 'queue: answered with Error busy',
    role: 'manager',
    rule: 'TasksRefused `busy`, `draining`; `Error{busy}` | waits again, same attempt',
    run: async (stage) => {
      let isFirst = true
      const worker = await stage.worker({}, undefined, (peer) =>
        peer.handle('TasksExecute', () => {
          const answer = isFirst ? 'Error' : 'Ack'
          isFirst = false
          return [answer, answer === 'Ack' ? {} : { code: 'busy', retry_after_ms: 100 }]
        }),
      )
      const client = await stage.open()
      const [id = ''] = await submit(client, [worker.job()])
      const first = await worker.peer.request('TasksExecute')
      const since = worker.peer.frames.indexOf(first) + 1
      await worker.peer.request('TasksExecute', () => true, since)
      equal(worker.attempts(id), [1, 1], 'its attempts')
    },
  },
  {
    name: 'queue: refused for what they need',
    role: 'manager',
    rule: 'waits again, same attempt; this worker is no candidate any more',
    run: async (stage) => {
      const worker = await stage.worker({}, undefined, (peer) =>
        peer.handle('TasksExecute', refusing('specs')),
      )
      const client = await stage.open()
      const [id = ''] = await submit(client, [worker.job()])
      await worker.assigned(id)
      await pause(100)
      equal(worker.attempts(id), [1], 'hand-outs to the one that refused')
      const { attempt, state } = await summary(client, id)
      equal([attempt, state], [1, 'queued'], 'attempt and state')
      const specs = { kinds: ['exec'], labels: { kit: worker.label }, resources: {} }
      const other = await stage.worker({ specs })
      await other.assigned(id, 1)
    },
  },
  {
    name: 'queue: refused for good',
    role: 'manager',
    rule: 'TasksRefused `invalid`, `conflict`; `Error{malformed}` for it alone | failed, `Refused`',
    run: async (stage) => {
      const answers: readonly ((frame: {
        readonly b: Body
      }) => readonly [string, unknown])[] = [
        refusing('invalid'),
        refusing('conflict'),
        () => ['Error', { code: 'malformed', path: 'tasks.0' }],
      ]
      for (const answer of answers) {
        const worker = await stage.worker({}, undefined, (peer) =>
          peer.handle('TasksExecute', answer),
        )
        const client = await stage.open()
        const [id = ''] = await submit(client, [worker.job()])
        const { state, error } = await over(client, id)
        equal([state, (error as Body).kind], ['failed', 'Refused'], 'state and error')
      }
    },
  },
  {
    name: 'queue: refused as stale',
    role: 'manager',
    rule: 'TasksRefused `stale-attempt` | is asked for by TasksPing; `Unknown`: queued again',
    run: async (stage) => {
      const worker = await stage.worker({}, undefined, (peer) => {
        peer.handle('TasksExecute', refusing('stale-attempt'))
        peer.handle('TasksPing', ({ b }) => [
          'TasksPong',
          { tasks_status: (b.tasks as string[]).map((id) => [id, { kind: 'Unknown' }]) },
        ])
      })
      const client = await stage.open()
      const [id = ''] = await submit(client, [worker.job()])
      const ping = await worker.peer.request('TasksPing')
      equal(ping.b.tasks, [id], 'what it asks for')
      await worker.assigned(id, 2)
    },
  },
  {
    name: 'queue: answered with Error internal',
    role: 'manager',
    rule: 'no answer, `Error{deadline}`, `Error{internal}` | is asked for by TasksPing; `Unknown`: sent once more, then queued again',
    run: async (stage) => {
      const worker = await stage.worker({}, undefined, (peer) => {
        let tries = 0
        peer.handle('TasksExecute', () => {
          tries += 1
          return tries > 2 ? ['Ack', {}] : ['Error', { code: 'internal' }]
        })
        peer.handle('TasksPing', ({ b }) => [
          'TasksPong',
          { tasks_status: (b.tasks as string[]).map((id) => [id, { kind: 'Unknown' }]) },
        ])
      })
      const client = await stage.open()
      const [id = ''] = await submit(client, [worker.job()])
      await worker.assigned(id, 2)
      equal(worker.attempts(id), [1, 1, 2], 'its attempts')
    },
  },
  {
    name: 'queue: one is cancelled',
    role: 'manager',
    rule: 'aborted; TasksAbord goes to its worker until that answers Ack, then TasksCancelled comes',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage)
      await accepted(client, id)
      const { peer } = worker
      peer.handlers.delete('TasksAbord')
      const q = client.nextId()
      client.send({ q, k: 'TasksCancel', b: { task_ids: [id] }, t: 20_000 })
      const abort = await peer.request('TasksAbord')
      const [named] = abort.b.tasks as readonly Body[]
      equal(
        [abort.b.rel, named?.task_id, named?.attempt],
        [worker.rel, id, 1],
        'the abort',
      )
      await client.sync()
      expect(
        !client.frames.some(({ a }) => a === q),
        () => 'it was answered before the abort was',
      )
      peer.answer(abort, 'Ack', {})
      const { k, b } = await client.answerTo(q)
      equal([k, b.aborted, b.unknown], ['TasksCancelled', 1, 0], 'the answer')
      equal((await worker.completed(task)).k, 'Ack', 'to an outcome afterwards')
      equal((await summary(client, id)).state, 'aborted', 'its state')
    },
  },
  {
    name: 'clients: waiting for a batch',
    role: 'manager',
    rule: 'TasksWait gives those from `after` on with the next `cursor`, none twice and none left out',
    run: async (stage) => {
      const [worker, client] = [await stage.worker(), await stage.open()]
      const batch = key()
      const ids = await submit(client, [worker.job(), worker.job(), worker.job()], {
        batch,
      })
      const [first, second, third] = await Promise.all(
        ids.map((id) => worker.assigned(id)),
      )
      if (first === undefined || second === undefined || third === undefined) return
      const wait = (after: number, wait_ms: number) =>
        client.ask('TasksWait', { batch, after, wait_ms })
      const nothing = await wait(0, 30)
      equal([nothing.b.done, nothing.b.cursor, nothing.b.open], [[], 0, 3], 'at first')
      const waits = wait(0, 20_000)
      await worker.completed(second)
      const one = await waits
      const seen = (frame: { readonly b: Body }) =>
        (frame.b.done as readonly Body[]).map(({ task_id }) => task_id)
      equal([seen(one), one.b.open], [[second.task_id], 2], 'after the first')
      await worker.failed(first)
      await worker.completed(third)
      const rest: unknown[] = []
      let cursor = Number(one.b.cursor)
      while (rest.length < 2) {
        const more = await wait(cursor, 20_000)
        rest.push(...seen(more))
        cursor = Number(more.b.cursor)
      }
      equal(rest, [first.task_id, third.task_id], 'the others')
      const end = await wait(cursor, 20_000)
      equal([seen(end), end.b.open], [[], 0], 'at the end')
      const all = await wait(0, 0)
      equal(
        seen(all),
        [second, first, third].map(({ task_id }) => task_id),
        'from 0',
      )
    },
  },
  {
    name: 'clients: what is not known',
    role: 'manager',
    rule: 'answer `NotFound` {}',
    run: async (stage) => {
      const client = await stage.open()
      const task_id = '0123456789-1'
      const log = { task_id, fd: 1, offset: 0, max: 1, wait_ms: 0 }
      const input = { task_id, offset: 0, data: Buffer.from(''), eof: false }
      for (const [kind, body] of [
        ['TaskShow', { task_id }],
        ['TasksExplain', { task_id }],
        ['TasksWait', { after: 0, wait_ms: 0, batch: key() }],
        ['TasksWait', { after: 0, wait_ms: 0, task_ids: [task_id] }],
        ['TaskLogRead', log],
        ['TaskInput', input],
      ] as const)
        equal((await client.ask(kind, body)).k, 'NotFound', `the answer to ${kind}`)
      const cancel = await client.ask('TasksCancel', { task_ids: [task_id] })
      equal([cancel.k, cancel.b.unknown], ['TasksCancelled', 1], 'to TasksCancel')
      const retry = await client.ask('TasksRetry', { key: key(), task_ids: [task_id] })
      equal(retry.k, 'Refused', 'to TasksRetry')
    },
  },
  {
    name: 'clients: lists and nodes',
    role: 'manager',
    rule: 'Tasks, newest first, a page at a time.',
    run: async (stage) => {
      const [worker, client] = [await stage.worker(), await stage.open()]
      const batch = key()
      const ids = await submit(client, [worker.job(), worker.job(), worker.job()], {
        batch,
      })
      const page = async (after?: unknown) => {
        const more = after === undefined ? {} : { after }
        const { b } = await client.ask('TasksList', { limit: 2, batch, ...more })
        const list = b.tasks as readonly Body[]
        return { ids: list.map(({ task_id }) => task_id), next: b.next }
      }
      const first = await page()
      equal(first.ids, [ids[2], ids[1]], 'the first page')
      equal((await page(first.next)).ids, [ids[0]], 'the second page')
      const { b } = await client.ask('NodesList', {})
      const [self, ...others] = b.nodes as readonly Body[]
      equal([self?.role, self?.state], ['manager', 'self'], 'the first node')
      const it = others.find(({ node_id }) => node_id === worker.self.node_id)
      equal([it?.role, it?.state], ['worker', 'managed'], 'its worker')
    },
  },
  {
    name: 'clients: again, and why not',
    role: 'manager',
    rule: 'Submits closed tasks again, under new ids.',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage)
      const early = await client.ask('TasksRetry', { key: key(), task_ids: [id] })
      equal(early.k, 'Refused', 'of an open task')
      await worker.failed(task)
      await over(client, id)
      const retry = await client.ask('TasksRetry', { key: key(), task_ids: [id] })
      const [next = ''] = retry.b.task_ids as string[]
      expect(next !== id && next !== '', () => `the id of the next is ${next}`)
      await worker.assigned(next, 1)
      const nobody = [{ ...worker.job(), requires: { labels: { kit: 'nobody' } } }]
      const [stuck = ''] = await submit(client, nobody)
      const { k, b } = await client.ask('TasksExplain', { task_id: stuck })
      equal([k, b.state], ['TaskReasons', 'queued'], 'of one that nobody can run')
      const reasons = b.nodes as readonly (Body & { readonly candidate?: unknown })[]
      expect(
        reasons.length > 0 && reasons.every(({ candidate }) => candidate === false),
        () => `its nodes are ${JSON.stringify(reasons)}`,
      )
      await client.ask('TasksCancel', { task_ids: [stuck] })
    },
  },
  {
    name: 'clients: output of a worker',
    role: 'manager',
    rule: "Reads a task's output by offset, before its start, while it runs and after its end.",
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage)
      const text = Buffer.from('hello, this is output\n')
      const { peer } = worker
      const at = (offset: number, max: number) => ({
        ...{ offset, data: text.subarray(offset, offset + max), lost: 0 },
        eof: offset + max >= text.length,
      })
      const serve = (answer: string) => (frame: { readonly b: Body }) =>
        [answer, at(Number(frame.b.offset), (frame.b as { max: number }).max)] as const
      peer.handle('TaskOutputRead', serve('TaskOutputData'))
      peer.handle('BlobRead', serve('BlobData'))
      await worker.started(task)
      const read = (offset: number, max: number) =>
        client.ask('TaskLogRead', { task_id: id, fd: 1, offset, max, wait_ms: 5000 })
      const textOf = ({ b }: { readonly b: Body }) =>
        Buffer.from(b.data as Uint8Array).toString()
      equal(textOf(await read(0, 5)), 'hello', 'while it runs')
      const stdout = { size: text.length, sha256: '0'.repeat(64), ref: 'kit/1' }
      await worker.completed(task, { run_ms: 1, exit_code: 0, stdout })
      await over(client, id)
      equal(textOf(await read(7, 4)), 'this', 'after its end')
      const inside = await handedOut(stage)
      const inline = { ...stdout, inline: text }
      await inside.worker.completed(inside.task, {
        run_ms: 1,
        exit_code: 0,
        stdout: inline,
      })
      await over(client, inside.id)
      const body = { task_id: inside.id, fd: 1, offset: 12, max: 100, wait_ms: 0 }
      const tail = await client.ask('TaskLogRead', body)
      equal([textOf(tail), tail.b.eof], [text.subarray(12).toString(), true], 'inline')
    },
  },
  {
    name: 'clients: input for a worker',
    role: 'manager',
    rule: 'Bytes for the stdin of a running task, from an offset.',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage, { stdin_live: true })
      worker.peer.handle('TaskInput', () => ['Ack', {}])
      await worker.started(task)
      const data = Buffer.from('typed')
      const body = { task_id: id, offset: 0, data, eof: true }
      equal((await client.ask('TaskInput', body)).k, 'Ack', 'the answer')
      const { b } = await worker.peer.request('TaskInput')
      const { rel, task_id, attempt, offset, eof } = b
      equal(
        [rel, task_id, attempt, offset, eof],
        [worker.rel, id, 1, 0, true],
        'what it passes on',
      )
      equal(Buffer.from(b.data as Uint8Array).toString(), 'typed', 'its data')
    },
  },
  {
    name: 'clients: workers and managers are none',
    role: 'manager',
    rule: 'Workers and managers are no clients: `Error{wrong-role}`.',
    run: async (stage) => {
      const { peer } = await stage.worker()
      const manager = await stage.open(identity('manager', { ledger_id: '0123456789' }))
      for (const other of [peer, manager])
        for (const [kind, body] of [
          ['TasksSubmit', { key: key(), tasks: [] }],
          ['TasksList', { limit: 1 }],
          ['TasksCancel', {}],
        ] as const) {
          const { k, b } = await other.ask(kind, body)
          equal([k, b.code], ['Error', 'wrong-role'], `the answer to ${kind}`)
        }
    },
  },
]
