// Secrets: words put where people put secrets (the environment that a node is started in,
// arguments, variables, input, tokens, keys), and then looked for everywhere else.

import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { leaks } from '../support/canary.ts'
import { childrenOf, Manyhands } from './support.ts'

t.setTimeout(180_000)

const PARENT = 'MANYHANDS_PARENT'
const canary = () => `canary-${randomBytes(12).toString('hex')}`
const secret = {
  ...{ surroundings: canary(), argument: canary(), variable: canary() },
  ...{ input: canary(), process: canary() },
}
const all = Object.values(secret)
const inText = (text: string, words: readonly string[] = all) =>
  words.filter((word) => text.includes(word))
const environOf = (pid: number) => readFileSync(`/proc/${pid}/environ`, 'latin1')

t.test('no secret gets where it does not belong', async (t) => {
  Object.assign(process.env, { [PARENT]: secret.surroundings })
  t.teardown(() => delete process.env[PARENT])
  const hands = new Manyhands(t)
  const { nodes, url } = await hands.mesh()
  const flags = ['--name', 'w', '--cores', '2', '--join', url, '--log-level', 'debug']
  const worker = hands.node('worker', ...flags)
  Object.assign(nodes, { w: worker })
  await worker.said(/phase=managed/)
  const script = (code: string) => ['--', 'sh', '-c', code]

  // A task that has secrets of all kinds, and tells what it sees to who submitted it.
  const given = ['--env', `A=${secret.variable}`]
  const full = hands.start(
    'run',
    ...given,
    ...script('env; cat; echo $0'),
    secret.argument,
  )
  full.child.stdin?.end(secret.input)
  const its = (await full.ended).stdout.toString()
  t.same(inText(its).sort(), [secret.argument, secret.input, secret.variable].sort())

  // What fails, is refused, or is started by name.
  const failed = await hands.call(
    'run',
    ...given,
    '--',
    'no-such-program',
    secret.argument,
  )
  t.equal(failed.code, 127)
  t.same(inText(failed.stderr), [], 'errors name the program alone')
  const odd = await hands.call('run', '--dir', '/nowhere', ...given, '--', 'echo', 'x')
  t.same(inText(odd.stderr), [])
  const started = ['--host', 'w', '--env', `B=${secret.process}`]
  const address = (await hands.text('start', ...started, '--', 'sleep', '1000')).trim()
  const token = /[0-9a-z]{4}(-[0-9a-z]{4}){11}/
  const invite = hands.start('invite', '--role', 'worker', '--no-mdns')
  const [invitation] = await invite.said(token)

  // Other programs, and what starts them, meanwhile.
  const pid = Number(address.split('/')[1])
  t.same(inText(environOf(pid)), [secret.process], 'each has its own')
  t.same(inText(await hands.text('run', ...script('cat /proc/self/environ'))), [])
  for (const launcher of childrenOf(worker.child.pid ?? 0))
    t.equal(inText(environOf(launcher)).length, launcher === pid ? 1 : 0)
  t.same(inText(await hands.text('nodes', '--json'), [...all, invitation]), [])
  t.same(inText(await hands.text('ps', '--json')), [], 'variables are not shown')
  t.same(
    inText(await hands.text('tasks', '--json'), [secret.variable, secret.input]),
    [],
    'nor is input',
  )

  invite.child.kill('SIGTERM')
  await hands.call('down', '--now')
  const keys = readdirSync(hands.state, { recursive: true })
    .map(String)
    .filter((file) => /key(\.pem)?$/.test(file))
    .map((file) => readFileSync(join(hands.state, file), 'utf8').slice(40, 80))
  t.ok(keys.length >= 3, "the authority's, the nodes'")
  for (const [name, { ended }] of Object.entries(nodes)) {
    const { stdout, stderr } = await ended
    const told = `${stdout}${stderr}`
    t.match(told, /listening/, `${name} wrote something`)
    t.same(inText(told, [...all, ...keys, invitation]), [], `the log of ${name}`)
  }
  t.same(leaks([secret.surroundings, secret.process, invitation], [hands.state]), [])
  // What was accepted is on record until the record is made anew: for its owner alone.
  const records = leaks(all, [hands.state])
  for (const file of records) {
    t.match(file, /\/(outbox|ledger)[^/]*(\/[^/]+)?$/, 'no other file has one')
    t.equal(statSync(file).mode & 0o077, 0)
  }

  // Does all that find anything?
  const planted = join(hands.state, 'planted')
  writeFileSync(planted, `x${secret.surroundings}y`)
  t.same(leaks([secret.surroundings], [hands.state]), [planted])
})
