// Entitlement: what a client's scopes make of the tasks that it hands in, and which tasks
// are its business. Decided once, where tasks come in, and recorded with them: whatever
// becomes of the client, its tasks never get further than it might at the time.

import { lacks } from '../../protocol/access.ts'
import {
  holdsAt,
  type Rights,
  type ScopeName,
  type TaskRequest,
  type Where,
} from '../../protocol/index.ts'
import type { Batch, Task } from './task-record.ts'
import { unsafeVariable } from './unsafe-variables.ts'

/** The tasks as they are recorded, or why the client may not have them run. */
export type Entitled =
  | { readonly tasks: readonly TaskRequest[] }
  | { readonly forbidden: string }

/** What the manager says in a task, whatever the client wrote there. */
type Word = { readonly within: readonly (readonly string[])[]; readonly vouched: boolean }

export const entitled = (
  tasks: readonly TaskRequest[],
  rights: Rights | undefined,
): Entitled => {
  const recorded: TaskRequest[] = []
  for (const task of tasks) {
    const word = wordFor(task, rights)
    if ('forbidden' in word) return word
    recorded.push(stamped(task, word))
  }
  return { tasks: recorded }
}

const wordFor = (
  { env, requires }: TaskRequest,
  rights: Rights | undefined,
): Word | { readonly forbidden: string } => {
  const unsafe = unsafeVariable(env)
  const places = [rights?.get('tasks:run') ?? []]
  if (unsafe !== undefined) {
    const admin = rights?.get('admin')
    if (admin === undefined)
      return { forbidden: `${unsafe} can make other code run: ${lacks('admin', rights)}` }
    places.push(admin)
  }
  const within = places.filter((where) => where !== 'anywhere')
  const host = requires?.host_name
  const outside = within.find((where) => host !== undefined && !holdsAt(where, host))
  if (outside !== undefined)
    return {
      forbidden: `the scopes of this client hold on ${outside.join(', ')}, and the task asks for the host ${host}`,
    }
  return { within, vouched: unsafe !== undefined }
}

/** Nearly every task is recorded as it came. */
const stamped = (task: TaskRequest, { within, vouched }: Word): TaskRequest => {
  const isUntouched =
    within.length === 0 &&
    !vouched &&
    task.requires?.within === undefined &&
    task.unsafe_env === undefined
  if (isUntouched) return task
  const { unsafe_env: _, requires: { within: __, ...requires } = {}, ...rest } = task
  const places = within.map((globs) => [...globs])
  const needs = { ...requires, ...(places.length > 0 && { within: places }) }
  return {
    ...rest,
    ...(Object.keys(needs).length > 0 && { requires: needs }),
    ...(vouched && { unsafe_env: true }),
  }
}

/** Where a client's scope holds; nowhere without it. */
export const whereOf = (
  { rights }: { readonly rights?: Rights },
  scope: ScopeName,
): Where => rights?.get(scope) ?? []

/** May a scope that holds there be used on this task: by where it is, was, or can only get? */
export const concerns = ({ request, worker, handOuts }: Task, where: Where): boolean => {
  if (where === 'anywhere') return true
  const host = worker?.hostName ?? handOuts.at(-1)?.hostName
  return host === undefined ? isKept(request, where) : holdsAt(where, host)
}

/** Can no task of the batch get elsewhere? Looked at whole, by limited clients alone. */
export const concernsBatch = ({ submissions }: Batch, where: Where): boolean =>
  where === 'anywhere' ||
  submissions.every(({ submission: { tasks } }) =>
    tasks.every((request) => isKept(request, where)),
  )

/** Can it get nowhere but where the scope holds? */
const isKept = ({ requires }: TaskRequest, where: readonly string[]): boolean => {
  const { host_name, within = [] } = requires ?? {}
  if (host_name !== undefined) return holdsAt(where, host_name)
  return within.some((globs) => globs.every((glob) => where.includes(glob)))
}
