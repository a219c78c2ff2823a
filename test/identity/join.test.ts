// Joining: an invitation's whole life, between a desk and its callers on real sockets.

import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { ALL_SCOPES, DEFAULT_SCOPES } from '../../protocol/scopes.ts'
import { makeBundle } from '../../src/identity/issue.ts'
import { type JoinOptions, joinMesh, type Membership } from '../../src/identity/join.ts'
import { type DeskOptions, openDesk } from '../../src/identity/join-desk.ts'
import { JOIN_ALPN, JOIN_CIPHERS } from '../../src/identity/join-messages.ts'
import { takeLock } from '../../src/identity/lock.ts'
import { claimName, keepName, listMembers } from '../../src/identity/names.ts'
import {
  obstacleTo,
  placeMembership,
  readPeers,
  standingOf,
} from '../../src/identity/place-membership.ts'
import { revoke } from '../../src/identity/revocations.ts'
import { takeSlot } from '../../src/identity/slots.ts'
import { type MeshState, openState, readState } from '../../src/identity/state.ts'
import type { Party } from '../../src/identity/subject.ts'
import { makeInvitation, pskOf } from '../../src/identity/token.ts'
import { watched } from '../mesh/support.ts'

const stateOf = async (directory: string): Promise<MeshState> => {
  const state = await openState(directory, 'boss')
  if (E.isLeft(state)) throw new Error(state.left.reason)
  return state.right
}

/** A desk with one open invitation, and a way to it. */
const open = async (
  t: Test,
  given: Partial<DeskOptions> & { readonly role?: Party['role'] } = {},
) => {
  const state = given.state ?? (await stateOf(join(t.testdir({}), 'a')))
  const invitation = makeInvitation(given.role ?? 'worker', state.meshId)
  const joined = watched<Party>()
  const refused = watched<string>()
  const desk = await openDesk({
    state,
    address: '127.0.0.1',
    invitation,
    grant: { scopes: DEFAULT_SCOPES },
    hostName: undefined,
    uses: 1,
    expiresMs: Date.now() + 60_000,
    peersFor: () => ['wss://127.0.0.1:4711'],
    onJoined: joined.add,
    onRefused: (_from, refusal) => refused.add(refusal),
    ...given,
  })
  if (E.isLeft(desk)) throw new Error(desk.left.reason)
  t.teardown(() => desk.right.close())
  const way: JoinOptions = {
    invitation,
    host: '127.0.0.1',
    port: desk.right.port,
    name: 'pi',
    isFixed: false,
  }
  return { state, invitation, way, joined, refused, place: t.testdirName }
}

const must = (joined: Awaited<ReturnType<typeof joinMesh>>): Membership => {
  if (E.isLeft(joined)) throw new Error(joined.left.reason)
  return joined.right
}

t.test('an invited machine is a member afterwards, and starts its node', async (t) => {
  const { state, way, joined, place } = await open(t)
  const membership = must(await joinMesh(way))
  t.match(membership, { role: 'worker', hostName: 'pi', warning: undefined })
  t.match(await joined.when(() => true), { role: 'worker', hostName: 'pi' })
  const directory = join(place, 'b')
  const standing = standingOf(directory, state.meshId, false)
  t.same(standing, { kind: 'free' })
  t.same(placeMembership(directory, membership, standing), E.right(undefined))
  t.same(readPeers(directory), ['wss://127.0.0.1:4711'])
  const there = await stateOf(directory)
  t.equal(there.meshId, state.meshId)
  t.match(there.client.party, { role: 'client', hostName: 'pi-client' })
  const request = { role: 'worker', name: undefined, baseName: 'vm' } as const
  const slot = await takeSlot({ state: there, ...request })
  t.match(slot, E.right({ hostName: 'pi' }))
  t.match(
    listMembers(state.directory).filter(({ holder }) => holder === undefined),
    [{ hostName: 'pi' }, { hostName: 'pi-client', beside: 'pi' }],
  )
})

t.test('an invitation for a client brings the command line alone', async (t) => {
  const { way, place, state } = await open(t, { role: 'client', hostName: 'laptop' })
  const membership = must(await joinMesh(way))
  t.match(membership, { role: 'client', hostName: 'laptop', node: undefined })
  const directory = join(place, 'b')
  const standing = standingOf(directory, state.meshId, false)
  placeMembership(directory, membership, standing)
  t.match(await stateOf(directory), { client: { party: { hostName: 'laptop' } } })
})

t.test(
  'an invitation gives scopes to the command line, labels to the worker',
  async (t) => {
    const grant = { scopes: ['read', 'tasks:run@lab-*'], labels: { zone: 'lab' } }
    const { way, place, state } = await open(t, { grant })
    const membership = must(await joinMesh(way))
    t.same(membership.scopes, grant.scopes)
    const directory = join(place, 'b')
    placeMembership(directory, membership, standingOf(directory, state.meshId, false))
    const there = await stateOf(directory)
    t.same(there.client.party.scopes, grant.scopes)
    t.equal(there.client.party.labels, undefined)
    const request = { role: 'worker', name: undefined, baseName: 'vm' } as const
    const slot = await takeSlot({ state: there, ...request })
    if (E.isLeft(slot)) throw new Error(slot.left.reason)
    t.same(slot.right.credentials.party.labels, grant.labels)
    t.equal(slot.right.credentials.party.scopes, undefined)
    const pi = listMembers(state.directory).filter(({ holder }) => holder === undefined)
    t.match(pi, [{ labels: grant.labels }, { scopes: grant.scopes }])
  },
)

t.test('who makes a mesh has every scope', async (t) => {
  const state = await stateOf(join(t.testdir({}), 'a'))
  t.same(state.client.party.scopes, ALL_SCOPES)
})

t.test('of several with one token one joins, and a name is given once', async (t) => {
  const { way, joined } = await open(t)
  const all = await Promise.all([1, 2, 3, 4].map(() => joinMesh(way)))
  t.equal(all.filter(E.isRight).length, 1)
  for (const one of all) if (E.isLeft(one)) t.match(one.left, { reason: /used already/ })
  t.equal(joined.items.length, 1)
})

t.test('an invitation survives that its machine could not write a name', async (t) => {
  const { state, way, refused } = await open(t)
  const names = join(state.directory, 'names')
  renameSync(names, `${names}-away`)
  writeFileSync(names, 'a file where a folder should be')
  t.match(await joinMesh(way), { left: { reason: /could not do its part/ } })
  t.same(refused.items, ['failed'])
  rmSync(names)
  renameSync(`${names}-away`, names)
  t.match(must(await joinMesh(way)), { hostName: 'pi' })
})

t.test('with uses left, the next one gets the next name', async (t) => {
  const { way } = await open(t, { uses: 2 })
  t.equal(must(await joinMesh(way)).hostName, 'pi')
  t.equal(must(await joinMesh(way)).hostName, 'pi-2')
})

t.test('a refused name, key or line does not use the invitation up', async (t) => {
  const { way, state, refused, invitation } = await open(t)
  claimName({
    directory: state.directory,
    party: { role: 'worker', hostName: 'taken', nodeId: 'a'.repeat(32) },
  })
  const fixed = { ...way, name: 'TAKEN', isFixed: true }
  t.match(await joinMesh(fixed), E.left({ reason: /name is taken/ }))
  for (const line of ['nonsense\n', '{}\n', `${'x'.repeat(20_000)}\n`])
    t.match(await say(way.port, invitation, line), /malformed/, line.slice(0, 9))
  const spki = 'AAAA'
  const forged = { name: 'pi', is_fixed: false, client: { spki, proof: 'AAAA' } }
  const request = { ...forged, node: forged.client }
  t.match(await say(way.port, invitation, `${JSON.stringify(request)}\n`), /proof/)
  t.match(refused.items, ['name', 'malformed', 'malformed', 'malformed', 'proof'])
  t.equal(must(await joinMesh(way)).hostName, 'pi')
})

t.test('an expired invitation says so, an unknown one tells nothing', async (t) => {
  const { way, state, refused } = await open(t, { expiresMs: Date.now() - 1 })
  t.match(await joinMesh(way), E.left({ reason: /expired/ }))
  const other = { ...way, invitation: makeInvitation('worker', state.meshId) }
  t.match(await joinMesh(other), E.left({ reason: /knows no such invitation/ }))
  t.match(refused.items, ['expired', 'unknown invitation'])
  const socket = connectTcp(way.port, '127.0.0.1', () =>
    socket.end('GET / HTTP/1.1\r\n\r\n'),
  )
  socket.on('error', () => undefined)
  socket.resume()
  await new Promise((resolve) => socket.on('close', resolve))
})

t.test('whoever joins believes the mesh of its token alone', async (t) => {
  const { state, way, invitation } = await open(t, { uses: 9 })
  const other = await stateOf(join(t.testdirName, 'other'))
  // A desk with the right secret and another authority behind it.
  const false_ = await open(t, { state: other })
  await t.resolves(joinMesh({ ...way, port: false_.way.port }))
  const liar = await openDesk({
    state: { ...other, meshId: state.meshId },
    address: '127.0.0.1',
    invitation,
    grant: {},
    hostName: undefined,
    uses: 9,
    expiresMs: Date.now() + 60_000,
    peersFor: () => [],
    onJoined: () => undefined,
    onRefused: () => undefined,
  })
  if (E.isLeft(liar)) throw new Error(liar.left.reason)
  t.teardown(() => liar.right.close())
  const lied = await joinMesh({ ...way, port: liar.right.port })
  t.match(lied, E.left({ reason: /not believed/ }))
  // The desk certifies for the invitation's role; the bearer's token says another.
  const changed = { ...way, invitation: { ...invitation, role: 'manager' as const } }
  t.match(await joinMesh(changed), E.left({ reason: /not what was asked for/ }))
})

t.test('nobody there, and a joined machine that has no authority', async (t) => {
  const { way, place, state } = await open(t)
  const membership = must(await joinMesh(way))
  const directory = join(place, 'b')
  placeMembership(directory, membership, standingOf(directory, state.meshId, false))
  const joined = await stateOf(directory)
  const bundle = await makeBundle(joined, join(place, 'c'), {
    role: 'worker',
    hostName: 'x',
  })
  t.match(bundle, E.left({ kind: 'no-authority' }))
  const closed = await joinMesh({ ...way, port: 1 })
  t.match(closed, E.left({ reason: /nobody to join/ }))
})

t.test('a mesh that is there already is not written over', async (t) => {
  const { way, state } = await open(t)
  const place = join(t.testdirName, 'b')
  const own = await stateOf(place)
  t.match(standingOf(state.directory, state.meshId, false), {
    kind: 'refused',
    reason: /made here/,
  })
  t.match(standingOf(place, state.meshId, false), { kind: 'unused', meshId: own.meshId })
  const party = { role: 'worker', hostName: 'far', nodeId: 'a'.repeat(32) } as const
  claimName({ directory: place, party })
  const shared = standingOf(place, state.meshId, false)
  t.match(shared, { kind: 'refused', reason: /other machines are members.*far.*--force/ })
  const forced = standingOf(place, state.meshId, true)
  t.match(forced, { kind: 'unused' })
  const placed = placeMembership(place, must(await joinMesh(way)), forced)
  if (E.isLeft(placed)) throw new Error(placed.left.reason)
  t.equal((await stateOf(place)).meshId, state.meshId)
  t.ok(
    existsSync(join(placed.right ?? '', 'mesh', 'ca.key')),
    'the old one is kept aside',
  )
  const member = standingOf(place, 'ff'.repeat(10), false)
  t.match(member, { kind: 'refused', reason: /member of another mesh/ })
})

t.test('an issued directory is a member as it is, and made once', async (t) => {
  const state = await stateOf(join(t.testdir({}), 'a'))
  const out = join(t.testdirName, 'out')
  const member = { role: 'worker', hostName: 'pi' } as const
  t.match(await makeBundle(state, out, member), E.right({ hostName: 'pi' }))
  const read = readState(out)
  t.match(
    read,
    E.right({ meshId: state.meshId, client: { party: { hostName: 'pi-client' } } }),
  )
  if (E.isLeft(read)) throw new Error(read.left.reason)
  const slot = await takeSlot({
    ...{ state: read.right, role: 'worker', name: undefined, baseName: 'vm' },
  })
  t.match(slot, E.right({ hostName: 'pi' }))
  const again = await makeBundle(state, `${out}-2`, member)
  t.match(again, E.left({ kind: 'name-in-use' }))
  rmSync(out, { recursive: true })
  mkdirSync(out)
  writeFileSync(join(out, 'mine'), '')
  const full = await makeBundle(state, out, { role: 'client', hostName: 'c' })
  t.match(full, E.left({ kind: 'access', reason: /is there already/ }))
  t.same(readdirSync(out), ['mine'])
})

/** Sends a line over an invitation's connection; what comes back. */
const say = (
  port: number,
  invitation: JoinOptions['invitation'],
  line: string,
): Promise<string> =>
  new Promise((resolve) => {
    const { psk, identity } = pskOf(invitation)
    let text = ''
    const socket = connectTls({
      ...{ host: '127.0.0.1', port, ciphers: JOIN_CIPHERS, minVersion: 'TLSv1.3' },
      ALPNProtocols: [JOIN_ALPN],
      pskCallback: () => ({ psk, identity }),
      checkServerIdentity: () => undefined,
    })
    socket.on('secureConnect', () => socket.write(line))
    socket.on('data', (bytes) => {
      text += bytes
    })
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(text))
  })

const nodeIdIn = (directory: string): string => {
  const state = readState(directory)
  if (E.isLeft(state)) throw new Error(state.left.reason)
  return state.right.client.party.nodeId
}

t.test('a name is free again when the certificate of its bearer has ended', async (t) => {
  const { state, way } = await open(t, { uses: 2, hostName: 'pi' })
  const { directory } = state
  const party = { role: 'worker', hostName: 'pi', nodeId: 'a'.repeat(32) } as const
  claimName({ directory, party })
  keepName(directory, party, Date.now() - 23 * 3_600_000)
  t.match(await joinMesh(way), E.left({ reason: /name is taken/ }), 'clocks may differ')
  keepName(directory, party, Date.now() - 25 * 3_600_000)
  t.equal(must(await joinMesh(way)).hostName, 'pi')
})

t.test('who joins again replaces what serves no longer, and nothing else', async (t) => {
  const { state, way, place } = await open(t, { uses: 4 })
  const directory = join(place, 'b')
  const standing = { kind: 'free' } as const
  const first = must(await joinMesh(way))
  placeMembership(directory, first, standing)
  const client = nodeIdIn(directory)
  const second = must(await joinMesh({ ...way, name: 'po' }))
  placeMembership(directory, second, standing)
  t.equal(nodeIdIn(directory), client, 'its command line stays as it is')
  await revoke(state, 'pi')
  const again = must(await joinMesh(way))
  placeMembership(directory, again, standing)
  t.not(nodeIdIn(directory), client, 'it went out with its node')
  const slot = readdirSync(join(directory, 'nodes', 'worker@pi')).sort()
  t.match(slot, ['identity', /^identity\.left-\d+$/])
})

t.test(
  'what stands in the way of joining is found before the invitation is used',
  async (t) => {
    const directory = join(t.testdir({ file: '' }), 'b')
    t.equal(obstacleTo(directory, 'worker', 'pi'), undefined)
    t.same(readdirSync(directory), [])
    const inFile = obstacleTo(join(t.testdirName, 'file'), 'worker', 'pi')
    t.match(inFile, { reason: /cannot write in .*EEXIST.*was not used/ })
    const slot = join(directory, 'nodes', 'worker@pi')
    mkdirSync(slot, { recursive: true })
    const lock = await takeLock(slot)
    t.match(obstacleTo(directory, 'worker', 'pi'), { reason: /runs here .*--name/ })
    if ('release' in lock) lock.release()
  },
)

t.test('a clock that is off is warned of, and refused when it is a day', async (t) => {
  const { way } = await open(t, { uses: 9 })
  const off = (ms: number) => joinMesh({ ...way, now: () => Date.now() + ms })
  t.match(must(await off(-60_000)).warning, /clock is (59|60) s behind/)
  t.match(must(await off(60_000)).warning, /clock is (60|61) s ahead of/)
  for (const ms of [-86_400_000, 86_400_000])
    t.match(
      await off(ms),
      E.left({ reason: /clock is 8(6400|6401|6399) s .*set the clock/ }),
    )
})
