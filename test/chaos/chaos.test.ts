// The short form of npm run test:chaos.

import t from 'tap'
import { chaosRound } from './round.ts'

// The machine may be busy with other tests.
t.setTimeout(180_000)

t.test('real processes under fire keep the promise, rule by rule', async (t) => {
  const round = await chaosRound({ seed: 11, tasks: 80, faults: 15, longestS: 0.6 })
  t.same(round.violations, [])
  const sum = (counts: ReadonlyMap<string, number>) =>
    [...counts.values()].reduce((all, count) => all + count, 0)
  t.equal(sum(round.ended), 80)
  t.equal(sum(round.faults), 15)
  t.ok((round.faults.get('kill manager') ?? 0) > 0, 'its manager was killed')
  t.ok((round.faults.get('kill') ?? 0) > 0, 'so were workers')
  t.ok(round.starts >= 70)
})
