// The proof: it holds for exactly what it was made of.

import t from 'tap'
import { isNonce, isProven, makeNonce, prove } from '../../src/identity/secret.ts'

const secret = Buffer.alloc(32, 1)
const party = { role: 'worker', nodeId: 'a'.repeat(32) } as const
const meeting = {
  meshId: 'b'.repeat(32),
  clientNonce: makeNonce(),
  serverNonce: makeNonce(),
  address: '127.0.0.1',
  port: 4000,
}

t.test('a proof holds for its side, party, meeting and secret alone', async (t) => {
  const proof = prove(secret, 'client', party, meeting)
  t.match(proof, /^[0-9a-f]{64}$/)
  t.ok(isProven(proof, secret, 'client', party, meeting))
  const wrong = [
    isProven(proof, Buffer.alloc(32, 2), 'client', party, meeting),
    isProven(proof, secret, 'server', party, meeting),
    isProven(proof, secret, 'client', { ...party, role: 'manager' }, meeting),
    isProven(proof, secret, 'client', { ...party, nodeId: 'c'.repeat(32) }, meeting),
    isProven(proof, secret, 'client', party, { ...meeting, meshId: 'd'.repeat(32) }),
    isProven(proof, secret, 'client', party, { ...meeting, clientNonce: makeNonce() }),
    isProven(proof, secret, 'client', party, { ...meeting, serverNonce: makeNonce() }),
    isProven(proof, secret, 'client', party, { ...meeting, port: 4001 }),
    isProven(proof, secret, 'client', party, { ...meeting, address: '127.0.0.2' }),
    isProven('', secret, 'client', party, meeting),
    isProven(`${proof}0`, secret, 'client', party, meeting),
    isProven(undefined, secret, 'client', party, meeting),
    isProven([proof], secret, 'client', party, meeting),
  ]
  t.ok(wrong.every((is) => !is))
})

t.test('nonces are fresh and recognised', async (t) => {
  t.not(makeNonce(), makeNonce())
  t.ok(isNonce(makeNonce()))
  t.notOk(isNonce('ab'))
  t.notOk(isNonce(undefined))
})
