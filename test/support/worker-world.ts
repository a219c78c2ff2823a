// Worker world: one worker among managers that a test plays, on a manual clock.

import * as E from 'fp-ts/lib/Either.js'
import type {
  AnswerOf,
  Assignment,
  Handlers,
  Kind,
  RequestOf,
  Respond,
} from '../../protocol/index.ts'
import { memoryOutbox } from '../../src/outbox/memory.ts'
import type { Jobs, Log, Outbox, Peer, Random } from '../../src/ports.ts'
import { Worker } from '../../src/roles/worker.ts'
import type { WorkerConfig } from '../../src/roles/worker-config.ts'
import { WORKER_DEFAULTS } from '../../src/roles/worker-config.ts'
import { FakeRunner } from './fake-runner.ts'
import { createManualClock } from './manual-clock.ts'
import { type AddedNode, createMemoryMesh, type MemoryMesh } from './memory-mesh.ts'

export const WORKER = 'w'.repeat(4)
export const LEDGER = 'aaaaaaaaaa'
export const OTHER_LEDGER = 'bbbbbbbbbb'
export const PING_MS = 5000
export const LEASE_MS = 15_000

/** A task with everything that it must have. */
export const assignment = (
  sequence: number,
  more: Partial<Assignment> = {},
): Assignment => ({
  task_id: `${LEDGER}-${sequence}`,
  attempt: 1,
  job_addr: 'exec:true',
  arguments: [],
  timeout_ms: 0,
  ...more,
})

/** A manager that a test plays. */
export class PlayedManager {
  readonly nodeId: string
  /** How it answers; replaced by tests. */
  handlers: Handlers<Peer>
  readonly #node: AddedNode
  readonly #network: MemoryMesh
  accepts = true
  epoch = 1
  rel = 'rel-0'
  drop: { task_id: string; attempt: number }[] = []
  /** What Task* are answered with. */
  taskAnswer: 'Ack' | 'NotMine' | 'malformed' | 'busy' = 'Ack'
  answersPings = true
  #rels = 0

  constructor(network: MemoryMesh, nodeId: string, ledgerId: string) {
    this.#network = network
    this.nodeId = nodeId
    this.handlers = this.#handlers()
    const bootId = 'b'.repeat(16)
    const hostName = `host-${nodeId}`
    const spec = { name: nodeId, nodeId, bootId, hostName, ledgerId }
    this.#node = network.add({ ...spec, role: 'manager' })
    const handlers = () => this.handlers
    network.attach(nodeId, {
      get handlers() {
        return handlers()
      },
      peerConnected() {},
      peerLost() {},
    })
  }

  #handlers(): Handlers<Peer> {
    const answer = (_body: unknown, respond: Respond<'TaskStarted'>): void => {
      if (this.taskAnswer === 'Ack') respond('Ack', {})
      else if (this.taskAnswer === 'NotMine') respond('NotMine', {})
      else respond('Error', { code: this.taskAnswer })
    }
    return {
      ManagerRequest: ({ more, settle }, respond) => {
        if (more) return respond('ManagerAnswer', { accepted: false, continue: true })
        if (settle) {
          return respond('ManagerAnswer', { accepted: false, drop: this.drop })
        }
        if (!this.accepts) return respond('ManagerAnswer', { accepted: false })
        this.#rels += 1
        this.rel = `rel-${this.nodeId}-${this.#rels}`
        respond('ManagerAnswer', {
          accepted: true,
          rel: this.rel,
          epoch: this.epoch,
          ping_ms: PING_MS,
          lease_ms: LEASE_MS,
          drop: this.drop,
        })
      },
      ManagerPing: ({ rel }, respond) => {
        if (!this.answersPings) return
        if (rel === this.rel) respond('ManagerPong', { rel })
        else respond('NotMine', {})
      },
      ManagerBye: (_body, respond) => respond('Ack', {}),
      TaskStarted: answer,
      TaskError: answer,
      TaskCompleted: answer,
    }
  }

  /** Asks the worker, and delivers until nothing is under way. The answer, if it came. */
  ask<K extends Kind>(kind: K, body: RequestOf<K>): { answer?: AnswerOf<K> } {
    const got: { answer?: AnswerOf<K> } = {}
    this.#node.mesh.ask(WORKER, kind, body, 600_000, (outcome) => {
      if (E.isRight(outcome)) got.answer = outcome.right
    })
    this.#network.run()
    return got
  }

  execute(...tasks: Assignment[]): AnswerOf<'TasksExecute'> | undefined {
    const { rel, epoch } = this
    return this.ask('TasksExecute', { rel, epoch, boot: 'c'.repeat(16), tasks }).answer
  }

  /** The kinds that arrived, with the part of the body that a test looks at. */
  heard(...kinds: Kind[]): { kind: Kind; body: Record<string, unknown> }[] {
    return this.#network.said
      .filter(({ to, hasArrived }) => to === this.nodeId && hasArrived)
      .filter(({ kind }) => kinds.includes(kind))
      .map(({ kind, body }) => ({ kind, body: body as Record<string, unknown> }))
  }
}

export const quiet: Log = {
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
}
const random: Random = { fraction: () => 0, hex: (bytes) => '0'.repeat(2 * bytes) }

/** Finds every program, except those named `missing`. */
const jobs: Jobs = {
  objection: () => undefined,
  prepare: (address, settle) =>
    settle(
      address === 'exec:missing'
        ? E.left({ kind: 'spawn', code: 'ENOENT', reason: 'no such program' })
        : E.right({ program: '/bin/true', leading: [] }),
    ),
}

/** A worker, its clock and network, and one manager (not connected yet). */
export const world = (
  config: Partial<WorkerConfig> = {},
  ports: { readonly outbox?: Outbox; readonly jobs?: Jobs; readonly log?: Log } = {},
) => {
  const clock = createManualClock()
  const network = createMemoryMesh(clock)
  clock.afterTurn = () => network.run()
  const runner = new FakeRunner()
  const outbox = ports.outbox ?? memoryOutbox()
  const identity = { nodeId: WORKER, bootId: 'c'.repeat(16), hostName: 'worker-1' }
  const node = network.add({ ...identity, name: WORKER, role: 'worker' })
  const worker = new Worker({
    clock,
    random,
    mesh: node.mesh,
    runner,
    jobs: ports.jobs ?? jobs,
    outbox,
    log: ports.log ?? quiet,
    config: {
      ...WORKER_DEFAULTS,
      ...identity,
      cores: 2,
      memoryBytes: 1e9,
      environment: { PATH: '/bin', HOME: '/', LANG: 'C', TZ: 'UTC' },
      directory: '/tmp',
      ...config,
    },
  })
  network.attach(WORKER, worker)
  const manager = new PlayedManager(network, 'm1', LEDGER)
  return { clock, network, runner, outbox, node, worker, manager }
}

/** A world whose worker is managed. */
export const managedWorld = (...given: Parameters<typeof world>) => {
  const made = world(...given)
  made.network.connect(WORKER, 'm1')
  made.network.run()
  return made
}
