// A node's start: until it listens, until a worker is managed, and what it costs when idle.

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { report } from './support/report.ts'
import { median } from './support/rounds.ts'

const binary = fileURLToPath(new URL('../manyhands.js', import.meta.url))
const ROUNDS = 5
const IDLE_MS = 30_000
/** Discovery asks often at first: idle is what comes after. */
const CALM_MS = 15_000
/** Clock ticks per second of /proc/<pid>/stat, on every Linux that Node.js runs on. */
const TICKS = 100

const begin = (state: string, ...argv: string[]) => {
  const startedMs = performance.now()
  const child = spawn(process.execPath, [binary, ...argv, '--state', state])
  let text = ''
  const waiting = new Set<() => void>()
  const take = (part: Buffer) => {
    text += String(part)
    for (const check of [...waiting]) check()
  }
  child.stdout.on('data', take)
  child.stderr.on('data', take)
  /** Milliseconds from the start until it has printed that. */
  const until = (word: string) =>
    new Promise<number>((resolve) => {
      const check = () => {
        if (!text.includes(word)) return
        waiting.delete(check)
        resolve(performance.now() - startedMs)
      }
      waiting.add(check)
      check()
    })
  const end = () =>
    new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
      child.kill('SIGTERM')
    })
  return { pid: child.pid ?? 0, until, end, text: () => text }
}

const urlIn = (text: string): string => /listening\s+(\S+)/.exec(text)?.[1] ?? ''

type Found = 'mdns' | 'join' | 'state'

/** Until the node listens, and from then until it is managed, found in one way alone. */
const startOnce = async (by: Found) => {
  const state = mkdtempSync(join(tmpdir(), 'manyhands-bench-'))
  const flags = by === 'mdns' ? ['--no-local'] : ['--no-mdns']
  const manager = begin(state, '--role', 'manager', ...flags)
  await manager.until('join with')
  if (by === 'mdns') await manager.until('announced')
  const joining = by === 'join' ? ['--no-local', '--join', urlIn(manager.text())] : []
  const worker = begin(state, '--role', 'worker', ...flags, ...joining)
  const readyMs = await worker.until('is up')
  const managedMs = (await worker.until('phase=managed')) - readyMs
  await worker.end()
  await manager.end()
  rmSync(state, { recursive: true })
  return { readyMs, managedMs }
}

const measureStart = async (by: Found, goalMs: number): Promise<readonly number[]> => {
  const starts = []
  for (let round = 0; round < ROUNDS; round += 1) starts.push(await startOnce(by))
  report({
    what: `worker managed after it listens, found by ${by}`,
    value: median(starts.map(({ managedMs }) => managedMs)),
    unit: 'ms',
    goal: ['<=', goalMs],
  })
  return starts.map(({ readyMs }) => readyMs)
}

const ticksOf = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
  return Number(user) + Number(system)
}

const residentOf = (pid: number): number => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const measureIdle = async (): Promise<void> => {
  const state = mkdtempSync(join(tmpdir(), 'manyhands-bench-'))
  const manager = begin(state, '--role', 'manager')
  await manager.until('is up')
  const worker = begin(state, '--role', 'worker')
  await worker.until('phase=managed')
  await pause(CALM_MS)
  const nodes = { manager, worker }
  const before = { manager: ticksOf(manager.pid), worker: ticksOf(worker.pid) }
  await pause(IDLE_MS)
  for (const role of ['manager', 'worker'] as const) {
    const { pid } = nodes[role]
    const share = ((ticksOf(pid) - before[role]) / TICKS / (IDLE_MS / 1000)) * 100
    report({ what: `idle ${role}, CPU`, value: share, unit: '%', goal: ['<=', 0.2] })
    const resident = residentOf(pid)
    report({ what: `idle ${role}, RSS`, value: resident, unit: 'MiB', goal: ['<=', 80] })
  }
  await worker.end()
  await manager.end()
  rmSync(state, { recursive: true })
}

const readyMs = [
  ...(await measureStart('mdns', 1000)),
  ...(await measureStart('join', 300)),
  ...(await measureStart('state', 300)),
]
report({
  what: 'node listens after its start',
  value: median(readyMs),
  unit: 'ms',
  goal: ['<=', 500],
})
await measureIdle()
