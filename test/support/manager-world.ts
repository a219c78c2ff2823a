// A manager in an in-memory mesh, with workers and clients that do as the test says.

import * as E from 'fp-ts/lib/Either.js'
import type {
  AnswerOf,
  Assignment,
  Handlers,
  InventoryEntry,
  Kind,
  RequestOf,
  Scope,
  TaskAttempt,
  TaskRequest,
  TaskResult,
} from '../../protocol/index.ts'
import { createMemoryLedger, type MemoryLedger } from '../../src/ledger/memory.ts'
import type { ManagerConfig } from '../../src/machines/manager-config.ts'
import type { Log, Mesh, Peer } from '../../src/ports.ts'
import { createManager, type Manager } from '../../src/roles/manager.ts'
import { createManualClock, type ManualClock } from './manual-clock.ts'
import { createMemoryMesh, type MemoryMesh, nodeIdOf } from './memory-mesh.ts'

export const LEDGER = 'abcdefghij'
export const taskId = (seq: number): string => `${LEDGER}-${seq}`
export const done = (runMs = 1): TaskResult => ({ run_ms: runMs, exit_code: 0 })
export const noop = (more: Partial<TaskRequest> = {}): TaskRequest => ({
  job_addr: 'noop:',
  arguments: [],
  timeout_ms: 0,
  ...more,
})
export const exec = (more: Partial<TaskRequest> = {}): TaskRequest =>
  noop({ job_addr: 'exec:true', ...more })

export const quiet: Log = { info() {}, warn() {}, error() {}, debug() {} }

export interface World {
  readonly clock: ManualClock
  readonly net: MemoryMesh
  readonly ledger: MemoryLedger
  readonly manager: Manager
  worker(name: string, options?: WorkerOptions): Promise<TestWorker>
  /** Default: with all scopes. */
  client(name: string, scopes?: readonly Scope[]): TestClient
}

export interface WorkerOptions {
  readonly cores?: number
  readonly memory?: number
  readonly specs?: NonNullable<RequestOf<'ManagerRequest'>['specs']>
  readonly bootId?: string
  readonly listenPort?: number
  /** Labels of its certificate. */
  readonly issued?: Readonly<Record<string, string>>
}

/** Holds the assignments that it got, and says what the test tells it to say. */
export interface TestWorker {
  readonly name: string
  readonly nodeId: string
  readonly mesh: Mesh
  /** Every assignment, as it came. */
  readonly assigned: Assignment[]
  readonly aborted: TaskAttempt[]
  readonly executes: RequestOf<'TasksExecute'>[]
  rel: string
  /** How it answers; replaced by tests. */
  handlers: { -readonly [K in Kind]?: Handlers<Peer>[K] }
  ask<K extends Kind>(kind: K, body: RequestOf<K>): Promise<AnswerOf<K>>
  request(
    tasks?: InventoryEntry[],
    more?: Partial<RequestOf<'ManagerRequest'>>,
  ): Promise<AnswerOf<'ManagerRequest'>>
  start(task: Assignment): Promise<AnswerOf<'TaskStarted'>>
  complete(task: Assignment, result?: TaskResult): Promise<AnswerOf<'TaskCompleted'>>
  fail(
    task: Assignment,
    error?: RequestOf<'TaskError'>['error'],
  ): Promise<AnswerOf<'TaskError'>>
}

export interface TestClient {
  ask<K extends Kind>(kind: K, body: RequestOf<K>): Promise<AnswerOf<K>>
  /** Asks without waiting; look at `.answer` later. */
  begin<K extends Kind>(kind: K, body: RequestOf<K>): { answer?: AnswerOf<K> }
}

/** `ledger`: that of an earlier life. */
export const createWorld = (
  config: Partial<ManagerConfig> = {},
  ledger: MemoryLedger = createMemoryLedger({ id: LEDGER }),
): World => {
  const clock = createManualClock()
  const net = createMemoryMesh(clock)
  const { mesh, nodeId } = net.add({
    name: 'manager',
    role: 'manager',
    ledgerId: LEDGER,
  })
  let id = 0
  const manager = createManager(
    {
      clock,
      random: { fraction: () => 0.5, hex: () => `rel${++id}` },
      mesh,
      ledger,
      log: quiet,
      soon: queueMicrotask,
      self: { node_id: nodeId, boot_id: '00000000000000aa', host_name: 'manager' },
      config,
    },
    ledger.restorable(),
  )
  net.attach('manager', manager)

  const asker =
    (mesh: Mesh) =>
    <K extends Kind>(kind: K, body: RequestOf<K>): { answer?: AnswerOf<K> } => {
      const asked: { answer?: AnswerOf<K> } = {}
      mesh.ask(nodeIdOf('manager'), kind, body, 600_000, (outcome) => {
        if (E.isRight(outcome)) asked.answer = outcome.right
      })
      return asked
    }
  const settled =
    (begin: ReturnType<typeof asker>) =>
    async <K extends Kind>(kind: K, body: RequestOf<K>): Promise<AnswerOf<K>> => {
      const asked = begin(kind, body)
      await net.settle()
      if (asked.answer === undefined) throw new Error(`${kind} has no answer`)
      return asked.answer
    }

  const makeWorker = async (
    name: string,
    options: WorkerOptions = {},
  ): Promise<TestWorker> => {
    const { cores = 1, memory = 1e9, specs, ...spec } = options
    const node = net.add({ name, role: 'worker', ...spec })
    const ask = settled(asker(node.mesh))
    const worker: TestWorker = {
      name,
      nodeId: node.nodeId,
      mesh: node.mesh,
      assigned: [],
      aborted: [],
      executes: [],
      rel: '',
      handlers: {
        TasksExecute: (body, respond) => {
          worker.executes.push(body)
          worker.assigned.push(...body.tasks)
          respond('Ack', {})
        },
        TasksAbord: (body, respond) => {
          for (const task of body.tasks)
            if (typeof task !== 'string') worker.aborted.push(task)
          respond('Ack', {})
        },
        BlobRelease: (_, respond) => respond('Ack', {}),
      },
      ask,
      request: async (tasks = [], more = {}) => {
        const answer = await ask('ManagerRequest', {
          cores,
          memory,
          tasks,
          more: false,
          ...(specs !== undefined && { specs }),
          ...more,
        })
        if (answer.kind === 'ManagerAnswer') worker.rel = answer.body.rel ?? worker.rel
        return answer
      },
      start: ({ task_id, attempt }) =>
        ask('TaskStarted', { rel: worker.rel, task_id, attempt, at_ms: clock.wall() }),
      complete: ({ task_id, attempt }, result = done()) =>
        ask('TaskCompleted', { rel: worker.rel, task_id, attempt, result }),
      fail: ({ task_id, attempt }, error = { kind: 'RunningError', exit_code: 1 }) =>
        ask('TaskError', { rel: worker.rel, task_id, attempt, error }),
    }
    net.attach(name, {
      get handlers() {
        return worker.handlers
      },
      peerConnected() {},
      peerLost() {},
    })
    net.connect(name, 'manager')
    await worker.request()
    return worker
  }

  return {
    clock,
    net,
    ledger,
    manager,
    worker: makeWorker,
    client: (name, scopes) => {
      const node = net.add({ name, role: 'client', ...(scopes && { scopes }) })
      net.connect(name, 'manager')
      const begin = asker(node.mesh)
      return { begin, ask: settled(begin) }
    },
  }
}
