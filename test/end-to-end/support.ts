// The whole binary as a person has it: nodes and verbs are real processes on a state
// directory of the test's own. Whatever a test does to them, `left` tells what stayed.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { isAlive } from '../../src/commands/liveness.ts'

const binary = fileURLToPath(new URL('../../manyhands.js', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

export interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Resolves when both outputs together match. */
  said(what: RegExp): Promise<RegExpExecArray>
}

/** Any program, with what it writes kept. It is killed at the end of the test. */
export const begin = (t: Test, program: string, ...args: readonly string[]): Started => {
  const child = spawn(program, args, { stdio: 'pipe' })
  t.teardown(() => child.kill('SIGKILL'))
  const [out, err]: [Buffer[], Buffer[]] = [[], []]
  let look: () => void = () => undefined
  const keep = (parts: Buffer[]) => (data: Buffer) => {
    parts.push(data)
    look()
  }
  child.stdout.on('data', keep(out))
  child.stderr.on('data', keep(err))
  child.stdin.on('error', () => undefined)
  const ended = once(child, 'close').then(
    ([code]): Ended => ({
      code,
      stdout: Buffer.concat(out),
      stderr: Buffer.concat(err).toString(),
    }),
  )
  const said = (what: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      look = () => {
        const text = Buffer.concat([...out, ...err]).toString()
        const match = what.exec(text)
        if (match !== null) resolve(match)
      }
      look()
      void ended.then(({ code, stdout, stderr }) =>
        reject(new Error(`ended with ${code} without ${what}: ${stdout}${stderr}`)),
      )
    })
  return { child, ended, said }
}

/** The command line on one state directory. */
export class Manyhands {
  readonly state: string
  readonly #t: Test
  readonly #within: readonly string[]

  /** `within` is put before each command: see Machine. */
  constructor(
    t: Test,
    state: string = join(t.testdir(), 'state'),
    within: readonly string[] = [],
  ) {
    this.#t = t
    this.state = state
    this.#within = within
  }

  /** The binary with these arguments. */
  begin(...args: readonly string[]): Started {
    const command = [...this.#within, process.execPath, binary, ...args]
    return begin(this.#t, command[0] ?? '', ...command.slice(1))
  }

  /** A verb, running. */
  start(verb: string, ...rest: readonly string[]): Started {
    return this.begin(verb, '--state', this.state, ...rest)
  }

  /** A verb, until its end, without input. */
  async call(verb: string, ...rest: readonly string[]): Promise<Ended> {
    const { child, ended } = this.start(verb, ...rest)
    child.stdin?.end()
    return await ended
  }

  async text(verb: string, ...rest: readonly string[]): Promise<string> {
    return (await this.call(verb, ...rest)).stdout.toString()
  }

  // Each reading verb's --json is a list of objects; a test looks at what it names.
  // biome-ignore lint/suspicious/noExplicitAny: the shapes are those of the protocol
  async list(verb: string, ...rest: readonly string[]): Promise<any[]> {
    return JSON.parse(await this.text(verb, '--json', ...rest))
  }

  /** A node in the foreground. */
  node(role: string, ...rest: readonly string[]): Started {
    return this.begin('--role', role, '--state', this.state, '--no-mdns', ...rest)
  }

  /** Manager and workers with short leases, managed. */
  mesh(...workers: readonly string[]) {
    return this.meshWith([], ...workers)
  }

  /** The manager has these flags besides. */
  async meshWith(flags: readonly string[], ...workers: readonly string[]) {
    const manager = this.node('manager', '--name', 'm', '--ping', '250ms', ...flags)
    const [, url = ''] = await manager.said(/listening\s+(\S+)/)
    const nodes: Record<string, Started> = { m: manager }
    for (const name of workers)
      nodes[name] = this.node('worker', '--name', name, '--cores', '1', '--join', url)
    await Promise.all(workers.map((name) => nodes[name]?.said(/phase=managed/)))
    return { url, nodes }
  }
}

/** Looks again until it is so; the runner's own time limit ends what never is. */
export const until = async (isSo: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await isSo())) await pause(20)
}

export const isGone = (pid: number): Promise<void> => until(() => !isAlive(pid))

/** Processes whose command line holds the text. */
export const processesWith = (text: string): number[] =>
  readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return []
    try {
      const line = readFileSync(`/proc/${name}/cmdline`, 'utf8')
      return line.includes(text) && isAlive(Number(name)) ? [Number(name)] : []
    } catch {
      return []
    }
  })

/** Its children's process ids. */
export const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter((text) => text !== '')
    .map(Number)

/** Resident memory in MiB. */
export const residentMiB = (pid: number): number => {
  const [, kib = '0'] =
    /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}

/** A number of seconds for `sleep` that nobody else uses: found again by its text. */
export const longSleep = (): string =>
  `60${String(Math.random()).slice(2, 10)}.${process.pid}`
