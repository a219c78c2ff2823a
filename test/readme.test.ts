// The README says what the command line says, its code is that of the examples, and what it
// tells a newcomer to type works.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { NODE_FLAGS } from '../src/options.ts'

const binary = fileURLToPath(new URL('../manyhands.js', import.meta.url))
const readme = readFileSync('README.md', 'utf8')

/** Runs a line with `manyhands` being this build; a shell reads it, as a person's does. */
const type = async (line: string, stateHome: string) => {
  const script = `manyhands() { "$NODE" "$BINARY" "$@"; }\n${line}`
  const env = { ...process.env, XDG_STATE_HOME: stateHome, NODE: process.execPath }
  const shell = spawn('sh', ['-c', script], {
    env: { ...env, BINARY: binary },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, err]: [Buffer[], Buffer[]] = [[], []]
  shell.stdout.on('data', (data) => out.push(data))
  shell.stderr.on('data', (data) => err.push(data))
  const [code] = await once(shell, 'close')
  const text = (parts: Buffer[]) => Buffer.concat(parts).toString()
  return { code, stdout: text(out), stderr: text(err) }
}

const flagsIn = (text: string): Set<string> =>
  new Set([...text.matchAll(/(?<![\w-])--([a-z][a-z-]+)/g)].map(([, flag = '']) => flag))

const between = (start: string, end: string): string => {
  const from = readme.indexOf(start)
  return from < 0 ? '' : readme.slice(from, readme.indexOf(end, from))
}

t.test('its verbs and flags are those of --help, and the other way round', async (t) => {
  const help = (await type('manyhands --help', t.testdir())).stdout
  const verbs = [...help.matchAll(/^ {2}([a-z]+)(?: [<[].*?)? {2,}\S/gm)].map(
    ([, verb = '']) => verb,
  )
  t.ok(verbs.length > 10, verbs.join())
  const rows = new Map(
    [...readme.matchAll(/^\| `([a-z]+)` \|.*\|(.*)\|$/gm)].map(
      ([, verb = '', flags = '']) => [verb, flagsIn(flags)],
    ),
  )
  const ofTasks = flagsIn(between('| flag of a task', 'With `--each`'))
  t.same([...rows.keys()].filter((verb) => verbs.includes(verb)).sort(), verbs.sort())
  for (const verb of verbs) {
    const { stdout } = await type(`manyhands ${verb} --help`, t.testdir())
    const flags = stdout.matchAll(/^ {2}(?:-\w, )?--([a-z-]+)/gm)
    const said = new Set(rows.get(verb))
    if (verb === 'run' || verb === 'submit') for (const flag of ofTasks) said.add(flag)
    const known = [...flags].map(([, flag = '']) => flag)
    const own = known.filter((flag) => !['help', 'state', 'at', 'curl'].includes(flag))
    t.same([...said].sort(), own.sort(), verb)
  }
})

t.test('the flags of a node are all there', async (t) => {
  const said = flagsIn(between('| flag of a node', '## Other machines'))
  t.same([...said].sort(), NODE_FLAGS.map(({ flag }) => flag).sort())
})

t.test('its code is that of the examples', async (t) => {
  const blocks = [...readme.matchAll(/<!-- example (\S+) -->\n```ts\n([\s\S]*?)```/g)]
  t.ok(blocks.length > 0)
  for (const [, file = '', code] of blocks)
    t.equal(code, readFileSync(file, 'utf8'), file)
  t.equal(readme.match(/```ts/g)?.length, blocks.length, 'no code that nobody runs')
})

t.test('what it tells to try works, line by line', async (t) => {
  const block = between('<!-- try -->', '<!-- /try -->')
  const lines = block.split('\n').filter((line) => line.startsWith('manyhands '))
  const state = join(t.testdir(), 'state')
  t.teardown(() => type('manyhands down --now', state))
  const expected: readonly RegExp[] = [
    /manager[\s\S]*worker[\s\S]*worker[\s\S]*up in/,
    /^\S+\n$/,
    /\d+ protocol\/codec\.ts/,
    /manager[\s\S]*managed[\s\S]*managed/,
    /completed[\s\S]*completed[\s\S]*completed/,
    /^\d+ protocol\/access\.ts\n$/,
    /^stopped: .*,.*,/,
  ]
  t.equal(lines.length, expected.length)
  for (const [at, line] of lines.entries()) {
    const { code, stdout, stderr } = await type(line, state)
    t.equal(code, 0, `${line}: ${stderr}`)
    t.match(stdout, expected[at] ?? '', line)
  }
})
