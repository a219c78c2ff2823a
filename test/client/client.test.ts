// The client against a manager in memory.

import t from 'tap'
import type { TaskRequest } from '../../protocol/index.ts'
import { ClientError, type ClientFailure } from '../../src/client/failures.ts'
import { FakeManager, LEDGER } from './fake-manager.ts'

const task = (
  program: string,
  args: readonly string[] = [],
  more: Partial<TaskRequest> = {},
): TaskRequest => ({
  job_addr: program,
  arguments: [...args],
  timeout_ms: 0,
  ...more,
})

const textOf = async (source: AsyncIterable<Uint8Array>): Promise<string> => {
  const parts: Uint8Array[] = []
  for await (const part of source) parts.push(part)
  return Buffer.concat(parts).toString()
}

const failureOf = async (promise: Promise<unknown>): Promise<ClientFailure['kind']> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof ClientError)) throw error ?? new Error('it did not fail')
  return error.failure.kind
}

t.test('one task is submitted and waited for in one turn', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const run = await client.run(task('exec:echo', ['a', 'b']))
  const done = await run.done
  t.same(manager.taken, ['TasksSubmit', 'TasksWait'])
  t.equal(done.task_id, run.id)
  t.equal(done.state, 'completed')
  t.equal(await textOf(run.stdout), 'a b\n')
  t.equal(await textOf(run.stderr), '')
})

t.test('a failed task is an outcome, not an error', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const { done } = await client.run(task('exec:false'))
  t.match(await done, { state: 'failed', error: { kind: 'RunningError', exit_code: 1 } })
})

t.test('stdin is written live and its end ends the program', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const run = await client.run(task('exec:cat', [], { stdin_live: true }))
  t.equal(await run.stdin.write(Buffer.alloc(200_000, 'x')), true)
  await run.stdin.end()
  t.equal((await textOf(run.stdout)).length, 200_000)
  t.equal((await run.done).state, 'completed')
  t.equal(await run.stdin.write(Buffer.from('late')), false)
})

t.test('ids come in the order of the tasks, page by page', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const ids = await client.submit(
    Array.from({ length: 600 }, (_, at) => task('exec:true', [String(at)])),
  )
  t.equal(ids.length, 600)
  t.equal(manager.taken.filter((kind) => kind === 'TasksSubmit').length, 3)
  t.same(
    ids.map((id) => manager.row(id).request.arguments[0]),
    ids.map((_, at) => String(at)),
  )
})

t.test('the same key again submits nothing', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const tasks = Array.from({ length: 300 }, () => task('exec:true'))
  const first = await client.submit(tasks, { key: 'nightly' })
  t.same(await client.submit(tasks, { key: 'nightly' }), first)
  t.equal(manager.rows.size, 300)
})

t.test('a busy manager is asked again after the time it names', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  let busy = 3
  manager.intercept = (kind) =>
    kind === 'TasksSubmit' && busy-- > 0
      ? { kind: 'Refused', body: { reason: 'busy', message: '', retry_after_ms: 1 } }
      : undefined
  t.equal((await client.submit([task('exec:true')])).length, 1)
  t.equal(manager.taken.length, 4)
})

t.test('a refusal is a typed failure with the reason', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  manager.intercept = () => ({
    kind: 'Refused',
    body: { reason: 'invalid', message: 'no' },
  })
  t.equal(await failureOf(client.submit([task('exec:true')])), 'rejected')
})

t.test('a batch gives every outcome once, with its place', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const tasks = Array.from({ length: 1000 }, (_, at) =>
    task(at % 100 === 7 ? 'exec:false' : 'exec:true', [String(at)]),
  )
  const batch = client.runAll(tasks, { maxOpen: 300 })
  const seen: number[] = []
  for await (const { index, done } of batch) {
    if (manager.row(done.task_id).request.arguments[0] !== String(index))
      t.fail(`${done.task_id} is not ${index}`)
    seen.push(index)
  }
  t.same(
    [...seen].sort((a, b) => a - b),
    Array.from(tasks.keys()),
  )
  t.match(batch.progress(), { submitted: 1000, done: 1000, failed: 10, isComplete: true })
})

t.test('a batch is not submitted far ahead of its outcomes', async (t) => {
  const manager = new FakeManager()
  manager.isHolding = true
  await using client = manager.client()
  let taken = 0
  const tasks = (function* () {
    for (; taken < 5000; taken++) yield task('exec:true')
  })()
  const batch = client.runAll(tasks, { maxOpen: 512 })
  let count = 0
  const reading = (async () => {
    for await (const _ of batch) count++
  })()
  const tick = setInterval(() => {
    if (taken - count > 512 + 2 * 256) t.fail(`${taken} taken, ${count} done`)
    manager.startAll()
  }, 1)
  t.teardown(() => clearInterval(tick))
  await reading
  t.equal(count, 5000)
})

t.test('several submissions under one label take only their own', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const all = async (program: string) => {
    const tasks = Array.from({ length: 900 }, () => task(program))
    const indexes: number[] = []
    const batch = client.runAll(tasks, { batch: 'shared', maxOpen: 256 })
    for await (const { index, done } of batch) {
      indexes.push(index)
      const { job_addr } = manager.row(done.task_id).request
      if (job_addr !== program) t.fail(`${done.task_id} is not of ${program}`)
    }
    t.same(
      indexes.sort((a, b) => a - b),
      Array.from(tasks.keys()),
    )
  }
  await Promise.all([all('exec:true'), all('noop:'), all('exec:echo')])
})

t.test('a batch does not wait for the open tasks of others', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  await client.submit([task('exec:sleep'), task('exec:false')], { batch: 'shared' })
  const slow = (async function* () {
    yield task('exec:true')
    // Its page comes after the read of the log that told of the first.
    while (!manager.taken.slice(-1).includes('TasksWait')) await new Promise(setImmediate)
    yield task('exec:true')
  })()
  let count = 0
  for await (const _ of client.runAll(slow, { batch: 'shared' })) count++
  t.equal(count, 2)
})

t.test('a batch that is run again with its key gives its outcomes again', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const tasks = Array.from({ length: 2000 }, () => task('exec:true'))
  for (const _ of ['first', 'again']) {
    const seen = new Set<number>()
    for await (const { index } of client.runAll(tasks, { key: 'k', maxOpen: 256 }))
      seen.add(index)
    t.equal(seen.size, 2000)
  }
  t.equal(manager.rows.size, 2000)
})

t.test('outcomes that the manager has forgotten fail the batch', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  manager.intercept = (kind, body) => {
    if (kind !== 'TasksWait') return undefined
    if (typeof body === 'object' && body !== null && 'task_ids' in body)
      return { kind: 'NotFound', body: {} }
    return { kind: 'TasksDone', body: { done: [], cursor: 0, open: 0, running: 0 } }
  }
  const reading = (async () => {
    for await (const _ of client.runAll([task('exec:true')]));
  })()
  t.equal(await failureOf(reading), 'not-found')
})

t.test('a batch that the mesh ends is told of to its end, and says why', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  let pages = 0
  const limits: unknown[] = []
  manager.intercept = (kind, body) => {
    if (kind !== 'TasksSubmit') return undefined
    limits.push((body as { max_fails?: number }).max_fails)
    pages += 1
    const message = '3 of its tasks failed'
    return pages > 1
      ? { kind: 'Refused', body: { reason: 'stopped', message } }
      : undefined
  }
  let taken = 0
  const tasks = (function* () {
    for (; taken < 100_000; taken++) yield task('exec:true')
  })()
  const batch = client.runAll(tasks, { maxFails: 2 })
  let count = 0
  for await (const _ of batch) count++
  t.ok(count > 0 && count === batch.progress().submitted, 'those of the first page')
  t.ok(taken < 10_000, `${taken} were taken`)
  t.match(batch.progress(), { isComplete: true, stopped: '3 of its tasks failed' })
  t.ok(limits.every((limit) => limit === 2))

  const late = client.runAll([task('exec:true')], { batch: 'ended' })
  const reading = (async () => {
    for await (const _ of late) t.fail('nothing was taken')
  })()
  t.equal(await failureOf(reading), 'rejected', 'none of its own was ever taken')
  t.throws(() => client.runAll([], { maxFails: -1 }), RangeError)
})

t.test('who waits for a manager that takes nothing is told why', async (t) => {
  const manager = new FakeManager()
  let refusals = 0
  const told: string[] = []
  await using client = manager.client({ onWaiting: (why) => told.push(why) })
  manager.intercept = (kind) => {
    if (kind !== 'TasksSubmit' || told.length > 0) return undefined
    refusals += 1
    const message = 'the ledger is full'
    return { kind: 'Refused', body: { reason: 'busy', message, retry_after_ms: 200 } }
  }
  t.equal((await client.submit([task('exec:true')])).length, 1)
  t.same(told, ['the ledger is full'], 'once')
  t.ok(refusals > 10, `after ${refusals} tries`)
})

t.test('an empty batch ends at once', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  for await (const _ of client.runAll([])) t.fail('nothing to come')
  t.same(manager.taken, [])
})

t.test('a cancelled batch is read to its end though its source hangs', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const endless = (async function* () {
    for (let at = 0; at < 10; at++) yield task('exec:sleep')
    await new Promise(() => undefined)
  })()
  const batch = client.runAll(endless)
  const states: string[] = []
  const reading = (async () => {
    for await (const { done } of batch) states.push(done.state)
  })()
  while (batch.progress().submitted < 10) await new Promise(setImmediate)
  await batch.cancel()
  await reading
  t.same(
    states,
    Array.from({ length: 10 }, () => 'aborted'),
  )
})

t.test('a failing source fails the batch', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const bad = (async function* () {
    yield task('exec:true')
    throw new Error('line 2 is bad')
  })()
  await t.rejects(
    async () => {
      for await (const _ of client.runAll(bad));
    },
    { message: 'line 2 is bad' },
  )
})

t.test('a refused page fails the batch though its source is silent', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  manager.intercept = (kind) =>
    kind === 'TasksSubmit'
      ? { kind: 'Refused', body: { reason: 'conflict', message: 'no' } }
      : undefined
  const silent = (async function* () {
    yield task('exec:true')
    await new Promise(() => undefined)
  })()
  const reading = (async () => {
    for await (const _ of client.runAll(silent));
  })()
  t.equal(await failureOf(reading), 'rejected')
})

t.test('a lost connection is regained and nothing is missed or repeated', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const tasks = Array.from({ length: 900 }, () => task('exec:true'))
  let count = 0
  for await (const _ of client.runAll(tasks)) if (++count % 90 === 0) manager.cut()
  t.equal(count, 900)
  t.equal(manager.rows.size, 900)
})

t.test('output goes on at its offset after a cut', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const run = await client.run(task('exec:sleep'))
  manager.write(run.id, 1, 'one ')
  let text = ''
  for await (const part of run.stdout) {
    text += Buffer.from(part).toString()
    if (text === 'one ') {
      manager.cut()
      manager.write(run.id, 1, 'two')
      manager.end(run.id, { exit_code: 0 })
    }
  }
  t.equal(text, 'one two')
})

t.test('output without follow ends at what there is', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const run = await client.run(task('exec:sleep'))
  manager.write(run.id, 2, 'warning')
  t.equal(await textOf(client.output(run.id, { fd: 2, follow: false, from: 4 })), 'ing')
  await run.cancel()
  t.match(await run.done, { state: 'aborted' })
})

t.test('a mesh that does not come back is lost after the stated time', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client({ regainMs: 5 })
  const run = await client.run(task('exec:sleep'))
  manager.isReachable = false
  manager.cut()
  t.equal(await failureOf(run.done), 'lost')
  t.equal(await failureOf(client.nodes()), 'lost')
})

t.test('closing fails what is open, twice does nothing', async (t) => {
  const manager = new FakeManager()
  const client = manager.client()
  const run = await client.run(task('exec:sleep'))
  const output = textOf(run.stdout)
  await client.close()
  await client.close()
  t.equal(await failureOf(run.done), 'closed')
  t.equal(await failureOf(output), 'closed')
  t.equal(await failureOf(client.nodes()), 'closed')
})

t.test('a signal ends a wait', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const controller = new AbortController()
  const run = await client.run(task('exec:sleep'), { signal: controller.signal })
  controller.abort()
  t.equal(await failureOf(run.done), 'aborted')
})

t.test('silence is met three times, then a failure', async (t) => {
  const manager = new FakeManager()
  const link = manager.link()
  t.teardown(() => link.close())
  manager.intercept = () => 'silence'
  t.equal(await failureOf(link.ask('NodesList', {}, { timeoutMs: 5 })), 'no-answer')
  t.equal(manager.taken.length, 3)
})

t.test('an unknown task is not found', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const id = `${LEDGER}-99`
  t.equal(await failureOf(client.show(id)), 'not-found')
  t.equal(await failureOf(client.explain(id)), 'not-found')
  t.equal(await failureOf(textOf(client.output(id))), 'not-found')
  t.equal(
    await failureOf(
      (async () => {
        for await (const _ of client.wait([id]));
      })(),
    ),
    'not-found',
  )
})

t.test('tasks are listed page by page, and no further than asked', async (t) => {
  const manager = new FakeManager()
  manager.isHolding = true
  await using client = manager.client()
  await client.submit(Array.from({ length: 1200 }, () => task('exec:true')))
  let count = 0
  for await (const _ of client.tasks()) count++
  t.equal(count, 1200)
  manager.taken.length = 0
  for await (const _ of client.tasks()) if (++count === 1210) break
  t.equal(manager.taken.length, 1)
})

t.test('waiting for ids gives each once; retry gives new ids', async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  const ids = await client.submit([task('exec:true'), task('exec:false')])
  const states: Record<string, string> = {}
  for await (const done of client.wait(ids)) states[done.task_id] = done.state
  t.same(states, { [`${LEDGER}-1`]: 'completed', [`${LEDGER}-2`]: 'failed' })
  t.same(await client.retry([`${LEDGER}-2`]), [`${LEDGER}-3`])
  t.match(await client.cancel([`${LEDGER}-1`, `${LEDGER}-77`]), { closed: 1, unknown: 1 })
})

t.test("a key that is too long is the caller's mistake", async (t) => {
  const manager = new FakeManager()
  await using client = manager.client()
  await t.rejects(client.submit([], { key: 'x'.repeat(49) }), RangeError)
})
