// The README of the BlueZero face: each of its curls does, on a real hub, what stands behind it.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { Manyhands, until } from '../end-to-end/support.ts'

t.setTimeout(60_000)

const hasCurl = spawnSync('curl', ['--version']).status === 0

t.test(
  'its curls work as printed',
  { skip: !hasCurl && 'there is no curl' },
  async (t) => {
    const hands = new Manyhands(t)
    const hub = hands.node(
      'hub',
      '--name',
      'hub',
      '--bluezero',
      '127.0.0.1:0',
      '--processes',
    )
    const [, url = ''] = await hub.said(/bluezero {3}(http:\S+)/)
    await hands.node('worker', '--name', 'pi').said(/is up/)
    const made = await hands.begin(
      ...(['token', 'create', '--state', hands.state] as const),
      ...['--scope', 'read', '--scope', 'processes'],
    ).ended
    const env = { ...process.env, URL: url, TOKEN: made.stdout.toString().trim() }
    await until(async () => (await hands.text('nodes')).includes('pi'))
    const readme = readFileSync('src/adapters/bluezero/README.md', 'utf8')
    const [, part = ''] = readme.split(/<!-- \/?curl -->/)
    const blocks = [...part.matchAll(/```sh\n(curl .*)\n# (.*)\n```/g)]
    t.equal(blocks.length, 6)
    let pid = '4711'
    for (const [, line = '', said = ''] of blocks) {
      const { stdout } = spawnSync('sh', ['-c', line.replaceAll('4711', pid)], { env })
      const got = stdout.toString()
      pid = /"start_process":\{"pid":(\d+)/.exec(got)?.[1] ?? pid
      const told = got
        .replaceAll(pid, '4711')
        .replace(/"last_active":\d+/g, '"last_active":0')
      const named = JSON.parse(told)
      // The hub of this test runs programs too.
      if ('nodes' in named)
        named.nodes = named.nodes.filter(
          ({ host_name }: { host_name: string }) => host_name === 'pi',
        )
      t.same(
        named,
        JSON.parse(said.replace(/"last_active":\d+/g, '"last_active":0')),
        line,
      )
    }
  },
)
