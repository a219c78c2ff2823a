// The kit against the worker in Python: what was written from the published files alone
// keeps every published rule.

import { join } from 'node:path'
import t from 'tap'
import { parseAddress, readMesh } from '../../conformance/target.ts'
import { begin } from '../end-to-end/support.ts'
import { issueTo, noPython, WORKER } from '../support/python.ts'
import { verdicts } from './support.ts'

t.setTimeout(180_000)

t.test('the worker in Python keeps every rule', { skip: noPython }, async (t) => {
  const state = join(t.testdir({}), 's')
  await issueTo(state, 'kit')
  const args = ['--state', state, '--name', 'kit', '--cores', '2']
  const [, url = ''] = await begin(t, 'python3', WORKER, ...args).said(/on (wss:\S+)/)
  const target = { ...parseAddress(url), mesh: readMesh(state) }
  const results = await verdicts({ target, role: 'worker', patienceMs: 15_000 })
  for (const { name, verdict, reason } of results)
    t.equal(verdict, 'pass', `${name}: ${reason ?? 'holds'}`)
  t.ok(results.length > 80, `${results.length} cases`)
})
