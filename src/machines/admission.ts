// Admission: whether a worker takes a task at all, by what the task says and what the
// worker is; and whether two assignments are of the same content. Pure, no state.

import { type Assignment, holdsAt, type RefusalReason } from '../../protocol/index.ts'
import { isSameValue } from './same-value.ts'
import { unsafeVariable } from './unsafe-variables.ts'
import { type Users, userFor } from './users.ts'

/** What a worker is, as its configuration says. */
export interface Capacity {
  readonly hostName: string
  readonly cores: number
  readonly memoryBytes: number
  /** Schemes of job addresses: `exec`, `https`, `noop`, … */
  readonly kinds: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly resources: Readonly<Record<string, number>>
  /**
   * Runs only what its owner allows. Then a task may set nothing that makes other code run,
   * whoever vouches for it.
   */
  readonly isLimited: boolean
  readonly users: Users
}

/** A task that is not taken: why, and for a person what exactly. */
export interface Refusal {
  readonly reason: RefusalReason
  readonly message?: string
}

/** Why this worker does not take the task; undefined if it does. */
export const refusal = (task: Assignment, at: Capacity): Refusal | undefined => {
  if (isInvalid(task)) return { reason: 'invalid' }
  if (!at.kinds.includes(task.job_addr.slice(0, task.job_addr.indexOf(':')))) {
    return { reason: 'unsupported-kind' }
  }
  if (task.requires !== undefined && !fits(task.requires, at)) return { reason: 'specs' }
  const judged = userFor(at.users, task.user)
  if ('fault' in judged) return { reason: 'forbidden', message: judged.fault }
  const variable = forbiddenVariable(task, at)
  if (variable === undefined) return undefined
  return { reason: 'forbidden', message: `a task may not set ${variable} here` }
}

const forbiddenVariable = (
  { env, unsafe_env }: Assignment,
  { isLimited }: Capacity,
): string | undefined => {
  if (env === undefined) return undefined
  // A script that is allowed finds its programs by it.
  if (isLimited && 'PATH' in env) return 'PATH'
  return isLimited || unsafe_env !== true ? unsafeVariable(env) : undefined
}

/** What no system call would take, and contradictions. */
const isInvalid = (task: Assignment): boolean => {
  if (task.stdin !== undefined && task.stdin_live === true) return true
  if (task.dir !== undefined && (!task.dir.startsWith('/') || task.dir.includes('\0'))) {
    return true
  }
  if (task.arguments.some((argument) => argument.includes('\0'))) return true
  return Object.values(task.env ?? {}).some((value) => value.includes('\0'))
}

const fits = (needs: NonNullable<Assignment['requires']>, at: Capacity): boolean => {
  if ((needs.cores ?? 1) > at.cores || (needs.memory ?? 0) > at.memoryBytes) return false
  if (!isMeantFor(needs, at)) return false
  for (const [name, amount] of Object.entries(needs.resources ?? {})) {
    if (amount > (at.resources[name] ?? 0)) return false
  }
  for (const [name, value] of Object.entries(needs.labels ?? {})) {
    if (at.labels[name] !== value) return false
  }
  return true
}

const isMeantFor = (
  { host_name, within = [] }: NonNullable<Assignment['requires']>,
  { hostName }: Capacity,
): boolean =>
  (host_name ?? hostName) === hostName &&
  within.every((globs) => holdsAt(globs, hostName))

/** Do two assignments say the same, their attempts apart? Compared when needed instead of hashed always. */
export const isSameContent = (one: Assignment, other: Assignment): boolean =>
  one === other || isSameValue({ ...one, attempt: 0 }, { ...other, attempt: 0 })
