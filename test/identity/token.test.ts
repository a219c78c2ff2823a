// Tokens: what is written is read, and what is misspelt is not.

import t from 'tap'
import { makeInvitation, pskOf, readToken, writeToken } from '../../src/identity/token.ts'

const meshId = '0123456789abcdef0123'
const ROLES = ['worker', 'manager', 'hub', 'client'] as const

t.test('a token is read as it was written, however it is typed', async (t) => {
  for (const role of ROLES) {
    const invitation = makeInvitation(role, meshId)
    const token = writeToken(invitation)
    t.match(token, /^([0-9a-z]{4}-){11}[0-9a-z]{4}$/)
    const typed = [
      token,
      token.toUpperCase(),
      ` ${token.replaceAll('-', ' ')}\n`,
      token.replaceAll('-', ''),
      token.replaceAll('1', 'l').replaceAll('0', 'O').replaceAll('v', 'u'),
    ]
    for (const text of typed) t.same(readToken(text), invitation, text)
  }
})

t.test('every single wrong letter, swap and omission is noticed', async (t) => {
  const token = writeToken(makeInvitation('worker', meshId)).replaceAll('-', '')
  let unnoticed = 0
  const attempt = (text: string) => {
    if (text !== token && readToken(text) !== undefined) unnoticed += 1
  }
  for (let at = 0; at < token.length; at++) {
    for (const letter of '0123456789abcdefghjkmnpqrstvwxyz')
      attempt(token.slice(0, at) + letter + token.slice(at + 1))
    attempt(token.slice(0, at) + token.slice(at + 1))
    attempt(
      `${token.slice(0, at)}${token[at + 1] ?? ''}${token[at]}${token.slice(at + 2)}`,
    )
  }
  t.equal(unnoticed, 0)
  for (const text of ['', 'x', '!'.repeat(48), token.repeat(2), '0'.repeat(48)])
    t.equal(readToken(text), undefined)
})

t.test('the key and its name depend on all of the secret and the mesh', async (t) => {
  const invitation = makeInvitation('worker', meshId)
  const { psk, identity } = pskOf(invitation)
  t.match(identity, /^[0-9a-f]{16}$/)
  t.equal(psk.length, 32)
  t.same(pskOf({ ...invitation, role: 'client' }), { psk, identity })
  t.not(pskOf(makeInvitation('worker', meshId)).identity, identity)
  t.not(pskOf({ ...invitation, meshId: '00'.repeat(10) }).identity, identity)
})
