// The cases of the kit: each quotes the rule that it checks from the published README, so
// that neither can change without the other.

import { readFileSync } from 'node:fs'
import t from 'tap'
import { cases } from '../../conformance/cases/index.ts'
import { watched } from '../../conformance/run.ts'

const flat = (text: string) => text.replace(/\s+/g, ' ')
const readme = flat(readFileSync('protocol/README.md', 'utf8'))

t.test('each case checks a rule that is published', async (t) => {
  for (const { name, rule } of [...cases, ...watched])
    for (const part of rule.split(' … '))
      t.ok(readme.includes(flat(part)), `${name}: ${part}`)
})

t.test('each case has a name of its own', async (t) => {
  const names = [...cases, ...watched].map(({ name }) => name)
  t.equal(new Set(names).size, names.length)
})
