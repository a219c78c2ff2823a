// A task table with one task brought into a given state, for tests of single rows.

import type { TaskRequest } from '../../protocol/index.ts'
import { type ManagerConfig, managerDefaults } from '../../src/machines/manager-config.ts'
import type {
  TaskEffect,
  TaskEvent,
  WorkerClaims,
} from '../../src/machines/task-events.ts'
import type { Task, Worker } from '../../src/machines/task-record.ts'
import { TaskTable } from '../../src/machines/tasks.ts'
import type { Change } from '../../src/records.ts'
import { exec, LEDGER, taskId } from './manager-world.ts'

export type Stage = 'arriving' | 'queued' | 'placed' | 'sent' | 'accepted' | 'running'

export interface Staged {
  readonly table: TaskTable
  readonly task: Task
  /** w1, which has or gets the task; w2 has no core, so it gets none. */
  readonly worker: Worker
  readonly other: Worker
  /** Applies; what it records is kept for `commit`. */
  act(event: TaskEvent): readonly TaskEffect[]
  /** All that was recorded becomes durable. */
  commit(): readonly TaskEffect[]
  at(): { readonly nowMs: number; readonly wallMs: number }
  pass(ms: number): void
}

export const claims = (name: string, more: Partial<WorkerClaims> = {}): WorkerClaims => ({
  nodeId: name,
  hostName: name,
  address: undefined,
  bootId: 'b1',
  rel: `rel-${name}`,
  cores: name === 'w1' ? 2 : 0,
  memory: 1e9,
  kinds: undefined,
  labels: undefined,
  resources: undefined,
  ...more,
})

export const stage = (
  until: Stage,
  request: Partial<TaskRequest> = {},
  config: Partial<ManagerConfig> = {},
): Staged => {
  const table = new TaskTable({ ...managerDefaults, ...config }, LEDGER)
  let nowMs = 0
  let recorded: Change[] = []
  const at = () => ({ nowMs, wallMs: 1_000 + nowMs })
  const act = (event: TaskEvent) => {
    const effects = table.apply(event)
    for (const effect of effects)
      if (effect.kind === 'record') recorded.push(effect.change)
    return effects
  }
  const commit = () => {
    const changes = recorded
    recorded = []
    return act({ kind: 'durable', changes, ...at() })
  }
  for (const name of ['w1', 'w2'])
    act({
      kind: 'reconcile',
      claims: claims(name),
      inventory: [],
      reborn: false,
      ...at(),
    })
  const [worker, other] = [table.worker('w1'), table.worker('w2')]
  act({ kind: 'submit', key: 'k', batch: 'b', tasks: [exec(request)], ...at() })
  const task = table.find(taskId(1))
  if (task === undefined || worker === undefined || other === undefined)
    throw new Error('the stage is not set')

  const sent = [{ task_id: taskId(1), attempt: 1, ...exec() }]
  const steps: readonly (readonly [Stage, () => unknown])[] = [
    ['queued', commit],
    ['placed', () => act({ kind: 'place', ...at() })],
    ['sent', commit],
    ['accepted', () => act({ kind: 'accepted', worker, sent, refused: [], ...at() })],
    [
      'running',
      () =>
        act({ kind: 'started', worker, taskId: taskId(1), attempt: 1, atMs: 0, ...at() }),
    ],
  ]
  let stands: Stage = 'arriving'
  for (const [next, step] of steps) {
    if (stands === until) break
    step()
    stands = next
  }
  return {
    table,
    task,
    worker,
    other,
    act,
    commit,
    at,
    pass: (ms) => {
      nowMs += ms
    },
  }
}
