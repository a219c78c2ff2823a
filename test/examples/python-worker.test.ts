// The worker in Python (examples/worker.py) in a mesh of ours: golden bytes, a real batch,
// kill -9, large output, aborts and draining. Without Python 3.9 or later these tests are
// skipped, and say so.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { fromBytes } from '../../protocol/index.ts'
import {
  begin,
  longSleep,
  Manyhands,
  processesWith,
  until,
} from '../end-to-end/support.ts'
import { issueTo, noPython, WORKER } from '../support/python.ts'

// The machine may be busy with other tests.
t.setTimeout(120_000)

const mesh = new Manyhands(t)

/** A manager and a worker of ours; leases are long enough for a busy machine. */
const startOurs = async (): Promise<string> => {
  const manager = mesh.node('manager', '--name', 'm', '--ping', '3s')
  const [, url = ''] = await manager.said(/listening\s+(\S+)/)
  const worker = mesh.node('worker', '--name', 'w', '--cores', '1', '--join', url)
  await worker.said(/phase=managed/)
  return url
}
const url = noPython === false ? await startOurs() : ''

if (noPython === false) await issueTo(mesh.state, 'py')

/** The worker in Python, managed. */
const startPython = async () => {
  const args = ['--state', mesh.state, '--name', 'py', '--cores', '2', '--join', url]
  const python = begin(t, 'python3', WORKER, ...args)
  await python.said(/phase=managed/)
  return python
}
let python = noPython === false ? await startPython() : undefined
const linesOf = (bytes: Buffer) => bytes.toString().trim().split('\n')
const onPython = ['--host', 'py', '--'] as const

t.test('it reads, refuses and writes the golden bytes', { skip: noPython }, async (t) => {
  const { status, stdout, stderr } = spawnSync('python3', [
    ...[WORKER, '--self-test', 'protocol/golden.json'],
  ])
  t.equal(status, 0, stderr.toString())
  const frames: { hex: string }[] = JSON.parse(
    readFileSync('protocol/golden.json', 'utf8'),
  ).frames
  const written = stdout.toString().trim().split('\n')
  t.equal(written.length, frames.length)
  for (const [index, { hex }] of frames.entries()) {
    const mine = fromBytes(Buffer.from(hex, 'hex'))
    const its = fromBytes(Buffer.from(written[index] ?? '', 'hex'))
    if (E.isLeft(its)) t.fail(`frame ${index}: not a frame`)
    t.same(its, mine)
  }
})

t.test(
  'it runs its part of a batch beside a worker of ours',
  { skip: noPython },
  async (t) => {
    const items = Array.from({ length: 60 }, (_, index) => `item ${index}`)
    const each = ['--each-line', '-', '--json', '--', 'sh', '-c', 'echo "$1"', 'sh', '{}']
    const run = mesh.start('run', ...each)
    run.child.stdin?.end(items.join('\n'))
    const { code, stdout, stderr } = await run.ended
    t.equal(code, 0, stderr)
    const done: { stdout: string; host_name: string }[] = linesOf(stdout).map((line) =>
      JSON.parse(line),
    )
    t.same(done.map(({ stdout }) => stdout.trim()).sort(), [...items].sort())
    t.same([...new Set(done.map(({ host_name }) => host_name))].sort(), ['py', 'w'])
  },
)

t.test(
  'it tells how programs end, and passes input on',
  { skip: noPython },
  async (t) => {
    const cat = mesh.start('run', ...onPython, 'sh', '-c', 'cat; echo error >&2; exit 3')
    cat.child.stdin?.end('typed')
    t.match(await cat.ended, { code: 3, stdout: /^typed$/, stderr: /error/ })
    const codeOf = async (...args: string[]) => (await mesh.call('run', ...args)).code
    const codes = await Promise.all([
      codeOf('--timeout', '200ms', ...onPython, 'sleep', '600'),
      codeOf(...onPython, '/not/there'),
      codeOf(...onPython, 'sh', '-c', 'kill -9 $$'),
    ])
    t.same(codes, [124, 127, 128 + 9])
  },
)

t.test(
  'a program gets a clean environment, and ends with its group',
  { skip: noPython },
  async (t) => {
    const marker = longSleep()
    const script = 'sleep "$0" & env'
    const env = await mesh.call('run', ...onPython, 'sh', '-c', script, marker)
    const names = linesOf(env.stdout).map((line) => line.split('=')[0] ?? '')
    const ours = ['ATTEMPT', 'CORES', 'HOST_NAME', 'TASK_ID'].map((n) => `MANYHANDS_${n}`)
    const known = ['HOME', 'LANG', 'PATH', 'PWD', 'TZ', 'OLDPWD', 'SHLVL', '_']
    t.same(names.filter((name) => !known.includes(name)).sort(), ours)
    t.same(processesWith(marker), [])
  },
)

t.test('large output reads back as it was written', { skip: noPython }, async (t) => {
  const file = join(t.testdir(), 'written')
  const script = 'head -c 3000000 /dev/urandom | tee "$1"'
  const submit = ['submit', ...onPython, 'sh', '-c', script, 'sh', file] as const
  const id = (await mesh.text(...submit)).trim()
  t.equal((await mesh.call('wait', id)).code, 0)
  const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
  const written = digest(readFileSync(file))
  t.equal(digest((await mesh.call('logs', id)).stdout), written, 'kept, and read by blob')
  const live = await mesh.call('run', ...onPython, 'cat', file)
  t.equal(digest(live.stdout), written, 'streamed to its reader')
})

t.test(
  'an abort ends the whole group before it is answered',
  { skip: noPython },
  async (t) => {
    const marker = longSleep()
    const script = 'sleep "$0" & sleep "$0"'
    const submit = ['submit', ...onPython, 'sh', '-c', script, marker] as const
    const id = (await mesh.text(...submit)).trim()
    await until(() => processesWith(`sleep\0${marker}`).length === 2)
    t.equal((await mesh.call('cancel', id)).code, 0)
    t.same(processesWith(marker), [])
  },
)

t.test(
  'kill -9 of it loses nothing, and leaves nothing running',
  { skip: noPython },
  async (t) => {
    const marker = longSleep()
    // Here it would never end. Elsewhere it waits for the kill, lest that worker, if it is
    // the faster, does all of them; then it says its number.
    const killed = join(t.testdir(), 'killed')
    const script =
      'test "$MANYHANDS_HOST_NAME" = py && sleep "$0"; ' +
      'until test -e "$2"; do sleep 0.05; done; echo "$1"'
    const command = ['sh', '-c', script, marker, '{}', killed]
    const run = mesh.start('run', '--each-line', '-', '--', ...command)
    const items = Array.from({ length: 12 }, (_, index) => String(index))
    run.child.stdin?.end(items.join('\n'))
    await until(() => processesWith(`sleep\0${marker}`).length === 2)
    t.comment('both of its cores are taken')
    python?.child.kill('SIGKILL')
    writeFileSync(killed, '')
    const { code, stdout, stderr } = await run.ended
    t.comment('all its tasks are done')
    t.equal(code, 0, stderr)
    t.same(linesOf(stdout).sort(), items.sort())
    await until(() => processesWith(marker).length === 0)
  },
)

t.test(
  'killed before it has noted a program, it leaves none either',
  { skip: noPython },
  async (t) => {
    const marker = longSleep()
    const script = `
import os, subprocess, sys
sys.path.insert(0, "examples")
sys.dont_write_bytecode = True
import worker
guard = worker.Guard()
beginning = guard.say_beginning
subprocess.Popen(["sleep", sys.argv[1]], start_new_session=True, preexec_fn=beginning)
os.kill(os.getpid(), 9)
`
    const ended = spawnSync('python3', ['-c', script, marker], { stdio: 'ignore' })
    t.equal(ended.signal, 'SIGKILL')
    await until(() => processesWith(marker).length === 0)
  },
)

t.test(
  'it takes its place back, and leaves in good order',
  { skip: noPython },
  async (t) => {
    python = await startPython()
    const script = 'echo began; sleep 0.5; echo ended'
    const run = mesh.start('run', ...onPython, 'sh', '-c', script)
    await run.said(/began/)
    python.child.kill('SIGTERM')
    t.match(await run.ended, { code: 0, stdout: /^began\nended\n$/ })
    t.equal((await python.ended).code, 0)
    const named = (await mesh.list('nodes')).filter(({ host_name }) => host_name === 'py')
    t.same(
      named.filter(({ state }) => state === 'managed'),
      [],
    )
  },
)
