// A node dies at each point where something might come undone, and is started again: every
// task that was acknowledged ends once, and runs again only where its program may have run.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect } from '../../src/index.ts'
import { begin, type Started } from '../end-to-end/support.ts'
import { plant } from '../support/plant.ts'
import { type KillPoint, killPoints, mortal } from './kill-points.ts'

// The machine may be busy with other tests.
t.setTimeout(300_000)

const copy = plant(mortal)
t.teardown(() => rmSync(copy, { recursive: true, force: true }))
const place = t.testdir({})
const state = join(place, 'state')
const cli = join(copy, 'src', 'cli.js')

const killFile = (role: string): string => join(place, `kill-${role}`)

const node = (role: 'manager' | 'worker', ...more: readonly string[]): Started => {
  const args = ['--role', role, '--name', role, '--state', state, '--no-mdns', ...more]
  const environment = `KILL_FILE=${killFile(role)}`
  return begin(t, 'env', environment, process.execPath, cli, ...args)
}

const startManager = () => node('manager', '--ping', '250ms')
const startWorker = () => node('worker', '--cores', '1')

const nodes = { manager: startManager(), worker: startWorker() }
await nodes.manager.said(/listening/)
await nodes.worker.said(/phase=managed/)

const restart = async (t: Test, role: 'manager' | 'worker'): Promise<void> => {
  const { code } = await nodes[role].ended
  t.equal(code, null, `the ${role} was killed`)
  rmSync(killFile(role))
  nodes[role] = role === 'manager' ? startManager() : startWorker()
  await nodes[role].said(role === 'manager' ? /listening/ : /phase=managed/)
}

const client = await connect({ state, discoverMs: 0 })
t.teardown(() => client.close())

const script = 'echo start >>"$0"; sleep 0.05; echo end >>"$0"'

const dieAt = async (t: Test, { name, of, times, starts }: KillPoint, number: number) => {
  const log = join(place, `log-${number}`)
  writeFileSync(killFile(of), `${name}\n${times}`)
  const task = {
    job_addr: 'exec:sh',
    arguments: ['-c', script, log],
    timeout_ms: 0,
    name: `${name} ${times}`,
  }
  // It asks again by itself, under the same key, until it has the ids.
  const [ids] = await Promise.all([client.submit([task]), restart(t, of)])
  const [id = ''] = ids
  for await (const done of client.wait(ids)) t.equal(done.state, 'completed')
  const lines = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []
  const started = lines.filter((line) => line === 'start').length
  t.ok(starts.includes(started), `it was started ${started} times`)
  t.equal(lines.at(-1), 'end')
  const { attempts, summary } = await client.show(id)
  t.ok(attempts.length >= started, `${attempts.length} hand-outs, ${started} starts`)
  if (of === 'manager') t.equal(summary.attempt, 1, 'its worker lived')
}

for (const [number, point] of killPoints.entries())
  t.test(`${point.of}: ${point.name}, time ${point.times}`, (t) =>
    dieAt(t, point, number),
  )

t.test('at the end nothing is open, and every key gave one task', async (t) => {
  const tasks = []
  for await (const task of client.tasks()) tasks.push(task)
  t.equal(tasks.length, killPoints.length)
  t.ok(tasks.every(({ state: its }) => its === 'completed'))
})
