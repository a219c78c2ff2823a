// Nodes, launchers and clients that die or hang at the worst moment, on the real binary:
// no task is lost, no process stays behind, and what died takes its place back.

import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { isAlive } from '../../src/commands/liveness.ts'
import {
  childrenOf,
  isGone,
  longSleep,
  Manyhands,
  processesWith,
  until,
} from './support.ts'

// The machine may be busy with other tests.
t.setTimeout(180_000)

const hands = new Manyhands(t)
const { nodes, url } = await hands.mesh('w1', 'w2')
const worker = (name: string) =>
  hands.node('worker', '--name', name, '--cores', '1', '--join', url)
const pidOf = (name: string): number => nodes[name]?.child.pid ?? 0
const stateOf = async (name: string) =>
  (await hands.list('nodes')).find(({ host_name }) => host_name === name)?.state

/** Is there a worker that has recorded all of it? */
const isInAnOutbox = (...texts: readonly string[]): boolean => {
  const slots = join(hands.state, 'nodes')
  return readdirSync(slots).some((slot) => {
    const path = join(slots, slot, 'outbox')
    const content = existsSync(path) ? readFileSync(path, 'latin1') : ''
    return texts.every((text) => content.includes(text))
  })
}

/** A task on `host` that has said its pid and then sleeps; submitted, not followed. */
const sleeper = async (...flags: string[]) => {
  const marker = longSleep()
  const id = (await hands.text('submit', ...flags, '--', 'sleep', marker)).trim()
  await until(() => processesWith(marker).length > 0)
  return { id, marker, pids: processesWith(marker) }
}

t.test(
  'kill -9 of a worker: its task runs elsewhere, its processes are gone',
  async (t) => {
    const { id, marker, pids } = await sleeper()
    const [{ host_name: host }] = await hands.list('tasks', '--only', 'running')
    process.kill(pidOf(host), 'SIGKILL')
    await Promise.all(pids.map(isGone))
    await until(() => processesWith(marker).length > 0)
    const [record] = await hands.list('show', id)
    t.match(record, { state: 'running', attempt: 2 })
    t.not(record.host_name, host)
    t.equal(record.attempts.at(-1).pid, processesWith(marker)[0])
    const again = worker(host)
    nodes[host] = again
    await again.said(/phase=managed manager=m\b/)
    t.match(await hands.call('cancel', id), { code: 0 })
    t.same(processesWith(marker), [])
  },
)

t.test(
  'output goes on with the next attempt, after a word; the last one is whole',
  async (t) => {
    const script = 'echo out $MANYHANDS_ATTEMPT; test $MANYHANDS_ATTEMPT = 3'
    const ended = await hands.call('run', '--retries', '2', '--', 'sh', '-c', script)
    // What an early attempt wrote is gone if the next began before it was read.
    t.match(ended.stdout.toString(), /^(out 1\n)?(out 2\n)?out 3\n$/)
    t.match(ended, {
      code: 0,
      stderr: /^(manyhands: attempt 2 .*\n)?(manyhands: attempt 3 .*\n)?$/,
    })
  },
)

t.test('a stopped worker is given up, and taken back when it goes on', async (t) => {
  const { id, marker } = await sleeper('--host', 'w1')
  const pid = pidOf('w1')
  process.kill(pid, 'SIGSTOP')
  t.teardown(() => isAlive(pid) && process.kill(pid, 'SIGCONT'))
  await until(async () => (await stateOf('w1')) === 'lost')
  t.match(await hands.call('run', '--', 'echo', 'others'), { code: 0, stdout: /others/ })
  process.kill(pid, 'SIGCONT')
  await until(async () => (await stateOf('w1')) === 'managed')
  await until(async () => (await hands.list('show', id))[0].state === 'running')
  t.equal(processesWith(marker).length, 1, 'one copy')
  t.match(await hands.call('cancel', id), { code: 0 })
  await until(() => processesWith(marker).length === 0)
})

t.test(
  'kill -9 of a worker that nobody hears: its outcome is told later, once',
  async (t) => {
    const place = t.testdir({})
    const [go, ran] = [join(place, 'go'), join(place, 'ran')]
    const script = 'until test -e "$0"; do sleep 0.05; done; echo ran >> "$1"; echo told'
    const command = ['--host', 'w1', '--', 'sh', '-c', script, go, ran]
    const id = (await hands.text('submit', ...command)).trim()
    await until(async () => (await hands.list('show', id))[0].state === 'running')
    process.kill(pidOf('m'), 'SIGSTOP')
    writeFileSync(go, '')
    // Its outcome, with what it wrote.
    await until(() => isInAnOutbox(`o${id}`, 'told\n'))
    process.kill(pidOf('w1'), 'SIGKILL')
    const { w1: killed } = nodes
    await killed?.ended
    const again = worker('w1')
    Object.assign(nodes, { w1: again })
    await again.said(/listening/)
    process.kill(pidOf('m'), 'SIGCONT')
    t.match(await hands.call('wait', id), { code: 0 })
    t.match(await hands.list('logs', id), [{ state: 'completed', stdout: 'told\n' }])
    t.equal(readFileSync(ran, 'utf8'), 'ran\n', 'it ran once')
  },
)

t.test(
  'kill -9 of a launcher loses its own tasks, which run again, but not for ever',
  async (t) => {
    const { id, marker } = await sleeper('--host', 'w2')
    for (const losses of [1, 2, 3]) {
      const before = processesWith(marker)
      for (const pid of childrenOf(pidOf('w2'))) process.kill(pid, 'SIGKILL')
      if (losses === 3) break
      await until(() => processesWith(marker).some((pid) => !before.includes(pid)))
    }
    t.match(await hands.call('wait', id), { code: 1, stdout: /lost three times/ })
    t.match(await hands.call('run', '--host', 'w2', '--', 'echo', 'ok'), {
      code: 0,
      stdout: /^ok\n$/,
    })
    await until(() => processesWith(marker).length === 0)
  },
)

t.test('kill -9 of a client costs the mesh nothing', async (t) => {
  const marker = longSleep()
  const { child } = hands.start('run', '--', 'sleep', marker)
  await until(() =>
    processesWith(`sleep\0${marker}`).some(
      (pid) => pid !== child.pid && !processesWith('manyhands.js').includes(pid),
    ),
  )
  child.kill('SIGKILL')
  t.match(await hands.call('run', '--', 'true'), { code: 0 })
  const [{ task_id: id }] = await hands.list('tasks', '--only', 'running')
  t.match(await hands.call('cancel', id), { code: 0 })
  await until(() => processesWith(`sleep\0${marker}`).length === 0)
})

t.test('Ctrl-C twice leaves at once, and nothing runs on', async (t) => {
  const run = hands.start(
    'run',
    '--',
    'sh',
    '-c',
    'trap "" INT TERM; echo $$; while :; do sleep 1; done',
  )
  const [, pid] = await run.said(/(\d+)\n/)
  run.child.kill('SIGINT')
  await run.said(/again to leave at once/)
  run.child.kill('SIGINT')
  t.equal((await run.ended).code, 130)
  await isGone(Number(pid))
})

t.test('a second signal to a worker ends it at once, with what it runs', async (t) => {
  const { id, pids } = await sleeper('--host', 'w2')
  const { w2: leaving } = nodes
  leaving?.child.kill('SIGTERM')
  await leaving?.said(/once more quits at once/)
  leaving?.child.kill('SIGTERM')
  t.equal((await leaving?.ended)?.code, 143)
  await Promise.all(pids.map(isGone))
  const again = worker('w2')
  Object.assign(nodes, { w2: again })
  await again.said(/phase=managed/)
  t.match(await hands.call('cancel', id), { code: 0 })
})

t.test(
  'kill -9 of the manager: verbs say so, and the next one has its workers and tasks',
  async (t) => {
    const go = join(t.testdir({}), 'go')
    const script = 'echo one; until test -e "$0"; do sleep 0.05; done; echo two; exit 7'
    const run = hands.start('run', '--', 'sh', '-c', script, go)
    await until(async () => (await hands.list('tasks', '--only', 'running')).length > 0)
    process.kill(pidOf('m'), 'SIGKILL')
    const { m: killed } = nodes
    await killed?.ended
    t.match(await hands.call('nodes'), {
      code: 5,
      stderr: /^manyhands: no mesh found.*\n$/,
    })
    t.match(await hands.call('up'), {
      code: 1,
      stderr: /workers run here without a manager.*\n$/,
    })
    // However short its leases, it waits for the task's worker, which pauses between dials.
    const next = hands.node('manager', '--name', 'm', '--ping', '250ms')
    Object.assign(nodes, { m: next })
    await next.said(/listening/)
    await until(
      async () =>
        (await stateOf('w1')) === 'managed' && (await stateOf('w2')) === 'managed',
    )
    t.match(await hands.call('run', '--', 'echo', 'again'), {
      code: 0,
      stdout: /^again\n$/,
    })
    writeFileSync(go, '')
    t.match(await run.ended, { code: 7, stdout: /^one\ntwo\n$/ })
    const [{ task_id: id }] = await hands.list(
      'tasks',
      '--only',
      'failed',
      '--limit',
      '1',
    )
    t.match(await hands.list('show', id), [{ attempt: 1, exit_code: 7 }], 'it ran once')
  },
)

t.test('down --now ends what runs, and leaves no process', async (t) => {
  const { pids } = await sleeper()
  const all = [...Object.values(nodes).map(({ child }) => child.pid ?? 0), ...pids]
  for (const pid of [pidOf('w1'), pidOf('w2')]) all.push(...childrenOf(pid))
  t.match(await hands.call('down', '--now'), { code: 0, stdout: /^stopped: / })
  await Promise.all(all.map(isGone))
  t.same(processesWith(hands.state), [])
})

const place = mkdtempSync(join(tmpdir(), 'small-disk-'))
t.teardown(() => rmSync(place, { recursive: true, force: true }))
const mount = ['-t', 'tmpfs', '-o', 'size=2m', 'none', place]
const canMount = spawnSync('mount', mount).status === 0
t.teardown(() => canMount && spawnSync('umount', ['-l', place]))
const onSmallDisk = canMount ? {} : { skip: 'no file system can be mounted here' }

t.test(
  'a full disk costs output alone, in words; the nodes live',
  onSmallDisk,
  async (t) => {
    const small = new Manyhands(t, join(place, 'state'))
    // One with a ledger on that disk takes nothing new then, as it should.
    const { nodes: here } = await small.meshWith(['--ledger', 'memory'], 'only')
    const big = await small.call(
      'run',
      '--output',
      'capture',
      '--',
      'sh',
      '-c',
      'head -c 8000000 /dev/zero && echo done >&2',
    )
    t.match(big, {
      code: 0,
      stderr: /done\nmanyhands: \d+ bytes of its stdout on only were not/,
    })
    t.match(await small.call('run', '--', 'echo', 'alive'), {
      code: 0,
      stdout: /^alive\n$/,
    })
    for (const { child } of Object.values(here)) t.equal(child.exitCode, null)
    await small.call('down', '--now')
  },
)
