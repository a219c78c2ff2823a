// A hub as a person has it: real nodes, found by themselves, asked by name through the one.
// Hosts that hang or die keep no other waiting, and the verbs say of each what it is.

import t from 'tap'
import { isGone, longSleep, Manyhands, processesWith, until } from './support.ts'

t.setTimeout(60_000)

const hands = new Manyhands(t)
const hub = hands.node('hub', '--name', 'hub')
await hub.said(/reaching/)
const [pi, nas, arm] = ['pi', 'nas', 'arm'].map((name) =>
  hands.node('worker', '--name', name, '--cores', '1'),
)
const up = /is up \(pid (\d+)\)/
await Promise.all([pi, nas, arm].map((node) => node?.said(up)))

const statesOf = async () =>
  Object.fromEntries(
    (await hands.list('nodes')).map(({ host_name, state }) => [host_name, state]),
  )
const all = { hub: 'self', pi: 'connected', nas: 'connected', arm: 'connected' }
await until(async () => JSON.stringify(await statesOf()).includes('"pi":"connected"'))

t.test(
  'without a manager, programs are started and watched through the hub',
  async (t) => {
    t.same(await statesOf(), all)
    const marker = longSleep()
    const started = await hands.text('start', '--host', 'nas', '--', 'sleep', marker)
    const pid = Number(/^nas\/(\d+)\n$/.exec(started)?.[1])
    t.same(processesWith(marker), [pid])
    t.match(await hands.list('ps'), [{ host_name: 'nas', pid, state: 'running' }])
    t.match(await hands.call('stop', '--wait', `nas/${pid}`), { code: 0 })
    await isGone(pid)
    t.match(await hands.call('start', '--host', 'none', '--', 'true'), {
      code: 3,
      stderr: /no host none/,
    })
    t.match(await hands.call('run', '--', 'true'), { code: 125, stderr: /manager/ })
  },
)

t.test('exec shows each host, and those that said the same together', async (t) => {
  const same = await hands.call('exec', '--on', 'host=*', '--', 'echo', 'hello')
  t.equal(same.code, 0)
  t.match(same.stdout.toString(), /^== arm, nas, pi\nhello\nHOST +RESULT +TIME/)
  const script = 'echo $MANYHANDS_HOST_NAME; test $MANYHANDS_HOST_NAME = pi'
  const rows = await hands.list(
    'exec',
    '--on',
    'host=*s,role=worker',
    '--',
    'sh',
    '-c',
    script,
  )
  t.match(rows, [{ host_name: 'nas', state: 'exited', exit_code: 1, stdout: 'nas\n' }])
  t.match(await hands.call('exec', '--on', 'pi', '--', '/nope'), {
    code: 1,
    stdout: /pi +not-started/,
  })
  t.match(await hands.call('exec', '--on', 'x*', '--', 'true'), { code: 3 })
  t.match(await hands.call('exec', '--on', 'colour=red', '--', 'true'), {
    code: 2,
    stderr: /expected terms/,
  })
})

t.test(
  'a hung host and a dead one have their line; the others are not kept',
  async (t) => {
    const [, hung] = await (nas?.said(up) ?? [])
    process.kill(Number(hung), 'SIGSTOP')
    t.teardown(() => process.kill(Number(hung), 'SIGCONT'))
    arm?.child.kill('SIGKILL')
    await until(async () => (await statesOf()).arm === 'unreachable')
    const marker = longSleep()
    const flags = ['--on', 'host=*', '--deadline', '1500ms', '--json']
    const { code, stdout } = await hands.call(
      ...(['exec', ...flags, '--', 'sh', '-c'] as const),
      `test $MANYHANDS_HOST_NAME = pi && echo done || sleep ${marker}`,
    )
    t.equal(code, 1)
    t.match(JSON.parse(stdout.toString()), [
      { host_name: 'arm', state: 'unreachable', reason: /not connected/ },
      { host_name: 'nas', state: 'deadline' },
      { host_name: 'pi', state: 'exited', exit_code: 0, stdout: 'done\n' },
    ])
    process.kill(Number(hung), 'SIGCONT')
    // What came too late is stopped, or never began.
    await until(() => processesWith(marker).length === 0)
  },
)

t.test('events come as they happen', async (t) => {
  const watching = hands.start('events', '--topic', 'processes', '--json')
  const script = 'sleep 0.1; exit 3'
  const seen = watching.said(/"host_name":"pi".*"process-ended".*"exit_code":3/)
  for (let isSeen = false; !isSeen; ) {
    await hands.call('start', '--host', 'pi', '--', 'sh', '-c', script)
    isSeen = await Promise.race([seen.then(() => true), pause()])
  }
  watching.child.kill('SIGINT')
  t.match(await watching.ended, { code: 0 })
})

const pause = () => new Promise<false>((resolve) => setTimeout(() => resolve(false), 300))

t.test('a worker may say which hubs may ask it', async (t) => {
  const other = hands.node('worker', '--name', 'shy', '--manager', 'another')
  t.teardown(() => other.child.kill('SIGKILL'))
  await other.said(up)
  await until(async () => (await statesOf()).shy === 'connected')
  t.match(await hands.call('start', '--host', 'shy', '--', 'true'), {
    code: 1,
    stderr: /forbidden.*--manager hub/,
  })
})
