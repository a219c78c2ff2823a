// The README of the protocol says what the table in code says.

import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { CLOSE } from '../../protocol/index.ts'
import { withTable } from '../../protocol/table.ts'
import { REFUSALS } from '../../src/identity/refusals.ts'
import { meshIdOf, nodeIdOf } from '../../src/identity/subject.ts'
import { CLOSE_COPIED, CLOSE_FALSE_CLAIM } from '../../src/mesh/closing.ts'

const readme = readFileSync('protocol/README.md', 'utf8')

t.test('the exchanges in the README are those of the table', async (t) => {
  t.ok(withTable(readme) === readme, 'stale: npm run docs:protocol')
})

t.test('every close code is in the README', async (t) => {
  const ofTheMesh = [CLOSE_COPIED, CLOSE_FALSE_CLAIM]
  for (const code of [...Object.values(CLOSE), ...ofTheMesh])
    t.match(readme, `| ${code} |`)
})

t.test('the example of a key in the README has these ids', async (t) => {
  const [, spki = '', meshId, nodeId] =
    /<!-- key -->`(.*)` they are `(.*)` and `(.*)`<!-- \/key -->/.exec(readme) ?? []
  const der = Buffer.from(spki, 'hex')
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
  t.equal(meshIdOf(key), meshId)
  t.equal(nodeIdOf(key), nodeId)
})

t.test('every word of a refusal is in the README', async (t) => {
  for (const word of Object.keys(REFUSALS)) t.match(readme, `\`${word}\``)
})
