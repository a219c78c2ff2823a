// Examples: each file of examples/ runs as a program of its own and prints what its header
// comment says after `// prints:`. An example that needs a mesh makes its own: it gets an
// empty state directory.

import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import t from 'tap'

const TIME_LIMIT_MS = 60_000

/** The lines between `// prints:` and the end of the header comment. */
const expectedOf = (source: string): string[] => {
  const lines = source.split('\n')
  const start = lines.indexOf('// prints:')
  if (start === -1) throw new Error('Expected a line `// prints:` in the header')
  const end = lines.findIndex((line, index) => index > start && !line.startsWith('//'))
  return lines.slice(start + 1, end).map((line) => line.replace(/^\/\/ {0,3}/, ''))
}

const run = (file: string, stateDirectory: string) =>
  new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    const child = spawn(process.execPath, [file], {
      env: { ...process.env, XDG_STATE_HOME: stateDirectory, NODE_V8_COVERAGE: '' },
      timeout: TIME_LIMIT_MS,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const [out, err]: [Buffer[], Buffer[]] = [[], []]
    child.stdout.on('data', (chunk) => out.push(chunk))
    child.stderr.on('data', (chunk) => err.push(chunk))
    child.on('close', (code) => {
      const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString()
      resolve({ code, stdout: text(out), stderr: text(err) })
    })
  })

for (const name of readdirSync('examples').filter((file) => file.endsWith('.ts')))
  t.test(`${basename(name, '.ts')} prints what it says`, async (t) => {
    const source = readFileSync(`examples/${name}`, 'utf8')
    const compiled = `dist/examples/${name.replace(/\.ts$/, '.js')}`
    const { code, stdout, stderr } = await run(compiled, t.testdir())
    t.same(stdout.trimEnd().split('\n'), expectedOf(source))
    t.equal(code, 0, stderr)
    t.ok(source.split('\n').length <= 60, 'an example is short')
  })
