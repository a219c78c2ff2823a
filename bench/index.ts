// All benchmarks, or those whose name contains one of the words:
//
//   npm run bench -- [--json FILE] [WORD ...]
//
// Each is a program of its own. At the end all figures stand in one table, and in FILE as
// JSON (support/results.ts says its shape). A figure that misses its goal is said so and
// does not fail; a benchmark that does not get through does.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Benchmark, benchmarkOf, type Results, textOf } from './support/results.ts'

const folder = fileURLToPath(new URL('.', import.meta.url))

const namesWith = (words: readonly string[]): readonly string[] =>
  readdirSync(folder)
    .filter((file) => file.endsWith('.js') && file !== 'index.js')
    .map((file) => file.slice(0, -3))
    .filter((name) => words.length === 0 || words.some((word) => name.includes(word)))
    .sort()

const machine = (): Results['machine'] => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: availableParallelism(),
  memory_bytes: totalmem(),
  system: `${process.platform} ${process.arch} ${release()}`,
  node: process.version,
  load: loadavg(),
})

const run = (name: string, records: string): Benchmark => {
  console.log(`\n${name}`)
  writeFileSync(records, '')
  const start = performance.now()
  const { status } = spawnSync(process.execPath, [join(folder, `${name}.js`)], {
    stdio: 'inherit',
    env: { ...process.env, MANYHANDS_BENCH_RECORDS: records },
  })
  return benchmarkOf(name, readFileSync(records, 'utf8'), {
    seconds: Math.round((performance.now() - start) / 100) / 10,
    status: status === 0 ? 'ok' : 'failed',
  })
}

const { values, positionals: words } = parseArgs({
  options: { json: { type: 'string' } },
  allowPositionals: true,
})
const names = namesWith(words)
if (names.length === 0) {
  console.error(`no benchmark's name contains ${words.join(' or ')}`)
  process.exitCode = 2
} else {
  const scratch = mkdtempSync(join(tmpdir(), 'manyhands-bench-'))
  const begun = { format: 1, at: new Date().toISOString(), machine: machine() } as const
  const benchmarks = names.map((name) => run(name, join(scratch, 'records')))
  rmSync(scratch, { recursive: true })
  const results: Results = { ...begun, benchmarks }
  console.log(`\n${textOf(results)}`)
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify(results, undefined, 2)}\n`)
  if (benchmarks.some(({ status }) => status === 'failed')) process.exitCode = 1
}
