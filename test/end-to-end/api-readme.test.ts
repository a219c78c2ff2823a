// The README's calls by HTTP, one after the other in one shell, as it prints them.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { Manyhands } from './support.ts'

t.setTimeout(60_000)

const hasCurl = spawnSync('curl', ['--version']).status === 0

t.test(
  'its calls by HTTP say what it says',
  { skip: !hasCurl && 'there is no curl' },
  async (t) => {
    const hands = new Manyhands(t)
    const manager = hands.node('manager', '--name', 'm')
    await manager.said(/is up/)
    await hands.node('worker', '--name', 'pi').said(/phase=managed/)
    const hub = hands.node('hub', '--name', 'hub', '--http', '127.0.0.1:0')
    const [, url = ''] = await hub.said(/http {7}(http:\S+)/)
    await hub.said(/peer=m role=manager(.|\n)*peer=pi|peer=pi(.|\n)*peer=m role=manager/)
    const scopes = ['read', 'tasks:run', 'processes'].flatMap((one) => ['--scope', one])
    const made = await hands.begin('token', 'create', '--state', hands.state, ...scopes)
      .ended
    const env = { ...process.env, URL: url, TOKEN: made.stdout.toString().trim() }
    const [, part = ''] = readFileSync('README.md', 'utf8').split(/<!-- \/?http -->/)
    const [, script = ''] = /```sh\n([\s\S]*?)```/.exec(part) ?? []
    const lines = script.split('\n')
    // What each call prints stands behind a mark of its own.
    const marked = lines.map((line) =>
      line.startsWith('# ') ? `\necho; echo '=='` : line,
    )
    const { stdout } = spawnSync('bash', ['-c', marked.join('\n')], { env })
    const said = stdout.toString().split('\n==\n')
    const expected = lines
      .filter((line) => line.startsWith('# '))
      .map((line) => line.slice(2))
    t.ok(expected.length >= 10)
    t.equal(said.length, expected.length + 1)
    for (const [at, words] of expected.entries())
      t.ok(
        words === '.' ? (said[at] ?? '').trim() !== '' : said[at]?.includes(words),
        `${words}: ${said[at]}`,
      )
  },
)
