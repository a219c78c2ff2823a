// A real mesh to be harmed: a manager, workers and a client. Each worker has its own state
// directory, as one on another machine has, and reaches its manager through a relay.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { TaskDone } from '../../protocol/index.ts'
import { type Client, connect } from '../../src/index.ts'
import { type Break, Relay } from './relay.ts'

const run = promisify(execFile)
const binary = fileURLToPath(new URL('../../manyhands.js', import.meta.url))

/** Writes a line when it starts and when it ends: time, what, task, attempt, host, pid. */
const PROGRAM = `
say() { echo "$(date +%s%3N) $1 $MANYHANDS_TASK_ID $MANYHANDS_ATTEMPT $MANYHANDS_HOST_NAME $$ $2" >> "$LOG"; }
trap 'say ended 143; exit 143' TERM
say started
sleep "$1" & wait $!
say ended 0
`

/** One process of a worker, as it was started and killed here. */
export interface Life {
  readonly boot: string
  readonly bootedMs: number
  endedMs: number | undefined
}

export type Harm = 'kill' | 'stop' | Break

export class ChaosWorker {
  readonly name: string
  readonly lives: Life[] = []
  readonly #state: string
  readonly #relay: Relay
  #child: ChildProcess | undefined
  #undo: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(name: string, state: string, relay: Relay) {
    this.name = name
    this.#state = state
    this.#relay = relay
    this.#boot()
  }

  #boot(): void {
    const boot = `${this.name}.${this.lives.length + 1}`
    const args = ['--role', 'worker', '--name', this.name, '--cores', '2', '--no-mdns']
    const where = ['--state', this.#state, '--join', `127.0.0.1:${this.#relay.port}`]
    this.lives.push({ boot, bootedMs: Date.now(), endedMs: undefined })
    this.#child = spawn(process.execPath, [binary, ...args, ...where], {
      stdio: 'ignore',
    })
  }

  /** Does it harm, undone after a while; false: it suffers already. */
  harm(what: Harm, forMs: number): boolean {
    if (this.#undo !== undefined) return false
    this.#undo = this.#begin(what)
    this.#timer = setTimeout(() => this.heal(), forMs)
    return true
  }

  #begin(what: Harm): () => void {
    if (what !== 'stop' && what !== 'kill') return this.#relay.break(what)
    if (what === 'stop') {
      this.#child?.kill('SIGSTOP')
      return () => void this.#child?.kill('SIGCONT')
    }
    this.#child?.kill('SIGKILL')
    const life = this.lives.at(-1)
    if (life !== undefined) life.endedMs = Date.now()
    return () => this.#boot()
  }

  heal(): void {
    clearTimeout(this.#timer)
    const undo = this.#undo
    this.#undo = undefined
    undo?.()
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#child?.kill('SIGKILL')
    this.#relay.close()
  }
}

export interface ChaosMesh {
  readonly client: Client
  readonly workers: readonly ChaosWorker[]
  /** Where the programs write. */
  readonly log: string
  /** A task for each, which lasts so many seconds. */
  submit(lasting: readonly number[]): Promise<readonly string[]>
  outcomes(taskIds: readonly string[]): Promise<readonly TaskDone[]>
  /** Stops the manager's process for a while. */
  stopManager(forMs: number): Promise<void>
  /** Kills it, and starts it again after a while. */
  killManager(forMs: number): Promise<void>
  close(): Promise<void>
}

export const startMesh = async (count: number): Promise<ChaosMesh> => {
  const place = mkdtempSync(join(tmpdir(), 'manyhands-chaos-'))
  const state = join(place, 'm')
  const log = join(place, 'log')
  const args = ['--role', 'manager', '--name', 'm', '--ping', '250ms', '--no-mdns']
  const start = () =>
    spawn(process.execPath, [binary, ...args, '--state', state], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  let manager = start()
  const port = await portOf(manager)
  const workers: ChaosWorker[] = []
  for (let i = 1; i <= count; i++) {
    const name = `w${i}`
    const own = join(place, name)
    const member = ['--role', 'worker', '--name', name, '--out', own, '--state', state]
    await run(process.execPath, [binary, 'issue', ...member])
    workers.push(new ChaosWorker(name, own, await Relay.to(port)))
  }
  const client = await connect({ state, discoverMs: 0 })
  return {
    client,
    workers,
    log,
    submit: (lasting) =>
      client.submit(
        lasting.map((seconds) => ({
          job_addr: 'exec:sh',
          arguments: ['-c', PROGRAM, 'sh', seconds.toFixed(2)],
          env: { LOG: log },
          timeout_ms: 0,
        })),
      ),
    outcomes: async (taskIds) => {
      const all: TaskDone[] = []
      for await (const done of client.wait(taskIds)) all.push(done)
      return all
    },
    stopManager: async (forMs) => {
      manager.kill('SIGSTOP')
      await new Promise((resolve) => setTimeout(resolve, forMs))
      manager.kill('SIGCONT')
    },
    killManager: async (forMs) => {
      manager.kill('SIGKILL')
      await once(manager, 'close')
      await new Promise((resolve) => setTimeout(resolve, forMs))
      manager = start()
      // It takes the port of its last life, to which the relays lead.
      if ((await portOf(manager)) !== port) throw new Error('Expected the same port')
    },
    close: async () => {
      await client.close()
      for (const worker of workers) worker.close()
      manager.kill('SIGKILL')
      await once(manager, 'close')
      rmSync(place, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** Resolves when it says where it listens. */
const portOf = (manager: ChildProcess): Promise<number> =>
  new Promise((resolve, reject) => {
    let said = ''
    const look = (data: Buffer): void => {
      said += data.toString()
      const [, port] = /wss:\/\/127\.0\.0\.1:(\d+)/.exec(said) ?? []
      if (port !== undefined) resolve(Number(port))
    }
    manager.stdout?.on('data', look)
    manager.stderr?.on('data', look)
    manager.once('close', () => reject(new Error(`the manager did not start: ${said}`)))
  })
