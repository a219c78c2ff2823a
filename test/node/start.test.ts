// The verb that starts a node, in this process and as processes of their own.

import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { type StartIo, start } from '../../src/commands/start.ts'
import { watched } from '../mesh/support.ts'

const cli = fileURLToPath(new URL('../../src/cli.js', import.meta.url))

const fakeIo = () => {
  const texts = watched<string>()
  const io: StartIo = {
    environment: {},
    version: '0.0.0',
    out: texts.add,
    error: texts.add,
    onSignal: () => undefined,
    quit: () => undefined,
  }
  return { io, said: () => texts.items.join('') }
}

const refusals: readonly [string, string[], RegExp][] = [
  [
    'an unknown role',
    ['--role', 'boss'],
    /--role: expected manager, worker or hub, got `boss`/,
  ],
  ['an unknown flag', ['--role', 'worker', '--frob'], /--frob/],
  [
    'a flag without its value',
    ['--role', '--no-mdns'],
    /--role: expected a value, got none/,
  ],
  ['no role', ['--name', 'x'], /--role is missing/],
  ['a bad name', ['--role', 'worker', '--name', 'a b'], /--name: expected letters/],
  ['a bad port', ['--role', 'worker', '--port', '70000'], /--port: expected a port/],
  [
    'a bad address',
    ['--role', 'worker', '--join', 'http://x'],
    /--join: expected host:port/,
  ],
  ['no cores', ['--role', 'worker', '--cores', '0'], /--cores: expected a whole number/],
  [
    'several faults at once',
    ['--role', 'worker', '--memory', 'x', '--grace', 'y', '--label', 'z'],
    /--memory[\s\S]*--label[\s\S]*--grace/,
  ],
]

for (const [name, argv, words] of refusals)
  t.test(`refused with exit code 2: ${name}`, async (t) => {
    const { io, said } = fakeIo()
    t.equal(await start(argv, io), 2)
    t.match(said(), words)
  })

t.test('--help names every flag and its default', async (t) => {
  const { io, said } = fakeIo()
  t.equal(await start(['--role', 'worker', '--help'], io), 0)
  for (const flag of ['--name', '--state', '--join', '--no-mdns', '--cores', '--grace'])
    t.match(said(), flag)
})

interface Started {
  readonly child: ChildProcess
  readonly line: (fits: RegExp) => Promise<string>
  readonly exit: Promise<number | string>
}

const run = (t: Test, state: string, ...argv: string[]): Started => {
  const args = [cli, ...argv, '--state', state, '--no-mdns', '--grace', '1s']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  const lines = watched<string>()
  let rest = ''
  const take = (text: Buffer) => {
    const parts = (rest + String(text)).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts) lines.add(part)
  }
  child.stdout.on('data', take)
  child.stderr.on('data', take)
  const exit = new Promise<number | string>((resolve) =>
    child.on('close', (code, signal) => resolve(code ?? signal ?? '')),
  )
  return { child, line: (fits) => lines.when((line) => fits.test(line)), exit }
}

t.test('two processes meet, and end in order at SIGTERM', async (t) => {
  const state = join(t.testdir({}), 'state')
  const manager = run(t, state, '--role', 'manager', '--name', 'm')
  await manager.line(/manager m is up/)
  const worker = run(t, state, '--role', 'worker', '--name', 'w', '--cores', '1')
  await worker.line(/worker w is up/)
  await worker.line(/connected.* peer=m/)
  await manager.line(/connected.* peer=w/)
  worker.child.kill('SIGTERM')
  t.equal(await worker.exit, 0)
  await manager.line(/disconnected.* peer=w/)
  manager.child.kill('SIGINT')
  t.equal(await manager.exit, 0)
  const left = readdirSync(join(state, 'nodes', 'worker@w'))
  t.notOk(left.some((name) => name.startsWith('lock.') || name === 'address.json'))
})

t.test('kill -9 leaves nothing that stops the next start', async (t) => {
  const state = join(t.testdir({}), 'state')
  const first = run(t, state, '--role', 'worker', '--name', 'w')
  const id = await first.line(/worker w is up/)
  first.child.kill('SIGKILL')
  t.equal(await first.exit, 'SIGKILL')
  const second = run(t, state, '--role', 'worker', '--name', 'w')
  t.not(await second.line(/worker w is up/), id, 'another pid')
  const third = run(t, state, '--role', 'worker', '--name', 'w')
  await third.line(/in use by a living worker/)
  t.equal(await third.exit, 1)
})

t.test('a manager killed and started again has its worker back', async (t) => {
  const state = join(t.testdir({}), 'state')
  const first = run(t, state, '--role', 'manager', '--name', 'm')
  await first.line(/manager m is up/)
  const worker = run(t, state, '--role', 'worker', '--name', 'w')
  await worker.line(/connected.* peer=m/)
  first.child.kill('SIGKILL')
  await worker.line(/disconnected.* peer=m/)
  const second = run(t, state, '--role', 'manager', '--name', 'm')
  t.match(await second.line(/ connected.* peer=w/), 'role=worker')
})

t.test('--version prints the version of the package', async (t) => {
  const child = spawn(process.execPath, [cli, '--version'])
  const [output] = await Promise.all([
    new Promise((resolve) => child.stdout.once('data', resolve)),
    new Promise((resolve) => child.once('close', resolve)),
  ])
  t.match(String(output), /^\d+\.\d+\.\d+\n$/)
})
