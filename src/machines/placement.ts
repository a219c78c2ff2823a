// Placement: which worker gets a task, and in words why one does not.
//
// A heuristic, not a solver: what cannot run it is filtered out, then the least loaded one
// is taken. A worker's slots are its cores; a task takes one core unless it says otherwise,
// `noop:` (which starts nothing) none. A task without cores takes no slot, but their number
// at one worker is bounded.
//
// A large task does not starve behind small ones: when it fits some worker, but has found
// no room for `reserveAfterMs`, one such worker gets nothing from behind it in the queue
// until it has drained enough (Shape.reserved).

import { holdsAt, type Requires, type TaskRequest } from '../../protocol/index.ts'
import { misfitFor } from './claims.ts'
import type { ManagerConfig } from './manager-config.ts'
import type { Shape } from './task-queue.ts'
import type { Worker } from './task-record.ts'
import { USER_LABEL, userLabel } from './users.ts'
import { depthOf, isLessLoaded, type Room } from './worker-room.ts'

/** What a task asks of a worker, with the defaults filled in. */
export interface Need {
  readonly cores: number
  readonly memory: number
  /** The word before the colon of job_addr. */
  readonly kind: string
  readonly hostName: string | undefined
  /** Lists of patterns, of each of which the host must match one. */
  readonly within: Requires['within']
  readonly labels: Readonly<Record<string, string>> | undefined
  readonly resources: Readonly<Record<string, number>> | undefined
}

const plainNeeds = new Map<string, Need>()

/** Requests without requirements share one Need per kind of job. */
export const needOf = ({ job_addr, requires, user }: TaskRequest): Need => {
  const kind = job_addr.slice(0, job_addr.indexOf(':'))
  if (user !== undefined) return neededBy(kind, asUser(user, requires))
  if (requires !== undefined) return neededBy(kind, requires)
  let need = plainNeeds.get(kind)
  if (need === undefined) {
    need = neededBy(kind, {})
    if (plainNeeds.size < 64) plainNeeds.set(kind, need)
  }
  return need
}

/** A worker that does not know of users claims none. */
const asUser = (user: string, requires: Requires = {}): Requires => ({
  ...requires,
  labels: { ...requires.labels, [userLabel(user)]: 'yes' },
})

const neededBy = (kind: string, requires: Requires): Need => ({
  cores: requires.cores ?? (kind === 'noop' ? 0 : 1),
  memory: requires.memory ?? 0,
  kind,
  hostName: requires.host_name,
  within: requires.within,
  labels: requires.labels,
  resources: requires.resources,
})

/** Why this worker could never run it, whatever is free; undefined: it could. */
export const objection = (need: Need, worker: Worker): string | undefined => {
  if (need.hostName !== undefined && need.hostName !== worker.hostName)
    return `host_name is not ${need.hostName}`
  const outside = need.within?.find((globs) => !holdsAt(globs, worker.hostName))
  if (outside !== undefined)
    return `the scopes of who submitted it hold on ${outside.join(', ')}`
  if (need.cores > worker.cores) return lacks('cores', need.cores, worker.cores)
  if (need.memory > worker.memory)
    return lacks('bytes of memory', need.memory, worker.memory)
  if (worker.kinds !== undefined && !worker.kinds.includes(need.kind))
    return `does not run ${need.kind} jobs, only ${worker.kinds.join(', ')}`
  return (
    labelObjection(need, worker) ??
    resourceObjection(need, worker) ??
    misfitObjection(need, worker)
  )
}

const lacks = (what: string, needed: number, has: number) =>
  `needs ${needed} ${what}, has ${has}`

/** Nearly every worker runs what it claims to. */
const misfitObjection = (need: Need, worker: Worker): string | undefined => {
  if (worker.misfits.length === 0) return undefined
  const misfit = misfitFor(need, worker)
  if (misfit === undefined) return undefined
  return misfit.isKind
    ? `refused ${need.kind} jobs before, although it claims to run them`
    : 'refused as much before, although it claims to have it'
}

const labelObjection = ({ labels }: Need, worker: Worker): string | undefined => {
  if (labels === undefined) return undefined
  for (const [name, value] of Object.entries(labels)) {
    const has = worker.labels[name]
    if (has === undefined && name.startsWith(USER_LABEL))
      return `does not run programs as ${name.slice(USER_LABEL.length)}: its owner has not named that user (--user)`
    if (has === undefined) return `has no label ${name}, needs ${name}=${value}`
    if (has !== value) return `label ${name} is ${has}, not ${value}`
  }
  return undefined
}

const resourceObjection = ({ resources }: Need, worker: Worker): string | undefined => {
  if (resources === undefined) return undefined
  for (const [name, amount] of Object.entries(resources)) {
    const has = worker.resources[name] ?? 0
    if (amount > has) return lacks(name, amount, has)
  }
  return undefined
}

/** `depth` 1: only into free room; 2: as many again, to wait there. */
export const hasRoom = (
  need: Need,
  worker: Worker,
  config: ManagerConfig,
  depth: number,
): boolean => {
  if (need.cores === 0) {
    if (worker.coreless >= config.coreless) return false
  } else if (worker.usedCores + need.cores > depth * worker.cores) return false
  if (need.memory > 0 && worker.usedMemory + need.memory > worker.memory) return false
  if (need.resources === undefined) return true
  for (const [name, amount] of Object.entries(need.resources)) {
    const used = worker.usedResources.get(name) ?? 0
    if (amount > 0 && used + amount > (worker.resources[name] ?? 0)) return false
  }
  return true
}

/** Takes (`sign` 1) or gives back (-1) what a task needs. */
export const occupy = (worker: Worker, need: Need, sign: 1 | -1): void => {
  worker.usedCores += sign * need.cores
  worker.usedMemory += sign * need.memory
  if (need.cores === 0) worker.coreless += sign
  if (need.resources === undefined) return
  for (const [name, amount] of Object.entries(need.resources)) {
    const used = (worker.usedResources.get(name) ?? 0) + sign * amount
    worker.usedResources.set(name, used)
  }
}

/** What a placement is made with. */
export interface Placing {
  readonly room: Room
  readonly config: ManagerConfig
  readonly nowMs: number
  /** Workers that are kept free, and for which shape. */
  readonly reserved: ReadonlyMap<Worker, Shape>
}

/** The least loaded worker with room for the next task of this shape. */
export const choose = (shape: Shape, placing: Placing): Worker | undefined => {
  const heap = placing.room.heapFor(shape.need.cores)
  const { first } = heap
  if (first === undefined || takes(first, shape, placing)) return first
  let best: Worker | undefined
  for (const worker of heap.values())
    if (
      (best === undefined || isLessLoaded(worker, best)) &&
      takes(worker, shape, placing)
    )
      best = worker
  return best
}

const takes = (worker: Worker, shape: Shape, placing: Placing): boolean => {
  const { config, nowMs, reserved } = placing
  const { need, excluded } = shape
  if (!isOffered(worker, nowMs)) return false
  if (!hasRoom(need, worker, config, depthOf(worker, config))) return false
  const holder = reserved.get(worker)
  if (holder !== undefined && holder !== shape) return false
  return !excluded?.has(bootOf(worker)) && objection(need, worker) === undefined
}

/** The worker to keep free for a shape that finds no room: the one it has, else the emptiest. */
export const toReserve = (
  shape: Shape,
  workers: Iterable<Worker>,
  reserved: ReadonlyMap<Worker, Shape>,
): Worker | undefined => {
  const isFit = (worker: Worker): boolean =>
    worker.status === 'managing' &&
    !reserved.has(worker) &&
    !shape.excluded?.has(bootOf(worker)) &&
    objection(shape.need, worker) === undefined
  if (shape.reserved !== undefined && isFit(shape.reserved)) return shape.reserved
  let best: Worker | undefined
  for (const worker of workers)
    if ((best === undefined || isLessLoaded(worker, best)) && isFit(worker)) best = worker
  return best
}

/** Who refused: that life of it. The next one may be told otherwise by its owner. */
export const bootOf = ({ nodeId, bootId }: Worker): string => `${nodeId} ${bootId}`

export const isOffered = (worker: Worker, nowMs: number): boolean =>
  worker.status === 'managing' && worker.busyUntilMs <= nowMs

/** One worker's word in TasksExplain. */
export const explainWorker = (
  need: Need,
  worker: Worker,
  excluded: ReadonlyMap<string, string> | undefined,
  config: ManagerConfig,
  nowMs: number,
): { readonly candidate: boolean; readonly reason: string } => {
  const refused = excluded?.get(bootOf(worker))
  const never = refused === undefined ? objection(need, worker) : `refused it: ${refused}`
  if (never !== undefined) return { candidate: false, reason: never }
  return { candidate: true, reason: presently(need, worker, config, nowMs) }
}

const presently = (
  need: Need,
  worker: Worker,
  config: ManagerConfig,
  nowMs: number,
): string => {
  if (worker.status === 'suspect') return 'its connection is lost, it may come back'
  if (worker.busyUntilMs > nowMs) {
    const times = worker.busyInARow > 1 ? `, ${worker.busyInARow} times in a row` : ''
    return `said that it is busy${times}, will be asked again`
  }
  if (hasRoom(need, worker, config, 1)) return 'has room'
  if (need.cores > 0 && worker.usedCores + need.cores > worker.cores)
    return `busy: ${worker.usedCores} of ${worker.cores} cores are taken`
  if (need.cores === 0 && worker.coreless >= config.coreless)
    return `busy: has ${worker.coreless} tasks that take no core, the most it gets`
  return 'busy: its memory or resources are taken'
}
