// The command line's certificate: renewed when it is used, and refused in words when that
// is too late.

import t, { type Test } from 'tap'
import { ALL_SCOPES } from '../../protocol/scopes.ts'
import { connect } from '../../src/client/connect.ts'
import { ClientError } from '../../src/client/failures.ts'
import type { Link } from '../../src/client/link.ts'
import { keepFresh } from '../../src/client/own-certificate.ts'
import type { Credentials } from '../../src/identity/credentials.ts'
import { recertify } from '../../src/identity/renewal.ts'
import { revoke } from '../../src/identity/revocations.ts'
import { placesOf } from '../../src/identity/state.ts'
import { certifyAgain, issueTo, makeMesh, stateIn } from '../membership/support.ts'
import { watched } from '../mesh/support.ts'
import { beginNode } from '../node/support.ts'
import { createManualClock } from '../support/manual-clock.ts'

const DAY_MS = 86_400_000
const daysAgo = (days: number) => ({ nowMs: Date.now() - days * DAY_MS })

/** A manager where the mesh was made, and the directory of another machine. */
const twoMachines = async (t: Test) => {
  const maker = await makeMesh(t)
  const away = await issueTo(maker, 'worker', 'pi')
  const { node } = await beginNode(t, { role: 'manager', state: maker.directory })
  const clientOf = (directory: string) => placesOf(directory).client
  const use = async (state: string) => {
    const client = await connect({ state, at: node.url })
    await client.close()
  }
  return { maker, away, node, clientOf, use }
}

const daysLeft = (state: string): number =>
  Math.round((stateIn(state).client.notAfterMs - Date.now()) / DAY_MS)

t.test('it is renewed at its use: here, and over the mesh', async (t) => {
  const { maker, away, clientOf, use } = await twoMachines(t)
  for (const directory of [maker.directory, away]) {
    const { scopes } = stateIn(directory).client.party
    await certifyAgain(maker, clientOf(directory), daysAgo(50))
    await use(directory)
    t.equal(daysLeft(directory), 40, 'two thirds are not over')
    await certifyAgain(maker, clientOf(directory), daysAgo(70))
    await use(directory)
    t.equal(daysLeft(directory), 90)
    t.same(stateIn(directory).client.party.scopes, scopes, 'it may do what it might')
    await use(directory)
  }
})

t.test(
  'one from before there were scopes gets all, where the authority is',
  async (t) => {
    const { maker, away, clientOf, use } = await twoMachines(t)
    for (const directory of [maker.directory, away]) {
      const { scopes: _, ...plain } = stateIn(directory).client.party
      await certifyAgain(maker, clientOf(directory), daysAgo(1), plain)
      t.equal(stateIn(directory).client.party.scopes, undefined)
      await use(directory)
    }
    t.same(stateIn(maker.directory).client.party.scopes, ALL_SCOPES)
    t.equal(stateIn(away).client.party.scopes, undefined)
  },
)

t.test('past its end it is a matter of where the authority is', async (t) => {
  const { maker, away, clientOf, use } = await twoMachines(t)
  for (const directory of [maker.directory, away])
    await certifyAgain(maker, clientOf(directory), daysAgo(91))
  await use(maker.directory)
  t.equal(daysLeft(maker.directory), 90)
  await t.rejects(use(away), /pi-client expired on .*join again: manyhands join TOKEN/)
})

t.test('a manager that was taken out is not believed', async (t) => {
  const { maker, node, use } = await twoMachines(t)
  const revoked = await revoke(maker, 'test-manager')
  t.match(revoked, { right: [{ hostName: 'test-manager' }] })
  await t.rejects(use(maker.directory), ClientError)
  await node.failed
})

t.test('a program that stays connected renews it too, and shows it', async (t) => {
  const maker = await makeMesh(t)
  const away = await issueTo(maker, 'worker', 'pi')
  const own = await certifyAgain(maker, placesOf(away).client, daysAgo(50))
  const clock = createManualClock(Date.now())
  const asked = watched<string>()
  const link = {
    isClosed: false,
    ask: async (kind: string, body: { readonly certificate: Uint8Array }) => {
      asked.add(kind)
      if (kind === 'CertificateShow') return { kind: 'Ack', body: {} }
      const life = { nowMs: clock.wall(), isRevoked: () => false }
      const fresh = await recertify(maker, body.certificate, life)
      if (fresh._tag === 'Left') return { kind: 'Refused', body: fresh.left }
      return { kind: 'CertificateRenewed', body: { certificate: fresh.right } }
    },
  }
  const renewed = watched<Credentials>()
  // It answers the two kinds that are asked of it.
  const ask = link.ask as unknown as Link['ask']
  const onRenewed = renewed.add
  await keepFresh({ link: { ...link, ask }, state: stateIn(away), own, onRenewed, clock })
  t.same(asked.items, [])
  clock.advance(11 * DAY_MS)
  const fresh = await renewed.when(() => true)
  t.same(asked.items, ['CertificateRenew', 'CertificateShow'])
  t.ok(fresh.notAfterMs > own.notAfterMs + 50 * DAY_MS)
})
