// Accounts: programs as other users, which takes root: without it these tests are skipped.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ITSELF, userFor, userLabels } from '../../src/machines/users.ts'
import { findAccount } from '../../src/runner/accounts.ts'
import { mayReach } from '../../src/runner/reach.ts'
import { setpriv } from '../../src/runner/runner.ts'
import { finish, shell, stateOf, testRunner, until } from '../support/runs.ts'

const nobody = findAccount('nobody')
const isRoot = process.getuid?.() === 0
const skip = nobody === undefined || !isRoot ? 'takes root, and a user nobody' : false
const account = nobody ?? { name: 'nobody', uid: 1, gid: 1, home: '/' }

t.test(
  'a program of another user has his rights, and no way to more',
  { skip },
  async (t) => {
    const runner = testRunner(t)
    const script = 'id -u; id -G; grep NoNewPrivs /proc/self/status; cat /etc/shadow'
    const { out, err } = await finish(runner, shell(script, { account }))
    const guard = setpriv === undefined ? 0 : 1
    t.equal(out, `${account.uid}\n${account.gid}\nNoNewPrivs:\t${guard}\n`)
    t.match(err, /Permission denied/)
    t.match(await finish(runner, shell('id -u; grep NoNew /proc/self/status')), {
      out: `0\nNoNewPrivs:\t0\n`,
    })
  },
)

t.test('he can open his outputs and his input by name', { skip }, async (t) => {
  const runner = testRunner(t)
  const script = 'cat /dev/stdin; echo out >/dev/stdout; echo err >/dev/stderr'
  const stdin = Buffer.from('in\n')
  for (let again = 0; again < 10; again += 1)
    t.match(await finish(runner, shell(script, { account, stdin })), {
      out: 'in\nout\n',
      err: 'err\n',
      exitCode: 0,
    })
})

t.test('he begins nowhere that he may not enter', { skip }, async (t) => {
  const runner = testRunner(t)
  const place = mkdtempSync(join(tmpdir(), 'manyhands-closed-'))
  t.teardown(() => rmSync(place, { recursive: true }))
  const inner = join(place, 'open')
  mkdirSync(inner, { mode: 0o755 })
  for (const directory of [place, inner])
    t.match(await finish(runner, shell('pwd', { account, directory })), {
      spawnError: {
        code: 'ENODIR',
        reason: `the user nobody may not enter ${directory}`,
      },
    })
  t.notOk(mayReach(inner, account, 'whole'))
  t.notOk(mayReach(inner, account, 'above'))
  t.ok(mayReach(place, account, 'above'))
  t.ok(mayReach(inner, { uid: 0, gid: 0 }, 'whole'))
})

t.test('what he leaves behind goes, too', { skip }, async (t) => {
  const runner = testRunner(t)
  const left = shell('setsid sleep 1000 >/dev/null 2>&1 & echo $!', { account })
  const pid = Number((await finish(runner, left)).out)
  t.ok(pid > 1)
  await runner.close()
  await until('it is gone', () => stateOf(pid) === undefined)
})

t.test('users of the machine', (t) => {
  t.match(findAccount('root'), { name: 'root', uid: 0, gid: 0 })
  for (const name of ['no-such-user', '', ':', 'root:x', '.*'])
    t.equal(findAccount(name), undefined, name)
  t.end()
})

t.test('who may be asked for', (t) => {
  const bob = { name: 'bob', uid: 7, gid: 7, home: '/' }
  const root = { name: 'root', uid: 0, gid: 0, home: '/root' }
  const plain = { own: 'root', byDefault: undefined, others: new Map([['bob', bob]]) }
  const guarded = { own: 'root', byDefault: bob, others: new Map() }
  const named = { ...guarded, others: new Map([['root', root]]) }
  const as = (users: typeof plain | typeof guarded, name?: string) => {
    const judged = userFor(users, name)
    return 'fault' in judged ? 'refused' : (judged.account?.name ?? 'itself')
  }
  t.equal(as(plain), 'itself')
  t.equal(as(plain, 'root'), 'itself')
  t.equal(as(plain, 'bob'), 'bob')
  t.equal(as(plain, 'eve'), 'refused')
  t.equal(as(guarded), 'bob')
  t.equal(as(guarded, 'bob'), 'bob')
  t.equal(as(guarded, 'root'), 'refused', 'root takes a word of its own')
  t.equal(as(named, 'root'), 'root')
  t.match(userFor(ITSELF, 'eve'), { fault: /do not run as eve here/ })
  t.same(userLabels(plain), { 'user/root': 'yes', 'user/bob': 'yes' })
  t.same(userLabels(guarded), { 'user/bob': 'yes' })
  t.end()
})
