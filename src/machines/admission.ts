// Admission: whether a worker takes a task at all, by what the task says and what the
// worker is; and whether two assignments are of the same content. Pure, no state.

import type { Assignment, RefusalReason } from '../../protocol/index.ts'
import { isSameValue } from './same-value.ts'

/** What a worker is, as its configuration says. */
export interface Capacity {
  readonly hostName: string
  readonly cores: number
  readonly memoryBytes: number
  /** Schemes of job addresses: `exec`, `https`, `noop`, … */
  readonly kinds: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly resources: Readonly<Record<string, number>>
  /** Lets a task set LD_*, NODE_OPTIONS and the like. */
  readonly allowsUnsafeEnvironment: boolean
}

/** Variables by which an environment makes another program run than the one named. */
const UNSAFE =
  /^(LD_.*|DYLD_.*|NODE_OPTIONS|BASH_ENV|ENV|PYTHONSTARTUP|PYTHONPATH|PERL5OPT|PERL5LIB|RUBYOPT|RUBYLIB|GCONV_PATH|BASH_FUNC_.*)$/

/** A variable of these by which it does. */
export const unsafeVariable = (
  env: Readonly<Record<string, string>>,
): string | undefined => Object.keys(env).find((name) => UNSAFE.test(name))

/** Why this worker does not take the task; undefined if it does. */
export const refusal = (task: Assignment, at: Capacity): RefusalReason | undefined => {
  if (isInvalid(task)) return 'invalid'
  if (!at.kinds.includes(task.job_addr.slice(0, task.job_addr.indexOf(':')))) {
    return 'unsupported-kind'
  }
  if (task.requires !== undefined && !fits(task.requires, at)) return 'specs'
  if (task.env !== undefined && !at.allowsUnsafeEnvironment) {
    if (unsafeVariable(task.env) !== undefined) return 'forbidden'
  }
  return undefined
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
  if (needs.host_name !== undefined && needs.host_name !== at.hostName) return false
  for (const [name, amount] of Object.entries(needs.resources ?? {})) {
    if (amount > (at.resources[name] ?? 0)) return false
  }
  for (const [name, value] of Object.entries(needs.labels ?? {})) {
    if (at.labels[name] !== value) return false
  }
  return true
}

/** Do two assignments say the same, their attempts apart? Compared when needed instead of hashed always. */
export const isSameContent = (one: Assignment, other: Assignment): boolean =>
  one === other || isSameValue({ ...one, attempt: 0 }, { ...other, attempt: 0 })
