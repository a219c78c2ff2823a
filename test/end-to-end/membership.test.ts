// Another machine, played by another state directory: invited, joined, at work, taken out.

import { join } from 'node:path'
import t from 'tap'
import { Manyhands } from './support.ts'

// The machine may be busy with other tests.
t.setTimeout(180_000)

t.test('an invited machine runs tasks, until it is taken out', async (t) => {
  const here = new Manyhands(t)
  const there = new Manyhands(t, join(t.testdirName, 'there'))
  const { nodes } = await here.mesh()
  const listen = ['--listen', '127.0.0.1', '--no-mdns']
  const invite = async (...more: readonly string[]) => {
    const args = ['--role', 'worker', '--json', ...listen, ...more]
    const invitation = here.start('invite', ...args)
    const [, token = '', at = ''] = await invitation.said(
      /"token":"([^"]+)".*"at":\["([^"]+)/,
    )
    return { invitation, token, at }
  }
  const { invitation, token, at } = await invite()
  const misspelt = await there.call('join', `${token.slice(1)}0`, '--at', at)
  t.match(misspelt, { code: 2, stderr: /^manyhands: this is no invitation: .*\n$/ })
  const joined = await there.call('join', token, '--at', at, '--name', 'pi')
  t.match(joined, {
    code: 0,
    stdout: /^joined as worker pi; now: manyhands --role worker/,
  })
  t.match(await invitation.ended, { code: 0, stderr: /pi joined as worker/ })
  const late = await there.call('join', token, '--at', at, '--force')
  t.match(late, { code: 1, stderr: /nobody to join at/ })

  const recorded = await there.text('audit', 'show', '--event', 'joined-mesh', '--json')
  t.match(JSON.parse(recorded), { log: 'commands', peer: 'pi', role: 'worker' })

  // It has no manager of its own and was told where the mesh's is.
  const worker = there.node('worker', '--cores', '1')
  await worker.said(/phase=managed/)
  t.match(await here.call('run', '--host', 'pi', '--', 'echo', 'hi'), {
    code: 0,
    stdout: /hi/,
  })
  const members = await here.list('members')
  t.match(members, [
    { host_name: 'm', where: 'here' },
    { host_name: 'pi', role: 'worker', where: 'elsewhere' },
    { host_name: 'pi-client', role: 'client' },
    { role: 'client', where: 'here' },
  ])
  t.match(await there.call('members'), { code: 1, stderr: /takes the scope admin/ })

  t.match(await here.call('revoke', 'pi'), {
    code: 0,
    stdout: /pi \(worker\) is no member/,
  })
  const gone = /pi was taken out of the mesh.*manyhands invite --role worker --name pi/
  t.match(await worker.ended, { code: 1, stderr: gone })
  t.match(await there.node('worker').ended, { code: 1, stderr: gone })
  t.match(await there.call('nodes'), { code: 5, stderr: /taken out of the mesh/ })
  const { m: manager } = nodes
  await manager?.said(/refused a connection.*taken out of the mesh/)
  t.match(await here.call('revoke', 'pi'), { code: 3, stderr: /no member is called pi/ })

  await t.test('and comes back by a new invitation', async (t) => {
    const { token, at } = await invite('--name', 'pi')
    t.match(await there.call('join', token, '--at', at), { code: 0, stdout: /worker pi/ })
    const again = there.node('worker', '--cores', '1')
    await again.said(/phase=managed/)
    t.match(await there.list('nodes'), [{ host_name: 'm' }, { host_name: 'pi' }])
    const running = await invite()
    t.match(await there.call('join', running.token, '--at', running.at, '--name', 'pi'), {
      code: 1,
      stderr: /the worker pi runs here \(pid \d+\); stop it first/,
    })
    again.child.kill('SIGTERM')
    await again.ended
  })
})

t.test('a command line may do what its scopes say', async (t) => {
  const here = new Manyhands(t)
  const { m: manager } = (await here.mesh()).nodes
  const [, url = ''] = (await manager?.said(/listening +(wss:\S+)/)) ?? []
  const issue = (name: string, ...flags: string[]) => {
    const to = join(t.testdirName, name)
    return here.call('issue', '--role', 'client', '--name', name, '--out', to, ...flags)
  }
  t.match(await issue('viewer', '--scope', 'read'), { code: 0 })
  t.match(await issue('feeder', '--scope', 'tasks:run'), { code: 0 })
  const viewer = new Manyhands(t, join(t.testdirName, 'viewer'))
  t.match(await viewer.call('nodes', '--at', url), { code: 0, stdout: /m +manager/ })
  t.match(await viewer.call('submit', '--at', url, '--', 'true'), {
    code: 1,
    stderr:
      /TasksSubmit was refused \(forbidden\): this takes the scope tasks:run.* gives read;.*--scope tasks:run/,
  })
  const feeder = new Manyhands(t, join(t.testdirName, 'feeder'))
  t.match(await feeder.call('submit', '--at', url, '--', 'true'), { code: 0 })
  t.match(await feeder.call('nodes', '--at', url), {
    code: 1,
    stderr: /NodesList was refused \(forbidden\): this takes the scope read/,
  })
  const wrong: [flags: string[], stderr: RegExp][] = [
    [['--scope', 'root'], /expected one of read, tasks:run, processes, modules, admin/],
    [['--label', 'zone=lab'], /tasks ask workers for labels, a client has none/],
  ]
  for (const [flags, stderr] of wrong)
    t.match(await issue('other', ...flags), { code: 2, stderr })
  t.match(await here.call('members'), { stdout: /viewer .* read\n/ })
})

t.test(
  'from elsewhere, who may invites and takes out, at the node with the key',
  async (t) => {
    const here = new Manyhands(t, join(t.testdir({}), 'here'))
    const { url } = await here.mesh()
    const office = new Manyhands(t, join(t.testdirName, 'office'))
    const args = ['--role', 'client', '--name', 'office', '--out', office.state]
    await here.call('issue', ...args, '--scope', 'admin', '--scope', 'read')
    const at = ['--at', url]
    const invited = await office.call('invite', '--role', 'worker', '--json', ...at)
    const { token, at: places } = JSON.parse(invited.stdout.toString())
    const there = new Manyhands(t, join(t.testdirName, 'there'))
    t.match(await there.call('join', token, '--at', places[0], '--name', 'pi'), {
      code: 0,
    })
    t.match(await there.call('join', token, '--at', places[0], '--name', 'po'), {
      code: 1,
      stderr: /nobody to join at/,
    })
    const worker = there.node('worker', '--cores', '1')
    await worker.said(/phase=managed/)
    t.match(await office.list('members', ...at), [
      { host_name: 'm', role: 'manager' },
      { host_name: 'office', scopes: ['admin', 'read'] },
      { host_name: 'pi', role: 'worker', state: 'member', where: 'elsewhere' },
    ])
    t.match(await office.call('revoke', 'pi', 'nobody', ...at), {
      code: 3,
      stdout: /pi \(worker\) is no member/,
      stderr: /no member is called nobody/,
    })
    t.match((await worker.ended).stderr, /pi was taken out of the mesh/)
    const text = await office.call('invite', '--role', 'client', ...at)
    t.match(text, {
      code: 0,
      stderr: /at m, until it is used.*\n.*listens on loopback alone/,
    })
    const listen = ['--listen', '127.0.0.1']
    t.match(await office.call('invite', '--role', 'worker', ...at, ...listen), {
      code: 2,
      stderr: /--listen: the invitation waits where the mesh was made/,
    })
    const reader = new Manyhands(t, join(t.testdirName, 'reader'))
    const flags = ['--role', 'client', '--name', 'reader', '--out', reader.state]
    await here.call('issue', ...flags, '--scope', 'admin@m', '--scope', 'read')
    t.match(await reader.call('invite', '--role', 'worker', ...at), {
      code: 1,
      stderr: /InviteCreate .*admin for all hosts/,
    })
  },
)

t.test('a token of another mesh is told where it is used', async (t) => {
  const one = new Manyhands(t, join(t.testdir({}), 'one'))
  const other = new Manyhands(t, join(t.testdirName, 'other'))
  const listen = ['--role', 'worker', '--json', '--listen', '127.0.0.1', '--no-mdns']
  const said = /"token":"([^"]+)".*"at":\["([^"]+)/
  const [, token = ''] = await one.start('invite', ...listen).said(said)
  const [, , at = ''] = await other.start('invite', ...listen).said(said)
  const third = new Manyhands(t, join(t.testdirName, 'third'))
  t.match(await third.call('join', token, '--at', at), {
    code: 1,
    stderr: /^manyhands: .* knows no such invitation: .*ask for another one\n$/,
  })
})

t.test('what is wrong with an invitation is told in one line', async (t) => {
  const hands = new Manyhands(t)
  const cases: [verb: string, args: string[], code: number, stderr: RegExp][] = [
    ['invite', [], 2, /required option '--role/],
    ['invite', ['--role', 'boss'], 2, /worker, manager, hub, client/],
    ['invite', ['--role', 'worker', '--ttl', 'x'], 2, /expected a duration/],
    [
      'invite',
      ['--role', 'worker', '--listen', '203.0.113.7', '--no-mdns'],
      1,
      /--listen/,
    ],
    ['invite', ['--role', 'worker', '--ttl', '1ms', '--no-mdns'], 1, /has expired/],
    ['join', ['nonsense'], 2, /this is no invitation/],
    ['revoke', ['nobody'], 3, /no member is called nobody/],
    ['issue', ['--role', 'worker', '--name', 'a b', '--out', 'x'], 2, /expected letters/],
  ]
  for (const [verb, args, code, stderr] of cases)
    t.match(
      await hands.call(verb, ...args),
      { code, stderr },
      `${verb} ${args.join(' ')}`,
    )
  const waiting = hands.start('invite', '--role', 'worker', '--no-mdns')
  await waiting.said(/manyhands join .*no manager runs here/s)
  waiting.child.kill('SIGINT')
  t.equal((await waiting.ended).code, 130)
})
