// What a manager does for clients.

import type { Case } from '../case.ts'
import { identity } from '../peer.ts'
import type { Body } from '../protocol.ts'
import { equal, expect } from '../stage.ts'
import { over, submit } from '../worker-side.ts'
import { handedOut, key } from './manager-support.ts'

export const managerClientCases: readonly Case[] = [
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
