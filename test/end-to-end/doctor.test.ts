// doctor on a mesh that runs, and on one whose manager was killed.

import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Manyhands } from './support.ts'

// The machine may be busy with other tests.
t.setTimeout(180_000)

t.test('doctor says of each what is well and what to do', async (t) => {
  const hands = new Manyhands(t)
  const { nodes } = await hands.mesh('w1')
  const well = await hands.call('doctor', '--json')
  t.equal(well.code, 0)
  const findings: { about: string; state: string }[] = JSON.parse(String(well.stdout))
  t.match(
    findings.filter(({ about }) => /^(manager|worker)/.test(about)),
    [{ about: 'manager' }, { state: 'ok' }, { state: 'ok' }],
  )
  const { m: manager } = nodes
  manager?.child.kill('SIGKILL')
  await manager?.ended
  const broken = await hands.call('doctor')
  t.match(broken, {
    code: 1,
    stdout: /fail {2}manager: w1 run here, and .*\n +-> start one/,
  })
  chmodSync(join(hands.state, 'mesh', 'ca.key'), 0o644)
  t.match(await hands.call('doctor'), {
    code: 1,
    stdout: /fail {2}mesh: .*\n +-> .*chmod/,
  })
})
