// The API of a real mesh, asked at its manager and at its hub: tasks, programs whose streams
// are the body, logs, processes, events, and what happens when a client leaves.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import t from 'tap'
import { longSleep, Manyhands, processesWith, until } from './support.ts'

t.setTimeout(60_000)

const hands = new Manyhands(t)
const address = /http {7}(http:\S+) \(takes a token/
const tcp = ['--http', '127.0.0.1:0']
const manager = hands.node('manager', '--name', 'm', ...tcp)
const [, atManager = ''] = await manager.said(address)
const hub = hands.node('hub', '--name', 'hub', ...tcp)
const [, atHub = ''] = await hub.said(address)
const workers = ['pi', 'nas'].map((name) => hands.node('worker', '--name', name))
await Promise.all(workers.map((worker) => worker.said(/phase=managed/)))
const scopes = ['read', 'tasks:run', 'processes'].flatMap((one) => ['--scope', one])
const { stdout } = await hands.begin('token', 'create', '--state', hands.state, ...scopes)
  .ended
const token = stdout.toString().trim()
const authorization = `Bearer ${token}`
const hasCurl = spawnSync('curl', ['--version']).status === 0
const JSON_TYPE = { 'content-type': 'application/json' }

const ask = async (url: string, init: RequestInit = {}) => {
  const headers = { authorization, ...JSON_TYPE, ...init.headers }
  const response = await fetch(url, { ...init, headers })
  return response
}
const json = async (url: string, init?: RequestInit) =>
  JSON.parse(await (await ask(url, init)).text())
const places = [
  ['its manager', atManager],
  ['its hub', atHub],
] as const

await until(async () => {
  const { nodes } = await json(`${atHub}/v1/nodes`)
  return nodes.filter(({ state }: { state: string }) => state === 'managed').length === 2
})

for (const [name, at] of places) {
  t.test(`a task by ${name}: handed in, waited for, explained, its output`, async (t) => {
    const script = 'echo out; echo err >&2; exit 3'
    const task = { job_addr: 'exec:sh', arguments: ['-c', script] }
    const handed = await ask(`${at}/v1/tasks`, {
      method: 'POST',
      body: JSON.stringify(task),
    })
    t.equal(handed.status, 202)
    const where = handed.headers.get('location') ?? ''
    const shown = await json(`${at}${where}?wait=10s`)
    t.match(shown, { summary: { state: 'failed', exit_code: 3 }, attempts: [{}] })
    t.equal(await (await ask(`${at}${where}/logs?follow=1`)).text(), 'out\n')
    t.equal(await (await ask(`${at}${where}/logs?fd=2`)).text(), 'err\n')
    t.equal(await (await ask(`${at}${where}/logs?from=1`)).text(), 'ut\n')
    const id = where.split('/').at(-1)
    t.match(await json(`${at}/v1/explain/${id}`), { state: 'failed' })
    const again = await json(`${at}${where}/retry`, { method: 'POST', body: '{}' })
    t.match(again, { task_ids: [/\w/] })
    const listed = await json(`${at}/v1/tasks?limit=1`)
    t.match(listed, { tasks: [{ task_id: again.task_ids[0] }], next: again.task_ids[0] })
  })

  t.test(`a program by ${name}: its streams are the bodies`, async (t) => {
    const input = Buffer.alloc(3_000_000, 'some line of text\n')
    const run = await ask(`${at}/v1/run?arg=sha256sum`, {
      method: 'POST',
      body: input,
      headers: { 'content-type': 'application/octet-stream' },
    })
    const sum = createHash('sha256').update(input).digest('hex')
    t.equal(await run.text(), `${sum}  -\n`)
    const shown = await json(`${at}/v1/tasks/${run.headers.get('manyhands-task-id')}`)
    t.match(shown, { summary: { state: 'completed', exit_code: 0 } })
    const big = await ask(`${at}/v1/run?arg=head&arg=-c&arg=5M&arg=/dev/zero`, {
      method: 'POST',
    })
    t.equal((await big.arrayBuffer()).byteLength, 5 * 1024 * 1024)
    const lines = await ask(
      `${at}/v1/run?arg=sh&arg=-c&arg=echo+a;echo+b+%3E%262&stderr=ndjson&host=nas`,
      { method: 'POST' },
    )
    const parts = (await lines.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    t.same(parts.map(({ fd }) => fd).sort(), ['stderr', 'stdout'])
  })

  t.test(
    `how a program ended, by ${name}: a status, a trailer, or a broken body`,
    async (t) => {
      const early = await ask(`${at}/v1/run?arg=sh&arg=-c&arg=exit+4`, { method: 'POST' })
      t.equal(early.status, 422)
      t.match(await early.json(), { code: 'RunningError', exit_code: '4', task_id: /\w/ })
      const none = await ask(`${at}/v1/run?arg=no-such-program`, { method: 'POST' })
      t.match(await none.json(), { status: 422, code: 'SpawnError' })
      const late = `${at}/v1/run?arg=sh&arg=-c&arg=echo+x;exit+4`
      const broken = await ask(late, { method: 'POST' })
      t.equal(broken.status, 200)
      await t.rejects(broken.text())
      const headers = { authorization, te: 'trailers' }
      const asked = request(late, {
        method: 'POST',
        headers: { ...headers, ...JSON_TYPE },
      })
      asked.end()
      const [answer] = await once(asked, 'response')
      let text = ''
      for await (const part of answer) text += part
      t.equal(text, 'x\n')
      t.equal(answer.trailers['manyhands-exit-code'], '4')
    },
  )

  t.test(`who leaves ends the program, by ${name}, unless it is detached`, async (t) => {
    const [marker, kept] = [longSleep(), longSleep()]
    const left = new AbortController()
    const run = (arg: string, more = '') =>
      ask(`${at}/v1/run?arg=sleep&arg=${arg}${more}`, {
        method: 'POST',
        signal: left.signal,
      })
    const runs = [run(marker), run(kept, '&detach=1')]
    await until(() => processesWith(marker).length + processesWith(kept).length === 2)
    left.abort()
    await Promise.allSettled(runs)
    await until(() => processesWith(marker).length === 0)
    t.equal(processesWith(kept).length, 1)
    const { tasks } = await json(`${at}/v1/tasks?state=running`)
    t.equal(tasks.length, 1)
    t.match(await json(`${at}/v1/tasks/${tasks[0].task_id}`, { method: 'DELETE' }), {
      aborted: 1,
    })
    t.same(processesWith(kept), [])
  })
}

t.test('a trace goes on in the program; both outputs also come as events', async (t) => {
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  const path = '/v1/run?arg=sh&arg=-c&arg=echo+$TRACEPARENT&stderr=sse'
  const run = await ask(atHub + path, { method: 'POST', headers: { traceparent } })
  t.equal(run.headers.get('content-type'), 'text/event-stream')
  const data = JSON.stringify({ data: `${traceparent}\n` })
  t.equal(await run.text(), `event: stdout\ndata: ${data}\n\n`)
  const odd = await ask(atHub + path, { method: 'POST', headers: { traceparent: 'x y' } })
  t.match(await odd.text(), /"data":"\\n"/)
  const body = JSON.stringify({
    job_addr: 'exec:sh',
    arguments: ['-c', 'echo $TRACEPARENT'],
  })
  const handed = await json(`${atHub}/v1/tasks`, {
    method: 'POST',
    body,
    headers: { traceparent },
  })
  const logs = await ask(`${atHub}/v1/tasks/${handed.task_ids[0]}/logs?follow=1`)
  t.equal(await logs.text(), `${traceparent}\n`)
})

t.test('programs on hosts, through the hub', async (t) => {
  const processes = `${atHub}/v1/hosts/pi/processes`
  const spec = { path: '/bin/sh', args: ['-c', 'echo here; exec sleep 1000'] }
  const headers = { 'idempotency-key': 'one' }
  const body = JSON.stringify(spec)
  const started = await json(processes, { method: 'POST', body, headers })
  t.same(await json(processes, { method: 'POST', body, headers }), started, 'once')
  t.match(await json(processes), { pids: [started.pid] })
  t.equal(await (await ask(`${processes}/${started.pid}/logs`)).text(), 'here\n')
  const one = `${processes}/${started.process_id}`
  await ask(`${one}/signal?signal=SIGTERM`, { method: 'POST' })
  await until(async () => (await json(one)).running === false)
  t.match(await json(one), { signal: 'SIGTERM', exit_code: 143 })
  t.match(await json(`${processes}/999999`), { status: 404 })
  t.match(await json(`${atHub}/v1/hosts/none/processes`), { status: 404 })
})

t.test('events come with ids, from which they go on', async (t) => {
  const read = async (headers: Record<string, string>, what: RegExp) => {
    const stop = new AbortController()
    const response = await ask(`${atHub}/v1/events?topic=tasks`, {
      headers,
      signal: stop.signal,
    })
    const lines = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    // It has begun once it says anything.
    let text = (await lines?.read())?.value ?? ''
    return {
      until: async () => {
        while (!what.test(text)) text += (await lines?.read())?.value ?? ''
        stop.abort()
        return text
      },
    }
  }
  const run = async () => {
    const body = JSON.stringify({ job_addr: 'noop:' })
    return (await json(`${atHub}/v1/tasks`, { method: 'POST', body })).task_ids[0]
  }
  const first = await read({}, /task-closed/)
  const id = await run()
  const text = await first.until()
  t.match(text, new RegExp(`event: task-submitted\ndata: .*${id}`))
  const last = [...text.matchAll(/^id: (\S+)$/gm)].at(-1)?.[1] ?? ''
  const other = await run()
  await json(`${atHub}/v1/tasks/${other}?wait=10s`)
  const more = await (await read({ 'last-event-id': last }, /task-closed/)).until()
  t.match(more, new RegExp(other))
  t.notOk(more.includes(id), 'none comes twice')
  t.notOk(more.includes('event: reset'), 'and none was missed')
})

t.test('a token that may read alone changes nothing', async (t) => {
  const made = await hands.begin('token', 'create', '--state', hands.state).ended
  const reader = { authorization: `Bearer ${made.stdout.toString().trim()}` }
  t.match(await json(`${atManager}/v1/nodes`, { headers: reader }), { nodes: [{}] })
  const submit = { method: 'POST', body: '{"job_addr":"noop:"}', headers: reader }
  for (const [, at] of places)
    t.match(await json(`${at}/v1/tasks`, submit), { status: 403 })
  const start = { method: 'POST', body: '{"path":"/bin/true"}', headers: reader }
  t.match(await json(`${atHub}/v1/hosts/pi/processes`, start), { status: 403 })
})

t.test(
  'each verb’s --curl is a call that does the same',
  { skip: !hasCurl && 'there is no curl' },
  async (t) => {
    const env = { ...process.env, URL: atHub, TOKEN: token }
    const typed = async (...args: readonly string[]) => {
      const line = await hands.text(args[0] ?? '', '--curl', ...args.slice(1))
      t.match(
        line,
        /^(curl -sN -H "Authorization: Bearer \$TOKEN" .*"\$URL\/v1\/.*"\n)+$/,
      )
      return spawnSync('sh', ['-c', line], { env, input: 'b\na\n' }).stdout.toString()
    }
    t.match(JSON.parse(await typed('nodes')), { nodes: [{}, {}] })
    t.equal(await typed('run', '--host', 'nas', '--', 'sort'), 'a\nb\n')
    const quote = "it's $HOME"
    const submit = ['submit', '--batch', 'curled', '--', 'echo', quote]
    const { task_ids } = JSON.parse(await typed(...submit))
    t.match(JSON.parse(await typed('wait', task_ids[0])), {
      summary: { state: 'completed' },
    })
    t.equal(await typed('logs', '-f', task_ids[0]), `${quote}\n`)
    const number = task_ids[0].split('-')[1]
    t.match(JSON.parse(await typed('show', number)), {
      summary: { task_id: task_ids[0] },
    })
    t.match(JSON.parse(await typed('explain', number)), { state: 'completed' })
    t.match(JSON.parse(await typed('tasks', '--batch', 'curled')), {
      tasks: { length: 1 },
    })
    t.match(JSON.parse(await typed('cancel', number)), { closed: 1 })
    t.match(JSON.parse(await typed('retry', number)), { task_ids: [/\w/] })
    const { pid } = JSON.parse(
      await typed('start', '--host', 'nas', '--', 'sleep', '1000'),
    )
    t.match(JSON.parse(await typed('ps', '--host', 'nas')), { pids: [pid] })
    t.same(JSON.parse(await typed('signal', 'HUP', `nas/${pid}`)), {})
    t.same(JSON.parse(await typed('stop', `nas/${pid}`)), {})
    t.match(await hands.call('ps', '--curl'), { code: 2, stderr: /--host NAME/ })
    t.match(await hands.call('cancel', '--curl', '--batch', 'x'), {
      code: 2,
      stderr: /no call/,
    })
  },
)

t.test('what it does is there for Prometheus, and whether it is well', async (t) => {
  const text = async (path: string) => await (await ask(`${atManager}${path}`)).text()
  const metrics = await text('/metrics')
  for (const line of [
    /^manyhands_nodes\{role="worker",state="managed"\} 2$/m,
    /^manyhands_tasks\{state="queued",host="m"\} 0$/m,
    /^manyhands_worker_done\{host="(pi|nas)"\} \d+$/m,
    /^manyhands_http_requests_total\{method="POST",route="\/v1\/tasks",status="202"\} \d+$/m,
    /^manyhands_nodejs_eventloop_lag_p99_seconds /m,
  ])
    t.match(metrics, line)
  t.same(await json(`${atManager}/healthz`), { ok: true })
  t.same(await json(`${atHub}/readyz`), { ready: true })
})
