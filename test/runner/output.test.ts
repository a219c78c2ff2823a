// Output: both policies with real pipes: what is kept, who waits, and when it ends.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  finish,
  read,
  readAll,
  shell,
  start,
  testRunner,
  until,
} from '../support/runs.ts'

const zeros = (size: number): string =>
  createHash('sha256').update(Buffer.alloc(size)).digest('hex')

/** The kernel's word on where a process sleeps. */
const isBlockedOnPipe = (pid: number): boolean => {
  try {
    return /pipe/.test(readFileSync(`/proc/${pid}/wchan`, 'utf8'))
  } catch {
    return false
  }
}

t.test(
  'a capture never blocks the program and keeps both ends under its cap',
  async (t) => {
    const runner = testRunner(t)
    const script = 'head -c 20000000 /dev/zero; echo the end'
    const ended = await finish(runner, shell(script, { outputCapBytes: 1_000_000 }))
    t.match(ended.stdout, { size: 20_000_008, lost: 20_000_008 - 1_000_000 })
    t.equal(ended.out.length, 1_000_000)
    t.ok(ended.out.endsWith('\0the end\n'))
    t.equal(
      ended.stdout.sha256,
      createHash('sha256').update(ended.out, 'latin1').digest('hex'),
    )
  },
)

t.test('a capture below 64 KiB makes no file, above it one without a name', async (t) => {
  const runner = testRunner(t)
  const { run, end, pid } = start(
    runner,
    shell('head -c 200000 /dev/zero; read x', { stdin: 'live' }),
  )
  await pid
  let offset = 0
  while (offset < 200_000) offset += (await read(run, 1, offset)).data.length
  t.equal(offset, 200_000)
  run.write(0, new Uint8Array(0), true, () => {})
  t.match(await end, { stdout: { size: 200_000, lost: 0, sha256: zeros(200_000) } })
  const [folder = ''] = readdirSync(runner.directory)
  const names = readdirSync(join(runner.directory, folder))
  t.same(
    names.filter((name) => !name.startsWith('fifo-')),
    [],
  )
})

t.test('a stream that is not read blocks the program, and nobody else', async (t) => {
  const runner = testRunner(t, { launchers: 1 })
  const size = 20 * 1024 * 1024
  const spec = { program: '/usr/bin/head', arguments: ['-c', `${size}`, '/dev/zero'] }
  const { run, pid, end } = start(runner, { ...spec, output: 'stream' })
  const child = await pid
  await until('it is blocked', () => isBlockedOnPipe(child))
  t.match(await finish(runner, shell('echo meanwhile')), { out: 'meanwhile\n' })
  t.match(await read(run, 1, 0, { max: 0 }), { data: { length: 0 }, eof: false })
  // On the way to a full store it is blocked for moments only: here for good.
  await until('it is blocked still', () => isBlockedOnPipe(child))
  t.equal((await readAll(run, 1)).length, size)
  t.match(await end, { stdout: { size, lost: 0, sha256: zeros(size) }, lostTail: false })
})

t.test('what a slow reader holds back after the exit is not lost', async (t) => {
  const runner = testRunner(t, { tailMs: 20 })
  // More than the buffer, less than the buffer and the pipe.
  const size = 1024 * 1024 + 30_000
  const script = `head -c ${size} /dev/zero; sleep 1000 & echo end`
  const { run, pid, end } = start(runner, shell(script, { output: 'stream' }))
  const child = await pid
  await until('the program has exited', () => !readdirSync('/proc').includes(`${child}`))
  await finish(runner, shell('sleep 0.1'))
  t.equal((await readAll(run, 1)).length, size + 4)
  t.match(await end, { stdout: { size: size + 4 }, lostTail: true, exitCode: 0 })
})

t.test('a stream that nobody follows any more is detached and kept', async (t) => {
  const runner = testRunner(t)
  const size = 5 * 1024 * 1024
  const script = `head -c ${size} /dev/zero; echo end`
  const { run, end } = start(runner, shell(script, { output: 'stream' }))
  await read(run, 1, 100_000, { max: 10 })
  run.detach()
  t.match(await end, { stdout: { size: size + 4, lost: 0 } })
  const last = await read(run, 1, size)
  t.equal(Buffer.from(last.data).toString(), 'end\n')
})

t.test('a reader waits for data, for the end, or for its time', async (t) => {
  const runner = testRunner(t)
  const { run, end } = start(
    runner,
    shell('read x; echo $x; read y; exit 0', { stdin: 'live', output: 'stream' }),
  )
  const early = read(run, 1, 0)
  t.match(await read(run, 1, 0, { waitMs: 10 }), { data: { length: 0 }, eof: false })
  t.match(await read(run, 1, 0, { waitMs: 0 }), { data: { length: 0 }, eof: false })
  run.write(0, Buffer.from('word\n'), false, () => {})
  t.match(await early, { offset: 0, data: Buffer.from('word\n'), eof: false, lost: 0 })
  t.match(await read(run, 1, 0), { offset: 0, data: Buffer.from('word\n') }, 'again')
  const last = read(run, 1, 5)
  const beyond = read(run, 1, 500)
  run.write(5, new Uint8Array(0), true, () => {})
  t.match(await last, { offset: 5, data: { length: 0 }, eof: true })
  t.match(await beyond, { data: { length: 0 }, eof: true })
  t.match(await end, { exitCode: 0 })
})

t.test('too many that wait: the longest waiting is answered empty', async (t) => {
  const runner = testRunner(t)
  const { run, pid } = start(runner, shell('sleep 1000', { output: 'stream' }))
  await pid
  const reads = Array.from({ length: 17 }, () => read(run, 1, 0, { waitMs: 60_000 }))
  t.match(await reads[0], { data: { length: 0 }, eof: false })
  run.kill('SIGKILL')
  for (const data of await Promise.all(reads.slice(1))) t.equal(data.eof, true)
})

t.test('long output through two launchers is not mixed', async (t) => {
  const runner = testRunner(t)
  const all = Array.from({ length: 20 }, async (_, index) => {
    const letter = String.fromCharCode(97 + index)
    const script = `yes ${letter} | head -n 60000; yes ${letter} | head -n 100 >&2`
    const ended = await finish(runner, shell(script))
    return (
      ended.out === `${letter}\n`.repeat(60_000) &&
      ended.err === `${letter}\n`.repeat(100)
    )
  })
  t.same(
    (await Promise.all(all)).filter((right) => !right),
    [],
  )
})
