// Subject: what a certificate says of its holder is read back as it was written, by the
// words in which Node.js gives it.

import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { isGrantable, namesOf, nodeIdOf, readNames } from '../../src/identity/subject.ts'
import { certify, makeAuthority, makeKeys } from '../../src/identity/x509.ts'

const meshId = 'ab'.repeat(10)
const nodeId = 'cd'.repeat(16)

const textOf = (names: ReturnType<typeof namesOf>): string =>
  `URI:${names[0]?.value}, DNS:${names[1]?.value}`

t.test('what is granted is read as it was given', async (t) => {
  const scope = fc.constantFrom('read', 'tasks:run@lab-*', 'admin@a.b?')
  const name = fc.stringMatching(/^[A-Za-z0-9_.-]{1,63}$/)
  const grant = fc.record({
    scopes: fc.array(scope, { minLength: 1, maxLength: 5 }),
    labels: fc.dictionary(name, fc.string({ unit: 'binary', maxLength: 40 }), {
      minKeys: 1,
      maxKeys: 5,
      noNullPrototype: true,
    }),
  })
  fc.assert(
    fc.property(grant, ({ scopes, labels }) => {
      const party = { role: 'client', nodeId, hostName: 'pi', scopes, labels } as const
      fc.pre(isGrantable(party))
      const read = readNames(textOf(namesOf(meshId, party)))?.party
      return (
        JSON.stringify(read?.scopes) === JSON.stringify(scopes) &&
        JSON.stringify(Object.entries(read?.labels ?? {}).sort()) ===
          JSON.stringify(Object.entries(labels).sort())
      )
    }),
    { numRuns: 200 },
  )
  t.pass('in every case')
})

t.test('a certificate carries it, whatever letters it has', async (t) => {
  const authority = await makeAuthority()
  const { publicKey } = makeKeys()
  const party = {
    role: 'worker',
    nodeId: nodeIdOf(publicKey),
    hostName: 'pi',
    labels: { zone: 'the "lab", 2. Stock = \\ é', empty: '' },
  } as const
  const certificate = new X509Certificate(await certify(authority, party, publicKey))
  t.same(readNames(certificate.subjectAltName)?.party, party)
})

t.test('what is not known gives nothing, and what is odd is not believed', async (t) => {
  const start = `URI:mesh://${meshId}/client/${nodeId}`
  const end = ', DNS:pi.mesh.internal'
  const plain = { role: 'client', nodeId, hostName: 'pi' }
  for (const rights of ['', '?scope=root', '?scope=read%40', '?label=zone', '?new=x&y'])
    t.same(readNames(start + rights + end)?.party, plain, rights)
  const mixed = readNames(`${start}?scope=root&scope=read&new=x${end}`)?.party
  t.same(mixed, { ...plain, scopes: ['read'] })
  const odd = ['?', '?scope=read,admin', '?scope="read"', '?a b', `?${'a'.repeat(4097)}`]
  for (const rights of odd) t.equal(readNames(start + rights + end), undefined, rights)
})

t.test('more than a certificate holds is not granted', async (t) => {
  const labels = Object.fromEntries(
    [...Array(20)].map((_, i) => [`l${i}`, 'é'.repeat(40)]),
  )
  t.equal(isGrantable({ labels }), false)
  t.equal(isGrantable({ labels: { zone: 'lab' }, scopes: ['read'] }), true)
})
