// Lifetimes: whoever dies, no program is left behind, and what ended is told.

import { execFileSync, spawn } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createRunner } from '../../src/runner/runner.ts'
import {
  finish,
  read,
  shell,
  start,
  stateOf,
  testRunner,
  until,
} from '../support/runs.ts'

/** A program with a child, both deaf to gentle signals; prints the child's pid. */
const stubborn = 'trap "" INT TERM; sleep 1000 & echo $!; wait; sleep 1000'

const nodeWithRun = fileURLToPath(
  new URL('../fixtures/programs/node-with-run.js', import.meta.url),
)

t.test('close kills every group, tells each run its end, leaves no file', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'manyhands-runner-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const runner = createRunner({ directory, tailMs: 60_000 })
  t.teardown(() => runner.close())
  const deaf = start(runner, shell(stubborn, { output: 'stream' }))
  const child = Number(Buffer.from((await read(deaf.run, 1, 0)).data).toString())
  const full = start(runner, shell('exec cat /dev/zero', { output: 'stream' }))
  const escaped = start(
    runner,
    shell('setsid sleep 1000 & echo $!', { output: 'stream' }),
  )
  const far = Number(Buffer.from((await read(escaped.run, 1, 0)).data).toString())
  t.teardown(() => stateOf(far) !== undefined && process.kill(far, 'SIGKILL'))
  const reader = read(deaf.run, 2, 0, { waitMs: 60_000 })
  const pids = [child, await deaf.pid, await full.pid, ...runner.launcherPids]
  await Promise.all([runner.close(), runner.close()])
  t.match(await deaf.end, { signal: 'SIGKILL' })
  t.match(await full.end, { signal: 'SIGKILL' })
  t.match(await escaped.end, { exitCode: 0, lostTail: true })
  t.match(await reader, { eof: true, data: { length: 0 } })
  for (const pid of pids) await until(`${pid} is gone`, () => stateOf(pid) === undefined)
  t.same(readdirSync(directory), [])
  t.throws(() => start(runner, shell('true')), /closed/)
})

t.test('closing at once ends what was not yet started', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'manyhands-runner-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const runner = createRunner({ directory })
  t.teardown(() => runner.close())
  const runs = Array.from({ length: 40 }, () => start(runner, shell('sleep 1000')))
  await runner.close()
  for (const { end } of runs) {
    const { spawnError, signal } = await end
    t.ok(spawnError?.code === 'ECANCELED' || signal === 'SIGKILL', 'it ended')
  }
})

t.test('a node killed with -9 takes every group along', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'manyhands-runner-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const node = spawn(process.execPath, [nodeWithRun, directory, stubborn], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => node.kill('SIGKILL'))
  const lines = createInterface(node.stdout)[Symbol.asyncIterator]()
  const pids = JSON.parse((await lines.next()).value ?? '[]') as number[]
  t.ok(pids.length >= 3)
  for (const pid of pids) t.ok(stateOf(pid), `${pid} runs`)
  const exited = new Promise((resolve) => node.once('exit', resolve))
  node.kill('SIGKILL')
  // Its pipes close before it is gone: who sweeps must not find it alive.
  await exited
  for (const pid of pids) await until(`${pid} is gone`, () => stateOf(pid) === undefined)
  t.equal(readdirSync(directory).length, 1, 'it could not clean up')
  testRunner(t, { directory })
  await until('the next one sweeps', () => readdirSync(directory).length === 1)
})

t.test('what the node itself inherited does not reach a program', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'manyhands-runner-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const given = openSync(join(directory, 'given'), 'w')
  t.teardown(() => closeSync(given))
  const seen = join(directory, 'seen')
  const script = `ls /proc/self/fd >${seen}; echo $$; exec sleep 1000`
  const node = spawn(process.execPath, [nodeWithRun, join(directory, 'runs'), script], {
    stdio: ['ignore', 'pipe', 'inherit', given, given],
  })
  t.teardown(() => node.kill('SIGKILL'))
  await new Promise((resolve) => node.stdout?.once('data', resolve))
  // The last one is the folder that `ls` reads.
  t.equal(readFileSync(seen, 'utf8'), '0\n1\n2\n3\n')
})

t.test('a launcher killed with -9 ends its runs and is replaced', async (t) => {
  const warnings: string[] = []
  const log = {
    info() {},
    error() {},
    debug() {},
    warn: (event: string) => void warnings.push(event),
  }
  const runner = testRunner(t, { launchers: 1, log })
  const { run, end, pid } = start(runner, shell(stubborn, { output: 'stream' }))
  const child = Number(Buffer.from((await read(run, 1, 0)).data).toString())
  const pids = [child, await pid]
  const [launcher] = runner.launcherPids
  process.kill(launcher ?? 0, 'SIGKILL')
  const ended = await end
  t.match(ended, { signal: 'launcher-lost' })
  t.equal(ended.stdout.size, `${child}\n`.length, 'what it wrote is kept')
  for (const pid of pids) await until(`${pid} is gone`, () => stateOf(pid) === undefined)
  t.match(await finish(runner, shell('echo again')), { out: 'again\n', exitCode: 0 })
  t.same(warnings, ['launcher-lost'])
})

t.test('programs that outlive node and launcher go at the next start', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'manyhands-runner-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const dead = join(directory, 'run-999999999-1-ab')
  mkdirSync(dead)
  execFileSync('mkfifo', [join(dead, 'fifo-1')])
  const script = `exec 3<>${dead}/fifo-1; sleep 1000 & echo $!; wait`
  const stray = spawn('/bin/sh', ['-c', script], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  t.teardown(() => stray.kill('SIGKILL'))
  const lines = createInterface(stray.stdout)[Symbol.asyncIterator]()
  const child = Number((await lines.next()).value)
  testRunner(t, { directory })
  t.equal(readdirSync(directory).length, 1)
  for (const pid of [stray.pid ?? 0, child])
    await until(`${pid} is gone`, () => stateOf(pid) === undefined)
})

t.test('a launcher killed amid many starts leaves no program behind', async (t) => {
  const runner = testRunner(t, { launchers: 1 })
  await finish(runner, shell('true'))
  const mark = `${process.pid}.5`
  const runs = Array.from({ length: 30 }, () =>
    start(runner, { program: '/bin/sleep', arguments: [`1${mark}`] }),
  )
  await runs[3]?.pid
  process.kill(runner.launcherPids[0] ?? 0, 'SIGKILL')
  t.match(await runs[3]?.end, { signal: 'launcher-lost' })
  // Those that still waited for pipes start with the next launcher.
  for (const { run, end } of runs) {
    run.kill('SIGKILL')
    const { signal, spawnError } = await end
    t.match(signal ?? spawnError?.code, /^(launcher-lost|SIGKILL)$/)
  }
  const commands = () =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && stateOf(Number(name)) !== undefined)
      .map((pid) => commandOf(pid))
  await until('all are gone', () => !commands().some((line) => line.includes(mark)))
})

const commandOf = (pid: string): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch {
    return ''
  }
}

t.test('a launcher that never comes up fails every start, and says why', async (t) => {
  const runner = testRunner(t, { launcherPath: '/nowhere/launcher.js' })
  const why = {
    code: 'EAGAIN',
    reason: /^no launcher comes up: Error: Cannot find module/,
  }
  t.match(await finish(runner, shell('true')), { spawnError: why })
  const begin = performance.now()
  for (let again = 0; again < 20; again += 1)
    t.match(await finish(runner, shell('true')), { spawnError: why })
  t.match(await finish(runner, { ...shell('true'), output: 'none' }), { spawnError: why })
  t.ok(performance.now() - begin < 5000, 'without waiting for the next attempt each time')
})

t.test('a child that was left behind quietly goes with its group', async (t) => {
  const runner = testRunner(t)
  const script = 'sleep 1000 >/dev/null 2>&1 & echo $!'
  const ended = await finish(runner, shell(script))
  t.match(ended, { exitCode: 0, lostTail: false })
  const pid = Number(ended.out)
  await until('it went with its group', () => stateOf(pid) === undefined)
})

t.test('the kill ladder: a deaf program outlives TERM but not KILL', async (t) => {
  const runner = testRunner(t)
  const { run, end, pid } = start(runner, shell(stubborn, { output: 'stream' }))
  await read(run, 1, 0)
  run.kill('SIGINT')
  run.kill('SIGTERM')
  const { out } = await finish(runner, shell('echo later'))
  t.equal(out, 'later\n')
  t.ok(stateOf(await pid))
  run.kill('SIGKILL')
  t.match(await end, { signal: 'SIGKILL' })
})

t.test('a kill before the start reaches the program', async (t) => {
  const runner = testRunner(t)
  const { run, end } = start(runner, shell('exec sleep 1000'))
  run.kill('SIGTERM')
  t.match(await end, { signal: 'SIGTERM' })
})

t.test('released output is gone, and its file with it', async (t) => {
  const runner = testRunner(t)
  const { run, end } = start(runner, shell('head -c 300000 /dev/zero'))
  t.match(await end, { stdout: { size: 300_000, lost: 0 } })
  t.equal((await read(run, 1, 299_000)).data.length, 1000)
  run.release()
  t.match(await read(run, 1, 0), { data: { length: 0 }, eof: true })
})
