// The whole test of the project: lint and types, then every test file under coverage.
// A word in the environment of all of them must be nowhere in what they leave.
// A dot for each test; what failed, in full, and the test runner's own closing lines at the
// end. The whole report stays in coverage/tests.txt.
//
//   npm test                    everything
//   npm test -- protocol mesh   only the test files whose path contains one of the words

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

const LINES_COVERED = 85

const run = (command, args, environment = {}) =>
  spawnSync(command, args, {
    stdio: 'inherit',
    env: { ...process.env, ...environment },
  }).status ?? 1

const must = (command, args) => {
  const status = run(command, args)
  if (status !== 0) process.exit(status)
}

const words = process.argv.slice(2)
must('npm', ['run', '--silent', 'check'])
must('npm', ['run', '--silent', 'build'])

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

/** In the environment of all tests, and so of all nodes that they start: no node tells it. */
const canary = `canary-${randomBytes(12).toString('hex')}`
const report = 'coverage/tests.txt'
rmSync('coverage', { recursive: true, force: true })
mkdirSync('coverage/tmp', { recursive: true })
const reporters = [
  ...['--test-reporter=dot', '--test-reporter-destination=stdout'],
  ...['--test-reporter=spec', `--test-reporter-destination=${report}`],
]
const tested = run(
  process.execPath,
  [
    '--import',
    './scripts/own-coverage.mjs',
    '--test',
    '--test-concurrency=3',
    ...reporters,
    ...files,
  ],
  // Seconds for one file: twenty times what the slowest needs on a free machine.
  { NODE_V8_COVERAGE: 'coverage/tmp', TAP_TIMEOUT: '120', MANYHANDS_TEST_CANARY: canary },
)

const covered =
  words.length > 0
    ? 0
    : run('npx', [
        ...['c8', 'report', '--temp-directory', 'coverage/tmp', '--check-coverage'],
        ...['--lines', String(LINES_COVERED), '--reporter', 'text-summary'],
        ...['--exclude', 'dist/test/**', '--exclude', 'dist/bench/**'],
        ...['--include', 'dist/src/**', '--include', 'dist/protocol/**'],
        ...['--exclude-after-remap=false'],
      ])

const text = readFileSync(report, 'utf8')
const failures = text.indexOf('✖ failing tests:')
const closing = text.slice(text.lastIndexOf('ℹ tests '))
process.stdout.write(`\n${failures < 0 ? closing : text.slice(failures)}`)
if (failures >= 0) process.stdout.write(`\n${closing.split('\n✖')[0]}\n`)

// What the tests wrote, and what they left: logs, state directories, reports.
const { leaks } = await import('../dist/test/support/canary.js')
const left = ['coverage', '.tap']
writeFileSync('coverage/planted', canary)
const found = leaks([canary], left)
rmSync('coverage/planted')
const isSeen = found.includes(join('coverage', 'planted'))
const leaked = found.filter((file) => file !== join('coverage', 'planted'))
if (!isSeen) process.stdout.write('\nthe search for secrets finds nothing: mend it\n')
if (leaked.length > 0)
  process.stdout.write(`\nthe environment of the tests is in: ${leaked.join(', ')}\n`)
process.exit(tested || covered || (isSeen && leaked.length === 0 ? 0 : 1))
