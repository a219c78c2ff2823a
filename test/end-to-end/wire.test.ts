// What a hostile or broken peer can send to the nodes of the real binary: garbage before
// the handshake, and after it frames that no node of ours would send. Each costs at most
// its own connection; the nodes live, do not grow, and go on running tasks.
//
// The random part prints its seed; WIRE_SEED=n repeats it.

import { randomBytes, randomInt } from 'node:crypto'
import { connect } from 'node:net'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { kinds } from '../../protocol/exchanges/index.ts'
import { fromBytes, toBytes } from '../../protocol/wire.ts'
import { systemClock } from '../../src/clock.ts'
import { makeMember } from '../../src/identity/issue.ts'
import { type MeshState, readState } from '../../src/identity/state.ts'
import { knock } from '../../src/mesh/knock.ts'
import { tlsTransport } from '../../src/mesh/tls.ts'
import { introductionOf } from '../mesh/introductions.ts'
import { watched } from '../mesh/support.ts'
import { Manyhands, residentMiB } from './support.ts'

t.setTimeout(180_000)
const hands = new Manyhands(t)
const { WIRE_SEED = randomInt(2 ** 31) } = process.env
const seed = Number(WIRE_SEED)
/** Connections of the random part; each sends up to 20 frames. */
const ROUNDS = 60

const { nodes } = await hands.mesh('w1', 'w2')
const [self, ...workers] = await hands.list('nodes')
const targets: { address: string; pid: number; role: string }[] = [self, ...workers]
const memoryMiB = () => targets.map(({ pid }) => residentMiB(pid))

/** Everything still answers, and a task runs. */
const works = async (t: Test) => {
  t.match(await hands.call('run', '--', 'echo', 'alive'), { code: 0, stdout: /alive/ })
  for (const { child } of Object.values(nodes)) t.equal(child.exitCode, null)
}

/** The command line's own credentials, or a new worker's. */
const identityOf = async (state: MeshState, role: 'client' | 'worker') => {
  const hostName = `x-${randomBytes(4).toString('hex')}`
  const made =
    role === 'client'
      ? E.right(state.client)
      : await makeMember(state, { role, hostName, place: join(t.testdirName, hostName) })
  if (E.isLeft(made)) throw new Error(made.left.reason)
  const { party } = made.right
  const connection = role === 'client' ? `/${hostName}` : ''
  const own = introductionOf({
    node_type: role,
    node_id: `${party.nodeId}${connection}`,
    host_name: party.hostName,
  })
  return { credentials: made.right, own }
}

/** A member's socket to a node without any conversation on it. */
const openRaw = async (t: Test, url: string, role: 'client' | 'worker' = 'client') => {
  const state = readState(hands.state)
  if (E.isLeft(state)) throw new Error(state.left.reason)
  const { credentials, own } = await identityOf(state.right, role)
  const transport = tlsTransport({ credentials, clock: systemClock })
  const knocked = await knock({ url, transport, maxFrameBytes: 2 ** 20 })
  if (E.isLeft(knocked)) throw new Error(knocked.left.reason)
  const { ws } = knocked.right
  t.teardown(() => ws.terminate())
  const frames = watched<Record<string, unknown>>()
  const closed = new Promise<number>((resolve) => ws.on('close', resolve))
  ws.on('error', () => undefined)
  ws.on('message', (bytes) => {
    const frame = fromBytes(bytes as Buffer)
    if (E.isRight(frame)) frames.add({ ...frame.right })
  })
  ws.resume()
  let last = 0
  const ask = async (k: string, b: unknown) => {
    const q = ++last
    ws.send(toBytes({ q, k, b, t: 5000 }))
    return await frames.when(({ a }) => a === q)
  }
  return { own, ws, frames, closed, ask }
}

/** As openRaw, with both introductions made. */
const openMember = async (t: Test, url: string, role?: 'client' | 'worker') => {
  const raw = await openRaw(t, url, role)
  const { q } = await raw.frames.when(({ k }) => k === 'NodeTypeRequest')
  raw.ws.send(toBytes({ a: Number(q), k: 'NodeTypeAnswer', b: raw.own }))
  await raw.ask('NodeTypeRequest', raw.own)
  return raw
}

t.test('garbage before the handshake costs its own connection', async (t) => {
  for (const { address } of targets) {
    const { port, hostname } = new URL(address)
    for (const bytes of [
      randomBytes(4096),
      'GET / HTTP/1.1\r\n\r\n',
      'x'.repeat(100_000),
    ]) {
      const socket = connect(Number(port), hostname)
      t.teardown(() => socket.destroy())
      socket.on('error', () => undefined)
      socket.resume()
      socket.end(bytes)
      await new Promise((resolve) => socket.on('close', resolve))
    }
  }
  await works(t)
})

t.test('another version of the protocol is refused in words', async (t) => {
  const state = readState(hands.state)
  if (E.isLeft(state)) throw new Error(state.left.reason)
  const { keyPem: key, certificatePem: cert, trustPem: ca } = state.right.client
  for (const { address } of targets) {
    const ws = new WebSocket(address, 'manyhands.v2', {
      ...{ key, cert, ca, rejectUnauthorized: false },
    })
    t.teardown(() => ws.terminate())
    ws.on('error', () => undefined)
    const [, response] = await new Promise<unknown[]>((resolve) =>
      ws.on('unexpected-response', (...given) => resolve(given)),
    )
    t.match(response, {
      statusCode: 400,
      headers: { 'manyhands-refused': 'subprotocol' },
    })
  }
})

const endings: [what: string, bytes: string | Buffer, code: number][] = [
  ['a text frame', 'hello', 4400],
  ['bytes that are no frame', Buffer.from([0xc1]), 4400],
  ['a map with neither q nor a', toBytes({ k: 'Ack' } as never) as Buffer, 4400],
  ['an answer to nothing', toBytes({ a: 7, k: 'Ack', b: {} }) as Buffer, 4403],
  ['a frame of two MiB', Buffer.alloc(2 * 2 ** 20), 1009],
]
for (const [what, bytes, code] of endings)
  t.test(`${what} ends the connection with ${code}`, async (t) => {
    for (const { address } of targets) {
      const member = await openMember(t, address)
      member.ws.send(bytes, { binary: typeof bytes !== 'string' })
      t.equal(await member.closed, code)
    }
  })

t.test(
  'a request that is not for this node is answered, and the connection stays',
  async (t) => {
    for (const { address, role } of targets) {
      const member = await openMember(t, address, 'worker')
      const table: [kind: string, body: unknown, answer: object][] = [
        ['NoSuchKind', {}, { k: 'Error', b: { code: 'unknown-kind' } }],
        [
          'ManagerPing',
          { rel: 7 },
          { k: 'Error', b: { code: 'malformed', path: /rel/ } },
        ],
        ['TasksPing', { rel: 'r', tasks: [] }, { k: 'NotMine' }],
        ['TasksList', { limit: 1 }, { k: 'Error', b: { code: 'wrong-role' } }],
        ['ManagerBye', { rel: 'r', reason: 'leaving' }, { k: 'Ack' }],
      ]
      for (const [kind, body, answer] of table)
        t.match(await member.ask(kind, body), answer, `${kind} to a ${role}`)
    }
  },
)

t.test('the third malformed body ends the connection with 4405', async (t) => {
  for (const { address } of targets) {
    const member = await openMember(t, address)
    for (let strike = 0; strike < 3; strike++) void member.ask('ManagerPing', {})
    t.equal(await member.closed, 4405)
  }
  await works(t)
})

/** A small generator of our own: the same seed, the same bytes. */
const generator = (start: number) => {
  let state = start >>> 0
  const below = (limit: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
  const bytes = (most: number) =>
    Buffer.from(Array.from({ length: below(most) + 1 }, () => below(256)))
  return { below, bytes }
}

const values = [
  0,
  -1,
  1.5,
  2 ** 53,
  '',
  'x'.repeat(300),
  null,
  true,
  [],
  {},
  [[]],
  new Uint8Array(9),
]
const fields = [
  'rel',
  'tasks',
  'task_id',
  'attempt',
  'result',
  'error',
  'key',
  'batch',
  'limit',
  'offset',
  'cores',
  'memory',
  'more',
  'reason',
  'epoch',
  'boot',
]

t.test(`random frames cost nothing (seed ${seed})`, async (t) => {
  const { below, bytes } = generator(seed)
  const pick = <A>(from: readonly A[]): A => from[below(from.length)] as A
  const body = () =>
    Object.fromEntries(
      Array.from({ length: below(6) }, () => [pick(fields), pick(values)]),
    )
  const frame = (q: number): Uint8Array => {
    const valid = toBytes({
      q,
      k: pick([...kinds, 'Ack', 'Nonsense']),
      b: body(),
      t: pick([1, 1000, 10 ** 9]),
    })
    switch (below(4)) {
      case 0:
        return bytes(600)
      case 1: // a valid beginning
        return Buffer.concat([valid.subarray(0, below(valid.length)), bytes(40)])
      case 2: {
        const mutated = Buffer.from(valid)
        mutated[below(mutated.length)] = below(256)
        return mutated
      }
      default:
        return valid
    }
  }
  await works(t)
  const before = memoryMiB()
  for (let round = 0; round < ROUNDS; round++) {
    const { address } = pick(targets)
    const member = await openMember(t, address, pick(['client', 'worker']))
    for (let sent = 0, most = below(20); sent < most; sent++)
      member.ws.send(frame(sent + 2))
    member.ws.close()
    await member.closed
  }
  await works(t)
  for (const [at, now] of memoryMiB().entries())
    t.ok(now - (before[at] ?? 0) < 48, `grew from ${before[at]} to ${now} MiB`)
  const after = await hands.list('nodes')
  t.equal(after.filter(({ state }) => state === 'managed').length, 2)
})
