// The hub, its nodes and a client in one process: what is handed on, what is not, and that
// no host keeps another waiting. The hub of these tests may be hostile.

import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import {
  type AnswerOf,
  decodeAnswer,
  type Kind,
  packed,
  type RequestOf,
  type Scope,
  unpacked,
} from '../../protocol/index.ts'
import { makeMember } from '../../src/identity/issue.ts'
import { RequestSigner, signedVerifier } from '../../src/identity/signed-requests.ts'
import { type OpenedState, openState } from '../../src/identity/state.ts'
import type { Audit, Log, Peer } from '../../src/ports.ts'
import { Events } from '../../src/roles/events.ts'
import { HostRequests } from '../../src/roles/host-requests.ts'
import { Hub } from '../../src/roles/hub.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { createMemoryMesh, nodeIdOf } from '../support/memory-mesh.ts'

const silence = () => undefined
const log: Log = { info: silence, warn: silence, error: silence, debug: silence }
const audit: Audit = { record: silence }
/** As a client signs: the wall clock of these tests is the real one. */
const START_MS = 1_700_000_000_000

let opened: Promise<OpenedState> | undefined
/** One for all of these tests. */
const stateOf = (): Promise<OpenedState> => {
  opened ??= openState(`${t.testdir()}/state`).then((state) => {
    if (E.isLeft(state)) throw new Error(state.left.reason)
    return state.right
  })
  return opened
}

/** A client of the mesh with these scopes alone. */
const clientWith = async (state: OpenedState, hostName: string, scopes: Scope[]) => {
  const place = `${state.directory}/${hostName}`
  const made = await makeMember(state, { role: 'client', hostName, scopes, place })
  if (E.isLeft(made)) throw new Error(made.left.reason)
  return made.right
}

const world = async () => {
  const state = await stateOf()
  const clock = createManualClock(Math.max(START_MS, Date.now()))
  const net = createMemoryMesh(clock)
  const done: string[] = []
  const isRevoked = new Set<string>()
  /** Requests of kind ProcessWait, which wait until the test answers them. */
  const waiting: (() => void)[] = []
  const verify = signedVerifier({
    trust: state.trust,
    isRevoked: (nodeId) => isRevoked.has(nodeId),
    clock,
  })

  const addHost = (name: string, heard: (hub: Peer) => string | undefined = silence) => {
    const features = ['host-requests', 'events', 'processes']
    net.add({ name, role: 'worker', features })
    const events = new Events(clock, '0000000000000001')
    const hosted = new HostRequests({
      ...{ clock, log, audit, verify, objection: heard },
      self: { hostName: name, role: 'worker' },
      handlers: {
        ...events.handlers,
        ProcessStart: ({ spec }, respond, from) => {
          done.push(`${name} ${spec.path} by ${from.hostName}`)
          respond('ProcessStarted', { pid: done.length, process_id: `p${done.length}` })
        },
        ProcessStop: ({ process_id }, respond) => {
          done.push(`${name} stop ${process_id}`)
          respond('Ack', {})
        },
        ProcessList: (_body, respond) =>
          respond('ProcessesList', { pids: [7], processes: [] }),
        ProcessWait: (_body, respond) => {
          waiting.push(() => respond('NotFound', {}))
        },
      },
    })
    const nothing = { peerConnected: silence, peerLost: silence }
    net.attach(name, { handlers: hosted.handlers, ...nothing })
    return { hosted, events }
  }

  const { mesh } = net.add({ name: 'hub', role: 'hub', features: ['host-requests'] })
  const self = { node_id: nodeIdOf('hub'), boot_id: '0000000000000001', host_name: 'hub' }
  const hub = new Hub({
    ...{ clock, mesh, log, audit, self },
    answerHere: (_ask, respond) => respond('Error', { code: 'wrong-role' }),
  })
  net.attach('hub', {
    handlers: hub.handlers,
    peerConnected: (peer) => hub.peerConnected(peer),
    peerLost: (peer, how) => hub.peerLost(peer, how),
  })
  const client = net.add({ name: 'client', role: 'client' })
  net.connect('client', 'hub')
  const signer = new RequestSigner(state.client, clock)

  /** Asks the hub; the answers so far, of which there is one at most. */
  const ask = <K extends Kind>(kind: K, body: RequestOf<K>): AnswerOf<K>[] => {
    const answers: AnswerOf<K>[] = []
    client.mesh.ask(nodeIdOf('hub'), kind, body, 60_000, (outcome) => {
      if (E.isRight(outcome)) answers.push(outcome.right)
    })
    net.run()
    return answers
  }
  /** As a client asks for what only reads. */
  const read = <K extends Kind>(
    to: string,
    kind: K,
    body: RequestOf<K>,
    withinMs = 5000,
  ) =>
    ask('HubForward', {
      ...{ host_name: to, within_ms: withinMs },
      ...{ kind, body: packed(body) },
    })
  /** What the host answered, as the client reads it. */
  const its = <K extends Kind>(kind: K, answers: readonly AnswerOf<'HubForward'>[]) => {
    const [answer] = answers
    if (answer?.kind !== 'HubForwarded') return answer
    const map = unpacked(answer.body.body)
    const read = E.isRight(map) ? decodeAnswer(kind, answer.body.kind, map.right) : map
    return E.isRight(read) ? read.right : undefined
  }
  const start = (to: string, path: string, id?: string) =>
    signer.sign(to, 'ProcessStart', packed({ spec: { path } }), id)
  return {
    ...{ state, clock, net, hub, addHost, done, waiting, isRevoked, signer },
    ...{ ask, read, its, start },
  }
}

t.test('a read reaches the host that is named, and no other', async (t) => {
  const { addHost, net, read, its } = await world()
  addHost('pi')
  addHost('nas')
  net.connect('hub', 'pi')
  net.connect('hub', 'nas')
  t.match(its('ProcessList', read('pi', 'ProcessList', {})), {
    kind: 'ProcessesList',
    body: { pids: [7] },
  })
  for (const name of ['PI', 'pi.', 'none'])
    t.match(read(name, 'ProcessList', {}), [
      { kind: 'HubFailed', body: { reason: 'unknown-host' } },
    ])
})

t.test('a host that went away is known as such at once, with since when', async (t) => {
  const { addHost, net, read, clock } = await world()
  addHost('pi')
  net.connect('hub', 'pi')
  const open = read('pi', 'ProcessWait', { until: 'exited', wait_ms: 5000 })
  clock.advance(50)
  net.cut('hub', 'pi')
  net.run()
  t.match(open, [{ kind: 'HubFailed', body: { reason: 'host-unreachable' } }])
  const gone = { reason: 'host-unreachable', since_ms: clock.wall() }
  t.match(read('pi', 'ProcessList', {}), [{ kind: 'HubFailed', body: gone }])
  net.connect('hub', 'pi')
  t.match(read('pi', 'ProcessList', {}), [{ kind: 'HubForwarded' }])
})

t.test('a host that hangs is given its time, and keeps no other waiting', async (t) => {
  const { addHost, net, read, its, clock } = await world()
  addHost('hung')
  addHost('pi')
  net.connect('hub', 'hung')
  net.connect('hub', 'pi')
  net.silence('hung', true)
  const open = [1, 2, 3, 4].map(() => read('hung', 'ProcessList', {}, 300))
  t.match(its('ProcessList', read('pi', 'ProcessList', {})), { kind: 'ProcessesList' })
  clock.advance(299)
  net.run()
  t.same(open.flat(), [])
  clock.advance(1)
  net.run()
  for (const answers of open)
    t.match(answers, [{ kind: 'HubFailed', body: { reason: 'deadline' } }])
  t.ok(clock.advance(10_000) === undefined && net.peer('hung', 'hub'), 'still connected')
})

t.test('what does more than read is not done on the word of a hub', async (t) => {
  const { addHost, net, read, its, done } = await world()
  const { hosted } = addHost('pi')
  net.connect('hub', 'pi')
  const body = { spec: { path: '/bin/x' } }
  t.match(its('ProcessStart', read('pi', 'ProcessStart', body)), {
    kind: 'Error',
    body: { code: 'forbidden' },
  })
  // Nor if the hub is hostile and hands it on all the same.
  const answers: { kind: string; body: object }[] = []
  const ask = { kind: 'ProcessStart', body: packed(body) }
  hosted.answer(ask, (kind, answer) => answers.push({ kind, body: answer }), hubPeer(net))
  t.match(answers, [{ kind: 'HostAnswer', body: { kind: 'Error' } }])
  t.match(unpacked(Object(answers[0]?.body).body), E.right({ code: 'forbidden' }))
  t.same(done, [])
})

const hubPeer = (net: ReturnType<typeof createMemoryMesh>): Peer => net.peer('hub', 'pi')

t.test('what the client signed is done, once, however often it comes', async (t) => {
  const { addHost, net, ask, its, start, done } = await world()
  addHost('pi')
  net.connect('hub', 'pi')
  const to = { host_name: 'pi', within_ms: 5000 }
  const signed = start('pi', '/bin/x')
  const first = its('ProcessStart', ask('HubForward', { ...to, ...signed }))
  t.match(first, { kind: 'ProcessStarted', body: { pid: 1 } })
  t.match(done, [/^pi \/bin\/x by .*-client$/])
  t.same(its('ProcessStart', ask('HubForward', { ...to, ...signed })), first)
  // Signed anew, as after a lost connection: the same id, another time.
  const again = start('pi', '/bin/x', 'mine')
  const once = start('pi', '/bin/x', 'mine')
  const second = its('ProcessStart', ask('HubForward', { ...to, ...again }))
  t.same(its('ProcessStart', ask('HubForward', { ...to, ...once })), second)
  t.equal(done.length, 2)
  const other = start('pi', '/bin/y', 'mine')
  t.match(its('ProcessStart', ask('HubForward', { ...to, ...other })), {
    body: { code: 'forbidden', message: /used for another/ },
  })
  t.equal(done.length, 2)
})

t.test('the certificate is asked for where it is not known', async (t) => {
  const { addHost, net, ask, start, done } = await world()
  addHost('pi')
  net.connect('hub', 'pi')
  const { cert, ...bare } = start('pi', '/bin/x')
  const to = { host_name: 'pi', within_ms: 5000 }
  t.match(ask('HubForward', { ...to, ...bare }), [{ kind: 'CertificateNeeded' }])
  t.same(done, [])
  ask('HubForward', { ...to, ...bare, cert })
  const { cert: _, ...next } = start('pi', '/bin/y')
  t.match(ask('HubForward', { ...to, ...next }), [{ kind: 'HubForwarded' }])
  t.equal(done.length, 2)
})

t.test('what a hostile hub changes is not done', async (t) => {
  const { state, addHost, net, signer, start, done, clock, isRevoked } = await world()
  const { hosted } = addHost('pi')
  addHost('nas')
  net.connect('hub', 'pi')
  const ask = (body: Parameters<typeof hosted.answer>[0]): unknown => {
    let told: unknown
    hosted.answer(body, (kind, answer) => (told = { kind, body: answer }), hubPeer(net))
    return told
  }
  const good = start('pi', '/bin/x')
  const flip = (bytes: Uint8Array, at: number): Uint8Array => {
    const copy = Uint8Array.from(bytes)
    copy[at] = (copy[at] ?? 0) ^ 1
    return copy
  }
  for (let at = 0; at < good.s.length; at++)
    t.match(ask({ ...good, s: flip(good.s, at) }), { kind: 'Error' }, `byte ${at}`)
  for (let at = 0; at < 64; at++)
    t.match(ask({ ...good, sig: flip(good.sig, at) }), { kind: 'Error' })
  const reader = await clientWith(state, `reader-${Math.random()}`.replace('.', ''), [
    'read',
  ])
  const elsewhere = await clientWith(state, `else-${Math.random()}`.replace('.', ''), [
    'processes@nas*',
  ])
  const signs = (its: typeof reader) =>
    new RequestSigner(its, clock).sign(
      'pi',
      'ProcessStart',
      packed({ spec: { path: 'x' } }),
    )
  const wrong: [string, Parameters<typeof hosted.answer>[0]][] = [
    ['for another host', start('nas', '/bin/x')],
    ['another signature', { ...good, sig: start('pi', '/bin/x').sig }],
    ['another certificate', { ...good, ...certOf(new RequestSigner(reader, clock)) }],
    ['without the scope', signs(reader)],
    ['with the scope elsewhere', signs(elsewhere)],
    ['no request at all', signRaw(signer, packed({ hello: 1 }))],
    [
      'a relationship between nodes',
      signer.sign('pi', 'ManagerBye', packed({ rel: '' })),
    ],
    ['a request in a request', signer.sign('pi', 'HubForward', packed({}))],
    ['an unknown kind', signer.sign('pi', 'toString', packed({}))],
    ['a body that is none', signer.sign('pi', 'ProcessStop', Buffer.from([0xc1]))],
  ]
  for (const [what, body] of wrong) {
    const answer = ask(body) as { kind: string; body: { kind: string } }
    t.ok(answer.kind === 'Error' || answer.body.kind === 'Error', what)
  }
  clock.advance(60_001)
  t.match(ask(good), { body: { code: 'clock-skew' } }, 'kept until it has ended')
  isRevoked.add(state.client.party.nodeId)
  t.match(ask(start('pi', '/bin/x')), { body: { code: 'forbidden' } }, 'of who is out')
  t.same(done, [], 'nothing was done')
})

const certOf = (signer: RequestSigner) => {
  const { cert, cert_id } = signer.sign('pi', 'ProcessStop', packed({}))
  return { cert, cert_id }
}

/** What a client of ours never would: a signature over something else. */
const signRaw = (signer: RequestSigner, s: Uint8Array) => ({
  ...signer.sign('pi', 'ProcessStop', packed({})),
  s,
})

t.test('a restart of the host takes nothing that was signed before', async (t) => {
  const { addHost, net, ask, start, clock, done, its } = await world()
  addHost('pi')
  net.connect('hub', 'pi')
  const signed = start('pi', '/bin/x')
  const to = { host_name: 'pi', within_ms: 5000 }
  ask('HubForward', { ...to, ...signed })
  clock.advance(10)
  const { hosted } = addHost('pi')
  net.attach('pi', {
    handlers: hosted.handlers,
    peerConnected: silence,
    peerLost: silence,
  })
  net.connect('hub', 'pi')
  const answer = its('ProcessStart', ask('HubForward', { ...to, ...signed }))
  t.match(answer, { kind: 'Error', body: { code: 'not-ready' } })
  t.equal(done.length, 1)
})

t.test('a host hears the hubs alone that its owner named', async (t) => {
  const { addHost, net, read, its, ask, start, done } = await world()
  addHost('pi', ({ hostName }) => (hostName === 'hub' ? 'not this hub' : undefined))
  net.connect('hub', 'pi')
  const no = { kind: 'Error', body: { code: 'forbidden', message: 'not this hub' } }
  t.match(its('ProcessList', read('pi', 'ProcessList', {})), no)
  const signed = { host_name: 'pi', within_ms: 5000, ...start('pi', '/bin/x') }
  t.match(its('ProcessStart', ask('HubForward', signed)), no)
  t.same(done, [])
})

t.test('a client reads where its scope holds, and no further', async (t) => {
  const { addHost, net, read, its, hub } = await world()
  addHost('pi')
  addHost('nas')
  net.connect('hub', 'pi')
  net.connect('hub', 'nas')
  net.add({ name: 'guest', role: 'client', scopes: ['read@pi'] })
  net.connect('guest', 'hub')
  const from = net.peer('guest', 'hub')
  const answers: AnswerOf<'HubForward'>[] = []
  const asked = (to: string, kind: Kind): unknown => {
    const body = { host_name: to, within_ms: 1000, kind, body: packed({ wait_ms: 0 }) }
    answers.length = 0
    hub.forward(body, from, (answer) => answers.push(answer))
    net.run()
    return its(kind, answers)
  }
  t.match(asked('pi', 'ProcessList'), { kind: 'ProcessesList' })
  t.match(asked('nas', 'ProcessList'), { body: { code: 'forbidden' } })
  t.match(asked('pi', 'EventsRead'), { body: { code: 'forbidden', message: /signed/ } })
  t.match(its('EventsRead', read('pi', 'EventsRead', { wait_ms: 0 })), { kind: 'Events' })
  const names: string[] = []
  hub.lists.nodes(from.rights, (nodes) =>
    names.push(...nodes.map(({ host_name }) => host_name)),
  )
  net.run()
  t.same(names, ['hub', 'pi'])
})

t.test(
  'half a signature is none: it opens nothing that the client may not read',
  async (t) => {
    const { addHost, net, its, hub } = await world()
    const { hosted } = addHost('nas')
    net.connect('hub', 'nas')
    net.add({ name: 'guest', role: 'client', scopes: ['read@pi'] })
    net.connect('guest', 'hub')
    const from = net.peer('guest', 'hub')
    const read = { kind: 'ProcessList', body: packed({}) }
    const halves = [
      { s: packed({}) },
      { sig: new Uint8Array(64) },
      { s: packed({}), sig: new Uint8Array(64) },
      { cert_id: '0'.repeat(64) },
    ]
    for (const half of halves) {
      const answers: AnswerOf<'HubForward'>[] = []
      const to = { host_name: 'nas', within_ms: 1000 }
      hub.forward({ ...to, ...read, ...half }, from, (answer) => answers.push(answer))
      net.run()
      t.match(its('ProcessList', answers), { kind: 'Error', body: { code: 'forbidden' } })
      const told: string[] = []
      hosted.answer(
        { ...read, ...half },
        (kind) => told.push(kind),
        net.peer('hub', 'nas'),
      )
      t.same(told, ['Error'], 'nor at the host')
    }
  },
)

t.test('two nodes of one name: the first stays', async (t) => {
  const { addHost, net, read, its } = await world()
  addHost('pi')
  net.connect('hub', 'pi')
  net.add({ name: 'other', hostName: 'pi', role: 'worker' })
  net.attach('other', { handlers: {}, peerConnected: silence, peerLost: silence })
  net.connect('hub', 'other')
  net.run()
  t.match(its('ProcessList', read('pi', 'ProcessList', {})), { kind: 'ProcessesList' })
  t.throws(() => net.peer('other', 'hub'), 'it was sent away')
})

t.test('events of all nodes come in one stream, resumed where it broke', async (t) => {
  const { addHost, net, ask, clock } = await world()
  const { events } = addHost('pi')
  const [first] = ask('EventsRead', { wait_ms: 0 })
  if (first?.kind !== 'Events') throw new Error('no events')
  net.connect('hub', 'pi')
  net.run()
  const started = {
    topic: 'processes',
    name: 'process-started',
    host_name: 'pi',
  } as const
  events.tell({ ...started, process_id: 'p1' })
  // One that speaks of another host is not believed.
  events.tell({ ...started, host_name: 'nas' })
  const after = (cursor: string) => {
    const answers = ask('EventsRead', { after: cursor, wait_ms: 5000 })
    for (let turns = 0; turns < 5 && answers.length === 0; turns++) {
      clock.advance(20)
      net.run()
    }
    const [answer] = answers
    return answer?.kind === 'Events' ? answer.body : undefined
  }
  const second = after(first.body.next)
  t.match(second?.events, [{ name: 'node-connected', host_name: 'pi', role: 'worker' }])
  const third = after(second?.next ?? '')
  t.match(third?.events, [{ name: 'process-started', host_name: 'pi', process_id: 'p1' }])
  t.equal(third?.events.length, 1)
  net.cut('hub', 'pi')
  events.tell({ ...started, process_id: 'p2' })
  net.connect('hub', 'pi')
  net.run()
  const names: string[] = []
  let cursor = third?.next ?? ''
  while (names.length < 3) {
    const part = after(cursor)
    if (part === undefined) break
    t.notOk(part.reset, 'nothing was missed')
    names.push(...part.events.map(({ name }) => name))
    cursor = part.next
  }
  t.same(names, ['node-lost', 'node-connected', 'process-started'])
})

t.test('the processes of all hosts in one list; who is silent is named', async (t) => {
  const { addHost, net, ask, clock } = await world()
  for (const name of ['arm', 'nas', 'pi']) {
    addHost(name)
    net.connect('hub', name)
  }
  net.silence('nas', true)
  const answers = ask('HubProcesses', { within_ms: 500 })
  t.same(answers, [])
  clock.advance(500)
  net.run()
  t.match(answers, [
    {
      kind: 'HubProcessesList',
      body: {
        hosts: [
          { host_name: 'arm', processes: [] },
          { host_name: 'nas', processes: [], failed: /did not answer in time/ },
          { host_name: 'pi', processes: [] },
        ],
        next: undefined,
      },
    },
  ])
  const rest = ask('HubProcesses', { within_ms: 500, after: 'nas' })
  t.match(rest, [{ body: { hosts: [{ host_name: 'pi' }] } }])
})

t.test('many hosts come in pages, each once', async (t) => {
  const { addHost, net, ask } = await world()
  const names = Array.from({ length: 150 }, (_, at) => `h${1000 + at}`)
  for (const name of names) {
    addHost(name)
    net.connect('hub', name)
  }
  const seen: string[] = []
  for (let after: string | undefined = '0'; after !== undefined; ) {
    const [answer]: AnswerOf<'HubProcesses'>[] = ask('HubProcesses', {
      within_ms: 500,
      after,
    })
    if (answer?.kind !== 'HubProcessesList') throw new Error('no list')
    seen.push(...answer.body.hosts.map(({ host_name }) => host_name))
    after = answer.body.next
  }
  t.same(seen, names)
})

t.test('the tasks of all managers in one list, page by page, each once', async (t) => {
  const { net, ask, hub, clock, state } = await world()
  const verify = signedVerifier({ trust: state.trust, isRevoked: () => false, clock })
  const addManager = (name: string, ledgerId: string, count: number) => {
    const features = ['host-requests']
    net.add({ name, role: 'manager', features, ledgerId })
    const { handlers } = new HostRequests({
      ...{ clock, log, audit, verify, objection: silence },
      self: { hostName: name, role: 'manager' },
      handlers: {
        TasksList: ({ limit, after }, respond) => {
          const from = after === undefined ? count : Number(after.split('-')[1]) - 1
          const numbers = Array.from(
            { length: Math.min(limit, from) },
            (_, at) => from - at,
          )
          const tasks = numbers.map((number) => ({
            ...{ task_id: `${ledgerId}-${number}`, state: 'completed' as const },
            ...{ attempt: 1, submitted_ms: 0, command: 'x', batch: '' },
          }))
          const last = tasks.at(-1)?.task_id
          const hasMore = from - tasks.length > 0
          respond('TaskList', { tasks, ...(hasMore && last && { next: last }) })
        },
      },
    })
    net.attach(name, { handlers, peerConnected: silence, peerLost: silence })
    net.connect('hub', name)
  }
  addManager('m-b', 'bbbbbbbbbb', 3)
  addManager('m-a', 'aaaaaaaaaa', 5)
  addManager('m-0', '0000000000', 0)
  const seen: string[] = []
  let after: string | undefined
  do {
    const [answer]: AnswerOf<'TasksList'>[] = ask('TasksList', {
      limit: 2,
      ...(after !== undefined && { after }),
    })
    if (answer?.kind !== 'TaskList') throw new Error('no list')
    seen.push(...answer.body.tasks.map(({ task_id }) => task_id))
    after = answer.body.next
  } while (after !== undefined)
  const all = (ledger: string, count: number) =>
    Array.from({ length: count }, (_, at) => `${ledger}-${count - at}`)
  t.same(seen, [...all('aaaaaaaaaa', 5), ...all('bbbbbbbbbb', 3)])
  const gone = ask('TasksList', { limit: 2, after: 'cccccccccc-1' })
  t.match(gone, [{ kind: 'TaskList', body: { tasks: [] } }])
  net.add({ name: 'guest', role: 'client', scopes: ['read@pi'] })
  net.connect('guest', 'hub')
  const answers: object[] = []
  const { rights } = net.peer('guest', 'hub')
  hub.lists.tasks({ limit: 1 }, (kind, body) => answers.push({ kind, body }), rights)
  t.match(answers, [{ kind: 'Error', body: { code: 'forbidden' } }])
})
