// The README of the protocol says what the table in code says.

import { readFileSync } from 'node:fs'
import t from 'tap'
import { CLOSE } from '../../protocol/index.ts'
import { withTable } from '../../protocol/table.ts'

const readme = readFileSync('protocol/README.md', 'utf8')

t.test('the exchanges in the README are those of the table', async (t) => {
  t.ok(withTable(readme) === readme, 'stale: npm run docs:protocol')
})

t.test('every close code is in the README', async (t) => {
  for (const code of Object.values(CLOSE)) t.match(readme, `| ${code} |`)
})
