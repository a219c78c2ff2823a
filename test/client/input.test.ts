// The input of a task, and the attempts that get it.

import t from 'tap'
import type { RequestOf } from '../../protocol/index.ts'
import { taskStdin } from '../../src/client/input.ts'
import type { Link } from '../../src/client/link.ts'

type Asked = RequestOf<'TaskInput'>

/**
 * A task whose attempts read so many bytes each (undefined: all); which one runs, and
 * whether it is over, a test says.
 */
class FakeTask {
  attempt = 1
  isOver = false
  isCancelled = false
  readonly #reads: readonly (number | undefined)[]
  readonly got = new Map<number, { data: Buffer; eof: boolean }>()
  #waiting: (() => void)[] = []

  constructor(...reads: readonly (number | undefined)[]) {
    this.#reads = reads
  }

  get link(): Pick<Link, 'ask'> {
    const ask = (kind: string, body: Asked) => {
      if (kind === 'TaskInput') return this.#input(body)
      if (kind === 'TasksCancel') this.isCancelled = true
      const state = this.isOver ? 'completed' : 'running'
      const { attempt } = this
      return Promise.resolve({
        kind: 'TaskRecord',
        body: { summary: { state, attempt } },
      })
    }
    // Of the exchanges only these are asked here.
    return { ask } as unknown as Pick<Link, 'ask'>
  }

  async #input(body: Asked): Promise<{ kind: string }> {
    const { attempt = 0, offset, data, eof } = body
    if (this.isOver) return { kind: 'NotFound' }
    if (attempt < this.attempt) return { kind: 'NotMine' }
    if (attempt > this.attempt) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
      return this.#input(body)
    }
    const limit = this.#reads[attempt - 1]
    if (limit !== undefined && offset >= limit) return { kind: 'NotFound' }
    const before = this.got.get(attempt)?.data ?? Buffer.alloc(0)
    t.equal(offset, before.length, 'no gap, no byte twice')
    this.got.set(attempt, { data: Buffer.concat([before, data]), eof })
    return { kind: 'Ack' }
  }

  runsAgain(): void {
    this.attempt += 1
    this.#wake()
  }
  ends(): void {
    this.isOver = true
    this.#wake()
  }
  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }
  textOf(attempt: number): string {
    return this.got.get(attempt)?.data.toString() ?? ''
  }
  /** Resolves when an attempt has the end of the input. */
  async ended(attempt: number): Promise<void> {
    while (this.got.get(attempt)?.eof !== true)
      await new Promise((resolve) => setImmediate(resolve))
  }
}

t.test('an attempt that takes over gets the input from its first byte', async (t) => {
  const task = new FakeTask()
  const stdin = taskStdin(task.link, 'task')
  t.equal(await stdin.write(Buffer.from('one ')), true)
  task.runsAgain()
  t.equal(await stdin.write(Buffer.from('two')), true)
  await stdin.end()
  t.equal(task.textOf(1), 'one ')
  t.same(task.got.get(2), { data: Buffer.from('one two'), eof: true })
  task.ends()
})

t.test('one that begins after the end gets it all, and its end', async (t) => {
  const task = new FakeTask()
  const stdin = taskStdin(task.link, 'task')
  await stdin.write(Buffer.alloc(200_000, 'x'))
  await stdin.end()
  for (const attempt of [2, 3]) {
    task.runsAgain()
    await task.ended(attempt)
    t.equal(task.textOf(attempt).length, 200_000)
  }
  task.ends()
  t.equal(await stdin.write(Buffer.from('late')), false)
})

t.test('a program that reads no more holds the input for the next attempt', async (t) => {
  const task = new FakeTask(4)
  const stdin = taskStdin(task.link, 'task')
  t.equal(await stdin.write(Buffer.from('head')), true)
  const more = stdin.write(Buffer.from(' and tail'))
  task.runsAgain()
  t.equal(await more, true)
  t.equal(task.textOf(2), 'head and tail')
  task.ends()
  t.equal(await stdin.write(Buffer.from('!')), false, 'the task is over')
})

t.test('a write to what reads no more ends with the task', async (t) => {
  const task = new FakeTask(0)
  const stdin = taskStdin(task.link, 'task')
  const written = stdin.write(Buffer.from('nobody reads'))
  setImmediate(() => task.ends())
  t.equal(await written, false)
})

t.test('a task that needs input that is kept no more is cancelled', async (t) => {
  const task = new FakeTask()
  let lost = 0
  const onLost = (): void => {
    lost += 1
  }
  const keptBytes = 256 * 1024
  const stdin = taskStdin(task.link, 'task', { onLost, keptBytes })
  const piece = Buffer.alloc(100_000)
  for (let sent = 0; sent <= keptBytes; sent += piece.length)
    t.equal(await stdin.write(piece), true)
  task.runsAgain()
  t.equal(await stdin.write(Buffer.from('more')), false)
  t.same({ lost, isCancelled: task.isCancelled }, { lost: 1, isCancelled: true })
})
