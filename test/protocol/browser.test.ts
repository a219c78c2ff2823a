// In a browser: the library as one file, and the example's page in headless Chromium, with
// the example's endpoint and with endpoints that break the rules.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import t, { type Test } from 'tap'
import { WebSocketServer } from 'ws'
import { type Envelope, fromBytes, isRequest, toBytes } from '../../protocol/index.ts'
import { Chromium, chromium, type Page } from '../support/chromium.ts'

/** What a page loads to speak the protocol, packed as a web server sends it. */
const MAX_GZIPPED_BYTES = 32 * 1024

t.test('the package is one file for a page, with nothing of Node in it', async (t) => {
  const { metafile, warnings } = await build({
    stdin: {
      contents: "export * from 'manyhands/protocol'",
      resolveDir: process.cwd(),
    },
    bundle: true,
    platform: 'browser',
    format: 'esm',
    write: false,
    outfile: 'bundle.js',
    metafile: true,
    logLevel: 'silent',
  })
  t.same(warnings, [])
  const outputs = Object.values(metafile.outputs)
  t.same(
    outputs.flatMap(({ imports }) => imports),
    [],
    'all that is imported is inside',
  )

  const built = readFileSync('dist/protocol/browser.js')
  const gzipped = gzipSync(built, { level: 9 }).length
  t.comment(`dist/protocol/browser.js: ${built.length} bytes, ${gzipped} gzipped`)
  t.ok(gzipped <= MAX_GZIPPED_BYTES, `${gzipped} bytes gzipped`)
})

const skip = 'missing' in chromium && chromium.missing
const path = 'path' in chromium ? chromium.path : ''

t.test('a page is a worker of an endpoint', { skip }, async (t) => {
  const { open, example } = await start(t)
  const page = await open('')
  const lines = createInterface(example.stdout)
  t.teardown(() => lines.close())
  t.equal((await once(lines, 'line'))[0], 'page: 1 + 2 = 3')

  await page.until(has('sent', 'TaskCompleted'))
  await page.until("document.querySelector('#status').textContent.startsWith('managed')")
  const seen = (await framesOf(page)).reverse()
  const first = seen.slice(0, 4)
  t.same(first.map(([direction, which, kind]) => [direction, which, kind]).sort(), [
    ['received', 'answer 1', 'NodeTypeAnswer'],
    ['received', 'request 1', 'NodeTypeRequest'],
    ['sent', 'answer 1', 'NodeTypeAnswer'],
    ['sent', 'request 1', 'NodeTypeRequest'],
  ])
  for (const [direction, kind] of [
    ['sent', 'ManagerRequest'],
    ['received', 'ManagerAnswer'],
    ['received', 'TasksExecute'],
    ['sent', 'ManagerPong'],
    ['sent', 'TaskStarted'],
    ['received', 'Ack'],
  ])
    t.ok(
      seen.some((row) => row[0] === direction && row[2] === kind),
      `${direction} ${kind}`,
    )
  const [, , , body = '', bytes] =
    seen.find(([, , kind]) => kind === 'TaskCompleted') ?? []
  t.match(JSON.parse(body), {
    task_id: 'sumssumsum-1',
    result: { stdout: { inline: '3\n' } },
  })
  t.ok(Number(bytes) > body.length / 2, `${bytes} bytes`)

  await page.evaluate("document.querySelector('#ping').click()")
  await page.until(noted('ManagerPing: ManagerPong'))
  await page.evaluate("document.querySelector('#bye').click()")
  await page.until(noted('ManagerBye: Ack'))

  // Another site's page may open a socket to loopback: the endpoint does not let it in.
  const stranger = await open(`?at=ws://localhost:${new URL(example.address).port}`, {
    from: 'localhost',
  })
  await stranger.until(closed(1006))
})

/** What an endpoint does to a page that has asked it ManagerRequest with this id. */
type Misdeed = (say: (frame: Envelope | Uint8Array | string) => void, id: number) => void

const executeWith = (q: number, body: object): Envelope => ({
  q,
  k: 'TasksExecute',
  b: body,
  t: 1000,
})
const misdeeds: readonly {
  readonly name: string
  readonly act: Misdeed
  /** What the page says of it, and the code with which it closes, if it does. */
  readonly notes?: readonly string[]
  readonly answers?: readonly object[]
  readonly closes?: number
}[] = [
  {
    name: 'a kind that nobody knows is answered, and the connection stays',
    act: (say) => say({ q: 2, k: 'TasksDance', b: {}, t: 1000 }),
    answers: [{ a: 2, k: 'Error', b: { code: 'unknown-kind' } }],
  },
  {
    name: 'the third malformed request ends the connection',
    act: (say) => {
      say(executeWith(2, { rel: 7 }))
      say(executeWith(3, { rel: 'r', epoch: 1, boot: 'x', tasks: [] }))
      say(executeWith(4, { rel: 'r', epoch: -1, boot: '0123456789abcdef', tasks: [] }))
    },
    answers: [
      { a: 2, k: 'Error', b: { code: 'malformed', path: 'rel' } },
      { a: 3, k: 'Error', b: { code: 'malformed', path: 'boot' } },
      { a: 4, k: 'Error', b: { code: 'malformed', path: 'epoch' } },
    ],
    closes: 4405,
  },
  {
    name: 'a malformed answer fails the ask, and the connection stays',
    act: (say, id) => say({ a: id, k: 'ManagerAnswer', b: { accepted: 'yes' } }),
    notes: ['ManagerRequest: protocol', 'counted: strike'],
  },
  {
    name: 'an answer of another exchange ends the connection',
    act: (say, id) => say({ a: id, k: 'ManagerPong', b: { rel: 'r' } }),
    closes: 4402,
  },
  {
    name: 'an answer to nothing ends the connection',
    act: (say) => say({ a: 1000, k: 'Ack', b: {} }),
    closes: 4403,
  },
  {
    name: 'a request id that comes again ends the connection',
    act: (say) => say({ q: 1, k: 'ManagerPing', b: { rel: 'r' }, t: 1000 }),
    closes: 4404,
  },
  {
    name: 'a text frame ends the connection',
    act: (say) => say('hello'),
    closes: 4400,
  },
  {
    name: 'bytes that are no frame end the connection',
    act: (say) => say(Uint8Array.of(0xc1, 0xff)),
    closes: 4400,
  },
]

t.test('a page holds an endpoint to the rules', { skip }, async (t) => {
  const { open } = await start(t)
  for (const { name, act, notes = [], answers = [], closes } of misdeeds)
    await t.test(name, async (t) => {
      const endpoint = await misbehaving(t, act)
      const page = await open(`?at=${endpoint.address}`)
      for (const note of notes) await page.until(noted(note))
      if (closes === undefined) {
        t.match(await endpoint.answerTo(9), { k: 'NotMine' }, 'it still answers a ping')
      } else {
        t.equal(await endpoint.closed, closes)
        await page.until(noted(`closed it with ${closes}`))
      }
      t.match(
        endpoint.answers.filter(({ a }) => a > 1 && a < 9),
        answers,
      )
    })
})

/** The example as a person starts it, and a browser. */
const start = async (t: Test) => {
  const child = spawn(process.execPath, ['dist/examples/04-browser/server.js'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_V8_COVERAGE: '' },
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data')
  const address: string = /http:\S+/.exec(line)?.[0] ?? ''
  const browser = new Chromium(path, t.testdir())
  t.teardown(() => browser.close())
  return {
    example: { address, stdout: child.stdout },
    open: (query: string, { from = '127.0.0.1' } = {}): Promise<Page> =>
      browser.open(`${address.replace('127.0.0.1', from)}/${query}`),
  }
}

/** An endpoint that introduces itself, and then breaks a rule. */
const misbehaving = async (t: Test, act: Misdeed) => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  t.teardown(() => server.close())
  await once(server, 'listening')
  const answers: { readonly a: number; readonly k: string; readonly b: unknown }[] = []
  const waiting = new Map<number, (answer: object) => void>()
  const closed = new Promise<number>((resolve) => {
    server.on('connection', (socket) => {
      t.teardown(() => socket.terminate())
      socket.on('close', resolve)
      const say = (frame: Envelope | Uint8Array | string) =>
        socket.send(typeof frame === 'object' && 'k' in frame ? toBytes(frame) : frame)
      say({ q: 1, k: 'NodeTypeRequest', b: self, t: 5000 })
      socket.on('message', (bytes: Buffer) => {
        const frame = fromBytes(bytes)
        if (frame._tag === 'Left') return
        const envelope = frame.right
        if (!isRequest(envelope)) {
          answers.push(envelope)
          waiting.get(envelope.a)?.(envelope)
        } else if (envelope.k === 'NodeTypeRequest') {
          say({ a: envelope.q, k: 'NodeTypeAnswer', b: self })
        } else if (envelope.k === 'ManagerRequest') {
          act(say, envelope.q)
          say({ q: 9, k: 'ManagerPing', b: { rel: 'r' }, t: 1000 })
        }
      })
    })
  })
  const { port } = server.address() as AddressInfo
  return {
    address: `ws://127.0.0.1:${port}`,
    answers,
    closed,
    answerTo: (id: number) =>
      new Promise<object>((resolve) => {
        const known = answers.find(({ a }) => a === id)
        if (known) resolve(known)
        else waiting.set(id, resolve)
      }),
  }
}

const self = {
  node_type: 'manager',
  node_id: '00112233445566778899aabbccddeeff',
  boot_id: '0123456789abcdef',
  host_name: 'endpoint',
  minor: 0,
  features: [],
  max_in_flight: 64,
  max_frame: 65_536,
}

/** The rows of the page's table: direction, frame, kind, body, bytes. Newest first. */
const framesOf = async (page: Page): Promise<string[][]> =>
  // What the expression makes: a list of lists of texts.
  (await page.evaluate(
    "[...document.querySelectorAll('#frames tr')].map((row) => [...row.cells].map((cell) => cell.textContent))",
  )) as string[][]

const has = (direction: string, kind: string): string =>
  `[...document.querySelectorAll('#frames tr')].some(({ cells }) =>
    cells[0].textContent === '${direction}' && cells[2].textContent === '${kind}')`
const noted = (text: string): string =>
  `document.querySelector('#log').textContent.includes('${text}')`
const closed = (code: number): string =>
  `document.querySelector('#status').textContent.includes('(${code})')`
