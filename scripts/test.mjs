// The whole test of the project: lint and types, then every test file under coverage.
// Ends with the test runner's own closing lines and exits with its code.
//
//   npm test                    everything
//   npm test -- protocol mesh   only the test files whose path contains one of the words

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const run = (command, ...args) => {
  const { status } = spawnSync(command, args, { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

const words = process.argv.slice(2)
run('npm', 'run', '--silent', 'check')
run('npm', 'run', '--silent', 'build')

const files = readdirSync('dist/test', { recursive: true })
  .filter((name) => name.endsWith('.test.js'))
  // What was compiled from a file that is gone does not count.
  .filter((name) => existsSync(join('test', name.replace(/\.js$/, '.ts'))))
  .filter((name) => words.length === 0 || words.some((word) => name.includes(word)))
  .map((name) => join('dist/test', name))
  .sort()
if (files.length === 0) {
  process.stderr.write(`no test file's path contains ${words.join(' or ')}\n`)
  process.exit(2)
}
const nodeTest = [process.execPath, '--test', '--test-reporter=spec', ...files]
const coverage = ['c8', '--check-coverage', '--lines', '85', '--reporter', 'text-summary']
if (words.length > 0) run(nodeTest[0], ...nodeTest.slice(1))
else run('npx', ...coverage, ...nodeTest)
