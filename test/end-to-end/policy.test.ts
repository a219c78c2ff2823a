// What the owner of a worker's machine lets managers do with it, with real nodes.

import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Manyhands } from './support.ts'

t.setTimeout(180_000)

t.test('a worker runs what its owner allows, for whom its owner allows', async (t) => {
  const hands = new Manyhands(t)
  const { url } = await hands.mesh()
  const tools = join(t.testdirName, 'tools')
  mkdirSync(tools)
  writeFileSync(join(tools, 'greet'), '#!/bin/sh\necho "hello $1"\n')
  chmodSync(join(tools, 'greet'), 0o755)
  const worker = (name: string, ...flags: string[]) =>
    hands.node('worker', '--name', name, '--cores', '1', '--join', url, ...flags)
  const limited = worker('limited', '--allow', tools)
  await limited.said(/phase=managed/)
  const proud = worker('proud', '--manager', 'other')
  await proud.said(/manager-passed-over.* peer=m /)
  const refused = ['--event', 'refused', '--by', 'm', '--json']
  for (let line = ''; line === ''; ) {
    line = await hands.text('audit', 'show', 'node-proud', ...refused)
    if (line !== '')
      t.match(JSON.parse(line), { role: 'manager', reason: /other managers/ })
  }

  t.match(await hands.call('run', '--', join(tools, 'greet'), 'you'), {
    code: 0,
    stdout: /^hello you\n$/,
  })
  const id = (await hands.text('submit', '--', 'sh', '-c', 'echo now')).trim()
  const explained = async (task: string, what: RegExp) => {
    for (;;) {
      const { code, stdout } = await hands.call('explain', task)
      if (what.test(stdout.toString())) return { code, stdout: stdout.toString() }
    }
  }
  const { code, stdout } = await explained(id, /refused it/)
  t.equal(code, 4, 'nobody can run it')
  t.match(stdout, /limited +no +refused it: \S+\/sh.* not among the programs that this/)
  t.match(stdout, /proud +no +declines: its owner lets other managers manage it/)

  const digest = `#sha256=${'0'.repeat(64)}`
  for (const scheme of ['https://example.invalid/x', 'file:/bin/sh']) {
    const [task = ''] = (await hands.text('submit', '--', scheme + digest)).split('\n')
    t.match(await hands.text('explain', task), /does not run \w+ jobs, only exec, noop/)
    await hands.call('cancel', task)
  }
  const greeting = ['--', join(tools, 'greet')]
  const path = (await hands.text('submit', '--env', 'PATH=/x', ...greeting)).trim()
  await explained(path, /refused it: a task may not set PATH here/)

  // Its owner changes his mind: what waited runs.
  limited.child.kill('SIGTERM')
  await limited.ended
  const free = worker('limited', '--allow', '/')
  await free.said(/phase=managed/)
  t.match(await hands.call('wait', id), { code: 0 })
  t.match(await hands.text('logs', id), /now/)
})

const isRoot = process.getuid?.() === 0

t.test('programs run as whom the owner names', async (t) => {
  const hands = new Manyhands(t)
  const { url } = await hands.mesh()
  const worker = (name: string, ...flags: string[]) =>
    hands.node('worker', '--name', name, '--join', url, ...flags)
  const unknown = await worker('bad', '--user', 'no-such-user').ended
  t.equal(unknown.code, 1)
  t.match(
    unknown.stderr,
    isRoot
      ? /--user no-such-user: there is no such user/
      : /only a node that runs as root/,
  )
  const plain = worker('plain')
  await plain.said(/phase=managed/)
  const refused = await hands.call(
    ...(['start', '--host', 'plain', '--user', 'nobody'] as const),
    ...['--', 'id'],
  )
  t.equal(refused.code, 1)
  t.match(refused.stderr, /forbidden.*do not run as nobody here/)
  if (!isRoot) return
  const guarded = worker('guarded', '--run-as', 'nobody', '--user', 'daemon')
  await guarded.said(/phase=managed/)
  const who = async (...flags: readonly string[]) =>
    (await hands.text('run', ...flags, '--', 'sh', '-c', 'id -un; echo $USER')).split(
      '\n',
    )
  t.same(await who('--user', 'daemon'), ['daemon', 'daemon', ''])
  t.same(await who('--host', 'guarded', '--dir', '/'), ['nobody', 'nobody', ''])
  const task = (await hands.text('submit', '--user', 'games', '--', 'id')).trim()
  t.match(
    await hands.text('explain', task),
    /guarded +no +does not run programs as games/,
  )
  const root = await hands.call(
    'start',
    '--host',
    'guarded',
    '--user',
    'root',
    '--',
    'id',
  )
  t.match(root.stderr, /forbidden/, 'root takes a word of its own')
})

t.test('a label of the certificate is what a task can trust', async (t) => {
  const hands = new Manyhands(t)
  const { url } = await hands.mesh('any')
  const issued = ['--role', 'worker', '--name', 'vault', '--label', 'trusted=yes']
  t.match(await hands.call('issue', ...issued), { code: 0 })
  const vault = hands.node('worker', '--name', 'vault', '--cores', '1', '--join', url)
  await vault.said(/phase=managed/)
  const task = ['--label', 'issuer/trusted=yes', '--', 'printenv', 'MANYHANDS_HOST_NAME']
  t.match(await hands.call('run', ...task), { code: 0, stdout: /^vault\n$/ })
  const claim = hands.node('worker', '--name', 'liar', '--label', 'issuer/trusted=yes')
  t.match(await claim.ended, { code: 2, stderr: /--label: expected a label of its own/ })
  t.match(await hands.text('members'), /vault .* issuer\/trusted=yes\n/)
})

t.test(
  'the user of a mesh sets any variable, where programs are not limited',
  async (t) => {
    const hands = new Manyhands(t)
    await hands.mesh('w')
    const set = ['--env', 'NODE_OPTIONS=--no-warnings', '--', 'printenv', 'NODE_OPTIONS']
    t.match(await hands.call('run', ...set), { code: 0, stdout: /^--no-warnings\n$/ })
  },
)

t.test('what a worker cannot allow is told at its start', async (t) => {
  const hands = new Manyhands(t)
  const cases: [flags: string[], code: number, said: RegExp][] = [
    [
      ['--allow', '/no/such'],
      1,
      /--allow \/no\/such: there is nothing to allow \(ENOENT\)/,
    ],
    [['--allow', 'bin'], 2, /--allow: expected an absolute path, got `bin`/],
    [['--manager', ''], 2, /--manager: expected the name or the id of a manager/],
  ]
  for (const [flags, code, said] of cases)
    t.match(await hands.node('worker', ...flags).ended, { code, stderr: said })
})
