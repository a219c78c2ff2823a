// The API's own parts: what it takes and refuses, how it tells what went wrong, and that what
// it says of itself is what it does. (test/end-to-end/api.test.ts asks a real mesh.)

import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { Ajv2020 } from 'ajv/dist/2020.js'
import t from 'tap'
import { ClientError, type ClientFailure } from '../../src/client/failures.ts'
import { api, routes } from '../../src/http/api/api.ts'
import { etagOf, jsonOf, withBytes } from '../../src/http/api/json.ts'
import { openApiOf } from '../../src/http/api/openapi.ts'
import { problemOf } from '../../src/http/api/problem.ts'
import { Query } from '../../src/http/api/query.ts'
import type { Face, FaceClient } from '../../src/http/face.ts'

const logged: unknown[] = []
const silence = () => undefined
const log = {
  info: silence,
  warn: silence,
  debug: silence,
  error: (event: string) => void logged.push(event),
}

/** An API over a mesh that answers by the kind of request, or fails. */
const apiOver = (answers: Readonly<Record<string, object | ClientFailure | Error>>) => {
  const asked: unknown[] = []
  const client = {
    ask: (host: string, kind: string, body: object) => {
      asked.push([host, kind, body])
      const answer = answers[kind]
      if (answer instanceof Error) return Promise.reject(answer)
      if (answer === undefined) return Promise.resolve({ kind: 'NotFound', body: {} })
      return 'body' in answer
        ? Promise.resolve(answer)
        : Promise.reject(new ClientError(answer as ClientFailure))
    },
    nodes: () => Promise.resolve([]),
    manager: () => Promise.resolve('m'),
    events: async function* () {},
  } as unknown as FaceClient // of the kinds that are asked for
  const face: Face = { hostName: 'm', isHub: false, as: () => client }
  const serve = api({ face, version: '1.2.3', log })
  const outgoing = { once: silence, headersSent: false } as unknown as ServerResponse
  const ask = async (method: string, path: string, body?: unknown, headers = {}) => {
    const request = new Request(`http://x${path}`, {
      method,
      headers,
      ...(body !== undefined && {
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    })
    const content = typeof body === 'string' ? body : (JSON.stringify(body) ?? '')
    const incoming = Readable.from([Buffer.from(content)]) as IncomingMessage
    const grant = { rights: undefined, by: 'test' }
    const response = await serve(request, { grant, incoming, outgoing })
    const text = await response.text()
    return {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: text === '' ? undefined : JSON.parse(text),
    }
  }
  return { ask, asked }
}

t.test('tasks are handed in with defaults, a key, and where to look', async (t) => {
  const body = { task_ids: ['ledger0001-7'] }
  const { ask, asked } = apiOver({ TasksSubmit: { kind: 'TasksSubmitted', body } })
  const task = { job_addr: 'exec:true', stdin: Buffer.from('hi').toString('base64') }
  const told = await ask('POST', '/v1/tasks', task, { 'idempotency-key': 'mine' })
  t.match(told, { status: 202, body, headers: { location: '/v1/tasks/ledger0001-7' } })
  t.ok(told.headers['x-request-id'])
  const full = {
    ...task,
    arguments: [],
    timeout_ms: 0,
    stdin: new Uint8Array([104, 105]),
  }
  t.match(asked, [['m', 'TasksSubmit', { key: 'mine', batch: 'mine', tasks: [full] }]])
  await ask('POST', '/v1/tasks', { tasks: [task, task], batch: 'b', max_fails: 1 })
  t.match(asked[1], [
    'm',
    'TasksSubmit',
    { batch: 'b', max_fails: 1, tasks: { length: 2 } },
  ])
})

t.test('what is read has an ETag, and is not sent twice', async (t) => {
  const { ask } = apiOver({
    TasksList: { kind: 'TaskList', body: { tasks: [], next: 'ledger0001-3' } },
  })
  const first = await ask('GET', '/v1/tasks?limit=2&state=running')
  t.equal(
    new Headers(first.headers).get('link'),
    '</v1/tasks?limit=2&state=running&cursor=ledger0001-3>; rel="next"',
  )
  const etag = new Headers(first.headers).get('etag')
  const again = { 'if-none-match': `"other", ${etag}` }
  t.match(await ask('GET', '/v1/tasks?limit=2&state=running', undefined, again), {
    status: 304,
    body: undefined,
  })
})

t.test('what is wrong is named, with a status for programs', async (t) => {
  const { ask } = apiOver({})
  const bad: [string, string, unknown, number, RegExp][] = [
    ['POST', '/v1/tasks', '{', 400, /not JSON/],
    ['POST', '/v1/tasks', '[]', 400, /an object/],
    ['POST', '/v1/tasks', { tasks: [] }, 400, /at least one/],
    ['POST', '/v1/tasks', { tasks: [1] }, 400, /objects/],
    ['POST', '/v1/tasks', `{"a":"${'x'.repeat(9_000_000)}"}`, 413, /8388608 bytes/],
    ['GET', '/v1/tasks?state=happy', undefined, 400, /state: expected .*got happy/],
    ['GET', '/v1/tasks?limit=x', undefined, 400, /limit: expected a whole number/],
    ['GET', '/v1/tasks?limit=1001', undefined, 400, /up to 1000/],
    ['GET', '/v1/tasks/a-1?wait=soon', undefined, 400, /wait: expected a time/],
    ['GET', '/v1/tasks/a-1', undefined, 404, /no task a-1.*GET \/v1\/tasks/],
    ['GET', '/v1/explain/a-1', undefined, 404, /no task/],
    ['GET', '/v1/hosts/pi/processes/x', undefined, 400, /expected a pid/],
    ['POST', '/v1/hosts/pi/processes/1/signal?signal=HUP', undefined, 400, /SIGHUP/],
    ['GET', '/v1/events?topic=x', undefined, 400, /topic: expected/],
    ['POST', '/v1/run', undefined, 400, /arg: expected the program/],
    ['POST', '/v1/run?arg=x&env=novalue', undefined, 400, /env: expected K=V/],
    ['GET', '/v2/tasks', undefined, 404, /openapi.json/],
    ['PUT', '/v1/tasks', {}, 404, /no PUT \/v1\/tasks/],
  ]
  for (const [method, path, body, status, detail] of bad) {
    const told = await ask(method, path, body, { 'x-request-id': 'req-1' })
    t.match(told, {
      status,
      body: { type: 'about:blank', status, code: /\w/, detail, request_id: 'req-1' },
      headers: { 'content-type': 'application/problem+json', 'x-request-id': 'req-1' },
    })
  }
})

t.test(
  'each failure of the mesh has its status; a bug is logged, and not told',
  async (t) => {
    const rejected = (code: string): ClientFailure => ({
      ...{ kind: 'rejected', exchange: 'TaskShow', code, message: '' },
    })
    const rows: [ClientFailure, number][] = [
      [{ kind: 'not-found', what: 'x' }, 404],
      [rejected('forbidden'), 403],
      [rejected('malformed'), 400],
      [rejected('busy'), 503],
      [rejected('deadline'), 504],
      [rejected('wrong-role'), 422],
      [{ kind: 'unreachable', host: 'h', reason: '' }, 502],
      [{ kind: 'no-answer', exchange: 'TaskShow', afterMs: 1 }, 504],
      [{ kind: 'protocol', exchange: 'TaskShow', detail: '' }, 502],
      [{ kind: 'closed' }, 503],
    ]
    for (const [failure, status] of rows) {
      const { ask } = apiOver({ TaskShow: failure })
      t.match(
        await ask('GET', '/v1/tasks/a-1'),
        { status, body: { status } },
        failure.kind,
      )
    }
    const { ask } = apiOver({ TaskShow: new Error('secret') })
    const told = await ask('GET', '/v1/tasks/a-1')
    t.match(told, { status: 500, body: { code: 'internal' } })
    t.notOk(JSON.stringify(told).includes('secret'))
    t.equal(logged.length, 1)
    t.equal(problemOf(new Error('x')), undefined)
  },
)

t.test('its description is OpenAPI, and names every route', async (t) => {
  const { ask } = apiOver({})
  const { body } = await ask('GET', '/openapi.json')
  t.match(body, { openapi: '3.1.0', info: { version: '1.2.3' } })
  const named = Object.entries(body.paths).flatMap(([path, methods]) =>
    Object.keys(methods as object).map((method) => `${method.toUpperCase()} ${path}`),
  )
  t.same(named.sort(), routes.map(({ method, path }) => `${method} ${path}`).sort())
  const ids = Object.values(body.paths).flatMap((methods) =>
    Object.values(methods as object).map(({ operationId }) => operationId),
  )
  t.equal(new Set(ids).size, ids.length, 'each operation has a name of its own')
  const ajv = new Ajv2020({ strict: false })
  ajv.addSchema({ $id: 'api', ...body })
  for (const path of Object.keys(body.paths))
    for (const [method, { responses, requestBody }] of Object.entries<{
      responses: Record<string, { content?: Record<string, object> }>
      requestBody?: { content?: Record<string, object> }
    }>(body.paths[path]))
      for (const { content } of [...Object.values(responses), requestBody ?? {}])
        for (const type of Object.keys(content ?? {})) t.ok(type, `${method} ${path}`)
  for (const name of Object.keys(body.components.schemas))
    t.ok(ajv.getSchema(`api#/components/schemas/${name}`), name)
  t.notOk(JSON.stringify(openApiOf(routes, '')).includes('$defs'))
})

t.test('bytes are base64 in JSON, both ways', async (t) => {
  const bytes = new Uint8Array([0, 255, 1])
  t.equal(jsonOf({ a: bytes, b: [Buffer.from(bytes)] }), '{"a":"AP8B","b":["AP8B"]}')
  t.same(withBytes({ stdin: 'AP8B' }), { stdin: bytes })
  t.same(withBytes({ a: 1 }), { a: 1 })
  t.equal(etagOf('x'), etagOf('x'))
  t.not(etagOf('x'), etagOf('y'))
})

t.test('parameters have forms, and their absence a default', async (t) => {
  const query = new Query('http://x/p?a=1&t=500ms&k=A=1&k=B=&f&w=two&n=12')
  t.same(query.pairs('k'), { A: '1', B: '' })
  t.equal(query.span('t', 0), 500)
  t.equal(query.span('none', 7), 7)
  t.equal(query.flag('f'), true)
  t.equal(query.flag('none'), false)
  t.equal(query.word('w', ['one', 'two'], 'one'), 'two')
  t.equal(query.count('n', 0), 12)
  t.equal(query.with('a', '2 3'), '/p?a=2+3&t=500ms&k=A%3D1&k=B%3D&f=&w=two&n=12')
})
