// Programs on hosts by name, as a person starts, watches and stops them: real nodes, real
// programs, and nothing left behind whatever dies.

import t from 'tap'
import { isAlive } from '../../src/commands/liveness.ts'
import { isGone, longSleep, Manyhands, processesWith, until } from './support.ts'

// The machine may be busy with other tests.
t.setTimeout(180_000)

const hands = new Manyhands(t)
const { nodes, url } = await hands.mesh('pi', 'nas')

/** Starts on a host; the pid of what it is. */
const start = async (host: string, ...rest: readonly string[]): Promise<number> => {
  const { code, stdout, stderr } = await hands.call('start', '--host', host, ...rest)
  const [, name, pid] = /^(\w+)\/(\d+)\n$/.exec(stdout.toString()) ?? []
  if (code !== 0 || name !== host) throw new Error(`${code}: ${stderr}`)
  return Number(pid)
}
const statesOf = async (...flags: readonly string[]) =>
  (await hands.list('ps', ...flags)).map(({ host_name, pid, state, exit_code }) => ({
    ...{ host_name, pid, state },
    ...(exit_code !== undefined && { exit_code }),
  }))

t.test('started, listed with its real pid, stopped, and known for a while', async (t) => {
  const marker = longSleep()
  const pid = await start('pi', '--', 'sleep', marker)
  t.same(processesWith(marker), [pid])
  t.same(await statesOf('--host', 'pi'), [{ host_name: 'pi', pid, state: 'running' }])
  t.match(await hands.text('ps'), new RegExp(`pi/${pid} +p1 +running .*sleep ${marker}`))
  t.match(await hands.call('stop', '--wait', `pi/${pid}`), { code: 0 })
  await isGone(pid)
  t.same(await statesOf('--host', 'pi'), [])
  t.same(await statesOf('--host', 'pi', '--all'), [
    { host_name: 'pi', pid, state: 'exited', exit_code: 130 },
  ])
  t.match(await hands.call('stop', 'pi/99999999'), {
    code: 3,
    stderr: /no process 99999999 on pi.*manyhands ps/,
  })
})

t.test('twenty at once over two hosts: none lost, all pids right', async (t) => {
  const marker = longSleep()
  const starts = Array.from({ length: 20 }, async (_, at) =>
    start(at % 2 === 0 ? 'pi' : 'nas', '--', 'sh', '-c', `sleep ${marker}; exit`),
  )
  const pids = await Promise.all(starts)
  const listed = (await hands.list('ps')).map(({ pid }) => pid)
  t.same(listed.sort(), [...pids].sort())
  t.ok(pids.every(isAlive))
  const names = (await hands.list('ps')).map(
    ({ host_name, pid }) => `${host_name}/${pid}`,
  )
  t.match(await hands.call('stop', '--wait', ...names), { code: 0 })
  await until(() => processesWith(marker).length === 0)
  t.same(await hands.list('ps'), [])
})

t.test('restarted after a failure, its logs go on with the next run', async (t) => {
  const flags = ['--restart', 'on-failure', '--restart-delay', '10ms']
  const script = 'echo "$MANYHANDS_HOST_NAME $$"; sleep 0.2; exit 3'
  const pid = await start('nas', ...flags, '--', 'sh', '-c', script)
  const all = await hands.list('ps', '--host', 'nas', '--all')
  const { process_id: id } = all.find(({ run, state }) => run > 1 || state !== 'exited')
  const logs = hands.start('logs', '-f', `nas/${id}`)
  const [, first, second] = await logs.said(/nas (\d+)\nnas (\d+)\n/)
  t.ok(Number(first) >= pid)
  t.not(first, second)
  t.match(await hands.call('stop', '--wait', `nas/${id}`), { code: 0 })
  t.match(await logs.ended, { code: 0 }, 'it ends with the process')
})

t.test('logs of several hosts stand line by line behind their names', async (t) => {
  const here = await start('pi', '--', 'printf', 'a\nb')
  const there = await start('nas', '--', 'sh', '-c', 'echo c; echo d >&2')
  const names = [`pi/${here}`, `nas/${there}`]
  const width = Math.max(...names.map(({ length }) => length))
  const lines = (await hands.text('logs', '-f', ...names)).trimEnd().split('\n').sort()
  const line = (name = '', text: string) => `${name.padEnd(width)} | ${text}`
  t.same(lines, [line(names[1], 'c'), line(names[0], 'a'), line(names[0], 'b')].sort())
  t.equal(await hands.text('logs', `pi/${here}`), 'a\nb', 'one alone is as it is')
  t.equal(await hands.text('logs', '--stderr', `nas/${there}`), 'd\n')
})

t.test('start returns when it is ready, or never will be', async (t) => {
  const script = 'sleep 0.1; echo ready to serve; exec sleep 60'
  const pid = await start('pi', '--ready-log', 'ready to', '--', 'sh', '-c', script)
  t.equal(await hands.text('logs', `pi/${pid}`), 'ready to serve\n')
  const failed = await hands.call(
    ...['start', '--host', 'pi', '--ready-port', '1', '--', 'sh', '-c', 'exit 4'],
  )
  t.match(failed, { code: 1, stderr: /ended before it was ready \(exit code 4\); see/ })
  t.match(await hands.call('signal', 'kill', `pi/${pid}`), { code: 0 })
  await isGone(pid)
})

t.test('what cannot be is told in one line', async (t) => {
  const cases: [args: string[], code: number, stderr: RegExp][] = [
    [['start', '--host', 'pi', '--', '/nope'], 1, /ENOENT.*does not exist: \/nope/],
    [['start', '--host', 'pi', '--', '/etc/passwd'], 1, /EACCES.*not executable/],
    [['start', '--host', 'pi', '--', '/tmp'], 1, /EACCES.*is a directory: \/tmp/],
    [['start', '--host', 'pi', '--dir', '/nowhere', '--', 'true'], 1, /ENODIR/],
    [['start', '--host', 'nobody', '--', 'true'], 3, /no host nobody/],
    [['start', '--host', 'm', '--', 'true'], 5, /m cannot be asked.*--processes/],
    [['start', '--', 'true'], 2, /--host/],
    [['start', '--host', 'pi'], 2, /no command/],
    [['stop', '17'], 2, /expected HOST\/PID/],
    [['signal', 'BOO', 'pi/1'], 2, /SIGHUP, .*got 'SIGBOO'/],
  ]
  for (const [[verb = '', ...args], code, stderr] of cases)
    t.match(await hands.call(verb, ...args), { code, stderr }, args.join(' '))
})

t.test('what a node started ends with it, however it ends', async (t) => {
  const marker = longSleep()
  const tree = ['sh', '-c', `trap "" INT; sleep ${marker} & sleep ${marker}; wait`]
  await start('pi', '--restart', 'always', '--', ...tree)
  await start('nas', '--', ...tree)
  await until(() => processesWith(marker).length === 6)
  const { pi, nas } = nodes
  nas?.child.kill('SIGKILL')
  pi?.child.kill('SIGTERM')
  t.match(await pi?.ended, { code: 0 })
  await until(() => processesWith(marker).length === 0)
  const again = hands.node('worker', '--name', 'pi', '--cores', '1', '--join', url)
  await again.said(/phase=managed/)
  t.same(await statesOf('--host', 'pi', '--all'), [], 'and starts with none')
})
