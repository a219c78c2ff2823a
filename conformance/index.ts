// The command of the kit:
//
//   npm run conformance -- --at HOST:PORT --role worker|manager
//     [--state DIR] [--only WORD]... [--json]
//
// Exit code 0: nothing failed; 1: something did; 2: it was called wrongly.

import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type Result, type RunOptions, run } from './run.ts'
import { defaultDirectory, parseAddress, readMesh } from './target.ts'

const USAGE =
  'npm run conformance -- --at HOST:PORT --role worker|manager [--state DIR] [--only WORD]... [--patience MS] [--json]'

const read = (argv: string[]): RunOptions & { readonly isJson: boolean } => {
  const { values } = parseArgs({
    args: argv,
    options: {
      at: { type: 'string' },
      role: { type: 'string' },
      state: { type: 'string' },
      only: { type: 'string', multiple: true },
      patience: { type: 'string', default: '5000' },
      json: { type: 'boolean', default: false },
    },
  })
  const { at, role, state = defaultDirectory(process.env), only } = values
  if (at === undefined) throw new TypeError('Expected --at HOST:PORT')
  if (role !== 'worker' && role !== 'manager')
    throw new TypeError('Expected --role worker or --role manager')
  return {
    target: { ...parseAddress(at), mesh: readMesh(resolve(state)) },
    role,
    patienceMs: Number(values.patience),
    isJson: values.json,
    ...(only && { only }),
  }
}

const MARKS = { pass: 'ok  ', fail: 'FAIL', skip: 'skip' } as const

const line = ({ name, verdict, reason, ms, rule }: Result): string => {
  const first = `${MARKS[verdict]}  ${name}  (${ms} ms)\n`
  if (verdict === 'pass') return first
  return `${first}        ${reason}\n${verdict === 'fail' ? `        rule: ${rule}\n` : ''}`
}

const main = async (): Promise<number> => {
  let options: ReturnType<typeof read>
  try {
    options = read(process.argv.slice(2))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    process.stderr.write(`conformance: ${reason}\n${USAGE}\n`)
    return 2
  }
  const { isJson, ...rest } = options
  const begun = performance.now()
  const results = await run({
    ...rest,
    onResult: (result) => void (isJson || process.stdout.write(line(result))),
  })
  const count = (verdict: Result['verdict']) =>
    results.filter((result) => result.verdict === verdict).length
  const ms = Math.round(performance.now() - begun)
  const counts = { passed: count('pass'), failed: count('fail'), skipped: count('skip') }
  if (isJson)
    process.stdout.write(`${JSON.stringify({ ...counts, ms, cases: results })}\n`)
  else
    process.stdout.write(
      `\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped in ${ms} ms\n`,
    )
  return counts.failed === 0 ? 0 : 1
}

process.exitCode = await main()
