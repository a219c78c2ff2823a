// The kit against our own worker: every rule holds.

import t from 'tap'
import { run } from '../../conformance/run.ts'
import { startNode } from './support.ts'

t.setTimeout(180_000)

t.test('our own worker keeps every rule', async (t) => {
  const target = await startNode(t, 'worker')
  const results = await run({ target, role: 'worker', patienceMs: 15_000 })
  for (const { name, verdict, reason } of results)
    t.equal(verdict, 'pass', `${name}: ${reason ?? 'holds'}`)
  t.ok(results.length > 80, `${results.length} cases`)
})
