// Jobs: addresses, the search for programs, downloads and their cache.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import type { RequestListener } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import type { JobFailure } from '../../src/failures.ts'
import type { Jobs, PreparedJob } from '../../src/ports.ts'
import { parseJobAddress } from '../../src/runner/job-address.ts'
import { createJobs, type JobsOptions } from '../../src/runner/jobs.ts'
import { until } from '../support/runs.ts'

/** A key that signs for `localhost` and nothing else, made for these tests. */
const fixture = (name: string): string =>
  readFileSync(new URL(`../../../test/fixtures/tls/${name}`, import.meta.url), 'utf8')
const ca = fixture('localhost.pem')

const script = '#!/bin/sh\necho hi\n'
const digest = (text: string | Buffer): string =>
  createHash('sha256').update(text).digest('hex')

const prepare = (
  jobs: Jobs,
  address: string,
  signal?: AbortSignal,
): Promise<E.Either<JobFailure, PreparedJob>> =>
  new Promise((resolve) => jobs.prepare(address, resolve, signal && (() => signal)))

const jobsIn = (directory: string, options: Partial<JobsOptions> = {}): Jobs =>
  createJobs({
    path: '/usr/bin:/bin',
    directory: join(directory, 'cache'),
    ca,
    ...options,
  })

const serve = async (t: Test, listener: RequestListener): Promise<string> => {
  const server = createServer({ key: fixture('localhost.key'), cert: ca }, listener)
  t.teardown(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `https://localhost:${(server.address() as AddressInfo).port}`
}

t.test('an address says what is meant, or what was expected', async (t) => {
  const hex = 'ab'.repeat(32)
  const good = [
    ['exec:ls', { kind: 'name', name: 'ls' }],
    ['exec:/bin/ls', { kind: 'path', path: '/bin/ls' }],
    [
      `file:/a%20b#sha256=${hex.toUpperCase()}`,
      { kind: 'file', path: '/a b', sha256: hex },
    ],
    [`file:///a#sha256=${hex}`, { kind: 'file', path: '/a', sha256: hex }],
    [`https://h/p?q#sha256=${hex}`, { kind: 'https', sha256: hex }],
  ] as const
  for (const [address, wanted] of good)
    t.match(parseJobAddress(address), E.right(wanted), address)
  const bad = [
    ['exec:a/b', 'relative'],
    ['exec:./b', 'relative'],
    ['exec:', 'name'],
    ['exec:..', 'name'],
    ['exec:/bin/l\0s', 'NUL'],
    ['ls', 'expected exec:'],
    ['blob:x', 'expected exec:'],
    [`http://h/p#sha256=${hex}`, 'https'],
    ['https://h/p', '#sha256='],
    [`https://h/p#sha256=${hex}0`, '#sha256='],
    [`https://#sha256=${hex}`, 'URL'],
    [`https://u:secret@h/p#sha256=${hex}`, 'password'],
    [`file:a#sha256=${hex}`, 'absolute'],
    [`file://host/a#sha256=${hex}`, 'this machine'],
  ] as const
  for (const [address, word] of bad) {
    const parsed = parseJobAddress(address)
    t.ok(E.isLeft(parsed) && parsed.left.kind === 'invalid', address)
    t.ok(E.isLeft(parsed) && parsed.left.reason.includes(word), JSON.stringify(parsed))
    t.notOk(JSON.stringify(parsed).includes('secret'))
  }
})

t.test('a name that is not in the PATH gets one short line', async (t) => {
  const directory = t.testdir({ b: { tool: script } })
  const path = `/a/very/long/path:${directory}/b`
  const jobs = jobsIn(directory, { path })
  const reasonOf = async (name: string) => {
    const prepared = await prepare(jobs, `exec:${name}`)
    return E.isLeft(prepared) ? prepared.left.reason : ''
  }
  t.equal(
    await reasonOf('nosuch'),
    "the program nosuch is not in the worker's PATH; give its absolute path, or see that PATH with: manyhands run -- printenv PATH",
  )
  t.equal(
    await reasonOf('tool'),
    "the program tool is in the worker's PATH, but not executable",
  )
  t.match(await reasonOf('x'.repeat(200)), /^the program x{99}… is not in/)
})

t.test('a name is searched in the given PATH and found at once', async (t) => {
  const directory = t.testdir({ a: { tool: '' }, b: { tool: script, dir: {} } })
  chmodSync(join(directory, 'b/tool'), 0o755)
  const path = `relative:${directory}/none:${directory}/a:${directory}/b`
  const jobs = jobsIn(directory, { path })
  let result: unknown
  jobs.prepare('exec:tool', (prepared) => {
    result = prepared
  })
  t.same(result, E.right({ program: join(directory, 'b/tool'), leading: [] }))
  t.match(await prepare(jobs, 'exec:dir'), E.left({ kind: 'spawn', code: 'ENOENT' }))
  t.match(await prepare(jobs, 'exec:ls'), E.left({ kind: 'spawn', code: 'ENOENT' }))
  chmodSync(join(directory, 'b/tool'), 0o644)
  t.match(
    await prepare(jobs, 'exec:tool'),
    E.left({ kind: 'spawn', code: 'EACCES' }),
    'found before, looked again',
  )
  t.match(await prepare(jobs, 'exec:/x'), E.right({ program: '/x' }))
  t.match(await prepare(jobs, 'exec:x/y'), E.left({ kind: 'invalid' }))
})

t.test('a file is verified, made executable and cached', async (t) => {
  const directory = t.testdir({ program: script })
  const jobs = jobsIn(directory)
  const address = `file:${directory}/program#sha256=${digest(script)}`
  const first = await prepare(jobs, address)
  const program = join(directory, 'cache', digest(script))
  t.same(first, E.right({ program, leading: [] }))
  t.equal(readFileSync(program, 'utf8'), script)
  t.equal(statSync(program).mode & 0o777, 0o500)
  t.equal(statSync(join(directory, 'cache')).mode & 0o777, 0o700)
  writeFileSync(join(directory, 'program'), 'changed')
  t.same(await prepare(jobs, address), first, 'the address still means the same bytes')
  const other = `file:${directory}/program#sha256=${'0'.repeat(64)}`
  t.match(
    await prepare(jobs, other),
    E.left({ kind: 'download', reason: /sha256 is .* not 000/ }),
  )
  const absent = `file:${directory}/absent#sha256=${'0'.repeat(64)}`
  t.match(await prepare(jobs, absent), E.left({ kind: 'download', reason: /ENOENT/ }))
  t.same(readdirSync(join(directory, 'cache')), [digest(script)])
})

t.test('what an earlier process left is used if it is whole, else fetched', async (t) => {
  const directory = t.testdir({ program: script, cache: {} })
  const program = join(directory, 'cache', digest(script))
  const address = `file:${directory}/program#sha256=${digest(script)}`
  await prepare(jobsIn(directory), address)
  rmSync(join(directory, 'program'))
  t.match(await prepare(jobsIn(directory), address), E.right({ program }), 'not fetched')
  chmodSync(program, 0o700)
  writeFileSync(program, '#!/bin/sh\necho other\n')
  const vain = await prepare(jobsIn(directory), address)
  t.match(vain, E.left({ kind: 'download', reason: /ENOENT/ }), 'not believed')
  writeFileSync(join(directory, 'program'), script)
  t.match(await prepare(jobsIn(directory), address), E.right({ program }))
  t.equal(readFileSync(program, 'utf8'), script)
  t.same(readdirSync(join(directory, 'cache')), [digest(script)])
})

t.test('a pipe or a directory in the place of a file holds nobody up', async (t) => {
  const directory = t.testdir({ folder: {} })
  execFileSync('mkfifo', [join(directory, 'pipe')])
  const jobs = jobsIn(directory)
  const refused = E.left({ kind: 'download', reason: /not a regular file/ })
  for (const name of ['pipe', 'folder']) {
    const address = `file:${directory}/${name}#sha256=${'0'.repeat(64)}`
    t.match(await prepare(jobs, address), refused, name)
  }
  t.same(readdirSync(join(directory, 'cache')), [])
})

t.test('a download follows https redirects and is fetched once for all', async (t) => {
  const directory = t.testdir()
  let requests = 0
  const origin = await serve(t, (request, response) => {
    if (request.url === '/moved')
      return void response.writeHead(302, { location: '/it' }).end()
    requests += 1
    response.end(script)
  })
  const jobs = jobsIn(directory)
  const address = `${origin}/moved#sha256=${digest(script)}`
  const all = await Promise.all(Array.from({ length: 10 }, () => prepare(jobs, address)))
  for (const one of all) t.match(one, E.right({ leading: [] }))
  t.equal(requests, 1)
  await prepare(jobs, address)
  t.equal(requests, 1)
})

t.test('what goes wrong with a download is said', async (t) => {
  const directory = t.testdir()
  const origin = await serve(t, (request, response) => {
    const { url = '' } = request
    if (url === '/loop') response.writeHead(302, { location: '/loop' }).end()
    else if (url === '/plain') response.writeHead(302, { location: 'http://h/' }).end()
    else if (url === '/stated') response.writeHead(200, { 'content-length': 5000 }).end()
    else if (url === '/endless') response.write(Buffer.alloc(5000))
    else if (url === '/cut') response.write('x', () => response.destroy())
    else if (url === '/stuck') response.write('x')
    else if (url === '/other') response.end('other')
    else response.writeHead(404).end()
  })
  const jobs = jobsIn(directory, { maxBytes: 1000 })
  const at = (path: string) => `${origin}${path}#sha256=${'0'.repeat(64)}`
  const table = [
    ['/absent', /status 404/],
    ['/loop', /more than 5 times/],
    ['/plain', /only https/],
    ['/stated', /larger than the limit of 1000/],
    ['/endless', /larger than the limit of 1000/],
    ['/cut', /aborted/],
    ['/other', /its sha256 is/],
  ] as const
  for (const [path, reason] of table)
    t.match(await prepare(jobs, at(path)), E.left({ kind: 'download', reason }), path)
  const hasty = jobsIn(directory, { timeoutMs: 50 })
  t.match(await prepare(hasty, at('/stuck')), E.left({ reason: /not done within 50 ms/ }))
  const stranger = createJobs({ path: '', directory: join(directory, 'cache') })
  t.match(await prepare(stranger, at('/other')), E.left({ reason: /certificate/ }))
  t.same(readdirSync(join(directory, 'cache')), [], 'nothing is left behind')
})

t.test('who no longer waits is let go, the last one ends the fetch', async (t) => {
  const directory = t.testdir()
  let closed = 0
  let opened = 0
  const origin = await serve(t, (request, response) => {
    opened += 1
    request.on('close', () => {
      closed += 1
    })
    response.write('x')
  })
  const jobs = jobsIn(directory)
  const address = `${origin}/#sha256=${'0'.repeat(64)}`
  const [one, two] = [new AbortController(), new AbortController()]
  const first = prepare(jobs, address, one.signal)
  const second = prepare(jobs, address, two.signal)
  await until('the request arrived', () => opened === 1)
  one.abort()
  t.match(await first, E.left({ kind: 'download', reason: /aborted/ }))
  t.equal(closed, 0)
  two.abort()
  t.match(await second, E.left({ kind: 'download', reason: /aborted/ }))
  await until('the request ended', () => closed === 1)
  t.match(await prepare(jobs, address, two.signal), E.left({ reason: /aborted/ }))
  await until('nothing is left', () => readdirSync(join(directory, 'cache')).length === 0)
})

t.test('the cache keeps what was used last, and sweeps unfinished files', async (t) => {
  const directory = t.testdir()
  mkdirSync(join(directory, 'cache'))
  writeFileSync(join(directory, 'cache', 'part-999999999-1-ab'), 'x')
  const jobs = jobsIn(directory, { cacheBytes: 2500 })
  t.same(readdirSync(join(directory, 'cache')), [])
  const files = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(1000))
  const addresses = files.map((text, index) => {
    writeFileSync(join(directory, `${index}`), text)
    return `file:${directory}/${index}#sha256=${digest(text)}`
  })
  const [a = '', b = '', c = '', d = ''] = addresses
  await prepare(jobs, a)
  await prepare(jobs, b)
  await prepare(jobs, a)
  await prepare(jobs, c)
  const kept = () => new Set(readdirSync(join(directory, 'cache')))
  t.same(kept(), new Set([files[0], files[2]].map((text) => digest(text ?? ''))))
  await prepare(jobs, d)
  t.same(kept(), new Set([files[2], files[3]].map((text) => digest(text ?? ''))))
})
