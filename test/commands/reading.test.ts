// The reading verbs, for people and for programs; help; failures of the mesh.

import t from 'tap'
import { ClientError, type ClientFailure } from '../../src/client/failures.ts'
import { LEDGER } from '../client/fake-manager.ts'
import { Shell } from './support.ts'

t.test('nodes', async (t) => {
  const { code, stdout } = await new Shell().call('nodes')
  t.equal(code, 0)
  t.match(stdout, /HOST\s+ROLE\s+STATE/)
  t.match(stdout, /worker-2\s+worker\s+managed/)
  const listed = JSON.parse((await new Shell().call('nodes', '--json')).stdout)
  t.same(
    listed.map((node: { host_name: string }) => node.host_name),
    ['box-manager', 'worker-1', 'worker-2'],
  )
})

t.test('submit, wait, show, tasks, logs by bare number', async (t) => {
  const shell = new Shell()
  const id = `${LEDGER}-1`
  t.equal(
    (await shell.call('submit', '--batch', 'b', '--', 'echo', 'hi')).stdout,
    `${id}\n`,
  )
  const fresh = () => {
    const next = new Shell()
    next.connect = async () => shell.manager.client()
    return next
  }
  t.match(await fresh().call('wait', '1'), {
    code: 0,
    stdout: new RegExp(`${id} on worker-2 succeeded`),
  })
  t.match(await fresh().call('wait', '--batch', 'b'), { code: 0, stdout: /succeeded/ })
  t.match(JSON.parse((await fresh().call('wait', '1', '--json')).stdout), [
    { task_id: id, host_name: 'worker-2', result: { stdout: { inline: 'hi\n' } } },
  ])
  t.match((await fresh().call('show', '1')).stdout, /state\s+completed[\s\S]*command/)
  t.match(JSON.parse((await fresh().call('show', id, '--json')).stdout), [
    { task_id: id, state: 'completed', request: { job_addr: 'exec:echo' } },
  ])
  t.match((await fresh().call('tasks')).stdout, /TASK\s+STATE[\s\S]*exec:echo hi/)
  t.same(
    JSON.parse((await fresh().call('tasks', '--only', 'failed', '--json')).stdout),
    [],
  )
  t.equal((await fresh().call('logs', '1')).stdout, 'hi\n')
  t.equal((await fresh().call('logs', '-f', '--from', '1', '1')).stdout, 'i\n')
  t.equal((await fresh().call('logs', '--stderr', '1')).stdout, '')
  t.equal((await fresh().call('retry', '1')).stdout, `${LEDGER}-2\n`)
})

t.test('logs --json says where the task ran, and gives all it wrote', async (t) => {
  const shell = new Shell()
  await shell.call('submit', '--', 'echo', 'h\u00e9')
  await shell.call('wait', '1')
  const shown = { task_id: `${LEDGER}-1`, state: 'completed', attempt: 1 }
  const where = { ...shown, host_name: 'worker-2' }
  const cases: [flags: string[], object[]][] = [
    [[], [{ ...where, stdout: 'h\u00e9\n', size: 4, lost: 0 }]],
    [['--from', '2'], [{ ...where, stdout_base64: 'qQo=', size: 4, lost: 0 }]],
    [['--stderr'], [{ ...where, stderr: '', size: 0 }]],
    [
      ['-f'],
      [
        { ...where, stdout: 'h\u00e9\n' },
        { ...where, size: 4, lost: 0 },
      ],
    ],
  ]
  for (const [flags, objects] of cases) {
    const again = new Shell()
    again.connect = async () => shell.manager.client()
    const { code, stdout } = await again.call('logs', '1', '--json', ...flags)
    t.equal(code, 0)
    const lines = stdout.trimEnd().split('\n')
    t.same(
      lines.map((line) => JSON.parse(line)),
      objects.map((object) => [object]),
      flags.join(' '),
    )
  }
})

t.test('logs -f --json gives whole characters as they come', async (t) => {
  const shell = new Shell()
  await shell.call('submit', '--', 'sleep')
  const { manager } = shell
  const id = `${LEDGER}-1`
  const follower = new Shell()
  follower.connect = async () => manager.client()
  manager.write(id, 1, Buffer.from([0x61, 0xc3]))
  follower.stdout.onData = (text) => {
    if (text.trimEnd().split('\n').length > 1) return
    manager.write(id, 1, Buffer.from([0xa9]))
    manager.end(id, { exit_code: 0 })
  }
  const { stdout } = await follower.call('logs', '-f', '--json', '1')
  const lines = stdout.trimEnd().split('\n')
  t.match(
    lines.map((line) => JSON.parse(line)),
    [[{ task_id: id, stdout: 'a' }], [{ stdout: '\u00e9' }], [{ state: 'completed' }]],
  )
})

t.test('submit, cancel and retry list their tasks for programs', async (t) => {
  const shell = new Shell()
  const call = async (...argv: string[]) => {
    const next = new Shell()
    next.connect = async () => shell.manager.client()
    return JSON.parse((await next.call(...argv)).stdout)
  }
  const ids = [1, 2, 3].map((at) => `${LEDGER}-${at}`)
  t.same(await call('submit', '--json', '--batch', 'b', '--', 'sleep'), [
    { task_id: ids[0], batch: 'b' },
  ])
  t.same(await call('submit', '--json', '--', 'false'), [{ task_id: ids[1] }])
  const [cancelled, ended, unknown] = await call('cancel', '--json', '1', '2', '9')
  const aborted = { task_id: ids[0], state: 'aborted', host_name: 'worker-2', attempt: 1 }
  t.same(cancelled, aborted)
  t.match(ended, { task_id: ids[1], state: 'failed', host_name: 'worker-1' })
  t.same(unknown, { task_id: `${LEDGER}-9`, state: 'unknown' })
  t.same(await call('cancel', '--json', '--batch', 'b'), [aborted])
  t.same(await call('retry', '--json', '2'), [{ task_id: ids[2], retry_of: ids[1] }])
})

t.test('a failed task makes wait exit with 1', async (t) => {
  const shell = new Shell()
  await shell.call('submit', '--', 'false')
  t.match(await shell.call('wait', '1'), { code: 1, stdout: /ended with exit code 1/ })
})

t.test('cancel says what became of each', async (t) => {
  const shell = new Shell()
  await shell.call('submit', '--batch', 'b', '--', 'sleep')
  t.match(await shell.call('cancel', '1', '99'), {
    code: 3,
    stdout: /1 cancelled, 1 unknown/,
  })
  t.match(await shell.call('cancel', '--batch', 'b'), {
    code: 0,
    stdout: /0 cancelled, 1 had ended already/,
  })
})

t.test('cancel of a batch that nobody knows is an error', async (t) => {
  const shell = new Shell()
  await shell.call('submit', '--batch', 'nightly', '--', 'sleep')
  for (const json of [[], ['--json']]) {
    const called = await shell.call('cancel', '--batch', 'nihgtly', ...json)
    t.match(called, { code: 3, stderr: /batch nihgtly/ })
  }
})

t.test('explain exits with 4 when no node can run it', async (t) => {
  const shell = new Shell()
  await shell.call('submit', '--', 'queued')
  const { code, stdout } = await shell.call('explain', '1')
  t.equal(code, 4)
  t.match(stdout, /is queued: no worker has 64 cores[\s\S]*worker-1\s+no\s+has 1 core/)
})

t.test('explain of a task that is over is one sentence', async (t) => {
  const shell = new Shell()
  await shell.call('submit', '--', 'true')
  await shell.call('wait', '1')
  const asker = new Shell()
  asker.connect = async () => shell.manager.client()
  const { stdout } = await asker.call('explain', '1')
  t.match(stdout, /^testledger-1 is over: it succeeded on worker-2\n/)
})

t.test('what is not there exits with 3', async (t) => {
  for (const verb of ['show', 'logs', 'explain', 'wait']) {
    const { code, stderr } = await new Shell().call(verb, `${LEDGER}-9`)
    t.equal(code, 3, verb)
    t.match(stderr, /no such task testledger-9.*manyhands tasks/)
  }
})

t.test('no mesh exits with 5, and run with 125, naming the remedy', async (t) => {
  const failures: [ClientFailure, RegExp][] = [
    [
      { kind: 'no-mesh', looked: ['in /s'] },
      /looked in \/s\); start one with: manyhands up/,
    ],
    [{ kind: 'state', path: '/s', reason: '/s is open to others' }, /open to others/],
    [
      { kind: 'refused', address: 'wss://x', reason: 'another mesh', remedy: 'do this' },
      /wss:\/\/x refused this client: another mesh; do this/,
    ],
    [{ kind: 'lost', afterMs: 5, reason: 'gone' }, /not regained in 5 ms \(gone\)/],
  ]
  for (const [failure, says] of failures)
    for (const [argv, code] of [
      [['nodes'], 5],
      [['run', 'x'], 125],
    ] as const) {
      const shell = new Shell()
      shell.connect = () => Promise.reject(new ClientError(failure))
      const called = await shell.call(...argv)
      t.equal(called.code, code)
      t.match(called.stderr, says)
      t.equal(called.stderr.split('\n').length, 2)
    }
})

t.test('an address that is none is a mistake in usage', async (t) => {
  const called = await new Shell().call('nodes', '--at', 'foo')
  t.match(called, { code: 2, stderr: /--at.*expected wss:\/\/host:port, got 'foo'/ })
})

t.test(
  'help has groups, flags and examples; no verb is help too, with exit code 2',
  async (t) => {
    const help = await new Shell().call('--help')
    t.equal(help.code, 0)
    t.match(help.stdout, /A mesh on this machine:[\s\S]*Running:[\s\S]*Watching:/)
    const none = await new Shell().call()
    t.equal(none.code, 2)
    t.match(none.stderr, /Running:/)
    for (const verb of 'up down nodes run submit retry cancel wait tasks show logs explain'.split(
      ' ',
    )) {
      const { code, stdout } = await new Shell().call(verb, '--help')
      t.equal(code, 0)
      t.match(stdout, /Examples:\n {2}manyhands/, verb)
      t.match(stdout, /The mesh:\n\s+--state/, verb)
    }
  },
)
