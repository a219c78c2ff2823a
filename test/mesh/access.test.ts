// Who may ask what, over real sockets with real certificates: every role to every role,
// every kind, and every scope of a client, against a table written here by hand.

import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import {
  ALL_SCOPES,
  fromBytes,
  type Handlers,
  isKind,
  type Kind,
  kinds,
  type NodeType,
  type RequestOf,
  type Scope,
} from '../../protocol/index.ts'
import { systemClock, systemRandom } from '../../src/clock.ts'
import { dialMesh } from '../../src/mesh/dial.ts'
import { NodeMesh } from '../../src/mesh/mesh.ts'
import type { Peer } from '../../src/ports.ts'
import { bodies as rows } from '../support/rows.ts'
import { sampleBytes } from '../support/samples.ts'
import { memberOf } from './members.ts'
import { askOn, keptLog } from './support.ts'

/** NodeTypeRequest is the conversation's own, and tested with it. */
const ASKED = kinds.filter((kind) => kind !== 'NodeTypeRequest')

/** From role to role; `client:SCOPE` with that scope; `here`: any role, where it holds. Nothing else is. */
const ALLOWED: Readonly<Record<Kind, readonly string[]>> = {
  NodeTypeRequest: ['any'],
  ManagerRequest: ['worker manager'],
  ManagerBye: ['worker manager', 'manager worker'],
  ManagerPing: ['worker manager', 'manager worker'],
  TasksExecute: ['manager worker'],
  TasksPing: ['manager worker'],
  TasksAbord: ['manager worker'],
  TaskStarted: ['worker manager'],
  TaskError: ['worker manager'],
  TaskCompleted: ['worker manager'],
  TaskOutputRead: ['manager worker'],
  BlobRead: ['worker manager', 'manager worker'],
  BlobRelease: ['worker manager', 'manager worker'],
  TasksSubmit: ['client:tasks:run manager'],
  TasksList: ['client:read manager', 'client:read hub'],
  TaskShow: ['client:read manager'],
  TasksWait: ['client:read manager'],
  TasksCancel: ['client:tasks:run manager'],
  TasksRetry: ['client:tasks:run manager'],
  TasksExplain: ['client:read manager'],
  TaskInput: ['client:tasks:run manager', 'manager worker'],
  TaskLogRead: ['client:read manager'],
  NodesList: ['client:read manager', 'client:read hub'],
  CertificateRenew: ['any'],
  CertificateShow: ['any'],
  RevocationsRead: ['any'],
  InviteCreate: ['client:admin here'],
  MembersList: ['client:admin here'],
  MembersRevoke: ['client:admin here'],
  ProcessStart: ['client:processes here'],
  ProcessStop: ['client:processes here'],
  ProcessQuery: ['client:read here'],
  ProcessWait: ['client:read here'],
  ProcessList: ['client:read here'],
  ProcessSignal: ['client:processes here'],
  ProcessInput: ['client:processes here'],
  ProcessOutputRead: ['client:read here'],
  HubForward: ['client:read hub'],
  HubProcesses: ['client:read hub'],
  HostRequest: ['hub manager', 'hub worker', 'hub hub', 'hub client'],
  EventsRead: [
    'client:read manager',
    'client:read worker',
    'client:read hub',
    'client:read client',
  ],
}

/** What the wrong role is answered, where it is not Error{wrong-role}. */
const TO_STRANGERS: Readonly<Partial<Record<Kind, object>>> = {
  ManagerRequest: { kind: 'ManagerAnswer', body: { accepted: false } },
  ManagerBye: { kind: 'Ack' },
  ManagerPing: { kind: 'NotMine' },
  TasksExecute: { kind: 'NotMine' },
  TasksPing: { kind: 'NotMine' },
  TasksAbord: { kind: 'NotMine' },
  TaskStarted: { kind: 'NotMine' },
  TaskError: { kind: 'NotMine' },
  TaskCompleted: { kind: 'NotMine' },
  TaskOutputRead: { kind: 'NotMine' },
  TaskInput: { kind: 'NotMine' },
}

const ROLES: readonly NodeType[] = ['manager', 'worker', 'hub', 'client']

interface Asker {
  readonly role: NodeType
  readonly scopes: readonly Scope[]
}

const ASKERS: readonly Asker[] = [
  ...ROLES.filter((role) => role !== 'client').map((role) => ({ role, scopes: [] })),
  ...ALL_SCOPES.map((scope) => ({ role: 'client' as const, scopes: [scope] })),
  { role: 'client', scopes: [] },
  { role: 'client', scopes: ALL_SCOPES },
  { role: 'client', scopes: ['read@lab-*', 'tasks:run@lab-?'] },
  { role: 'client', scopes: ['read@work*', 'processes@*b'] },
  // Scopes are a client's: in the certificate of another role they give nothing.
  { role: 'worker', scopes: ALL_SCOPES },
]

/** The nodes of this test are called as their roles. */
const HELD: Readonly<Record<string, readonly string[]>> = {
  'read@work*': ['read worker'],
  'processes@*b': ['processes hub'],
}

/** undefined: its handler is called; else what it is answered. */
const expected = (kind: Kind, { role, scopes }: Asker, to: NodeType) => {
  const ways = ALLOWED[kind]
  if (ways.includes('any') || ways.includes(`${role} ${to}`)) return undefined
  const names = scopes.map((scope) => scope.split('@')[0])
  const taken = ways.find(
    (way) => role === 'client' && (way.endsWith(` ${to}`) || way.endsWith(' here')),
  )
  const scope = /^client:(\S+) /.exec(taken ?? '')?.[1]
  if (scope === undefined)
    return TO_STRANGERS[kind] ?? { kind: 'Error', body: { code: 'wrong-role' } }
  const holds = scopes.some(
    (one) => one === scope || HELD[one]?.some((it) => it === `${scope} ${to}`),
  )
  if (taken?.endsWith(' here') ? holds : names.includes(scope)) return undefined
  return {
    kind: 'Error',
    body: { code: 'forbidden', message: RegExp(`scope ${scope}(,| on .* is not)`) },
  }
}

const bodies = new Map(
  rows.flatMap((row) => {
    if (row.answer !== undefined || !isKind(row.kind)) return []
    const frame = fromBytes(sampleBytes(row))
    return E.isRight(frame) ? [[row.kind, frame.right.b] as const] : []
  }),
)

/** A node that serves every kind there is, whatever its role, and says whom it heard. */
const serveAll = async (role: NodeType) => {
  const heard: Kind[] = []
  const handlers = Object.fromEntries(
    kinds.map((kind) => [
      kind,
      (_body: unknown, respond: (kind: 'Error', body: object) => void) => {
        heard.push(kind)
        respond('Error', { code: 'internal', message: 'reached' })
      },
    ]),
  ) as Handlers<Peer> // of all kinds; what they answer is allowed for each
  const { self, transport } = await memberOf({ node_type: role, host_name: role })
  const mesh = new NodeMesh({
    transport,
    self,
    address: '127.0.0.1',
    port: 0,
    keeps: [],
    clock: systemClock,
    random: systemRandom,
    log: keptLog().log,
    onFatal: () => undefined,
  })
  const none = () => undefined
  const opened = await mesh.open({ handlers, peerConnected: none, peerLost: none })
  if (E.isLeft(opened)) throw new Error(opened.left.reason)
  return { mesh, heard, url: opened.right.url }
}

t.test('every cell of the table holds, for every scope', async (t) => {
  t.equal(bodies.size, kinds.length, 'there is a request of every kind')
  const cells: string[] = []
  const wrong: string[] = []
  for (const to of ROLES) {
    const node = await serveAll(to)
    t.teardown(() => node.mesh.close())
    for (const asker of ASKERS) {
      const member = await memberOf({ node_type: asker.role }, undefined, asker)
      const dialled = await dialMesh({ url: node.url, clock: systemClock, ...member })
      if (E.isLeft(dialled)) throw new Error(dialled.left.reason)
      for (const kind of ASKED) {
        node.heard.length = 0
        const its = bodies.get(kind) as RequestOf<Kind> // of the row of `kind`
        const answer = await askOn(dialled.right, kind, its)
        const denial = expected(kind, asker, to)
        const cell = `${kind} from a ${asker.role} (${asker.scopes}) to a ${to}`
        cells.push(cell)
        const reached = denial === undefined ? [kind] : []
        if (`${node.heard}` !== `${reached}`) wrong.push(`${cell}: reached ${node.heard}`)
        if (denial !== undefined) t.match(answer, E.right(denial), cell)
      }
      await dialled.right.close()
    }
  }
  t.same(wrong, [])
  t.equal(cells.length, ROLES.length * ASKERS.length * ASKED.length)
})

t.test('who dialled is asked no more than who was dialled', async (t) => {
  const manager = await serveAll('manager')
  t.teardown(() => manager.mesh.close())
  const worker = await memberOf({ node_type: 'worker' })
  const dialled = await dialMesh({ url: manager.url, clock: systemClock, ...worker })
  if (E.isLeft(dialled)) throw new Error(dialled.left.reason)
  t.teardown(() => dialled.right.close())
  const ask = <K extends Kind>(kind: K) =>
    new Promise((resolve) =>
      manager.mesh.ask(
        worker.self.node_id,
        kind,
        bodies.get(kind) as RequestOf<K>, // of the row of `kind`
        2000,
        resolve,
      ),
    )
  t.match(await ask('TaskStarted'), E.right({ kind: 'NotMine' }))
  t.match(await ask('NodesList'), E.right({ body: { code: 'wrong-role' } }))
})
