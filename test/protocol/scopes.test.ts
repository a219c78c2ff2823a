// Scopes: which hosts a pattern means, and what several scopes give together.

import fc from 'fast-check'
import t from 'tap'
import { ALL_SCOPES, holdsAt, rightsOf } from '../../protocol/index.ts'
import { matchesGlob, Scope } from '../../protocol/scopes.ts'

t.test('a pattern means the hosts that it says', async (t) => {
  const table: [glob: string, hostName: string, isMatch: boolean][] = [
    ['lab-*', 'lab-1', true],
    ['lab-*', 'lab-', true],
    ['lab-*', 'lab', false],
    ['lab-*', 'xlab-1', false],
    ['lab-?', 'lab-1', true],
    ['lab-?', 'lab-12', false],
    ['*.lab', 'a.b.lab', true],
    ['a.b', 'axb', false],
    ['*', 'anything', true],
    ['*a*b', 'xaxxab', true],
    ['*a*b', 'xaxxba', false],
    ['Lab', 'lab', false],
    ['**', 'x', true],
    ['?', '', false],
  ]
  for (const [glob, hostName, isMatch] of table)
    t.equal(matchesGlob(glob, hostName), isMatch, `${glob} and ${hostName}`)
})

t.test('a pattern means what its regular expression would', async (t) => {
  const letters = fc.constantFrom('a', 'b', '.', '-')
  const glob = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?'), maxLength: 8 })
  fc.assert(
    fc.property(glob, fc.string({ unit: letters, maxLength: 10 }), (glob, hostName) => {
      const source = glob
        .replaceAll('.', '\\.')
        .replaceAll('*', '.*')
        .replaceAll('?', '.')
      return matchesGlob(glob, hostName) === new RegExp(`^${source}$`).test(hostName)
    }),
    { numRuns: 2000 },
  )
  t.pass('in every case')
})

t.test('a pattern made to be slow is not', async (t) => {
  const begin = performance.now()
  t.equal(matchesGlob('*a'.repeat(100), 'a'.repeat(199).concat('b')), false)
  t.ok(performance.now() - begin < 100)
})

t.test('scopes add up', async (t) => {
  const rights = rightsOf(['read', 'tasks:run@a', 'tasks:run@b-*', 'admin@x', 'admin'])
  t.equal(rights.get('read'), 'anywhere')
  t.same(rights.get('tasks:run'), ['a', 'b-*'])
  t.equal(rights.get('admin'), 'anywhere', 'the wider one counts')
  t.equal(rights.has('processes'), false)
  t.equal(rightsOf(['admin', 'admin@x']).get('admin'), 'anywhere')
  t.equal(rightsOf(['read@*']).get('read'), 'anywhere')
  t.equal(holdsAt('anywhere', 'pi'), true)
  t.equal(holdsAt(['a', 'b-*'], 'b-1'), true)
  t.equal(holdsAt(['a', 'b-*'], 'c'), false)
})

t.test('only what is in the list is a scope', async (t) => {
  for (const scope of [...ALL_SCOPES, 'tasks:run@lab-*', 'read@a.b?'])
    t.equal(Scope.is(scope), true, scope)
  for (const scope of [
    '',
    'all',
    'READ',
    'read@',
    'read@a b',
    'read@a@b',
    'tasks',
    'x@y',
  ])
    t.equal(Scope.is(scope), false, scope)
})
