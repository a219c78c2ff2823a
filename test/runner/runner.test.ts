// Runner: how programs end, what they get and what they give, with real processes.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Run } from '../../src/ports.ts'
import {
  finish,
  read,
  readAll,
  shell,
  specOf,
  start,
  stateOf,
  testRunner,
  until,
  write,
} from '../support/runs.ts'

const sha256 = (text: string): string =>
  createHash('sha256').update(text, 'latin1').digest('hex')

t.test('exit codes and signals are told apart', async (t) => {
  const runner = testRunner(t)
  const table = [
    ['exit 0', { exitCode: 0 }],
    ['exit 3', { exitCode: 3 }],
    ['exit 143', { exitCode: 143 }],
    ['kill -TERM $$', { signal: 'SIGTERM' }],
    ['kill -SEGV $$', { signal: 'SIGSEGV' }],
    ['kill -KILL $$', { signal: 'SIGKILL' }],
  ] as const
  for (const [script, wanted] of table) {
    const { exitCode, signal, spawnError } = await finish(runner, shell(script))
    t.same(
      { exitCode, signal, spawnError },
      { exitCode: undefined, signal: undefined, spawnError: undefined, ...wanted },
      script,
    )
  }
})

t.test('stdout and stderr arrive apart, with size and digest', async (t) => {
  const runner = testRunner(t)
  const ended = await finish(runner, shell('echo out; echo error >&2'))
  t.match(ended, { out: 'out\n', err: 'error\n', lostTail: false })
  t.same(ended.stdout, { size: 4, lost: 0, sha256: sha256('out\n') })
  t.same(ended.stderr, { size: 6, lost: 0, sha256: sha256('error\n') })
  t.ok(ended.runMs > 0)
})

t.test('a program can open its descriptors by name', async (t) => {
  const runner = testRunner(t)
  const script = 'echo a >/dev/stdout; echo b >/dev/stderr; cat /dev/stdin'
  const spec = shell(script, { stdin: Buffer.from('given') })
  t.match(await finish(runner, spec), { out: 'a\ngiven', err: 'b\n', exitCode: 0 })
})

t.test('output that is not UTF-8 arrives as it is', async (t) => {
  const ended = await finish(testRunner(t), shell("printf '\\377\\000\\200x'"))
  t.equal(ended.out, '\xff\x00\x80x')
})

t.test(
  'a program gets its arguments, directory and environment and nothing else',
  async (t) => {
    const runner = testRunner(t, {
      launcherEnvironment: { PATH: '/usr/bin:/bin', SECRET: 'x' },
    })
    const directory = t.testdir()
    const spec = { program: '/usr/bin/env', directory, environment: { A: '1 2', B: '' } }
    const { out } = await finish(runner, spec)
    t.match(out, /^A=1 2\nB=\nMANYHANDS_RUN=[0-9a-f]{16}\/run-[^/]+\/1\/\d+\n$/)
    t.equal(
      (await finish(runner, { program: '/bin/pwd', directory })).out,
      `${directory}\n`,
    )
    const words = ['a b', '$HOME', '*', "it's", '', 'new\nline', 'é']
    const printed = await finish(runner, {
      program: '/usr/bin/printf',
      arguments: ['<%s>', ...words],
    })
    t.equal(
      Buffer.from(printed.out, 'latin1').toString(),
      words.map((w) => `<${w}>`).join(''),
    )
  },
)

t.test('what cannot be started says which and why', async (t) => {
  const runner = testRunner(t)
  const directory = t.testdir({
    plain: 'echo hi\n',
    text: 'echo hi\n',
    broken: '#!/nowhere/sh\n',
    empty: '',
  })
  for (const name of ['text', 'broken', 'empty']) chmodSync(join(directory, name), 0o755)
  const at = (name: string) => join(directory, name)
  // Who opens it waits for a writer, which never comes.
  execFileSync('mkfifo', ['-m', '700', at('pipe')])
  const table = [
    [{ program: at('pipe') }, 'EACCES', `is not a file: ${at('pipe')}`],
    [{ program: at('absent') }, 'ENOENT', `the program does not exist: ${at('absent')}`],
    [
      { program: '/bin/true', directory: at('gone') },
      'ENODIR',
      `the directory does not exist: ${at('gone')}`,
    ],
    [
      { program: '/bin/true', directory: at('plain') },
      'ENODIR',
      `not a directory: ${at('plain')}`,
    ],
    [{ program: at('plain') }, 'EACCES', `not executable: ${at('plain')}`],
    [{ program: directory }, 'EACCES', `is a directory: ${directory}`],
    [{ program: at('text') }, 'ENOEXEC', at('text')],
    [{ program: at('empty') }, 'ENOEXEC', at('empty')],
    [{ program: at('broken') }, 'ENOENT', '#!/nowhere/sh'],
    [{ program: at('plain/below') }, 'ENOTDIR', at('plain/below')],
    [{ program: `/${'x'.repeat(300)}` }, 'ENAMETOOLONG', 'x'],
    [{ program: 'true' }, 'EINVAL', 'not an absolute path: true'],
    [{ program: '/bin/true', arguments: ['x'.repeat(200_000)] }, 'E2BIG', 'too long'],
    [{ program: '/bin/true', arguments: ['a\0b'] }, 'EINVAL', 'NUL'],
    [{ program: '/bin/true', environment: { A: 'a\0b' } }, 'EINVAL', 'NUL'],
  ] as const
  for (const [spec, code, reason] of table) {
    const { spawnError, exitCode } = await finish(runner, spec)
    t.match(spawnError, { code }, code)
    t.ok(spawnError?.reason.includes(reason), spawnError?.reason ?? 'no reason')
    t.equal(exitCode, undefined)
  }
  const { out } = await finish(runner, shell('echo still here'))
  t.equal(out, 'still here\n', 'and it costs nothing else')
})

t.test('a start is told once, before the end, however short the program', async (t) => {
  const runner = testRunner(t)
  for (const script of ['echo $$', 'echo $$; sleep 0.05']) {
    const told: unknown[] = []
    const run = await new Promise<Run>((resolve) => {
      const begun = runner.start(specOf(shell(script)), {
        started: (pid) => told.push(pid),
        ended: ({ exitCode }) => {
          told.push(`ended with ${exitCode}`)
          resolve(begun)
        },
      })
    })
    t.same(told, [Number(await readAll(run, 1)), 'ended with 0'], script)
    run.release()
  }
})

t.test('stdin is empty, bytes in full, or live', async (t) => {
  const runner = testRunner(t)
  const cat = { program: '/bin/cat' }
  t.equal((await finish(runner, cat)).out, '')
  const megabyte = Buffer.alloc(1024 * 1024, 'abcdefg')
  const { stdout } = await finish(runner, { ...cat, stdin: megabyte })
  t.equal(stdout.sha256, sha256(megabyte.toString('latin1')))
  const { run, end } = start(runner, { ...cat, stdin: 'live', output: 'stream' })
  t.equal(await write(run, 0, Buffer.from('one '), false), true)
  t.equal(Buffer.from((await read(run, 1, 0)).data).toString(), 'one ')
  t.equal(await write(run, 0, Buffer.from('one '), false), true, 'sent twice')
  t.equal(await write(run, 2, Buffer.from('e two'), true), true, 'overlapping')
  t.equal(await readAll(run, 1), 'one two')
  t.match(await end, { exitCode: 0, stdout: { size: 7, sha256: sha256('one two') } })
})

t.test('live stdin says when the program reads no more', async (t) => {
  const runner = testRunner(t)
  const { run, pid, end } = start(
    runner,
    shell('exec <&-; exec sleep 100', { stdin: 'live' }),
  )
  await pid
  let offset = 0
  while (await write(run, offset, Buffer.from('x'), false)) offset += 1
  t.equal(await write(run, offset, Buffer.from('x'), false), false)
  run.kill('SIGKILL')
  t.match(await end, { signal: 'SIGKILL' })
  t.equal(await write(run, offset, Buffer.from('x'), false), false)
})

t.test('live stdin holds back a writer whose program does not read', async (t) => {
  const runner = testRunner(t)
  const { run, end } = start(
    runner,
    shell('read go; exec cat >/dev/null', { stdin: 'live' }),
  )
  const size = 1024 * 1024
  const big = write(run, 0, Buffer.alloc(size, 'x'), false)
  t.equal(
    await Promise.race([big, read(run, 1, 0, { waitMs: 50 }).then(() => 'waits')]),
    'waits',
  )
  void write(run, size, Buffer.from('\n'), true)
  t.equal(await big, true)
  t.match(await end, { exitCode: 0 })
})

t.test('signals go to the whole group', async (t) => {
  const runner = testRunner(t)
  const script =
    'trap "echo int" INT; sleep 1000 & echo $!; wait; echo term; exec sleep 1000'
  const { run, end } = start(runner, shell(script, { output: 'stream' }))
  const first = await read(run, 1, 0)
  const child = Number(Buffer.from(first.data).toString())
  run.kill('SIGINT')
  const rest = await read(run, 1, first.data.length)
  t.ok(Buffer.from(rest.data).toString().startsWith('int\n'))
  run.kill('SIGKILL')
  t.match(await end, { signal: 'SIGKILL' })
  await until('the child of the program is gone', () => stateOf(child) === undefined)
  run.kill('SIGKILL')
})

t.test('output none starts a program without pipes', async (t) => {
  const ended = await finish(testRunner(t), shell('echo x; exit 4', { output: 'none' }))
  t.match(ended, { exitCode: 4, out: '', stdout: { size: 0 } })
})

t.test('a left-behind child that holds the pipes does not hold the run', async (t) => {
  const runner = testRunner(t)
  const ended = await finish(runner, shell('sleep 1000 & echo hi; echo $! >&2'))
  t.match(ended, { out: 'hi\n', exitCode: 0, lostTail: true })
  await until('it went with its group', () => stateOf(Number(ended.err)) === undefined)
})

t.test('hundreds of echoes at once each get their own words', async (t) => {
  const runner = testRunner(t)
  const all = Array.from({ length: 400 }, async (_, index) => {
    const script =
      index % 3 === 0
        ? `echo ${index}; echo e${index} >&2`
        : `echo ${index} | cat; echo e${index} >&2`
    const ended = await finish(runner, shell(script))
    return ended.out === `${index}\n` && ended.err === `e${index}\n` && !ended.lostTail
  })
  t.same(
    (await Promise.all(all)).filter((right) => !right),
    [],
  )
})

t.test('left-overs of a dead owner are swept', async (t) => {
  const directory = t.testdir()
  mkdirSync(join(directory, 'run-999999999-1-ab'))
  writeFileSync(join(directory, 'run-999999999-1-ab', 'fifo-1'), '')
  const runner = testRunner(t, { directory })
  t.equal(readdirSync(directory).length, 1)
  await runner.close()
  t.equal(readdirSync(directory).length, 0)
})
