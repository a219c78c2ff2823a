// Tasks at a manager: one outcome each, whatever workers tell.

import type { Case } from '../case.ts'
import type { Body } from '../protocol.ts'
import { equal, expect } from '../stage.ts'
import { over, record, summary } from '../worker-side.ts'
import { accepted, handedOut, key } from './manager-support.ts'

export const managerOutcomeCases: readonly Case[] = [
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
    rule: 'TaskError of the current attempt | failed, or with `retries` left queued again after 1 s doubling to 60 s, up to half of it less',
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
    rule: 'TaskError of the current attempt | failed, or with `retries` left queued again after 1 s doubling to 60 s, up to half of it less',
    run: async (stage) => {
      const { worker, client, id, task } = await handedOut(stage, { retries: 1 })
      const begun = performance.now()
      await worker.failed(task)
      const next = await worker.assigned(id, 2)
      const ms = performance.now() - begun
      expect(ms > 450, () => `handed out again after ${Math.round(ms)} ms`)
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
]
