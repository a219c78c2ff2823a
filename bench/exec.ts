// `exec` on fifty hosts, of which five are dead and five hang: does it end at its deadline,
// with a line for each?

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binary, commandMs, manyhands, said } from './support/mesh.ts'
import { report } from './support/report.ts'

const HOSTS = 50
const DEAD = 5
const HUNG = 5
const DEADLINE_MS = 5_000
const ROUNDS = 3

const place = await mkdtemp(join(tmpdir(), 'manyhands-bench-'))
const state = join(place, 's')
const nodes: ChildProcess[] = []
const node = async (role: string, name: string): Promise<ChildProcess> => {
  const flags = ['--role', role, '--name', name, '--state', state, '--no-mdns']
  const child = spawn(process.execPath, [binary, ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  nodes.push(child)
  await said(child, /is up/)
  return child
}

interface Row {
  readonly state: string
}
/** Its exit code tells that some failed, as it should. */
const exec = () =>
  new Promise<{ rows: readonly Row[]; ms: number }>((resolve) => {
    const deadline = `${DEADLINE_MS}ms`
    const flags = ['--state', state, '--on', 'host=h*', '--deadline', deadline, '--json']
    const start = performance.now()
    execFile(
      process.execPath,
      [binary, 'exec', ...flags, '--', 'hostname'],
      (_error, stdout) =>
        resolve({ rows: JSON.parse(stdout), ms: performance.now() - start }),
    )
  })

try {
  await node('hub', 'hub')
  const hosts: ChildProcess[] = []
  for (let at = 0; at < HOSTS; at += 5) {
    const names = [0, 1, 2, 3, 4].map((more) => `h${at + more}`)
    hosts.push(...(await Promise.all(names.map((name) => node('worker', name)))))
  }
  const list = async () =>
    JSON.parse(await manyhands('nodes', '--json', '--state', state))
  while ((await list()).length !== HOSTS + 1)
    await new Promise((resolve) => setTimeout(resolve, 200))
  for (const child of hosts.slice(0, DEAD)) child.kill('SIGKILL')
  const hung = hosts.slice(DEAD, DEAD + HUNG)
  const signal = (name: 'SIGSTOP' | 'SIGCONT') => {
    for (const child of hung) child.kill(name)
  }
  const connected = async () =>
    (await list()).filter(({ state: its }: Row) => its === 'connected').length
  const off: number[] = []
  let rows: readonly Row[] = []
  // The first turn is not counted.
  for (let round = 0; round <= ROUNDS; round += 1) {
    // One that hangs for long is given up by the hub, and no longer waited for.
    signal('SIGCONT')
    while ((await connected()) !== HOSTS - DEAD)
      await new Promise((resolve) => setTimeout(resolve, 200))
    signal('SIGSTOP')
    // What any process takes to begin and to end is not the deadline's.
    const bareMs = await commandMs(process.execPath, ['-e', '0'])
    const result = await exec()
    rows = result.rows
    if (round > 0) off.push(result.ms - bareMs - DEADLINE_MS)
  }
  const worst = off.reduce((a, b) => (Math.abs(a) > Math.abs(b) ? a : b))
  report({
    what: `exec on ${HOSTS} hosts, ${DEAD} dead and ${HUNG} hung: off its deadline, worst of ${ROUNDS}`,
    value: Math.abs(worst),
    unit: 'ms',
    goal: ['<=', 100],
    note: `${off.map((ms) => `${ms >= 0 ? '+' : ''}${ms.toFixed(0)}`).join(', ')}; without what \`node -e 0\` takes`,
  })
  const count = (which: string) => rows.filter((row) => row.state === which).length
  report({
    what: 'lines of result',
    value: rows.length,
    unit: '',
    goal: ['>=', HOSTS],
    note: `${count('exited')} exited, ${count('unreachable')} unreachable, ${count('deadline')} at the deadline`,
  })
} finally {
  await Promise.all(
    nodes.map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }),
  )
  await rm(place, { recursive: true, force: true })
}
