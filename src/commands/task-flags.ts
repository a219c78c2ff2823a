// What the flags of `run` and `submit` say of a task, as the request that goes to the mesh.

import { isAbsolute, resolve } from 'node:path'
import type { OutputPolicy, TaskRequest } from '../../protocol/index.ts'
import { UsageError } from './io.ts'

/** The flags as parsed. */
export interface TaskFlags {
  readonly timeout?: number
  readonly cores?: number
  readonly memory?: number
  readonly host?: string
  readonly label?: Readonly<Record<string, string>>
  readonly resource?: Readonly<Record<string, number>>
  readonly env?: Readonly<Record<string, string>>
  readonly dir?: string
  readonly user?: string
  readonly retries?: number
  readonly priority?: number
  readonly name?: string
  readonly output?: OutputPolicy
  readonly exclusive?: boolean
}

/** Makes requests for commands; what all of them share is made once. */
export const taskMaker = (
  flags: TaskFlags,
  cwd: string,
): ((command: readonly string[], more?: Partial<TaskRequest>) => TaskRequest) => {
  const { cores, memory, host, label, resource } = flags
  const requires = {
    ...(cores !== undefined && { cores }),
    ...(memory !== undefined && { memory }),
    ...(host !== undefined && { host_name: host }),
    ...(label !== undefined && { labels: { ...label } }),
    ...(resource !== undefined && { resources: { ...resource } }),
  }
  const shared = {
    timeout_ms: flags.timeout ?? 0,
    ...placeOf(flags, cwd),
    ...(Object.keys(requires).length > 0 && { requires }),
    ...(flags.env !== undefined && { env: { ...flags.env } }),
    ...(flags.retries !== undefined && { retries: flags.retries }),
    ...(flags.priority !== undefined && { priority: flags.priority }),
    ...(flags.name !== undefined && { name: flags.name }),
    ...(flags.output !== undefined && { output: flags.output }),
    ...(flags.exclusive === true && { exclusive: true }),
  }
  return ([program = '', ...args], more) => ({
    job_addr: jobAddress(program, cwd),
    arguments: args,
    ...shared,
    ...more,
  })
}

/**
 * The caller's directory is the default: the workers are on this machine. Another user may
 * not enter it: his default is his home.
 */
const placeOf = ({ dir, user }: TaskFlags, cwd: string) => {
  if (user === undefined) return { dir: resolve(cwd, dir ?? '.') }
  return { user, ...(dir !== undefined && { dir: resolve(cwd, dir) }) }
}

/** A word as a job's address: `gzip` and `./tool` are programs, `https:…` is itself. */
export const jobAddress = (program: string, cwd: string): string => {
  if (/^(exec|https|file|noop):/.test(program)) return program
  if (!program.includes('/')) return `exec:${program}`
  return `exec:${isAbsolute(program) ? program : resolve(cwd, program)}`
}

/** The command after the flags; a UsageError if there is none. */
export const checkCommand = (verb: string, command: readonly string[]): void => {
  if (command[0] === undefined || command[0] === '')
    throw new UsageError(`no program given; put it after --: manyhands ${verb} -- ls -l`)
  const bad = command.find((part) => part.includes('\0'))
  if (bad !== undefined) throw new UsageError('an argument contains a NUL')
}
