// Doctor: what it says of good machines and bad ones.

import { chmodSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { checkDescriptors, checkNode, checkPrograms } from '../../src/doctor/machine.ts'
import { checkCertificate, checkState } from '../../src/doctor/membership.ts'
import { checkMulticast, checkNodes } from '../../src/doctor/network.ts'
import { openState, placesOf } from '../../src/identity/state.ts'

const DAY = 86_400_000

t.test('versions of Node.js', async (t) => {
  const states = ['20.19.0', '20.20.2', '22.1.0', '20.18.9', '18.20.0'].map(
    (version) => checkNode(version).state,
  )
  t.same(states, ['ok', 'ok', 'ok', 'fail', 'fail'])
})

t.test('limits of open files', async (t) => {
  const of = (soft: string) => checkDescriptors(`Max open files  ${soft}  65536  files\n`)
  t.match(of('1024'), { state: 'warn', says: /only 1024/, remedy: /ulimit -n 65536/ })
  t.match(of('65536'), { state: 'ok' })
  t.match(of('unlimited'), { state: 'ok' })
  t.match(checkDescriptors(undefined), { state: 'warn' })
})

t.test('a certificate through its life', async (t) => {
  const dates = { notBeforeMs: 0, notAfterMs: 90 * DAY }
  const at = (days: number) => checkCertificate('pi', dates, days * DAY)
  t.match(at(-1), { state: 'fail', says: /begins on 1970-01-01/ })
  t.match(at(1), { state: 'ok', says: /89 days more/ })
  t.match(at(61), { state: 'warn', says: /ends in 29 days and was not renewed/ })
  t.match(at(91), { state: 'fail', says: /ended on 1970-04-01/, remedy: /join TOKEN/ })
})

/** A state directory with a mesh in it. */
const madeState = async (directory: string) => {
  const made = await openState(directory, 'here')
  if (E.isLeft(made)) throw new Error(made.left.reason)
  return directory
}
const saysOf = (directory: string, nowMs: number) =>
  new Map(checkState(directory, nowMs).findings.map((one) => [one.about, one]))

t.test('a state directory that is well, and none', async (t) => {
  t.match(saysOf(join(t.testdir(), 'none'), 0).get('mesh'), {
    state: 'warn',
    remedy: /manyhands up/,
  })
  const directory = await madeState(join(t.testdirName, 'state'))
  const found = saysOf(directory, Date.now())
  t.same(
    [...found].filter(([, { state }]) => state !== 'ok'),
    [],
  )
  t.match(found.get('authority'), { says: /its key is here/ })
  t.match(found.get('certificate of the command line'), { says: /good for 8\d days/ })
})

t.test('clocks that are wrong', async (t) => {
  const directory = await madeState(join(t.testdir(), 'state'))
  const before = saysOf(directory, Date.now() - 30 * DAY).get('clock')
  t.match(before, { state: 'fail', remedy: /set the clock/ })
  const tomorrow = (Date.now() + DAY) / 1000
  utimesSync(directory, tomorrow, tomorrow)
  const now = saysOf(directory, Date.now()).get('clock')
  t.match(now, { state: 'warn', says: /files here are from/ })
})

t.test('a state directory that is open, and one that is damaged', async (t) => {
  const directory = await madeState(join(t.testdir(), 'state'))
  const { authorityKey, authority } = placesOf(directory)
  chmodSync(authorityKey, 0o644)
  t.match(saysOf(directory, Date.now()).get('mesh'), { state: 'fail', remedy: /chmod/ })
  chmodSync(authorityKey, 0o600)
  writeFileSync(authority, 'nonsense')
  t.match(saysOf(directory, Date.now()).get('mesh'), {
    state: 'fail',
    says: /ca\.pem is not/,
    remedy: /./,
  })
})

t.test('what the runner needs is there', async (t) => {
  t.match(checkPrograms(), [
    { state: 'ok' },
    { about: 'other users' },
    { about: 'process trees' },
  ])
})

t.test('multicast is tried, and told', async (t) => {
  const { about, state, remedy } = await checkMulticast()
  t.equal(about, 'multicast')
  t.equal(state === 'ok', remedy === undefined)
})

t.test('no node here is no fault', async (t) => {
  const directory = await madeState(join(t.testdir(), 'state'))
  t.match(await checkNodes(directory), [{ state: 'ok', says: /none runs/ }])
})
