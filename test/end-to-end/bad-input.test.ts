// What a person can get wrong, on the real binary: each gets one clear line and its exit
// code, and costs nothing else. One mesh serves all of it and lives to the end.

import { spawnSync } from 'node:child_process'
import { cpSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { begin, isGone, Manyhands } from './support.ts'

// The machine may be busy with other tests.
t.setTimeout(180_000)
const directory = t.testdir()
const hands = new Manyhands(t, join(directory, 'state'))
const file = (name: string, text: string | Buffer): string => {
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}

t.teardown(() => hands.call('down', '--now'))

t.test('a node that cannot be started says why in one line', async (t) => {
  const server = createServer()
  t.teardown(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A listening TCP server's address is never a string or null.
  const { port } = server.address() as { port: number }
  const cases: [args: string[], code: number, stderr: RegExp][] = [
    [
      ['boss'],
      2,
      /^manyhands: --role: expected manager, worker or hub, got `boss`\nflags.*\n$/,
    ],
    [['manager', '--port', String(port)], 1, /^.*:\d+ is in use by another.*--port.*\n$/],
    [
      ['worker', '--listen', '203.0.113.7', '--allow-root'],
      1,
      /^.*203.0.113.7 is no address of this machine/,
    ],
    [['worker', '--cores'], 2, /^manyhands: --cores: expected a value, got none\n/],
  ]
  for (const [[role = '', ...rest], code, stderr] of cases)
    t.match(await hands.node(role, ...rest).ended, { code, stderr })
})

t.test('a worker that finds no manager says so, and ends in order', async (t) => {
  const alone = new Manyhands(t)
  const worker = alone.node('worker', '--join', 'wss://127.0.0.1:1')
  await worker.said(
    /no manager in reach yet .*wss:\/\/127.0.0.1:1.*manyhands --role manager/,
  )
  worker.child.kill('SIGTERM')
  t.equal((await worker.ended).code, 0)
  t.match(await alone.call('nodes'), {
    code: 5,
    stderr: /^manyhands: no mesh found.*up\n$/,
  })
  const up = await alone.call('up', '--at', 'wss://127.0.0.1:1')
  t.match(
    up,
    { code: 2, stderr: /unknown option '--at'/ },
    'it starts here, or not at all',
  )
  const nodes = await hands.call('nodes', '--at', 'nonsense')
  t.match(nodes, { code: 2, stderr: /expected wss:\/\/host:port, got 'nonsense'/ })
})

// A network namespace of its own has no interface that is up.
const canUnshare = spawnSync('unshare', ['-n', 'true']).status === 0
const apart = canUnshare ? {} : { skip: 'network namespaces cannot be made here' }

t.test('without multicast a node says so and works', apart, async (t) => {
  const { state } = new Manyhands(t)
  const args = ['dist/manyhands.js', '--role', 'manager', '--state', state]
  const node = begin(t, 'unshare', '-n', process.execPath, ...args)
  await node.said(/no mDNS: no network interface takes multicast.*--join/)
  node.child.kill('SIGTERM')
  t.equal((await node.ended).code, 0)
})

t.test('of two `up` at once one starts, and neither breaks the other', async (t) => {
  const both = await Promise.all([hands.call('up'), hands.call('up')])
  t.equal(both.filter(({ code }) => code === 0).length >= 1, true)
  for (const { code, stderr } of both)
    if (code !== 0)
      t.match(stderr, /^manyhands: another `manyhands up` \(process \d+\) is at work/)
  t.equal((await hands.list('nodes')).length, 3)
})

t.test(
  'a program or directory that is not there is told from our own faults',
  async (t) => {
    const cases: [args: string[], code: number, stderr: RegExp][] = [
      [['--', 'no-such-program'], 127, /no-such-program is not in the worker's PATH/],
      [['--', '/etc/passwd'], 126, /not executable: \/etc\/passwd/],
      [
        ['--dir', '/nowhere', '--', 'true'],
        125,
        /the directory does not exist: \/nowhere/,
      ],
      [
        ['--each', 'no-such-file', '--', 'cat'],
        125,
        /--each: no such file: no-such-file/,
      ],
      [['--each-line', '/nowhere', '--', 'cat'], 125, /cannot read \/nowhere \(ENOENT\)/],
      [
        ['--each-line', file('bad', Buffer.from('a\n\xff\n', 'latin1')), '--', 'cat'],
        125,
        /line 2 of .* is not UTF-8/,
      ],
      [['--frob', '--', 'true'], 125, /unknown option '--frob'.*manyhands run --help/],
      [[], 125, /no program given/],
    ]
    for (const [args, code, stderr] of cases) {
      const ended = await hands.call('run', ...args)
      t.match(ended, { code, stderr }, args.join(' '))
      t.equal(ended.stderr.trimEnd().split('\n').length, 1, 'one line')
    }
    t.match(await hands.call('frobnicate'), { code: 2, stderr: /\(.*manyhands --help\)/ })
    for (const verb of ['show', 'logs', 'wait', 'explain'])
      t.match(await hands.call(verb, '999'), {
        code: 3,
        stderr: /^manyhands: no such task/,
      })
    t.match(await hands.call('show', 'nonsense'), { code: 2, stderr: /is no task id/ })
  },
)

t.test('a task that nobody can run waits, and holds up nobody', async (t) => {
  const [stuck = ''] = (await hands.text('submit', '--cores', '999', '--', 'true')).split(
    '\n',
  )
  t.match(await hands.call('explain', stuck), { code: 4, stdout: /needs 999 cores/ })
  t.match(await hands.call('run', '--', 'echo', 'others'), { code: 0, stdout: /others/ })
  const waiting = hands.start('run', '--host', 'nobody', '--', 'true')
  await waiting.said(/manyhands: waiting: .*manyhands explain/)
  waiting.child.kill('SIGINT')
  t.equal((await waiting.ended).code, 130)
  t.match(await hands.call('cancel', stuck), { code: 0, stdout: /1 cancelled/ })
})

t.test('output that is not UTF-8 arrives as it is', async (t) => {
  const bytes = Buffer.from([0xff, 0xfe, 0x00, 0x80, 0x0a])
  const path = file('bytes', bytes)
  t.same((await hands.call('run', '--', 'cat', path)).stdout, bytes)
  const line = await hands.text('run', '-q', '--json', '--each', path, '--', 'cat')
  t.match(JSON.parse(line), { stdout_base64: bytes.toString('base64') })
})

t.test('a child that keeps its pipes open holds up nobody, and is ended', async (t) => {
  const script = 'sleep 600 & echo $!'
  const { code, stdout } = await hands.call('run', '--', 'sh', '-c', script)
  t.equal(code, 0)
  await isGone(Number(stdout))
})

t.test('a reader that goes away ends the batch', async (t) => {
  const batch = hands.start('run', '-q', '--each-line', '-', '--', 'echo')
  batch.child.stdin?.write('1\n')
  await batch.said(/1/)
  batch.child.stdout?.destroy()
  batch.child.stdin?.end('2\n3\n')
  t.equal((await batch.ended).code, 141)
  t.same(await hands.list('tasks', '--only', 'running'), [])
})

t.test('a pipe of items is read once', async (t) => {
  const args = [hands.state, process.execPath, 'dist/manyhands.js']
  const script =
    '"$2" "$3" run --state "$1" -q --keep-order --each-line <(seq 20) -- echo'
  const { code, stdout } = await begin(t, 'bash', '-c', script, 'bash', ...args).ended
  t.equal(code, 0)
  t.equal(stdout.toString().split('\n').length, 21)
})

t.test('a copied state directory is refused with its reason', async (t) => {
  const copy = new Manyhands(t, join(directory, 'copy'))
  cpSync(hands.state, copy.state, {
    recursive: true,
    filter: (path) => !/up\.lock$|runs$/.test(path),
  })
  const [manager, worker] = await hands.list('nodes')
  const node = copy.node('worker', '--name', worker.host_name, '--join', manager.address)
  t.match(await node.ended, {
    code: 1,
    stderr: /state directory was copied; use another --state/,
  })
  t.equal(
    (await hands.list('nodes')).filter(({ state }) => state === 'managed').length,
    2,
  )
})

t.test(
  'of 100,000 lines the bad one is named; 20,000 are a batch like any other',
  async (t) => {
    const linesUpTo = (length: number) =>
      Array.from({ length }, (_, at) => `${at}\n`).join('')
    const bad = file('almost', `${linesUpTo(100_000)}\0\n`)
    t.match(await hands.call('run', '--each-line', bad, '--', 'noop:'), {
      code: 125,
      stderr: /line 100001/,
    })
    const many = file('lines', linesUpTo(20_000))
    const all = await hands.call('run', '--each-line', many, '--', 'noop:')
    t.match(all, { code: 0, stderr: /20000 succeeded, 0 failed/ })
  },
)

t.test('after all of it the same three nodes run, and down leaves none', async (t) => {
  const nodes = await hands.list('nodes')
  t.same(nodes.map(({ state }) => state).sort(), ['managed', 'managed', 'self'])
  t.match(await hands.call('down'), { code: 0, stdout: /^stopped: / })
  for (const { pid } of nodes) await isGone(pid)
  t.match(await hands.call('down'), { code: 0, stdout: /^nothing runs here/ })
})
