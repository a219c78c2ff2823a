// The manager and its clients: lists, waits, logs, retries, and their limits.

import t from 'tap'
import { createWorld, done, exec, noop, taskId } from '../support/manager-world.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const captured = { size: 5, sha256: '0'.repeat(64) }

t.test('lists are newest first, a page at a time, and can be filtered', async (t) => {
  const world = createWorld()
  const client = world.client('c')
  const tasks = Array.from({ length: 5 }, (_, i) => exec({ arguments: [`${i}`] }))
  await client.ask('TasksSubmit', { key: 'k', tasks })
  await client.ask('TasksCancel', { task_ids: [taskId(2)] })
  const first = await client.ask('TasksList', { limit: 3 })
  t.match(first, {
    body: {
      tasks: [{ task_id: taskId(5), command: 'true 4' }, {}, { task_id: taskId(3) }],
      next: taskId(3),
    },
  })
  const second = await client.ask('TasksList', { limit: 3, after: taskId(3) })
  t.match(second, { body: { tasks: [{ state: 'aborted' }, { state: 'queued' }] } })
  t.notMatch(second, { body: { next: /./ } })
  const aborted = await client.ask('TasksList', { limit: 9, states: ['aborted'] })
  t.match(aborted, { body: { tasks: [{ task_id: taskId(2) }] } })
  const none = await client.ask('TasksList', { limit: 9, batch: 'other' })
  t.match(none, { body: { tasks: [] } })
})

t.test('a wait for tasks tells which of them are closed', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1', { cores: 2 })
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec(), exec()] })
  const task_ids = [taskId(1), taskId(2)]
  const wait = client.begin('TasksWait', { task_ids, after: 0, wait_ms: 60_000 })
  const [first] = worker.assigned
  if (first === undefined) throw new Error('it is assigned')
  await worker.start(first)
  t.equal(wait.answer, undefined)
  await worker.complete(first)
  t.match(wait.answer, { body: { done: [{ task_id: taskId(1) }], open: 1, running: 0 } })
  t.match(await client.ask('TasksWait', { task_ids: ['x'], after: 0, wait_ms: 0 }), {
    kind: 'NotFound',
  })
})

t.test('a wait ends with its time', async (t) => {
  const world = createWorld()
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  const wait = client.begin('TasksWait', { batch: 'k', after: 0, wait_ms: 500 })
  await world.net.settle()
  world.clock.advance(499)
  await world.net.settle()
  t.equal(wait.answer, undefined)
  world.clock.advance(1)
  await world.net.settle()
  t.match(wait.answer, { body: { done: [], cursor: 0, open: 1 } })
})

t.test('waits are bounded for each client, and end with its connection', async (t) => {
  const world = createWorld({ waitsPerClient: 2 })
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  const wait = () => client.begin('TasksWait', { batch: 'k', after: 0, wait_ms: 60_000 })
  const [one, two, three] = [wait(), wait(), wait()]
  await world.net.settle()
  t.match([one.answer, two.answer], [undefined, undefined])
  t.match(three.answer, { kind: 'Error', body: { code: 'busy' } })
  const before = world.clock.pending
  world.net.cut('c', 'manager')
  t.ok(world.clock.pending <= before - 2, 'their timers are gone')
})

t.test('an answer of closed tasks is at most 64 KiB, or one task', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1', { cores: 4 })
  const client = world.client('c')
  const tasks = Array.from({ length: 4 }, () => exec())
  await client.ask('TasksSubmit', { key: 'k', tasks })
  const inline = new Uint8Array(30_000)
  for (const task of worker.assigned.slice())
    await worker.complete(task, { ...done(), stdout: { ...captured, inline } })
  let after = 0
  const pages: number[] = []
  while (after < 4) {
    const answer = await client.ask('TasksWait', { batch: 'k', after, wait_ms: 0 })
    if (answer.kind !== 'TasksDone') break
    after = answer.body.cursor
    pages.push(answer.body.done.length)
  }
  t.same(pages, [2, 2])
})

t.test('too many open tasks are refused with a time to come back', async (t) => {
  const world = createWorld({ maxOpen: 3 })
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec(), exec()] })
  t.match(await client.ask('TasksSubmit', { key: 'l', tasks: [exec(), exec()] }), {
    kind: 'Refused',
    body: { reason: 'busy', retry_after_ms: 1_000 },
  })
})

t.test(
  'closed tasks are kept up to a bound, and a wait skips what is forgotten',
  async (t) => {
    const world = createWorld({ keepClosed: 2 })
    const worker = await world.worker('w1', { cores: 5 })
    const released: string[][] = []
    worker.handlers.BlobRelease = ({ refs }, respond) => {
      released.push(refs)
      respond('Ack', {})
    }
    const client = world.client('c')
    const tasks = Array.from({ length: 5 }, () => exec())
    await client.ask('TasksSubmit', { key: 'k', tasks })
    for (const task of worker.assigned.slice(0, 4))
      await worker.complete(task, {
        ...done(),
        stdout: { ...captured, ref: `ref-${task.task_id}` },
      })
    t.same(released, [[`ref-${taskId(1)}`], [`ref-${taskId(2)}`]])
    t.match(await client.ask('TaskShow', { task_id: taskId(1) }), { kind: 'NotFound' })
    t.match(await client.ask('TasksWait', { batch: 'k', after: 0, wait_ms: 0 }), {
      body: {
        done: [{ task_id: taskId(3) }, { task_id: taskId(4) }],
        cursor: 4,
        open: 1,
      },
    })
    t.same(world.ledger.stats(), { open: 1, closed: 2 })
  },
)

t.test(
  'what a reader of a batch has gone past makes room, but for the last',
  async (t) => {
    const world = createWorld({ keepRead: 1 })
    const worker = await world.worker('w1', { cores: 5 })
    const client = world.client('c')
    const tasks = Array.from({ length: 4 }, () => exec())
    await client.ask('TasksSubmit', { key: 'k', tasks })
    for (const task of worker.assigned.slice(0, 3)) await worker.complete(task)
    const wait = (after: number) =>
      client.ask('TasksWait', { batch: 'k', after, wait_ms: 0 })
    t.match(await wait(0), { body: { done: { length: 3 }, cursor: 3 } })
    t.match(await wait(0), { body: { done: { length: 3 } } }, 'told is not yet read')
    t.match(await wait(3), { body: { done: [], cursor: 3, open: 1 } })
    t.same(world.ledger.stats(), { open: 1, closed: 1 })
    t.match(await wait(0), { body: { done: [{ task_id: taskId(3) }], cursor: 3 } })
  },
)

t.test('closed tasks can be submitted again, open ones cannot', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1', { cores: 2 })
  const client = world.client('c')
  await client.ask('TasksSubmit', {
    key: 'k',
    tasks: [exec({ arguments: ['a'] }), exec()],
  })
  const [first] = worker.assigned
  if (first === undefined) throw new Error('it is assigned')
  await worker.fail(first)
  const retry = (...task_ids: string[]) =>
    client.ask('TasksRetry', { key: `r${task_ids}`, task_ids })
  t.match(await retry(taskId(1)), {
    kind: 'TasksSubmitted',
    body: { task_ids: [taskId(3)] },
  })
  t.match(await client.ask('TaskShow', { task_id: taskId(3) }), {
    body: { request: { arguments: ['a'] } },
  })
  t.match(await retry(taskId(2)), { kind: 'Refused', body: { reason: 'invalid' } })
  t.match(await retry(taskId(99)), { kind: 'Refused' })
})

t.test(
  'output is read from the worker while the task runs, then from where it is',
  async (t) => {
    const world = createWorld()
    const client = world.client('c')
    await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
    const read = {
      task_id: taskId(1),
      fd: 1 as const,
      offset: 0,
      max: 100,
      wait_ms: 5_000,
    }
    const early = client.begin('TaskLogRead', read)
    await world.net.settle()
    t.equal(early.answer, undefined, 'before the start it waits')
    const worker = await world.worker('w1')
    worker.handlers.TaskOutputRead = ({ rel, attempt, offset }, respond) => {
      if (rel !== worker.rel || attempt !== 1) respond('NotMine', {})
      else if (offset === 99) respond('Error', { code: 'deadline' })
      else respond('TaskOutputData', { offset, data: bytes('live'), eof: false, lost: 0 })
    }
    worker.handlers.BlobRead = ({ ref, offset }, respond) => {
      if (ref !== 'ref-1') respond('NotFound', {})
      else if (offset === 99) respond('Error', { code: 'busy', retry_after_ms: 100 })
      else respond('BlobData', { offset, data: bytes('kept'), eof: true, lost: 0 })
    }
    const [task] = worker.assigned
    if (task === undefined) throw new Error('it is assigned')
    await worker.start(task)
    t.match(early.answer, { kind: 'TaskOutputData', body: { data: bytes('live') } })
    t.match(
      await client.ask('TaskLogRead', { ...read, offset: 99 }),
      { kind: 'Error', body: { code: 'busy', retry_after_ms: 1_000 } },
      'a link without room is asked again',
    )
    await worker.complete(task, { ...done(), stdout: { ...captured, ref: 'ref-1' } })
    t.match(await client.ask('TaskLogRead', read), { body: { data: bytes('kept') } })
    t.match(
      await client.ask('TaskLogRead', { ...read, offset: 99 }),
      { kind: 'Error', body: { code: 'busy', retry_after_ms: 1_000 } },
      'what cannot be read now is not gone',
    )
    t.match(await client.ask('TaskLogRead', { ...read, fd: 2 }), {
      body: { data: new Uint8Array(0), eof: true },
    })
    world.net.cut('w1', 'manager')
    t.match(
      await client.ask('TaskLogRead', read),
      { kind: 'Error', body: { code: 'busy' } },
      'its worker may come back',
    )
    world.clock.advance(30_000)
    await world.net.settle()
    t.match(await client.ask('TaskLogRead', read), { kind: 'NotFound' })
    t.match(await client.ask('TaskLogRead', { ...read, task_id: taskId(7) }), {
      kind: 'NotFound',
    })
  },
)

t.test(
  'a log of a task that does not start in time is empty, and not at its end',
  async (t) => {
    const world = createWorld()
    const client = world.client('c')
    await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
    const read = { task_id: taskId(1), fd: 1 as const, offset: 7, max: 9, wait_ms: 50 }
    const asked = client.begin('TaskLogRead', read)
    await world.net.settle()
    world.clock.advance(50)
    await world.net.settle()
    t.match(asked.answer, { body: { offset: 7, data: new Uint8Array(0), eof: false } })
  },
)

t.test('input is relayed to where the task runs', async (t) => {
  const world = createWorld()
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec({ stdin_live: true })] })
  const input = { task_id: taskId(1), offset: 0, data: bytes('hi'), eof: true }
  const early = client.begin('TaskInput', input)
  const worker = await world.worker('w1')
  const got: unknown[] = []
  worker.handlers.TaskInput = (body, respond) => {
    got.push(body)
    respond('Ack', {})
  }
  const [task] = worker.assigned
  if (task === undefined) throw new Error('it is assigned')
  await worker.start(task)
  t.match(early.answer, { kind: 'Ack' })
  t.match(got, [{ rel: worker.rel, attempt: 1, data: bytes('hi'), eof: true }])
  await worker.complete(task)
  t.match(await client.ask('TaskInput', input), { kind: 'NotFound' })
})

t.test('input for an attempt goes to that one alone', async (t) => {
  const world = createWorld({ retryFirstMs: 10 })
  const client = world.client('c')
  const tasks = [exec({ stdin_live: true, retries: 1 })]
  await client.ask('TasksSubmit', { key: 'k', tasks })
  const worker = await world.worker('w1')
  const got: unknown[] = []
  worker.handlers.TaskInput = ({ attempt }, respond) => {
    got.push(attempt)
    respond('Ack', {})
  }
  const input = { task_id: taskId(1), offset: 0, data: bytes('hi'), eof: true }
  const [first] = worker.assigned
  if (first === undefined) throw new Error('it is assigned')
  await worker.start(first)
  t.match(await client.ask('TaskInput', { ...input, attempt: 1 }), { kind: 'Ack' })
  const next = client.begin('TaskInput', { ...input, attempt: 2 })
  await worker.fail(first)
  t.equal(next.answer, undefined, 'it has not begun')
  world.clock.advance(10)
  await world.net.settle()
  const second = worker.assigned.at(-1)
  if (second?.attempt !== 2) throw new Error('it is assigned again')
  await worker.start(second)
  t.match(next.answer, { kind: 'Ack' })
  t.match(await client.ask('TaskInput', { ...input, attempt: 1 }), { kind: 'NotMine' })
  t.same(got, [1, 2])
})

t.test('a cancel counts what it does not know and what was over', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1')
  const client = world.client('c')
  await client.ask('TasksSubmit', {
    key: 'k',
    tasks: [noop(), exec({ requires: { cores: 9 } })],
  })
  const [task] = worker.assigned
  if (task === undefined) throw new Error('it is assigned')
  await worker.complete(task)
  const task_ids = [taskId(1), taskId(2), taskId(3)]
  t.match(await client.ask('TasksCancel', { task_ids }), {
    kind: 'TasksCancelled',
    body: { aborted: 1, closed: 1, unknown: 1 },
  })
})

t.test('an attempt is shown when it is on record', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1')
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [noop({ retries: 1 })] })
  const [task] = worker.assigned
  if (task === undefined) throw new Error('it is assigned')
  const shown = async () => {
    const answer = await client.ask('TaskShow', { task_id: taskId(1) })
    return answer.kind === 'TaskRecord' ? answer.body.summary.attempt : undefined
  }
  world.ledger.spoil({ kind: 'full' })
  await t.rejects(worker.fail(task), 'it has no room for the second attempt')
  t.equal(await shown(), 1)
  world.ledger.spoil(undefined)
  world.clock.advance(200)
  await world.net.settle()
  t.equal(await shown(), 2)
})

t.test(
  'a follower of a copy that was overtaken gets all that the one that counts wrote',
  async (t) => {
    const world = createWorld()
    const client = world.client('c')
    const one = await world.worker('w1')
    await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
    const [first] = one.assigned
    world.net.cut('w1', 'manager')
    world.clock.advance(21_000)
    const two = await world.worker('w2')
    await world.net.settle()
    const [second] = two.assigned
    if (first === undefined || second === undefined) throw new Error('both have it')
    t.equal(second.attempt, 2)
    const read = { task_id: first.task_id, fd: 1, max: 100, wait_ms: 0 } as const
    let stopped = (): void => undefined
    two.handlers.TaskOutputRead = ({ offset }, respond) => {
      const last = { offset, data: bytes('killed'), eof: true, lost: 0 }
      stopped = () => respond('TaskOutputData', last)
    }
    await two.start(second)
    const place = { offset: 2, attempt: 2, wait_ms: 5_000 }
    const following = client.begin('TaskLogRead', { ...read, ...place })
    await world.net.settle()
    world.net.connect('w1', 'manager')
    await one.request([{ task_id: first.task_id, attempt: 1, status: 'Completed' }])
    const inline = bytes('the first run')
    const stdout = { size: inline.length, sha256: '0'.repeat(64), inline }
    await one.complete(first, { run_ms: 1, exit_code: 0, stdout })
    stopped()
    await world.net.settle()
    const ask = (offset: number, attempt?: number) =>
      client.ask('TaskLogRead', { ...read, offset, ...(attempt && { attempt }) })
    const all = { body: { offset: 0, data: inline, eof: true, attempt: 1 } }
    const rest = { body: { offset: 4, data: inline.subarray(4), eof: true, attempt: 1 } }
    const nothing = { body: { data: { length: 0 }, eof: true, attempt: 1 } }
    t.match(following.answer, all, 'it waited for more of the second, which was stopped')
    t.match(await ask(4, 2), all, 'it was in the midst of the second')
    t.match(await ask(4, 1), rest, 'it goes on in the first')
    t.match(await ask(4), rest)
    t.match(await ask(0), all)
    t.match(
      await ask(0, 2),
      nothing,
      'it had all of the first, and waited for the second',
    )
    t.match(await ask(0, 3), all, 'it had all of the second, and waited for a third')
  },
)

t.test('a closing manager takes no more tasks', async (t) => {
  const world = createWorld()
  const client = world.client('c')
  const asked = client.begin('TasksSubmit', { key: 'k', tasks: [exec()] })
  await world.net.settle()
  await world.manager.close()
  t.match(asked.answer, { kind: 'TasksSubmitted' })
  t.match(await client.ask('TasksSubmit', { key: 'l', tasks: [exec()] }), {
    kind: 'Refused',
    body: { reason: 'closing' },
  })
})
