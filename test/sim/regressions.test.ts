// Scenarios that once broke a rule, as small as they got. A seed means another scenario when
// the generator changes; these do not.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Scenario } from '../../src/sim/scenario.ts'
import { simulate } from '../../src/sim/simulate.ts'

const FOLDER = 'test/sim/regressions'

interface Regression {
  /** What went wrong. */
  readonly about: string
  readonly scenario: Scenario
}

for (const name of readdirSync(FOLDER).sort())
  t.test(name.replace(/\.json$/, '').replaceAll('-', ' '), async (t) => {
    const text = readFileSync(join(FOLDER, name), 'utf8')
    const { about, scenario }: Regression = JSON.parse(text)
    t.same(simulate(scenario).violations, [], about)
  })
