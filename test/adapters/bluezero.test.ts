// The BlueZero face over a mesh that the test plays: its words, its nesting, and an answer to
// everything that it can be sent.

import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import type { NodeInfo } from '../../protocol/index.ts'
import { blueZero } from '../../src/adapters/bluezero/face.ts'
import { parseRequest } from '../../src/adapters/bluezero/messages.ts'
import { ClientError, type ClientFailure } from '../../src/client/failures.ts'
import type { FaceClient } from '../../src/http/face.ts'

/** What the host answers, or fails with, by the kind of request. */
type Answers = Readonly<Record<string, { kind: string; body?: object } | ClientFailure>>

const NOW_MS = 1_700_000_000_000
const node = (host_name: string, more: Partial<NodeInfo> = {}): NodeInfo => ({
  ...{ node_id: host_name, boot_id: '0', host_name, role: 'worker', since_ms: 0 },
  ...{ state: 'connected', features: ['processes'] },
  ...more,
})

const face = (answers: Answers, isHub = true) => {
  const asked: unknown[] = []
  const client = {
    ask: (host: string, kind: string, body: object) => {
      asked.push([host, kind, body])
      const answer = answers[kind] ?? { kind: 'NotFound' }
      return 'body' in answer || answer.kind === 'Ack' || answer.kind === 'NotFound'
        ? Promise.resolve({ body: {}, ...answer })
        : Promise.reject(new ClientError(answer as ClientFailure))
    },
    nodes: () =>
      Promise.resolve([
        node('pi'),
        node('away', { state: 'unreachable' }),
        node('m', { role: 'manager', features: [] }),
      ]),
    events: async function* () {},
  } as unknown as FaceClient // of the kinds that it asks for
  const serve = blueZero({
    face: { hostName: 'pi', isHub, as: () => client },
    now: () => NOW_MS,
  })
  const post = async (path: string, body: unknown) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const request = new Request(`http://x${path}`, { method: 'POST', body: text })
    const response = await serve(request, { grant: { rights: undefined, by: 'test' } })
    t.equal(response.headers.get('b0-content-type'), 'b0::process_manager::Response')
    return { status: response.status, body: await response.json() }
  }
  const get = async (path: string) => {
    const response = await serve(new Request(`http://x${path}`), {
      grant: { rights: undefined, by: 'test' },
    })
    return { status: response.status, text: await response.text() }
  }
  return { post, get, asked }
}
const OWN = '/process_manager/control'
const HUB = '/process_manager_hub/control'

t.test('each operation, as the document has it', async (t) => {
  const { post, asked } = face({
    ProcessStart: { kind: 'ProcessStarted', body: { pid: 42, process_id: 'p1' } },
    ProcessStop: { kind: 'Ack' },
    ProcessQuery: { kind: 'ProcessStatus', body: { running: true } },
    ProcessList: { kind: 'ProcessesList', body: { pids: [1, 42], processes: [] } },
  })
  const start = { path: '/bin/x', args: ['a', ''] }
  const rows: [string, object, object][] = [
    ['start_process', start, { pid: 42, success: true }],
    ['stop_process', { pid: 42 }, { success: true }],
    ['query_process_status', { pid: 42 }, { running: true, success: true }],
    ['list_active_processes', {}, { pids: [1, 42] }],
  ]
  for (const [name, request, answer] of rows) {
    t.same(await post(OWN, { [name]: request }), {
      status: 200,
      body: { [name]: answer },
    })
    t.same(await post(HUB, { host_name: 'nas', [name]: request }), {
      status: 200,
      body: { success: true, [name]: answer },
    })
  }
  t.same(asked[0], ['pi', 'ProcessStart', { spec: start }])
  t.same(asked[1], ['nas', 'ProcessStart', { spec: start }])
  for (const name of ['process_manager@nas', 'process_manager%40nas'])
    t.same(await post(`/${name}/control`, { list_active_processes: {} }), {
      status: 200,
      body: { list_active_processes: { pids: [1, 42] } },
    })
  t.same(asked.at(-1), ['nas', 'ProcessList', {}])
})

t.test(
  'what has ended is told with its code, and by a signal with that too',
  async (t) => {
    const query = { query_process_status: { pid: 42 } }
    const of = (body: object) => face({ ProcessQuery: { kind: 'ProcessStatus', body } })
    t.same((await of({ running: false, exit_code: 3 }).post(OWN, query)).body, {
      query_process_status: { exit_code: 3, running: false, success: true },
    })
    const killed = { running: false, exit_code: 137, signal: 'SIGKILL' }
    t.match((await of(killed).post(OWN, query)).body, {
      query_process_status: { exit_code: 137, signal: 'SIGKILL', success: true },
    })
  },
)

t.test('failures in its words', async (t) => {
  const no = (error_message: string) => ({ error_message, success: false })
  const refused = (reason: string, message = 'why') =>
    face({ ProcessStart: { kind: 'Refused', body: { reason, message } } })
  const words: [string, string][] = [
    ['ENOENT', 'no such file or directory'],
    ['EACCES', 'permission denied'],
    ['EISDIR', 'permission denied'],
    ['forbidden', 'permission denied'],
    ['ENOMEM', 'spawn failed: ENOMEM'],
    ['busy', 'why'],
  ]
  const start = { start_process: { path: '/bin/x' } }
  for (const [reason, text] of words)
    t.same((await refused(reason).post(OWN, start)).body, { start_process: no(text) })
  const { post, asked } = face({})
  for (const path of ['', 'x', './x', 'bin/x'])
    t.same((await post(OWN, { start_process: { path } })).body, {
      start_process: no('permission denied'),
    })
  for (const pid of [0, -1]) await post(OWN, { stop_process: { pid } })
  t.same(asked, [], 'nobody was asked')
  for (const name of ['stop_process', 'query_process_status'])
    t.same((await post(OWN, { [name]: { pid: 7 } })).body, { [name]: no('no such pid') })
  const code = 'forbidden'
  const rejected = {
    kind: 'rejected',
    exchange: 'ProcessStop',
    code,
    message: '',
  } as const
  t.same(
    (await face({ ProcessStop: rejected }).post(OWN, { stop_process: { pid: 7 } })).body,
    { stop_process: no('permission denied') },
  )
})

t.test(
  'the HUB tells whether it was routed; a host that is gone is soon unknown',
  async (t) => {
    const list = { host_name: 'nas', list_active_processes: {} }
    const gone = (sinceMs?: number): ClientFailure => ({
      ...{ kind: 'unreachable', host: 'nas', reason: '' },
      ...(sinceMs !== undefined && { sinceMs }),
    })
    const rows: [ClientFailure, string][] = [
      [{ kind: 'not-found', what: 'host nas' }, 'unknown host'],
      [gone(), 'host unreachable'],
      [gone(NOW_MS - 1999), 'host unreachable'],
      [gone(NOW_MS - 2001), 'unknown host'],
    ]
    for (const [failure, error_message] of rows)
      t.same(await face({ ProcessList: failure }).post(HUB, list), {
        status: 200,
        body: { success: false, error_message },
      })
  },
)

t.test('the nodes that run programs are listed, by names that are routed', async (t) => {
  const { status, text } = await face({}).get('/process_manager_hub/active_nodes')
  t.equal(status, 200)
  t.same(JSON.parse(text), {
    nodes: [
      {
        host_name: 'pi',
        node_name: 'process_manager@pi',
        service_name: 'process_manager@pi/control',
        last_active: NOW_MS * 1000,
      },
    ],
  })
  const followed = await face({}).get('/process_manager_hub/active_nodes?follow=1')
  t.match(followed.text, /^\{"nodes":.*\}\n$/)
})

t.test('a node that is no hub answers for itself', async (t) => {
  const { post, get } = face(
    { ProcessList: { kind: 'ProcessesList', body: { pids: [] } } },
    false,
  )
  t.match(await post(OWN, { list_active_processes: {} }), { status: 200 })
  t.match(await post('/process_manager@pi/control', { list_active_processes: {} }), {
    status: 200,
  })
  const no = { status: 404, body: { error_message: /no hub/ } }
  t.match(await post('/process_manager@nas/control', {}), no)
  t.match(await post(HUB, { host_name: 'pi' }), no)
  t.match(await get('/process_manager_hub/active_nodes'), { status: 404 })
})

t.test('whatever comes is answered, and what is malformed with 400', async (t) => {
  const { post } = face({})
  const bad: unknown[] = [
    '',
    '{',
    '[]',
    'null',
    '"x"',
    '1',
    {},
    { stop_process: null },
    { stop_process: {} },
    { stop_process: { pid: 1.5 } },
    { stop_process: { pid: '1' } },
    { stop_process: { pid: 99_999_999_999 } },
    { query_process_status: { pid: null } },
    { start_process: {} },
    { start_process: { path: 1 } },
    { start_process: { path: '/x', args: 'a' } },
    { start_process: { path: '/x', args: [1] } },
    { list_active_processes: 1 },
    { no_such_operation: {} },
  ]
  for (const body of bad) {
    t.match(await post(OWN, body), { status: 400, body: { success: false } })
    const hub = typeof body === 'object' ? { host_name: 'nas', ...body } : body
    t.match(await post(HUB, hub), {
      status: 400,
      body: { error_message: /^bad request: / },
    })
  }
  for (const host_name of [undefined, null, 1, {}])
    t.match(await post(HUB, { host_name, list_active_processes: {} }), { status: 400 })
  t.match(await post(OWN, `{"stop_process":{"pid":${' '.repeat(1024 * 1024)}1}}`), {
    status: 413,
  })
  t.match(await post('/process_manager/other', {}), { status: 404 })
})

t.test(
  'of several operations one is served, and unknown members are passed over',
  async (t) => {
    const body = JSON.stringify({
      ...{ list_active_processes: {}, query_process_status: { pid: 1 } },
      ...{ stop_process: { pid: 2, more: 1 }, other: [] },
    })
    t.match(
      parseRequest(body, { isHub: false }),
      E.right({ operation: { name: 'stop_process' } }),
    )
    fc.assert(
      fc.property(fc.json(), fc.boolean(), (text, isHub) => {
        parseRequest(text, { isHub })
      }),
    )
  },
)
