// The guard of the HTTP faces: who gets in, and that nothing that only a browser sends ever
// reaches a route, whatever shape it has.

import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { rightsOf } from '../../protocol/index.ts'
import { type FaceAddress, parseFaceAddress } from '../../src/http/address.ts'
import { guard } from '../../src/http/guard.ts'
import { serveHttp } from '../../src/http/serve.ts'
import { createToken, rightsOfToken } from '../../src/identity/tokens.ts'

const JSON_TYPE = { 'content-type': 'application/json' }
const TOKEN = { authorization: 'Bearer good' }
const options = {
  hosts: new Set(['127.0.0.1:8700', 'localhost:8700']),
  isOpen: false,
  contentTypes: new Set(['application/json']),
  tokenRights: (token: string) =>
    token === 'good' ? { rights: rightsOf(['read']), id: 'id' } : undefined,
}
const HOST = { host: '127.0.0.1:8700' }

t.test('a program with a token gets what the token gives', async (t) => {
  const headers = { ...HOST, ...JSON_TYPE, ...TOKEN }
  t.match(guard({ method: 'POST', headers }, options), { by: 'id' })
  t.match(guard({ method: 'GET', headers: { ...HOST, ...TOKEN } }, options), { by: 'id' })
  const typed = { ...headers, 'content-type': 'Application/JSON; charset=utf-8' }
  t.match(guard({ method: 'POST', headers: typed }, options), { by: 'id' })
})

t.test('on a Unix socket nobody needs one, but a wrong one is none', async (t) => {
  const socket = { ...options, hosts: undefined }
  const open = guard({ method: 'GET', headers: { host: 'x' } }, socket)
  t.match(open, { by: 'socket', rights: undefined })
  const headers = { authorization: 'Bearer bad' }
  t.match(guard({ method: 'GET', headers }, socket), { status: 401 })
})

t.test('everything else is refused, with what to do', async (t) => {
  const refused: [string, Record<string, string>, number, string][] = [
    ['GET', {}, 403, 'host'],
    ['GET', { host: 'evil.example:8700', ...TOKEN }, 403, 'host'],
    ['GET', { host: '127.0.0.1', ...TOKEN }, 403, 'host'],
    ['GET', { host: '127.0.0.1:8700.evil.example', ...TOKEN }, 403, 'host'],
    ['GET', HOST, 401, 'no-token'],
    ['GET', { ...HOST, authorization: 'Bearer bad' }, 401, 'token'],
    ['GET', { ...HOST, authorization: 'Basic Z29vZA==' }, 401, 'token'],
    ['GET', { ...HOST, authorization: `Bearer ${'x'.repeat(500)}` }, 401, 'token'],
    ['TRACE', { ...HOST, ...TOKEN }, 405, 'method'],
    ['POST', { ...HOST, ...TOKEN }, 415, 'content-type'],
    ['POST', { ...HOST, ...TOKEN, 'content-type': 'text/plain' }, 415, 'content-type'],
    ['GET', { ...HOST, ...TOKEN, upgrade: 'websocket' }, 400, 'upgrade'],
  ]
  for (const [method, headers, status, code] of refused) {
    const told = guard({ method, headers }, options)
    t.match(told, { status, code, detail: /\w/ }, `${method} ${JSON.stringify(headers)}`)
  }
})

/** As browsers ask: pages, forms, scripts, images, sockets, workers, and tricks with names. */
const SHAPES: readonly (readonly [method: string, headers: Record<string, string>])[] = [
  ...['none', 'cross-site', 'same-site', 'same-origin'].flatMap((site) =>
    ['navigate', 'no-cors', 'cors', 'websocket', 'same-origin'].map(
      (mode) => ['GET', { 'sec-fetch-site': site, 'sec-fetch-mode': mode }] as const,
    ),
  ),
  ...[
    'http://evil.example',
    'null',
    'http://127.0.0.1:8700',
    'http://localhost:1',
  ].flatMap((origin) => [
    ['POST', { origin, ...JSON_TYPE }] as const,
    ['POST', { origin, 'content-type': 'text/plain' }] as const,
    ['POST', { origin, 'content-type': 'application/x-www-form-urlencoded' }] as const,
  ]),
  ['POST', { origin: 'null', 'content-type': 'multipart/form-data; boundary=x' }],
  ['OPTIONS', { origin: 'http://evil.example', 'access-control-request-method': 'POST' }],
  ['OPTIONS', { 'access-control-request-private-network': 'true' }],
  ['GET', { referer: 'http://evil.example/' }],
  ['GET', { cookie: 'a=b' }],
  ['GET', { upgrade: 'websocket', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' }],
  ['POST', { 'ping-from': 'http://evil.example', 'content-type': 'text/ping' }],
  ['GET', { 'upgrade-insecure-requests': '1', 'user-agent': 'Mozilla/5.0' }],
  ['POST', { 'x-requested-with': 'XMLHttpRequest', ...JSON_TYPE }],
  ['GET', { host: 'rebound.example:8700' }],
]

/** A face that counts who gets through; its URL. */
const faceIn = async (
  t: Test,
  address: FaceAddress,
  isOpen: boolean,
  directory = t.testdir(),
) => {
  const got: string[] = []
  const refused: object[] = []
  const served = await serveHttp({
    ...{ address, isOpen, names: ['pi'] },
    defaultPath: join(directory, 'face.sock'),
    contentTypes: new Set(['application/json']),
    tokenRights: (token) => rightsOfToken(directory, token, Date.now()),
    fetch: async (asked, { grant }) => {
      got.push(`${asked.method} ${new URL(asked.url).pathname} ${grant.by}`)
      return new Response(await asked.text())
    },
    audit: { record: (_event, fields = {}) => void refused.push(fields) },
  })
  if (E.isLeft(served)) return { failure: served.left, got, refused }
  t.teardown(() => served.right.close())
  return { url: served.right.url, face: served.right, got, refused, directory }
}
const LOOPBACK: FaceAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 }

/** As bytes of our own: fetch would not send what browsers do. */
const ask = async (
  url: string,
  method: string,
  headers: Record<string, string>,
  body = '',
): Promise<{ status: number; text: string; headers: object }> => {
  const { hostname, port } = new URL(url)
  const asked = request({
    host: hostname,
    port,
    method,
    headers,
    path: '/x',
    agent: false,
  })
  asked.end(body)
  const [answer] = await once(asked, 'response')
  let text = ''
  for await (const part of answer) text += part
  return { status: answer.statusCode, text, headers: answer.headers }
}

t.test('no shape of a browser reaches a route, with or without a token', async (t) => {
  const { url = '', got, directory = '', refused } = await faceIn(t, LOOPBACK, true)
  const { text: token } = createToken(directory, { scopes: ['read'], ttlMs: 60_000 })
  t.ok(SHAPES.length >= 40)
  for (const [method, headers] of SHAPES)
    for (const more of [{}, { authorization: `Bearer ${token}` }]) {
      const { status, headers: told } = await ask(url, method, { ...headers, ...more })
      t.ok(status >= 400 && status < 500, `${method} ${JSON.stringify(headers)}`)
      t.notOk(Object.keys(told).some((name) => name.startsWith('access-control')))
    }
  t.same(got, [])
  t.ok(refused.length >= SHAPES.length, 'the audit log hears of it')
  const { status, text } = await ask(url, 'POST', JSON_TYPE, '{}')
  t.same({ status, text, got }, { status: 200, text: '{}', got: ['POST /x open'] })
})

t.test(
  'a token is good until it ends or is taken back, and its secret is not kept',
  async (t) => {
    const { url = '', got, directory = '' } = await faceIn(t, LOOPBACK, false)
    const made = createToken(directory, { scopes: ['read'], ttlMs: 60_000 })
    const file = join(directory, 'tokens', `${made.token.id}.json`)
    t.equal(statSync(file).mode & 0o777, 0o600)
    t.notOk(readFileSync(file, 'utf8').includes(made.text.slice(-43)))
    const bearer = (text: string) => ({ authorization: `Bearer ${text}` })
    t.match(await ask(url, 'GET', bearer(made.text)), { status: 200 })
    t.same(got, [`GET /x ${made.token.id}`])
    const others = [
      made.text.slice(0, -1),
      `${made.text.slice(0, -1)}!`,
      made.text.replace(/^mh_..../, 'mh_0000'),
      'mh_',
      '../../mesh/ca',
    ]
    for (const text of others)
      t.match(await ask(url, 'GET', bearer(text)), { status: 401 })
    const ended = createToken(directory, { scopes: ['read'], ttlMs: 0 })
    t.match(await ask(url, 'GET', bearer(ended.text)), { status: 401 })
    writeFileSync(file, 'damaged')
    t.match(await ask(url, 'GET', bearer(made.text)), { status: 401 })
    t.equal(got.length, 1)
  },
)

t.test('what is refused is not read, and what is no HTTP is cut off', async (t) => {
  const { url = '', got } = await faceIn(t, LOOPBACK, false)
  const { port } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write(
    `POST /x HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: 99999999\r\n\r\n`,
  )
  const [answer] = await once(socket, 'data')
  t.match(answer.toString(), /^HTTP\/1\.1 415 /)
  socket.on('error', () => undefined)
  await once(socket.resume(), 'close')
  for (const bytes of [
    '\x16\x03\x01\x02\x00',
    'GET / HTTP/9.9\r\n\r\n',
    'x'.repeat(100_000),
  ]) {
    const other = connect(Number(port), '127.0.0.1')
    other.on('error', () => undefined)
    other.end(bytes)
    await once(other.resume(), 'close')
  }
  t.same(got, [])
})

t.test(
  'a Unix socket is its owner’s; one that was left behind is replaced',
  async (t) => {
    // A socket's path has to be short.
    const directory = mkdtempSync(join(tmpdir(), 'mh-'))
    t.teardown(() => rmSync(directory, { recursive: true }))
    const address: FaceAddress = { kind: 'unix', path: undefined }
    const first = await faceIn(t, address, false, directory)
    const path = join(directory, 'face.sock')
    t.equal(first.url, `unix:${path}`)
    t.equal(statSync(path).mode & 0o777, 0o600)
    const second = await faceIn(t, address, false, directory)
    t.match(second.failure, /another program listens there/)
    const asked = request({ socketPath: path, path: '/x', agent: false })
    asked.end()
    const [answer] = await once(asked, 'response')
    t.equal(answer.resume().statusCode, 200)
    t.same(first.got, ['GET /x socket'])
    await first.face?.close()
    t.throws(() => statSync(path), 'it is gone')
    writeFileSync(path, '')
    t.match((await faceIn(t, address, false, directory)).failure, /a file of that name/)
    const long: FaceAddress = { kind: 'unix', path: `/${'x'.repeat(107)}` }
    t.match((await faceIn(t, long, false)).failure, /107 bytes/)
    const port = Number(new URL((await faceIn(t, LOOPBACK, false)).url ?? '').port)
    const taken = await faceIn(t, { ...LOOPBACK, port } as FaceAddress, false)
    t.match(taken.failure, /another program listens there; choose/)
  },
)

t.test('addresses are those of an interface, or of a socket', async (t) => {
  const good: [string, FaceAddress][] = [
    ['127.0.0.1:8700', { kind: 'tcp', host: '127.0.0.1', port: 8700 }],
    ['[::1]:0', { kind: 'tcp', host: '::1', port: 0 }],
    ['0.0.0.0:80', { kind: 'tcp', host: '0.0.0.0', port: 80 }],
    ['unix', { kind: 'unix', path: undefined }],
    ['unix:/run/x.sock', { kind: 'unix', path: '/run/x.sock' }],
  ]
  for (const [text, address] of good)
    t.same(parseFaceAddress(text), E.right(address), text)
  const bad = [
    '',
    '8700',
    'localhost:8700',
    '127.0.0.1',
    '127.0.0.1:70000',
    'unix:x',
    ':80',
  ]
  for (const text of bad) t.ok(E.isLeft(parseFaceAddress(text)), text)
})
