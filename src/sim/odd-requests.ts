// Requests that our own nodes hardly ever send, and that others may: a worker that speaks of
// a task it was never given, a manager that sends an assignment once more. Each goes by the
// node's own connection, within a relationship as it is; nobody hears the answer.

import type { Assignment } from '../../protocol/index.ts'
import type { RecordedTask } from '../records.ts'
import { assignmentOf } from '../roles/manager-assignments.ts'
import type { SimRun } from './programs.ts'
import type { Fault } from './scenario.ts'
import type { ManagerNode, WorkerNode, World } from './world.ts'

const ANSWER_MS = 5_000
const unheard = (): void => undefined

/** Of a task that runs elsewhere, to its manager; false: there is none. */
export const tellAstray = (world: World, fault: Fault & { what: 'stray' }): boolean => {
  const teller = world.workers.find(({ name }) => name === fault.node)
  const { life, mesh } = teller ?? {}
  if (teller === undefined || life === undefined || mesh === undefined) return false
  for (const { taskId, attempt } of runsBeside(world, teller)) {
    const store = world.managers.find((one) => taskId.startsWith(one.store.id))
    const rel = store && mesh.relOf(store.nodeId)
    if (store === undefined || rel === undefined) continue
    const task = store.store.openTasks().find(({ seq }) => taskId.endsWith(`-${seq}`))
    const isTheirs = task?.assigned.some((one) => one.nodeId === teller.nodeId)
    if (task === undefined || isTheirs === true) continue
    const head = { rel, task_id: taskId, attempt }
    const result = { run_ms: 1, exit_code: 0 }
    life.hear(() => {
      const { ask } = mesh
      const error = { kind: 'RunningError', exit_code: 1 } as const
      if (fault.isSuccess)
        ask(store.nodeId, 'TaskCompleted', { ...head, result }, ANSWER_MS, unheard)
      else ask(store.nodeId, 'TaskError', { ...head, error }, ANSWER_MS, unheard)
    })
    return true
  }
  return false
}

const runsBeside = (world: World, teller: WorkerNode): readonly SimRun[] =>
  world.workers
    .filter((worker) => worker !== teller)
    .flatMap(({ runner }) => [...(runner?.running ?? [])])
    .filter(({ state }) => state === 'running')

/** What a worker has is sent to it once more, as it is on record; false: it has nothing. */
export const orderAgain = (world: World, fault: Fault & { what: 'again' }): boolean => {
  const worker = world.workers.find(({ name }) => name === fault.node)
  if (worker?.life === undefined) return false
  const { bootId: boot } = worker.life
  for (const manager of world.managers) {
    const { life, mesh } = manager
    const rel = worker.mesh?.relOf(manager.nodeId)
    const tasks = assignmentsAt(manager, worker)
    if (life === undefined || mesh === undefined || rel === undefined) continue
    if (tasks.length === 0) continue
    const { epoch } = manager.store
    const order = { rel, epoch, boot, tasks: [...tasks] }
    life.hear(() => mesh.ask(worker.nodeId, 'TasksExecute', order, ANSWER_MS, unheard))
    return true
  }
  return false
}

/** The open tasks that a worker has by its manager's record, and has. */
const assignmentsAt = (
  { store }: ManagerNode,
  worker: WorkerNode,
): readonly Assignment[] => {
  const running = new Set([...(worker.runner?.running ?? [])].map(({ taskId }) => taskId))
  const { pending, outcomes } = worker.store
  return store.openTasks().flatMap((task) => {
    const id = `${store.id}-${task.seq}`
    const isThere = running.has(id) || pending.has(id) || outcomes.has(id)
    if (!isThere || !isAt(task, worker)) return []
    return [assignmentOf({ id, attempt: task.attempt, request: task.request })]
  })
}

const isAt = ({ attempt, assigned }: RecordedTask, worker: WorkerNode): boolean => {
  const last = assigned.at(-1)
  return last?.attempt === attempt && last.bootId === worker.life?.bootId
}
