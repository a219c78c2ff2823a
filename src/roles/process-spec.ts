// Process spec: whether a process is taken at all, and what the runner is asked for it.

import { lacks } from '../../protocol/access.ts'
import { holdsAt, type ProcessSpec, type Rights } from '../../protocol/index.ts'
import type { JobFailure } from '../failures.ts'
import type { ProcessRetention } from '../machines/process-table.ts'
import { unsafeVariable } from '../machines/unsafe-variables.ts'
import { environmentOf, ITSELF, type Users, userFor } from '../machines/users.ts'
import type { PreparedJob, RunSpec } from '../ports.ts'

export interface ProcessesConfig {
  readonly hostName: string
  /** PATH, HOME, LANG, TZ: what every program gets. */
  readonly environment: Readonly<Record<string, string>>
  /** Where one runs that names no directory. */
  readonly directory: string
  /** Kept of each descriptor of a run. */
  readonly outputCapBytes: number
  /** Processes that have not ended for good, at most. */
  readonly limit: number
  /** Runs only what its owner allows: then nothing in an environment may make other code run. */
  readonly isLimited: boolean
  readonly users: Users
  readonly retention: ProcessRetention
}

export const PROCESSES_DEFAULTS = {
  outputCapBytes: 64 * 1024 * 1024,
  limit: 1024,
  isLimited: false,
  users: ITSELF,
  /** Ten minutes or 1,000: the process manager's users ask for what has just ended. */
  retention: { ageMs: 600_000, count: 1000 },
} as const satisfies Partial<ProcessesConfig>

/** The body of Refused. */
export const refused = (reason: string, message: string) => ({
  reason,
  message: message.slice(0, 1024),
})

export const LEAVING = refused('busy', 'this node is stopping')

export const unprepared = (failure: JobFailure) =>
  refused(failure.kind === 'spawn' ? failure.code : 'invalid', failure.reason)

/** What a start is judged by. `open`: how many there are; `rights`: of who asks. */
export interface Judging {
  readonly open: number
  readonly rights: Rights | undefined
  readonly config: Pick<ProcessesConfig, 'limit' | 'isLimited' | 'hostName' | 'users'>
}

/** Why it is not even tried; undefined if it is. */
export const refusal = (spec: ProcessSpec, { open, rights, config }: Judging) => {
  const { limit } = config
  if (open >= limit)
    return refused('busy', `${limit} processes are here already; stop one of them`)
  const fault = faultOf(spec)
  if (fault !== undefined) return refused('invalid', fault)
  const judged = userFor(config.users, spec.user)
  if ('fault' in judged) return refused('forbidden', judged.fault)
  const variable = variableFault(spec, rights, config)
  return variable === undefined ? undefined : refused('forbidden', variable)
}

const variableFault = (
  { env = {} }: ProcessSpec,
  rights: Rights | undefined,
  { isLimited, hostName }: Judging['config'],
): string | undefined => {
  const unsafe = isLimited && 'PATH' in env ? 'PATH' : unsafeVariable(env)
  if (unsafe === undefined) return undefined
  const what = `${unsafe} can make another program run than the one named`
  if (isLimited) return `${what}, and this host limits them`
  const isAdmin = holdsAt(rights?.get('admin') ?? [], hostName)
  return isAdmin ? undefined : `${what}: ${lacks('admin', rights)}`
}

const faultOf = ({ path, args = [], env = {}, ...rest }: ProcessSpec) => {
  const { dir, stdin, stdin_live: isLive } = rest
  const texts = [path, dir ?? '', ...args, ...Object.values(env)]
  if (texts.some((text) => text.includes('\0')))
    return 'the path, the directory, an argument or a variable holds a NUL character'
  if (path === '') return 'the path is empty'
  if (path.includes('/') && !path.startsWith('/'))
    return `expected an absolute path or a name, got ${path}`
  if (dir !== undefined && !dir.startsWith('/'))
    return `expected an absolute directory, got ${dir}`
  if (stdin !== undefined && isLive === true)
    return 'stdin is either given in full or live'
  return undefined
}

/** A run of a process. Its own variables win over the configured ones, ours over its own. */
export const runSpecOf = (
  id: string,
  { args = [], env, dir, user, stdin, stdin_live: isLive }: ProcessSpec,
  job: PreparedJob,
  config: ProcessesConfig,
): RunSpec => {
  // It was judged when it came.
  const judged = userFor(config.users, user)
  const account = 'account' in judged ? judged.account : undefined
  return {
    program: job.program,
    ...(job.calledAs !== undefined && { calledAs: job.calledAs }),
    arguments: [...job.leading, ...args],
    directory: dir ?? account?.home ?? config.directory,
    ...(account !== undefined && { account }),
    environment: {
      ...config.environment,
      ...(account !== undefined && environmentOf(account)),
      ...env,
      MANYHANDS_HOST_NAME: config.hostName,
      MANYHANDS_PROCESS_ID: id,
    },
    ...(isLive === true ? { stdin: 'live' } : stdin !== undefined && { stdin }),
    output: 'capture',
    outputCapBytes: config.outputCapBytes,
  }
}
