// A program somewhere in the mesh, with its input, its output and how it ended.
//
//   npm run build && node dist/examples/02-run-a-program.js
//
// prints:
//   sorted: apple banana cherry
//   it completed with exit code 0
//   stopped after its limit: TimedOut

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { connect } from 'manyhands'

// `manyhands up` and `manyhands down`, as a person types them.
const binary = fileURLToPath(new URL('../manyhands.js', import.meta.url))
const manyhands = (verb: string) => promisify(execFile)(process.execPath, [binary, verb])

await manyhands('up')
try {
  await using client = await connect()

  const sort = await client.run({
    job_addr: 'exec:sort',
    arguments: [],
    timeout_ms: 10_000,
    stdin_live: true,
  })
  await sort.stdin.write(new TextEncoder().encode('cherry\napple\nbanana\n'))
  await sort.stdin.end()
  const words: Uint8Array[] = []
  for await (const bytes of sort.stdout) words.push(bytes)
  console.log(`sorted: ${Buffer.concat(words).toString().trim().split('\n').join(' ')}`)
  const done = await sort.done
  console.log(`it ${done.state} with exit code ${done.result?.exit_code}`)

  const sleep = { job_addr: 'exec:sleep', arguments: ['60'], timeout_ms: 50 }
  const late = await (await client.run(sleep)).done
  console.log(`stopped after its limit: ${late.error?.kind}`)
} finally {
  await manyhands('down')
}
