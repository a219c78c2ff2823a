// The whole binary: a mesh of real processes on this machine, driven by its command line.

import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { isAlive } from '../../src/commands/liveness.ts'

const binary = fileURLToPath(new URL('../../manyhands.js', import.meta.url))
const state = join(t.testdir(), 'state')

interface Ended {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

const start = (...args: readonly string[]) => {
  const [verb = '', ...rest] = args
  const argv = [binary, verb, '--state', state, ...rest]
  const child = spawn(process.execPath, argv, { stdio: 'pipe' })
  const [out, err]: [Buffer[], Buffer[]] = [[], []]
  child.stdout.on('data', (data) => out.push(data))
  child.stderr.on('data', (data) => err.push(data))
  const ended = once(child, 'close').then(
    ([code]): Ended => ({
      code,
      stdout: Buffer.concat(out),
      stderr: Buffer.concat(err).toString(),
    }),
  )
  return { child, ended }
}

const manyhands = (...args: readonly string[]): Promise<Ended> => {
  const { child, ended } = start(...args)
  child.stdin.end()
  return ended
}

const textOf = async (...args: readonly string[]): Promise<string> =>
  (await manyhands(...args)).stdout.toString()

t.teardown(() => manyhands('down', '--now'))

t.test('without a mesh every verb says what to do', async (t) => {
  t.match(await manyhands('nodes'), { code: 5, stderr: /no mesh found.*manyhands up/ })
  t.match(await manyhands('run', '--', 'true'), { code: 125, stderr: /manyhands up/ })
  t.match(await manyhands('down'), { code: 0, stdout: /nothing runs here/ })
})

t.test('up starts a manager and two workers, once', async (t) => {
  const up = await manyhands('up')
  t.equal(up.code, 0, up.stderr)
  t.match(up.stdout.toString(), /manager[\s\S]*worker[\s\S]*worker[\s\S]*up in/)
  t.match(await manyhands('up'), { code: 0, stdout: /it runs already/ })
  t.match(await manyhands('up', '--workers', '3'), { code: 1, stderr: /2 managed/ })
})

t.test('run is as if the program ran here', async (t) => {
  const cases: [script: string, code: number, stdout: string, stderr: string | RegExp][] =
    [
      ['echo out; echo err >&2; exit 7', 7, 'out\n', 'err\n'],
      ['kill -9 $$', 137, '', /SIGKILL/],
      ['echo "$1|$2"', 0, 'a b|*\n', ''],
    ]
  for (const [script, code, stdout, stderr] of cases) {
    const ended = await manyhands('run', '--', 'sh', '-c', script, 'sh', 'a b', '*')
    t.equal(ended.code, code)
    t.equal(ended.stdout.toString(), stdout)
    t.match(ended.stderr, stderr)
  }
  t.equal((await manyhands('run', '--', 'no-such-program')).code, 127)
  t.equal((await manyhands('run', '--', '/etc/passwd')).code, 126)
  t.match(await manyhands('run', '--dir', '/no/where', '--', 'true'), {
    code: 125,
    stderr: /the directory does not exist: \/no\/where/,
  })
  t.equal((await manyhands('run', '--timeout', '100ms', '--', 'sleep', '60')).code, 124)
  t.equal((await textOf('run', '--', 'pwd')).trim(), process.cwd())
})

t.test('bytes pass both ways unchanged', async (t) => {
  const bytes = randomBytes(3_000_000)
  const { child, ended } = start('run', '--', 'cat')
  child.stdin.end(bytes)
  const sha = (data: Uint8Array) => createHash('sha256').update(data).digest('hex')
  t.equal(sha((await ended).stdout), sha(bytes))
})

t.test('output comes while the program runs; Ctrl-C ends it there', async (t) => {
  const { child, ended } = start('run', '--', 'sh', '-c', 'echo $$; exec sleep 600')
  const [first] = await once(child.stdout, 'data')
  const pid = Number(String(first))
  t.ok(isAlive(pid))
  child.kill('SIGINT')
  t.equal((await ended).code, 130)
  t.notOk(isAlive(pid))
})

t.test('a reader that goes away ends the program', async (t) => {
  const { child, ended } = start('run', '--', 'yes')
  await once(child.stdout, 'data')
  child.stdout.destroy()
  t.equal((await ended).code, 141)
  t.same(JSON.parse(await textOf('tasks', '--only', 'running', '--json')), [])
})

t.test('a batch is spread over both workers and gives the right results', async (t) => {
  const folder = 'protocol'
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name))
  const { code, stdout, stderr } = await manyhands(
    ...['run', '--json', '--each', ...files, '--', 'sha256sum', '{}'],
  )
  t.equal(code, 0, stderr)
  const lines = stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const sums = new Map(lines.map(({ item, stdout }) => [item, stdout.split(' ')[0]]))
  for (const file of files)
    t.equal(sums.get(file), createHash('sha256').update(readFileSync(file)).digest('hex'))
  t.equal(new Set(lines.map((line) => line.host_name)).size, 2)
})

t.test('a batch of lines keeps their order and counts failures', async (t) => {
  const { child, ended } = start(
    ...[
      'run',
      '--each-line',
      '-',
      '--keep-order',
      '--',
      'sh',
      '-c',
      'echo $1; test $1 != 7',
    ],
    ...['sh', '{}'],
  )
  child.stdin.end(Array.from({ length: 40 }, (_, at) => `${at}\n`).join(''))
  const { code, stdout, stderr } = await ended
  t.equal(code, 1)
  t.equal(stdout.toString(), Array.from({ length: 40 }, (_, at) => `${at}\n`).join(''))
  t.match(stderr, /39 succeeded, 1 failed/)
})

t.test('Ctrl-C ends a batch and leaves no process', async (t) => {
  const { child, ended } = start(...['run', '--each-line', '-', '--', 'sleep', '600.{}'])
  child.stdin.write('1\n2\n3\n4\n5\n')
  while ((await textOf('tasks', '--only', 'running')).split('\n').length < 3);
  child.kill('SIGINT')
  t.equal((await ended).code, 130)
  t.same(JSON.parse(await textOf('tasks', '--only', 'running', '--json')), [])
})

t.test('submit, wait, logs, explain, cancel', async (t) => {
  const id = (await textOf('submit', '--', 'sh', '-c', 'echo done; echo why >&2')).trim()
  t.match(await manyhands('wait', id), { code: 0, stdout: /succeeded/ })
  t.equal(await textOf('logs', id), 'done\n')
  t.equal(await textOf('logs', '--stderr', '--from', '1', id), 'hy\n')
  t.equal(await textOf('logs', '-f', String(id.split('-')[1])), 'done\n')
  t.match(JSON.parse(await textOf('show', '--json', id)), [{ state: 'completed' }])
  const stuck = (await textOf('submit', '--cores', '999', '--', 'true')).trim()
  t.match(await manyhands('explain', stuck), { code: 4, stdout: /needs 999 cores/ })
  t.match(await manyhands('cancel', stuck), { code: 0, stdout: /1 cancelled/ })
  t.match(await manyhands('wait', stuck), { code: 1 })
})

t.test('down leaves no process behind', async (t) => {
  const nodes: { pid: number }[] = JSON.parse(await textOf('nodes', '--json'))
  t.equal(nodes.length, 3)
  t.match(await manyhands('down'), { code: 0, stdout: /stopped/ })
  t.same(
    nodes.map(({ pid }) => isAlive(pid)),
    [false, false, false],
  )
})
