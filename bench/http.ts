// The API by HTTP: what handing in costs beside a bare route of the same library, how soon a
// byte is with its reader, how soon a program is gone whose client left, pages of a million
// tasks, and two hundred readers of events, of whom ten are stuck.

import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { connect } from '../src/index.ts'
import { comparison } from './support/figures.ts'
import { binary, manyhands, said } from './support/mesh.ts'
import { report } from './support/report.ts'
import { interleave, median, quantile } from './support/rounds.ts'

const CONNECTIONS = 32
const ROUND_MS = 1_000
const ROUNDS = 7
const LINES = 300
const LEAVINGS = 20
const TASKS = 1_000_000
const PAGES = 300
const READERS = 200
const STUCK = 10
const EVENTS = 2_000

const TASK = JSON.stringify({
  job_addr: 'noop:',
  arguments: ['an', 'argument'],
  timeout_ms: 0,
})

const HELD = JSON.stringify({ ...JSON.parse(TASK), requires: { host_name: 'none' } })
/** Until V8 has compiled what it will. */
const WARM_UP = 5

/** The yardstick: it reads the body, parses it, and answers as much. */
const bare = (): void => {
  const app = new Hono()
  app.post('/v1/tasks', async (c) => {
    const body = await c.req.json()
    return c.json({ task_ids: [`0123456789-${body.arguments.length}`] }, 202)
  })
  serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) =>
    process.send?.(port),
  )
}

const measure = async (): Promise<void> => {
  const place = mkdtempSync(join(tmpdir(), 'manyhands-bench-'))
  const state = join(place, 's')
  const children: ChildProcess[] = []
  const node = (role: string, name: string, ...flags: readonly string[]) => {
    const all = ['--role', role, '--name', name, '--state', state, '--no-mdns', ...flags]
    const child = spawn(process.execPath, [binary, ...all], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    children.push(child)
    return child
  }
  const listens = /http {7}http:\/\/127\.0\.0\.1:(\d+)/
  const manager = node('manager', 'm', '--http', '127.0.0.1:0', '--ledger', 'memory')
  const [, atManager = ''] = await said(manager, listens)
  const hub = node('hub', 'hub', '--http', '127.0.0.1:0')
  const [, atHub = ''] = await said(hub, listens)
  await said(node('worker', 'pi'), /phase=managed/)
  const scopes = ['read', 'tasks:run', 'processes'].flatMap((one) => ['--scope', one])
  const token = (await manyhands('token', 'create', '--state', state, ...scopes)).trim()
  const yardstick = fork(fileURLToPath(import.meta.url))
  children.push(yardstick)
  const [atBare] = await once(yardstick, 'message')

  const agent = new Agent({ keepAlive: true, maxSockets: 512 })
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const ask = (
    port: string,
    path: string,
    { method = 'GET', body = '' } = {},
    its: Agent | false = agent,
  ): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const asked = request(
        { port: Number(port), path, method, headers, agent: its },
        resolve,
      )
      asked.on('error', reject).end(body)
    })
  const textOf = async (answer: IncomingMessage): Promise<string> => {
    let text = ''
    for await (const part of answer) text += part
    return text
  }

  /** Handed in, and waiting: what runs is measured elsewhere. */
  const posts = (port: string) => async (): Promise<number> => {
    const until = performance.now() + ROUND_MS
    let count = 0
    const one = async (): Promise<void> => {
      while (performance.now() < until) {
        const answer = await ask(port, '/v1/tasks', { method: 'POST', body: HELD })
        await textOf(answer)
        if (answer.statusCode !== 202) throw new Error(`status ${answer.statusCode}`)
        count += 1
      }
    }
    await Promise.all(Array.from({ length: CONNECTIONS }, one))
    return count / (ROUND_MS / 1000)
  }

  const firstBytes = async (port: string): Promise<readonly number[]> => {
    const script = `$|=1; for (1..${LINES}) { printf "%.3f\\n", time * 1000; select(undef, undef, undef, 0.01) }`
    const args = ['perl', '-MTime::HiRes=time', '-e', script]
    const query = args.map((arg) => `arg=${encodeURIComponent(arg)}`).join('&')
    const answer = await ask(port, `/v1/run?${query}&host=pi`, { method: 'POST' }, false)
    const delays: number[] = []
    let rest = ''
    for await (const part of answer) {
      const nowMs = performance.timeOrigin + performance.now()
      const lines = `${rest}${part}`.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) delays.push(nowMs - Number(line))
    }
    if (delays.length !== LINES) throw new Error(`${delays.length} lines`)
    return delays
  }

  const leaving = async (port: string): Promise<number> => {
    const path = '/v1/run?arg=sh&arg=-c&arg=echo+$$;sleep+1000&host=pi'
    const answer = await ask(port, path, { method: 'POST' }, false)
    const [first] = await once(answer, 'data')
    const pid = Number(String(first))
    const leftMs = performance.now()
    answer.destroy()
    for (;;) {
      try {
        process.kill(pid, 0)
      } catch {
        return performance.now() - leftMs
      }
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  const pages = async (): Promise<readonly number[]> => {
    const spans: number[] = []
    let cursor = ''
    const filters = ['', '&state=running', '&batch=none', '&host=pi']
    for (let turn = 0; turn < PAGES; turn += 1) {
      const path = `/v1/tasks?limit=100${filters[turn % filters.length]}${cursor}`
      const start = performance.now()
      const { next } = JSON.parse(await textOf(await ask(atManager, path)))
      spans.push(performance.now() - start)
      cursor = next === undefined ? '' : `&cursor=${next}`
    }
    return spans
  }

  const readers = async (): Promise<readonly number[]> => {
    const delays: number[] = []
    const open: IncomingMessage[] = []
    for (let at = 0; at < READERS; at += 1) {
      const answer = await ask(atHub, '/v1/events?topic=tasks', {}, false)
      open.push(answer)
      if (at < STUCK) {
        answer.pause()
        continue
      }
      let rest = ''
      answer.on('data', (part) => {
        const nowMs = performance.timeOrigin + performance.now()
        const lines = `${rest}${part}`.split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) {
          const at_ms = /"at_ms":(\d+)/.exec(line)?.[1]
          if (at_ms !== undefined) delays.push(nowMs - Number(at_ms))
        }
      })
      answer.on('error', () => undefined)
    }
    for (let at = 0; at < EVENTS / 3; at += 1) {
      await textOf(await ask(atManager, '/v1/tasks', { method: 'POST', body: TASK }))
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    for (const answer of open) answer.destroy()
    return delays
  }

  try {
    for (let turn = 0; turn < WARM_UP; turn += 1) await posts(atManager)()
    const pairs = await interleave(ROUNDS, posts(atManager), posts(String(atBare)))
    const what = `POST /v1/tasks, ${CONNECTIONS} connections`
    report(
      comparison(
        { what, yardstick: 'a bare hono route', unit: '/s', goal: ['>=', 0.6] },
        pairs,
      ),
    )
    for (const [name, port] of [
      ['the manager', atManager],
      ['a hub', atHub],
    ] as const) {
      await firstBytes(port)
      const delays = await firstBytes(port)
      report({
        what: `a line of a running program is with its reader through ${name}, p99`,
        value: quantile(delays, 0.99),
        unit: 'ms',
        goal: ['<=', 20],
        note: `p50 ${median(delays).toFixed(1)} ms`,
      })
      const spans: number[] = []
      for (let turn = 0; turn < LEAVINGS; turn += 1) spans.push(await leaving(port))
      report({
        what: `its client left through ${name}: the program is gone, longest of ${LEAVINGS}`,
        value: Math.max(...spans),
        unit: 'ms',
        goal: ['<=', 300],
      })
    }
    const delays = await readers()
    report({
      what: `${READERS} readers of events, ${STUCK} stuck: the others' delay, p99`,
      value: quantile(delays, 0.99),
      unit: 'ms',
      goal: ['<=', 200],
      note: `${delays.length} events read, p50 ${median(delays).toFixed(0)} ms`,
    })
    await using client = await connect({ state, discoverMs: 0 })
    const nowhere = {
      job_addr: 'noop:',
      arguments: [],
      timeout_ms: 0,
      requires: { host_name: 'none' },
    }
    await client.submit(Array.from({ length: TASKS - 200_000 }, () => nowhere))
    await pages()
    const spans = await pages()
    report({
      what: 'GET /v1/tasks over 800,000 tasks and more, a page of 100, p99',
      value: quantile(spans, 0.99),
      unit: 'ms',
      goal: ['<=', 50],
      note: `p50 ${median(spans).toFixed(1)} ms`,
    })
  } finally {
    agent.destroy()
    for (const child of children) child.kill('SIGKILL')
    rmSync(place, { recursive: true, force: true })
  }
}

if (process.send === undefined) await measure()
else bare()
