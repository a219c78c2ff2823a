// The import table of the folders, held to by the linter: does it really refuse what it
// should, in every folder, and let pass what it may?

import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import t from 'tap'

const protocol = '../../protocol/index.ts'
const ports = '../ports.ts'

/** What each folder may import besides its own files; everything else that is tried, it may not. */
const table: Readonly<Record<string, readonly string[]>> = {
  protocol: ['fp-ts/lib/Either.js', 'io-ts', 'msgpackr'],
  'src/machines': [protocol, '../records.ts'],
  'src/roles': [protocol, ports, 'fp-ts/lib/Either.js', '../machines/x.ts'],
  'src/sim': [
    protocol,
    ports,
    '../roles/x.ts',
    '../machines/x.ts',
    '../ledger/memory.ts',
  ],
  'src/mesh': [protocol, ports, 'node:net', 'ws', '../identity/x.ts'],
  'src/identity': [protocol, ports, 'node:net', 'node:fs/promises', 'io-ts'],
  'src/membership': [protocol, ports, '../identity/x.ts'],
  'src/discovery': [protocol, ports, 'node:net', 'bonjour-service'],
  'src/ledger': [protocol, ports, 'node:net'],
  'src/audit': [protocol, ports, 'node:crypto', '../identity/lock.ts'],
  'src/outbox': [protocol, ports, 'msgpackr', 'node:fs', '../files.ts'],
  'src/runner': [protocol, ports, 'node:net', 'node:fs/promises'],
  'src/client': [
    protocol,
    ports,
    '../mesh/x.ts',
    '../identity/x.ts',
    '../discovery/x.ts',
  ],
  'src/http': [protocol, ports, '../client/x.ts', 'hono', 'node:http'],
  'src/http/api': ['io-ts', 'hono', 'node:http', '../guard.ts', '../../client/x.ts'],
  'src/adapters': ['hono', 'io-ts', '../../client/x.ts', '../../http/x.ts'],
  conformance: ['ws', 'msgpackr', 'ajv/dist/2020.js', 'node:net', './peer.ts'],
  'conformance/cases': ['../peer.ts', 'node:fs', './frames.ts'],
  'src/commands': [
    protocol,
    'commander',
    '../client/x.ts',
    '../identity/x.ts',
    '../node.ts',
    '../sim/x.ts',
  ],
}

/** Tried in every folder that is not said to have it. */
const forbidden: Readonly<Record<string, readonly string[]>> = {
  protocol: ['node:fs', 'fs', 'ws', 'execa', 'hono', '../src/ports.ts'],
  'src/machines': [
    'node:fs',
    'fs',
    'ws',
    'msgpackr',
    ports,
    '../clock.ts',
    '../mesh/x.ts',
  ],
  'src/roles': ['node:fs', 'ws', 'execa', '../mesh/x.ts', '../runner/x.ts', '../node.ts'],
  'src/sim': ['node:fs', 'ws', '../clock.ts', '../mesh/x.ts', '../ledger/file.ts'],
  'src/mesh': [
    'execa',
    '../roles/x.ts',
    '../machines/x.ts',
    '../runner/x.ts',
    '../node.ts',
  ],
  'src/identity': ['ws', '../mesh/x.ts', '../discovery/x.ts', '../runner/x.ts'],
  'src/discovery': ['ws', '../mesh/x.ts', '../identity/x.ts', '../node-worker.ts'],
  'src/audit': ['ws', '../mesh/x.ts', '../identity/x509.ts', '../runner/x.ts'],
  'src/outbox': ['ws', 'io-ts', '../ledger/x.ts', '../identity/x.ts'],
  'src/ledger': ['ws', 'execa', '../mesh/x.ts', '../roles/x.ts'],
  'src/runner': [
    'ws',
    'bonjour-service',
    '../mesh/x.ts',
    '../identity/x.ts',
    '../log.ts',
  ],
  'src/client': ['ws', 'commander', '../roles/x.ts', '../runner/x.ts', '../node.ts'],
  'src/http': ['ws', '../roles/x.ts', '../mesh/x.ts', '../runner/x.ts', '../node.ts'],
  'src/adapters': [
    'ws',
    'node:fs',
    '../../roles/x.ts',
    '../../node.ts',
    '../../ports.ts',
  ],
  conformance: ['../protocol/index.ts', '../src/mesh/knock.ts', 'io-ts', 'execa'],
  'conformance/cases': ['../../protocol/index.ts', '../../src/node.ts', 'ws'],
  'src/commands': [
    'ws',
    '../roles/x.ts',
    '../mesh/x.ts',
    '../ledger/x.ts',
    '../runner/x.ts',
  ],
}

/** Biome has said where in two ways. */
const pathOf = (path: unknown): string =>
  typeof path === 'object' && path !== null && 'file' in path
    ? String(path.file)
    : String(path)

interface Report {
  readonly diagnostics: readonly { readonly location: { readonly path: unknown } }[]
}

t.test('each folder imports what the table allows, and nothing else', async (t) => {
  const root = t.testdir({})
  const config = JSON.parse(readFileSync('biome.json', 'utf8'))
  writeFileSync(join(root, 'biome.json'), JSON.stringify({ ...config, vcs: {} }))
  const write = (folder: string, name: string, imported: string): string => {
    const file = `${folder}/${name}.ts`
    mkdirSync(dirname(join(root, file)), { recursive: true })
    writeFileSync(join(root, file), `import '${imported}'\n`)
    return file
  }
  const wanted = new Set<string>()
  for (const [folder, list] of Object.entries(forbidden))
    for (const [at, name] of list.entries()) wanted.add(write(folder, `no-${at}`, name))
  for (const [folder, list] of Object.entries(table))
    for (const [at, name] of list.entries()) write(folder, `yes-${at}`, name)
  const biome = resolve('node_modules/.bin/biome')
  const rules = ['--only=style/noRestrictedImports', '--max-diagnostics=none']
  const { stdout } = spawnSync(biome, ['lint', '--reporter=json', ...rules, '.'], {
    cwd: root,
    encoding: 'utf8',
  })
  const { diagnostics }: Report = JSON.parse(stdout)
  const refused = new Set(diagnostics.map(({ location: { path } }) => pathOf(path)))
  t.same([...refused].sort(), [...wanted].sort())
})
