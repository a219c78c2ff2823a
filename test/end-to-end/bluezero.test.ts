// BlueZero's process manager and HUB as its users meet them: real nodes, real programs, and
// requests by HTTP.

import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { isGone, longSleep, Manyhands, processesWith, until } from './support.ts'

t.setTimeout(90_000)

// A socket's path has to be short.
const directory = mkdtempSync(join(tmpdir(), 'mh-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))
const hands = new Manyhands(t, join(directory, 'state'))
const hub = hands.node('hub', '--name', 'hub', '--bluezero', '127.0.0.1:0')
const [, url = ''] = await hub.said(/bluezero {3}(http:\S+) \(takes a token/)
const pi = hands.node('worker', '--name', 'pi', '--bluezero')
const [, socketPath = ''] = await pi.said(/bluezero {3}unix:(\S+)/)
const nas = hands.node('worker', '--name', 'nas')
await nas.said(/is up/)
const scopes = ['--scope', 'read', '--scope', 'processes']
/** `token` with one of its own verbs. */
const tokenVerb = async (verb: string, ...rest: readonly string[]) =>
  await hands.begin('token', verb, '--state', hands.state, ...rest).ended
const made = async (...flags: readonly string[]) =>
  (await tokenVerb('create', ...flags)).stdout.toString().trim()
const token = await made(...scopes)

/** As a BlueZero client sends it. */
const post = async (path: string, body: object, bearer = token) => {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: {
      'content-type': 'b0::process_manager::Request',
      authorization: `Bearer ${bearer}`,
    },
    body: JSON.stringify(body),
  })
  return JSON.parse(await response.text())
}
const HUB = '/process_manager_hub/control'
const nodesNow = async () => {
  const response = await fetch(`${url}/process_manager_hub/active_nodes`, {
    headers: { authorization: `Bearer ${token}` },
  })
  const { nodes } = JSON.parse(await response.text())
  return nodes.map(({ host_name }: { host_name: string }) => host_name).sort()
}
await until(async () => (await nodesNow()).length === 2)

t.test('a program on another host: started, queried, listed, stopped', async (t) => {
  const marker = longSleep()
  const start_process = { path: '/bin/sleep', args: [marker] }
  const started = await post(HUB, { host_name: 'nas', start_process })
  const { pid } = started.start_process
  t.same(started, { success: true, start_process: { pid, success: true } })
  t.same(processesWith(marker), [pid], 'the real pid')
  const query = { host_name: 'nas', query_process_status: { pid } }
  t.same((await post(HUB, query)).query_process_status, { running: true, success: true })
  const list = { list_active_processes: {} }
  t.same(await post('/process_manager@nas/control', list), {
    list_active_processes: { pids: [pid] },
  })
  t.same(await post(HUB, { host_name: 'nas', stop_process: { pid } }), {
    success: true,
    stop_process: { success: true },
  })
  await isGone(pid)
  t.same((await post(HUB, query)).query_process_status, {
    ...{ exit_code: 130, running: false, success: true, signal: 'SIGINT' },
  })
  t.match(await post(HUB, { host_name: 'Nas', ...list }), {
    error_message: 'unknown host',
  })
})

t.test('a node’s own socket takes no token, and answers for that node', async (t) => {
  const ask = (body: object) =>
    new Promise<object>((resolve, reject) => {
      const headers = { 'content-type': 'application/json' }
      const path = '/process_manager/control'
      const asked = request(
        { socketPath, path, method: 'POST', headers },
        async (answer) => {
          let text = ''
          for await (const part of answer) text += part
          resolve(JSON.parse(text))
        },
      )
      asked.on('error', reject).end(JSON.stringify(body))
    })
  t.match(await ask({ start_process: { path: '/bin/true', args: [] } }), {
    start_process: { success: true, pid: Number },
  })
  t.match(await ask({ start_process: { path: '/no/such' } }), {
    start_process: { success: false, error_message: 'no such file or directory' },
  })
  t.match(await ask({ start_process: { path: '/tmp' } }), {
    start_process: { success: false, error_message: 'permission denied' },
  })
})

t.test('a token gives what it says, where it says, until it is taken back', async (t) => {
  const reader = await made('--scope', 'read@pi')
  const list = { list_active_processes: {} }
  t.match(await post(HUB, { host_name: 'pi', ...list }, reader), { success: true })
  const denied = { error_message: 'permission denied' }
  t.match(await post(HUB, { host_name: 'nas', ...list }, reader), {
    list_active_processes: denied,
  })
  const stop = { host_name: 'pi', stop_process: { pid: 1 } }
  t.match(await post(HUB, stop, reader), { stop_process: denied })
  const { stdout } = await tokenVerb('list', '--json')
  const listed: { id: string; scopes: string[] }[] = JSON.parse(stdout.toString())
  const id = listed.find(({ scopes: its }) => its.includes('read@pi'))?.id ?? ''
  t.match(await tokenVerb('revoke', id), { code: 0 })
  t.match(await tokenVerb('revoke', id), { code: 3, stderr: /no token/ })
  t.match(await post(HUB, { host_name: 'pi', ...list }, reader), { status: 401 })
})

t.test(
  'a host that dies is unreachable at once, then unknown; the list follows',
  async (t) => {
    const follow = await fetch(`${url}/process_manager_hub/active_nodes?follow=1`, {
      headers: { authorization: `Bearer ${token}` },
    })
    const lines = follow.body?.pipeThrough(new TextDecoderStream()).getReader()
    const namesIn = async () => {
      const { value = '' } = (await lines?.read()) ?? {}
      return JSON.parse(value.trim()).nodes.map(
        ({ host_name }: { host_name: string }) => host_name,
      )
    }
    t.same((await namesIn()).sort(), ['nas', 'pi'])
    nas.child.kill('SIGKILL')
    t.same(await namesIn(), ['pi'])
    await lines?.cancel()
    const list = { host_name: 'nas', list_active_processes: {} }
    t.same(await post(HUB, list), { success: false, error_message: 'host unreachable' })
    await until(async () => (await post(HUB, list)).error_message === 'unknown host')
    const again = hands.node('worker', '--name', 'nas')
    await again.said(/is up/)
    await until(async () => (await post(HUB, list)).success === true)
  },
)

t.test('without tokens only on loopback, and with a warning', async (t) => {
  const open = hands.node(
    'worker',
    '--name',
    'open',
    '--bluezero',
    '127.0.0.1:0',
    '--adapter-open',
  )
  const [, its = ''] = await open.said(/bluezero {3}(http:\S+)\n.*--adapter-open/)
  const answer = await fetch(`${its}/process_manager/control`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"list_active_processes":{}}',
  })
  t.same(await answer.json(), { list_active_processes: { pids: [] } })
  const wide = hands.node('worker', '--bluezero', '0.0.0.0:0', '--adapter-open')
  t.match(await wide.ended, { code: 2, stderr: /--adapter-open: is for loopback alone/ })
})

t.test('a hub on a machine that was let in acts with what it was given', async (t) => {
  const away = new Manyhands(t, join(directory, 'away'))
  const bundle = ['--role', 'hub', '--name', 'away', '--out', away.state]
  const given = ['--scope', 'read', '--scope', 'processes@pi']
  t.match(await hands.call('issue', ...bundle, ...given), { code: 0 })
  const shy = hands.node('worker', '--name', 'shy', '--manager', 'another')
  const [, shyUrl = ''] = await shy.said(/listening {2}(wss:\S+)/)
  const [, piUrl = ''] = await pi.said(/listening {2}(wss:\S+)/)
  const flags = ['--bluezero', '127.0.0.1:0', '--join', piUrl, '--join', shyUrl]
  const its = away.node('hub', ...flags)
  const [, at = ''] = await its.said(/bluezero {3}(http:\S+)/)
  const made = await away.begin('token', 'create', '--state', away.state, ...scopes).ended
  const authorization = `Bearer ${made.stdout.toString().trim()}`
  const start = async (host_name: string, hub: string) => {
    const body = JSON.stringify({ host_name, start_process: { path: '/bin/true' } })
    const headers = { authorization, 'content-type': 'application/json' }
    const answer = await fetch(hub + HUB, { method: 'POST', headers, body })
    return JSON.parse(await answer.text())
  }
  await until(async () => (await start('pi', at)).success === true)
  t.match(await start('pi', at), { start_process: { success: true, pid: Number } })
  await until(async () => (await start('shy', at)).success === true)
  t.match(await start('shy', at), {
    start_process: { error_message: 'permission denied' },
  })
  t.match(await start('pi', url), { status: 401 }, 'its tokens are its own')
  const audit = async () => await hands.text('audit', 'show', '--event', 'refused')
  await until(async () => /node-shy.*by=away.*role=hub/.test(await audit()))
})
