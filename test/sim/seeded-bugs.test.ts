import t from 'tap'
import { editsOf } from '../support/plant.ts'
import { hunt } from './hunt.ts'
import { seededBugs } from './seeded-bugs.ts'

t.setTimeout(120_000)

/** Found by an early seed; the others are hunted by `npm run test:sim`. */
const EARLY = [
  'a task is sent before its assignment is durable',
  'a loss is counted for a partition',
]

t.test('every seeded bug fits the code as it is, and changes it', async (t) => {
  t.ok(seededBugs.length >= 12)
  for (const bug of seededBugs) t.ok(editsOf(bug).size > 0, bug.name)
})

t.test('an edit that has gone stale is said to be so', async (t) => {
  const edits = [{ file: 'src/roles/worker.js', find: 'no such text', replace: '' }]
  t.throws(() => editsOf({ name: 'old', edits }), /not once/)
})

for (const name of EARLY)
  t.test(`a seed finds that ${name}`, async (t) => {
    const bug = seededBugs.find((one) => one.name === name)
    const found = bug && (await hunt(bug, 60))
    t.match(found, { seed: Number, violation: String })
  })
