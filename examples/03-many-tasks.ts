// Many tasks as one batch: outcomes as they come, from whichever worker had room. The tasks
// may come from a generator: they are taken as the mesh takes them.
//
//   npm run build && node dist/examples/03-many-tasks.js
//
// prints:
//   500 of 500 done, 1 failed
//   item 42 ended with exit code 1
//   the sum is 124708

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { connect } from 'manyhands'

const binary = fileURLToPath(new URL('../manyhands.js', import.meta.url))
const manyhands = (verb: string) => promisify(execFile)(process.execPath, [binary, verb])

function* tasks() {
  for (let item = 0; item < 500; item++)
    yield {
      job_addr: 'exec:sh',
      arguments: ['-c', 'test "$1" != 42 && echo "$1"', 'sh', String(item)],
      timeout_ms: 10_000,
    }
}

await manyhands('up')
try {
  await using client = await connect()
  let sum = 0
  let failure = ''
  const batch = client.runAll(tasks())
  for await (const { index, done } of batch) {
    const output = done.result?.stdout?.inline
    if (output !== undefined) sum += Number(Buffer.from(output).toString())
    if (done.error?.kind === 'RunningError')
      failure = `item ${index} ended with exit code ${done.error.exit_code}`
  }
  const { submitted, done, failed } = batch.progress()
  console.log(`${done} of ${submitted} done, ${failed} failed`)
  console.log(failure)
  console.log(`the sum is ${sum}`)
} finally {
  await manyhands('down')
}
