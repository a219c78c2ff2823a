// run: exit codes, streams, input, interrupts.

import { closeSync, openSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { isForwardable, UsageError } from '../../src/commands/io.ts'
import { LEDGER } from '../client/fake-manager.ts'
import { Screen, Shell } from './support.ts'

t.test("output comes to stdout and the exit code is the program's", async (t) => {
  const shell = new Shell()
  const { code, stdout, stderr } = await shell.call('run', '--', 'echo', '-n', 'a b')
  t.equal(code, 0)
  t.equal(stdout, '-n a b\n')
  t.equal(stderr, '')
  t.match(shell.manager.row(`${LEDGER}-1`).request, {
    job_addr: 'exec:echo',
    arguments: ['-n', 'a b'],
    dir: '/tmp',
    output: 'stream',
  })
})

t.test('exit codes are those of a shell', async (t) => {
  const cases: [program: string, code: number, says: RegExp | ''][] = [
    ['true', 0, ''],
    ['false', 1, ''],
    ['slow', 124, /time limit/],
    ['missing', 127, /could not be started \(ENOENT\): no such program/],
    ['forbidden', 126, /EACCES/],
    ['killed', 137, /ended by SIGKILL/],
  ]
  for (const [program, code, says] of cases) {
    const called = await new Shell().call('run', program)
    t.equal(called.code, code, program)
    if (says === '') t.equal(called.stderr, '', program)
    else t.match(called.stderr, says, program)
  }
})

t.test('flags become what the task requires', async (t) => {
  const shell = new Shell()
  const flags =
    '--timeout 1.5s --cores 2 --memory 512M --host box --label gpu=yes --label os=x --resource gpu=1 --resource seat=2 --env A=1 --env HOME --dir sub --retries 3 --priority -1 --name n --output none'
  t.equal((await shell.call('run', ...flags.split(' '), '--', 'true')).code, 0)
  t.match(shell.manager.row(`${LEDGER}-1`).request, {
    timeout_ms: 1500,
    requires: {
      cores: 2,
      memory: 512 * 1024 * 1024,
      host_name: 'box',
      labels: { gpu: 'yes', os: 'x' },
      resources: { gpu: 1, seat: 2 },
    },
    env: { A: '1', HOME: '/home/me' },
    dir: '/tmp/sub',
    retries: 3,
    priority: -1,
    name: 'n',
    output: 'none',
  })
})

t.test(
  'input that cannot be read to its end cancels the task, and says so',
  async (t) => {
    const shell = new Shell()
    shell.input = 'half of it'
    shell.inputFault = new Error('EIO: i/o error, read')
    const { code, stderr } = await shell.call('run', 'cat')
    t.not(code, 0)
    t.match(stderr, /cannot read stdin \(EIO: i\/o error, read\); the task is cancelled/)
    t.equal(shell.manager.row(`${LEDGER}-1`).state, 'aborted')
  },
)

t.test('a directory is no input, what is closed or no file has none', async (t) => {
  const open = (path: string): number => {
    const fd = openSync(path, 'r')
    t.teardown(() => closeSync(fd))
    return fd
  }
  t.throws(() => isForwardable(open(t.testdir({}))), UsageError)
  t.equal(isForwardable(open(fileURLToPath(import.meta.url))), true)
  t.equal(isForwardable(open('/dev/null')), false)
  t.equal(isForwardable(1_000_000), false)
})

t.test('piped input reaches the program', async (t) => {
  const shell = new Shell()
  shell.input = 'line\n'.repeat(30_000)
  const { code, stdout } = await shell.call('run', '--', 'cat')
  t.equal(code, 0)
  t.equal(stdout, shell.input)
})

t.test('Ctrl-C cancels, waits, and exits with 130', async (t) => {
  const shell = new Shell()
  const called = shell.call('run', '--', 'sleep')
  while (shell.manager.taken.length < 4) await new Promise(setImmediate)
  shell.interrupt()
  t.equal((await called).code, 130)
  t.equal(shell.manager.row(`${LEDGER}-1`).state, 'aborted')
  t.match(shell.stderr.text, /cancelling/)
})

t.test('a second Ctrl-C leaves at once', async (t) => {
  const shell = new Shell()
  const called = shell.call('run', '--', 'sleep')
  while (shell.manager.taken.length < 4) await new Promise(setImmediate)
  shell.manager.intercept = (kind) => (kind === 'TasksCancel' ? 'silence' : undefined)
  shell.interrupt()
  shell.interrupt()
  t.equal((await called).code, 130)
})

t.test('a reader that goes away cancels the task', async (t) => {
  const shell = new Shell()
  shell.stdout = new Screen({ breaksAfter: 1 })
  const called = shell.call('run', '--', 'sleep')
  while (shell.manager.rows.size === 0) await new Promise(setImmediate)
  shell.manager.write(`${LEDGER}-1`, 1, 'one')
  while (shell.stdout.parts.length === 0) await new Promise(setImmediate)
  shell.manager.write(`${LEDGER}-1`, 1, 'two')
  t.equal((await called).code, 141)
  t.equal(shell.manager.row(`${LEDGER}-1`).state, 'aborted')
})

t.test('mistakes are told in one line, with what to do', async (t) => {
  const cases: [argv: string[], code: number, says: RegExp][] = [
    [['run'], 125, /no program given; put it after --/],
    [['run', '--timeout', '10', '--', 'x'], 125, /expected a duration such as/],
    [['run', '--memory', 'lots', 'x'], 125, /expected a size such as/],
    [['run', '--json', 'x'], 125, /--json needs --each/],
    [['submit'], 2, /no program given/],
    [['submit', '--bogus', 'x'], 2, /unknown option '--bogus' .*submit --help/],
    [['frobnicate'], 2, /unknown command 'frobnicate'/],
    [['show', 'x!'], 2, /'x!' is no task id/],
    [['wait'], 2, /expected task ids/],
    [['tasks', '--only', 'odd'], 2, /waiting, running/],
  ]
  for (const [argv, code, says] of cases) {
    const called = await new Shell().call(...argv)
    t.equal(called.code, code, argv.join(' '))
    t.match(called.stderr, says)
    t.equal(called.stderr.trimEnd().split('\n').length, 1, called.stderr)
  }
})
