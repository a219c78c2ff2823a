// The README of the protocol says what the table in code says.

import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { CLOSE } from '../../protocol/index.ts'
import { withTable } from '../../protocol/table.ts'
import { prove } from '../../src/identity/secret.ts'
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

t.test('the example of a proof in the README is one', async (t) => {
  const [, text = '', proof] =
    /<!-- proof -->`(.*)` is proven by `(.*)`<!-- \/proof -->/.exec(readme) ?? []
  const secret = Uint8Array.from({ length: 32 }, (_, index) => index)
  t.equal(createHmac('sha256', secret).update(text).digest('hex'), proof)
  const [, , meshId, , nodeId, clientNonce, serverNonce, address, port] = JSON.parse(text)
  const meeting = { meshId, clientNonce, serverNonce, address, port }
  t.equal(prove(secret, 'client', { role: 'worker', nodeId }, meeting), proof)
})
