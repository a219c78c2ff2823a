// The kit against our own worker and our own manager: every rule holds.

import t from 'tap'
import { startNode, verdicts } from './support.ts'

t.setTimeout(180_000)

for (const role of ['worker', 'manager'] as const)
  t.test(`our own ${role} keeps every rule`, async (t) => {
    const target = await startNode(t, role)
    const results = await verdicts({ target, role, patienceMs: 15_000 })
    for (const { name, verdict, reason } of results)
      t.equal(verdict, 'pass', `${name}: ${reason ?? 'holds'}`)
    t.ok(results.length > 80, `${results.length} cases`)
  })
