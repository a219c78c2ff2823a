// What is true of a manager's task table after every step, whatever happened.

import {
  isClosed,
  isSent,
  type Task,
  type Worker,
} from '../../src/machines/task-record.ts'
import type { TaskTable } from '../../src/machines/tasks.ts'

/** Everything that is wrong with it, in words; nothing: it is sound. */
export const invariants = (table: TaskTable): string[] => {
  const wrong: string[] = []
  const check = (isTrue: boolean, what: string) => isTrue || wrong.push(what)
  let open = 0
  let queued = 0
  for (const task of table.tasks()) {
    const places = placesOf(task)
    check(places.length === 1, `${task.id} is in ${places.join(' and ') || 'no place'}`)
    if (!isClosed(task)) open += 1
    if (task.shape !== undefined) queued += 1
    if (task.worker !== undefined)
      check(task.worker.tasks.has(task), `${task.id} is not known at its worker`)
    else check(!isSent(task) || task.closing !== undefined, `${task.id} is sent nowhere`)
    if (task.closing === undefined)
      check(!isClosed(task), `${task.id} is closed without an outcome`)
  }
  check(open === table.counts.open, `${open} are open, ${table.counts.open} are counted`)
  check(
    queued === table.counts.queued,
    `${queued} wait, ${table.counts.queued} are counted`,
  )
  for (const worker of table.workers()) {
    checkWorker(worker, check)
    checkRoom(worker, check)
    check(hasItsTime(worker, table.nextDueMs(0)), `${worker.nodeId} is not waited for`)
  }
  for (const batch of table.batches()) {
    const tasks = [...table.tasks()].filter((task) => task.batch === batch)
    const running = tasks.filter(({ state }) => state === 'running').length
    check(
      batch.open === tasks.filter((task) => !isClosed(task)).length,
      `batch ${batch.label} counts ${batch.open} open`,
    )
    check(
      batch.running === running,
      `batch ${batch.label} counts ${batch.running} running`,
    )
  }
  return wrong
}

const placesOf = (task: Task): string[] => {
  const places: string[] = []
  if (isClosed(task)) places.push('closed')
  else if (task.closing !== undefined) places.push('closing')
  if (task.shape !== undefined) places.push('a queue')
  if (task.dueFor === 'retry') places.push('a delay')
  if (task.worker !== undefined) places.push('a worker')
  if (task.change?.kind === 'submitted') places.push('arriving')
  return places
}

const checkWorker = (
  worker: Worker,
  check: (isTrue: boolean, what: string) => unknown,
) => {
  const { nodeId, usedCores, coreless, running, tasks } = worker
  let cores = 0
  let none = 0
  let runs = 0
  for (const task of tasks) {
    check(task.worker === worker, `${task.id} is at ${nodeId}, but does not know it`)
    cores += task.need.cores
    none += Number(task.need.cores === 0)
    runs += Number(task.state === 'running')
  }
  check(cores === usedCores, `${nodeId} counts ${usedCores} cores, uses ${cores}`)
  check(none === coreless, `${nodeId} counts ${coreless} without cores, has ${none}`)
  check(runs === running, `${nodeId} counts ${running} running, has ${runs}`)
  const isKept = [...tasks].every(({ request }) => request.exclusive === true)
  check(worker.status !== 'lost' || isKept, `${nodeId} is lost and holds tasks`)
}

/** What has not changed since stands among those that have room exactly if it has some. */
const checkRoom = (
  { nodeId, status, cores, usedCores, tasks, room }: Worker,
  check: (isTrue: boolean, what: string) => unknown,
) => {
  const isManaged = status === 'managing'
  const { withCores, coreless } = room
  const isIn = withCores.index >= 0
  if (!coreless.isLate)
    check(isManaged || coreless.index < 0, `${nodeId} is ${status} and offered`)
  if (withCores.isLate) return
  check(isManaged || !isIn, `${nodeId} is ${status} and offered`)
  check(!isManaged || usedCores >= cores || isIn, `${nodeId} has cores that are not seen`)
  check(usedCores < 13 * cores || !isIn, `${nodeId} is full and offered`)
  const load = (usedCores / Math.max(1, cores)) * 1e6 + tasks.size
  check(!isIn || load === withCores.load, `${nodeId} is not where its load says`)
}

const hasItsTime = (worker: Worker, dueMs: number): boolean => {
  // Exclusive tasks wait for their worker, however long.
  if (worker.status === 'lost')
    return worker.tasks.size > 0 || dueMs < Number.POSITIVE_INFINITY
  const isTold = worker.status === 'managing' && worker.aborting.size > 0
  return !isTold || dueMs <= worker.abortAgainAtMs
}
