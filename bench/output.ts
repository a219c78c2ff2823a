// Live output: how long after the child wrote a byte the client has it; and 1 GiB through a
// reader that pauses: nothing lost, nobody's memory grows, the child blocked meanwhile.

import { createHash } from 'node:crypto'
import { connect, type TaskRequest } from '../src/index.ts'
import { residentBytes, startMesh } from './support/mesh.ts'
import { report } from './support/report.ts'
import { median, quantile } from './support/rounds.ts'

const FIRST_BYTES = 100
const GIB = 2 ** 30
const PAUSES = 8
const PAUSE_MS = 500

const node = (program: string): TaskRequest => ({
  job_addr: `exec:${process.execPath}`,
  arguments: ['-e', program],
  timeout_ms: 0,
  output: 'stream',
})

const mesh = await startMesh()
const client = await connect({ state: mesh.state })
try {
  const spans: number[] = []
  for (let turn = 0; turn < FIRST_BYTES; turn += 1) {
    // Written half a second after its start, long after the reader began to wait.
    const run = await client.run(
      node('setTimeout(() => process.stdout.write(String(Date.now())), 100)'),
    )
    for await (const chunk of run.stdout)
      spans.push(Date.now() - Number(Buffer.from(chunk).toString()))
    await run.done
  }
  report({
    what: 'first output byte at the client after it was written, p99',
    value: quantile(spans, 0.99),
    unit: 'ms',
    goal: ['<=', 20],
    note: `p50 ${median(spans)} ms, whole milliseconds`,
  })

  const nodes = (await mesh.nodes()).map(({ host_name, pid }) => ({ host_name, pid }))
  const before = await Promise.all(nodes.map(({ pid }) => residentBytes(pid)))
  const peak = [...before]
  const watch = setInterval(() => {
    for (const [at, { pid }] of nodes.entries())
      void residentBytes(pid).then((bytes) => {
        peak[at] = Math.max(peak[at] ?? 0, bytes)
      })
  }, 50)
  const start = performance.now()
  const run = await client.run({
    job_addr: 'exec:head',
    arguments: ['-c', String(GIB), '/dev/zero'],
    timeout_ms: 0,
    output: 'stream',
  })
  const hash = createHash('sha256')
  let size = 0
  let paused = 0
  for await (const chunk of run.stdout) {
    hash.update(chunk)
    size += chunk.byteLength
    if (size > ((paused + 1) * GIB) / (PAUSES + 1) && paused < PAUSES) {
      paused += 1
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }
  await run.done
  const seconds = (performance.now() - start - paused * PAUSE_MS) / 1000
  clearInterval(watch)
  const expected = createHash('sha256')
  const zeros = Buffer.alloc(2 ** 20)
  for (let part = 0; part < 1024; part += 1) expected.update(zeros)
  report({
    what: '1 GiB of stdout through a reader that pauses, sha256 equal',
    value: hash.digest('hex') === expected.digest('hex') ? 1 : 0,
    unit: '',
    goal: ['>=', 1],
    note: `${(size / seconds / 2 ** 20).toFixed(0)} MiB/s between the pauses`,
  })
  for (const [at, { host_name }] of nodes.entries())
    report({
      what: `resident memory above idle meanwhile, ${host_name}`,
      value: ((peak[at] ?? 0) - (before[at] ?? 0)) / 2 ** 20,
      unit: 'MiB',
      goal: ['<=', 64],
    })
} finally {
  await client.close()
  await mesh.close()
}
