// Batches of tasks, and what is promised of single ones, with real programs: a batch that
// ends when too many fail, retries of what failed, tasks that run again only where that
// cannot be a second run, and what a restarted manager knows of all that.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isGone, Manyhands, until } from './support.ts'

// The machine may be busy with other tests.
t.setTimeout(180_000)

const hands = new Manyhands(t)
const place = t.testdirName
const { url, nodes } = await hands.mesh('w1')
let { m: manager, w1: worker } = nodes

t.test('a batch ends when more of it fail than may', async (t) => {
  const items = Array.from({ length: 400 }, (_, n) => n)
  const list = join(place, 'items')
  writeFileSync(list, items.join('\n'))
  const ran = join(place, 'ran')
  const script = 'echo x >>"$0"; exit 1'
  const command = ['--each-line', list, '--max-fails', '2', '--', 'sh', '-c', script, ran]
  const { code, stderr } = await hands.call('run', ...command)
  t.equal(code, 1)
  t.match(stderr, /manyhands: stopped: 3 tasks of its batch failed, at most 2 may\n/)
  const [, failed, cancelled] =
    /400 tasks in .*: 0 succeeded, (\d+) failed, (\d+) cancelled/.exec(stderr) ?? []
  t.equal(Number(failed) + Number(cancelled), 400)
  t.ok(Number(failed) < 20, `${failed} had been given out, or ran`)
  t.ok(readFileSync(ran, 'utf8').length / 2 < 20, 'what waited did not run')
  t.match(await hands.call('run', '--max-fails', '1', '--', 'true'), {
    code: 125,
    stderr: /--max-fails needs --each/,
  })
  t.match(await hands.call('submit', '--max-fails', '1', '--', 'true'), {
    code: 2,
    stderr: /name it with --batch/,
  })
})

t.test('what failed is retried, and nothing of it twice', async (t) => {
  const go = join(place, 'go')
  const script = ['--', 'sh', '-c', 'test -e "$0"', go]
  const into = ['--batch', 'nightly', '--max-fails', '1']
  const ids: string[] = []
  for (let n = 0; n < 2; n += 1)
    ids.push((await hands.text('submit', ...into, ...script)).trim())
  t.match(await hands.call('wait', '--batch', 'nightly'), { code: 1 })
  t.match(await hands.call('submit', ...into, ...script), {
    code: 1,
    stderr: /the batch nightly has ended: 2 of its tasks failed, at most 1 may/,
  })
  writeFileSync(go, '')
  const retry = ['retry', '--failed', '--batch', 'nightly'] as const
  const fresh = (await hands.text(...retry)).trim().split('\n')
  t.equal(fresh.length, 2)
  t.match(await hands.call('wait', ...fresh), { code: 0 })
  t.match(await hands.call(...retry), {
    code: 3,
    stderr: /no task of the batch nightly is failed and not retried yet/,
  })
  const [first] = await hands.list('show', ids[0] ?? '')
  t.match(first, { retried_as: fresh[0], attempts: [{ ended: /exit code 1/ }] })
  t.match(await hands.list('show', fresh[0] ?? ''), [{ retry_of: ids[0] }])
  t.match(await hands.call('retry'), { code: 2, stderr: /--failed or --aborted/ })
})

t.test(
  'a restarted manager knows how each attempt went, and what has ended',
  async (t) => {
    const command = ['--retries', '1', '--', 'sh', '-c', 'exit 4']
    const id = (await hands.text('submit', ...command)).trim()
    t.match(await hands.call('wait', id), { code: 1 })
    const [before] = await hands.list('show', id)
    t.match(before.attempts, [
      { attempt: 1, ended: 'RunningError, exit code 4' },
      { attempt: 2, ended: 'RunningError, exit code 4' },
    ])
    manager?.child.kill('SIGKILL')
    await manager?.ended
    const port = new URL(url).port
    const next = hands.node('manager', '--name', 'm', '--ping', '250ms', '--port', port)
    manager = next
    await next.said(/listening/)
    const [after] = await hands.list('show', id)
    t.same(after.attempts, before.attempts)
    t.match(await hands.call('retry', '--failed', '--batch', 'nightly'), { code: 3 })
    t.match(await hands.call('submit', '--batch', 'nightly', '--', 'true'), {
      stderr: /the batch nightly has ended/,
    })
  },
)

t.test(
  'an exclusive task runs again only when its worker has started anew',
  async (t) => {
    const ran = join(place, 'pids')
    const script = 'echo $$ >>"$0"; exec sleep 1000'
    await until(async () => (await hands.call('run', '--', 'true')).code === 0)
    const command = ['--exclusive', '--', 'sh', '-c', script, ran]
    const id = (await hands.text('submit', ...command)).trim()
    await until(() => existsSync(ran) && readFileSync(ran, 'utf8') !== '')
    const w2 = hands.node('worker', '--name', 'w2', '--cores', '1', '--join', url)
    await w2.said(/phase=managed/)
    worker?.child.kill('SIGKILL')
    await worker?.ended
    const lost =
      /it runs on w1; that worker is lost: being exclusive, it runs again only when/
    await until(async () => lost.test(await hands.text('explain', id)))
    t.match(await hands.call('run', '--', 'echo', 'other'), { stdout: /other/ })
    t.match(await hands.list('show', id), [{ attempt: 1, state: 'running' }])
    const again = hands.node('worker', '--name', 'w1', '--cores', '1', '--join', url)
    await again.said(/phase=managed/)
    const pids = () => readFileSync(ran, 'utf8').trim().split('\n')
    await until(() => pids().length === 2)
    await until(async () => (await hands.list('show', id))[0].state === 'running')
    t.match(await hands.list('show', id), [
      { attempt: 2, losses: 1, attempts: [{ ended: 'WorkerLost' }, { attempt: 2 }] },
    ])
    t.match(await hands.call('cancel', id), { code: 0 })
    await Promise.all(pids().map((pid) => isGone(Number(pid))))
  },
)
