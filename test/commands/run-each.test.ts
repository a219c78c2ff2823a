// run --each: items, order, outputs whole, JSON lines, progress, failures.

import { join } from 'node:path'
import t from 'tap'
import { LEDGER } from '../client/fake-manager.ts'
import { Screen, Shell } from './support.ts'

t.test('each line is a task, its output whole, and a summary per host', async (t) => {
  const shell = new Shell()
  shell.input = 'one\ntwo\r\n\nthree'
  const { code, stdout, stderr } = await shell.call(
    ...'run --each-line - --keep-order -- echo {#}:{}'.split(' '),
  )
  t.equal(code, 0)
  t.equal(stdout, '1:one\n2:two\n3:three\n')
  t.match(stderr, /3 tasks in .*: 3 succeeded, 0 failed/)
  t.match(stderr, /HOST\s+TASKS\s+FAILED/)
  t.match(stderr, /worker-1\s+1/)
})

t.test('without a placeholder the item is the last argument', async (t) => {
  const shell = new Shell()
  shell.input = 'a b; rm\n'
  const { stdout } = await shell.call('run', '--each-line', '-', '-q', '--', 'echo', 'x')
  t.equal(stdout, 'x a b; rm\n')
  t.same(shell.manager.row(`${LEDGER}-1`).request.arguments, ['x', 'a b; rm'])
})

t.test('files are checked before anything is submitted', async (t) => {
  const shell = new Shell()
  const dir = t.testdir({ a: '' })
  const there = join(dir, 'a')
  const { code, stderr } = await shell.call(
    ...['run', '--each', there, join(dir, 'b'), '--', 'echo'],
  )
  t.equal(code, 125)
  t.match(stderr, /no such file: .*b; for words/)
  t.equal(shell.manager.taken.length, 0)
  const good = new Shell()
  t.equal((await good.call('run', '--each', there, '--', 'echo', '{/}')).stdout, 'a\n')
})

t.test('failures are told, counted, and make the exit code 1', async (t) => {
  const shell = new Shell()
  shell.input = Array.from({ length: 30 }, (_, at) => `item-${at}`).join('\n')
  const { code, stderr } = await shell.call('run', '--each-line', '-', '--', 'false')
  t.equal(code, 1)
  t.match(stderr, /'item-0' on worker-\d ended with exit code 1/)
  t.match(stderr, /further failures are counted only/)
  t.match(stderr, /0 succeeded, 30 failed/)
})

t.test('--json gives a line per task with all there is to know', async (t) => {
  const shell = new Shell()
  shell.input = 'x'
  const { stdout } = await shell.call('run', '--each-line', '-', '--json', '--', 'echo')
  const line = JSON.parse(stdout)
  t.match(line, {
    index: 0,
    item: 'x',
    task_id: `${LEDGER}-1`,
    state: 'completed',
    exit_code: 0,
    stdout: 'x\n',
    stderr: '',
    run_ms: 1,
    started_ms: Number,
    host_name: /worker-/,
  })
})

t.test('an output that is not in the outcome is read where it is kept', async (t) => {
  const shell = new Shell()
  shell.input = 'x'
  const { stdout } = await shell.call('run', '--each-line', '-', '-q', '--', 'big')
  t.equal(stdout.length, 100_000)
})

t.test('many lines pass with few open at once', async (t) => {
  const shell = new Shell()
  const dir = t.testdir({ list: 'item\n'.repeat(20_000) })
  const { code, stderr } = await shell.call(
    ...['run', '--each-line', join(dir, 'list'), '--', 'noop:'],
  )
  t.equal(code, 0)
  t.match(stderr, /20000 succeeded/)
})

t.test('a line that is not UTF-8 or too long submits nothing', async (t) => {
  const dir = t.testdir({
    latin: Buffer.from([0x61, 0x0a, 0xe9, 0x0a]),
    long: 'x'.repeat(500_000),
    nul: 'a\0b\n',
  })
  for (const [name, says] of [
    ['latin', /line 2 of .* is not UTF-8/],
    ['long', /longer than an argument/],
    ['nul', /contains a NUL/],
    ['missing', /cannot read .* \(ENOENT\)/],
  ] as const) {
    const shell = new Shell()
    const called = await shell.call('run', '--each-line', join(dir, name), '--', 'echo')
    t.equal(called.code, 125, name)
    t.match(called.stderr, says)
    t.equal(shell.manager.rows.size, 0)
  }
})

t.test('a terminal gets a bar that leaves nothing behind', async (t) => {
  const shell = new Shell()
  shell.stderr = new Screen({ isTTY: true })
  shell.manager.isHolding = true
  shell.input = 'a\nb\n'
  shell.stderr.onData = (text) => {
    if (text.includes('0 of 2 done')) setImmediate(() => shell.manager.startAll())
  }
  const { code, stderr } = await shell.call('run', '--each-line', '-', '--', 'echo')
  t.equal(code, 0)
  t.match(stderr, /\r\u001b\[K\[\.+\] 0 of 2 done, 0 failed/)
})

t.test('Ctrl-C cancels the batch', async (t) => {
  const shell = new Shell()
  shell.input = 'a\nb\n'
  const called = shell.call('run', '--each-line', '-', '--', 'sleep')
  while (!shell.manager.taken.includes('TasksWait')) await new Promise(setImmediate)
  shell.interrupt()
  t.equal((await called).code, 130)
  t.match(shell.stderr.text, /0 succeeded, 0 failed, 2 cancelled/)
  t.same(
    [...shell.manager.rows.values()].map((row) => row.state),
    ['aborted', 'aborted'],
  )
})

t.test('a reader that goes away ends the batch', async (t) => {
  const shell = new Shell()
  shell.stdout = new Screen({ breaksAfter: 1 })
  shell.input = 'a\nb\nc\n'
  const { code } = await shell.call('run', '--each-line', '-', '--', 'echo')
  t.equal(code, 141)
})
