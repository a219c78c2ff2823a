// The package: what is published holds all that its command and its entry points import.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'

/** Relative imports of a file, dynamic ones too, as paths from the package's root. */
const importsOf = (file: string): readonly string[] =>
  [
    ...readFileSync(file, 'utf8').matchAll(
      /(?:from|import)\s*\(?["'](\.\.?\/[^"']+)["']/g,
    ),
  ].map(([, path = '']) => join(dirname(file), path))

const reachable = (entry: string): ReadonlySet<string> => {
  const seen = new Set([entry])
  for (const file of seen) for (const next of importsOf(file)) seen.add(next)
  return seen
}

t.test('every file that an entry point imports is published', async (t) => {
  const listed = execFileSync(
    'npm',
    ['pack', '--dry-run', '--json', '--ignore-scripts', '--loglevel=silent'],
    { encoding: 'utf8' },
  )
  const [{ files }] = JSON.parse(listed)
  const published = new Set(files.map(({ path }: { path: string }) => path))
  const { bin, exports: entries } = JSON.parse(readFileSync('package.json', 'utf8'))
  const entryPoints = [
    bin.manyhands,
    join(dirname(bin.manyhands), 'launcher.js'),
    join(entries['.'].default),
    join(entries['./protocol'].default),
    join(entries['./protocol/browser'].default),
  ]
  for (const entry of entryPoints) {
    const needed = reachable(entry)
    const isWhole = entry.endsWith('launcher.js') || entry.endsWith('browser.js')
    t.ok(needed.size > 1 || isWhole, `${entry} imports something`)
    t.same(
      [...needed].filter((file) => !published.has(file)),
      [],
      entry,
    )
  }
})
