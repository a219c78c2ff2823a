// Mesh: one manager and two workers as a user starts them, in a state directory of their own.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** The bundled command line. */
export const binary = fileURLToPath(new URL('../../manyhands.js', import.meta.url))

const run = promisify(execFile)

/** Runs a verb to its end and gives its stdout. */
export const manyhands = async (...args: readonly string[]): Promise<string> =>
  (await run(process.execPath, [binary, ...args], { maxBuffer: 1 << 28 })).stdout

/** A node as `nodes --json` shows it. */
export interface NodeLine {
  readonly host_name: string
  readonly role: string
  readonly state: string
  readonly pid: number
  readonly address?: string
}

export interface BenchMesh {
  readonly state: string
  nodes(): Promise<readonly NodeLine[]>
  close(): Promise<void>
}

/** Starts a mesh and waits until all its workers are managed. */
export const startMesh = async (workers = 2): Promise<BenchMesh> => {
  const state = await mkdtemp(join(tmpdir(), 'manyhands-bench-'))
  await manyhands('up', '--workers', String(workers), '--state', state)
  return {
    state,
    nodes: async () => JSON.parse(await manyhands('nodes', '--json', '--state', state)),
    close: async () => {
      await manyhands('down', '--state', state)
      await rm(state, { recursive: true, force: true })
    },
  }
}

/** Resolves when a node says it, on whichever of its outputs. */
export const said = (child: ChildProcess, what: RegExp): Promise<RegExpExecArray> =>
  new Promise((resolve, reject) => {
    let text = ''
    const look = (data: Buffer): void => {
      text += data.toString()
      const match = what.exec(text)
      if (match !== null) resolve(match)
    }
    child.stdout?.on('data', look)
    child.stderr?.on('data', look)
    child.once('exit', () => reject(new Error(`ended without ${what}: ${text}`)))
  })

/** Resident memory of a process, in bytes. */
export const residentBytes = (pid: number): Promise<number> => statusBytes(pid, 'VmRSS')

/** Of it, what is its own and no part of a file: a ledger's pages are the system's. */
export const anonymousBytes = (pid: number): Promise<number> =>
  statusBytes(pid, 'RssAnon')

/** The most that it has been. */
export const peakBytes = (pid: number): Promise<number> => statusBytes(pid, 'VmHWM')

const statusBytes = async (pid: number, field: string): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) * 1024
}

/** Processor time of a process and its reaped children so far, in ms. */
export const cpuMs = async (pid: number): Promise<number> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const parts = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(parts[11]) + Number(parts[12])) * 10
}

/** How long a whole command takes, in ms. */
export const commandMs = async (
  command: string,
  args: readonly string[],
): Promise<number> => {
  const start = performance.now()
  const child = spawn(command, args, { stdio: 'ignore' })
  await once(child, 'exit')
  return performance.now() - start
}
