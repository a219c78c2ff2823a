// What runs programs in a node, for tasks and for processes alike: one runner with its
// launchers, the jobs' cache, and the processes that members start here by name.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { auditedRunner } from './audit/programs.ts'
import type { Users } from './machines/users.ts'
import { CannotStart, type RoleParts } from './node-role.ts'
import type { Jobs, Mesh, Runner } from './ports.ts'
import type { Account } from './records.ts'
import type { News } from './roles/events.ts'
import { PROCESSES_DEFAULTS } from './roles/process-spec.ts'
import { Processes } from './roles/processes.ts'
import { findAccount, mayChangeUser, ownName } from './runner/accounts.ts'
import { createJobs } from './runner/jobs.ts'
import { createRunner } from './runner/runner.ts'

/** What a program gets of the node's own environment. */
const PASSED_ON = ['PATH', 'HOME', 'LANG', 'TZ'] as const
/** Where programs are searched when the node itself was started without a PATH. */
const DEFAULT_PATH = '/usr/local/bin:/usr/bin:/bin'

export interface Programs {
  readonly runner: Runner
  readonly jobs: Jobs
  /** Undefined: this node does not serve them. */
  readonly processes: Processes | undefined
  /** Kills whatever runs. */
  close(): Promise<void>
}

/** Where programs of this node run that name no directory, and what they find there. */
export const placeOf = ({
  environment,
  directory,
  options,
}: Pick<RoleParts, 'environment' | 'directory' | 'options'>) => ({
  users: usersOf(options),
  environment: environmentOf(environment),
  directory: join(directory, 'work'),
})

/** Makes the directories and starts the first launcher. Throws if the directories cannot be made. */
export const openPrograms = (
  parts: RoleParts,
  mesh: Mesh,
  {
    isServing,
    tell,
  }: { readonly isServing: boolean; readonly tell?: (news: News) => void },
): Programs => {
  const { clock, log, audit, self, directory, options } = parts
  const place = placeOf(parts)
  mkdirSync(place.directory, { recursive: true, mode: 0o700 })
  const { PATH: path = DEFAULT_PATH } = place.environment
  const { allow } = options
  const isLimited = allow.length > 0
  const jobs = createJobs({
    path,
    directory: join(directory, 'jobs'),
    ...(isLimited && { allow }),
  })
  // After all that may fail: a launcher would be left behind.
  const own = createRunner({
    directory: join(directory, 'runs'),
    node: self.node_id,
    log,
  })
  const runner = auditedRunner(own, audit)
  const config = {
    ...{ ...PROCESSES_DEFAULTS, ...place, isLimited },
    hostName: self.host_name,
  }
  const processes = isServing
    ? new Processes({ clock, runner, jobs, mesh, log, config, ...(tell && { tell }) })
    : undefined
  return {
    runner,
    jobs,
    processes,
    close: async () => {
      processes?.close()
      await runner.close()
    },
  }
}

/** Who programs may run as. Throws CannotStart at a user that cannot be had. */
const usersOf = ({ users, runAs }: RoleParts['options']): Users => {
  const own = ownName()
  const account = (flag: string, name: string): Account => {
    if (!mayChangeUser())
      throw new CannotStart(
        `--${flag} ${name}: only a node that runs as root can run programs as another user; this one runs as ${own ?? 'a user without a name'}`,
      )
    const found = findAccount(name)
    if (found === undefined)
      throw new CannotStart(
        `--${flag} ${name}: there is no such user here; see: getent passwd`,
      )
    return found
  }
  return {
    own,
    byDefault: runAs === undefined ? undefined : account('run-as', runAs),
    others: new Map(users.map((name) => [name, account('user', name)])),
  }
}

const environmentOf = (
  given: RoleParts['environment'],
): Readonly<Record<string, string>> => {
  const passed = PASSED_ON.flatMap((name) => {
    const value = given[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return { PATH: DEFAULT_PATH, ...Object.fromEntries(passed) }
}
