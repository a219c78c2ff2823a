// The audit log of a real mesh: it tells who did what, holds, shows where it was touched,
// and has no secret of what it tells.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Manyhands } from './support.ts'

// The machine may be busy with other tests.
t.setTimeout(120_000)

const SECRET = 'canary-5b1f'
const hands = new Manyhands(t)
const directory = join(hands.state, 'audit')
const events = async (...flags: string[]) =>
  (await hands.text('audit', 'show', '--json', ...flags))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

t.test('what was asked, started, ended, let in and refused is told', async (t) => {
  await hands.mesh('w1')
  t.match(await events('--event', 'mesh-made'), [{ log: 'node-m', mesh: /^\w{20}$/ }])
  const command = ['sh', '-c', 'exit 3', SECRET]
  await hands.call('run', '--env', `TOKEN=${SECRET}`, '--', ...command)
  const out = join(t.testdir({}), 'vault')
  t.match(
    await hands.call('issue', '--role', 'worker', '--name', 'vault', '--out', out),
    {
      code: 0,
    },
  )
  t.match(await hands.call('revoke', 'vault'), { code: 0 })
  t.match(await events('--event', 'asked'), [
    {
      log: 'node-m',
      kind: 'TasksSubmit',
      programs: ['exec:sh'],
      answer: 'TasksSubmitted',
    },
  ])
  const [started, ended] = await events('--event', 'started', '--event', 'ended')
  t.match(started, { log: 'node-w1', event: 'started', program: /\/sh$/, arguments: 3 })
  t.match(ended, { event: 'ended', pid: started.pid, task: started.task, exit_code: 3 })
  const changed = await events('--event', 'certified', '--event', 'revoked')
  t.match(changed, [
    { log: 'node-m', event: 'certified', peer: 'm', role: 'manager' },
    { log: 'node-w1', event: 'certified', peer: 'w1', role: 'worker' },
    { log: 'commands', event: 'certified', peer: 'vault', role: 'worker' },
    { log: 'commands', event: 'revoked', peer: 'vault' },
  ])
  t.equal(await hands.text('audit', 'show', '--by', 'nobody'), '')
})

t.test('it holds, and says where it stands; a kept hash is found again', async (t) => {
  const verified = await hands.call('audit', 'verify', '--json')
  t.equal(verified.code, 0)
  const logs: { readonly log: string; readonly hash: string }[] = JSON.parse(
    verified.stdout.toString(),
  )
  t.same(
    logs.map(({ log }) => log),
    ['commands', 'node-m', 'node-w1'],
  )
  const [first] = logs
  t.match(await hands.call('audit', 'verify', '--has', first?.hash ?? ''), { code: 0 })
  t.match(await hands.call('audit', 'verify', '--has', '0'.repeat(64)), {
    code: 1,
    stderr: /no line has the hash 0000/,
  })
  t.match(await hands.call('audit', 'verify', 'node-x'), {
    code: 3,
    stderr: /no log node-x in .*; there are: commands, node-m, node-w1/,
  })
  t.match(await hands.call('audit', 'prove'), {
    code: 2,
    stderr: /expected verify or show, got prove/,
  })
})

t.test('nothing that is secret is in it', async (t) => {
  const all = readdirSync(directory).map((name) =>
    readFileSync(join(directory, name), 'utf8'),
  )
  t.equal(all.length, 3)
  t.notMatch(all.join(''), SECRET)
})

t.test('a line that was changed is named', async (t) => {
  const path = join(directory, 'commands.jsonl')
  writeFileSync(
    path,
    readFileSync(path, 'utf8').replace('"peer":"vault"', '"peer":"other"'),
  )
  t.match(await hands.call('audit', 'verify', 'commands'), {
    code: 1,
    stdout: /^commands: BROKEN at line 1 of .*commands\.jsonl: it was changed/,
  })
})
