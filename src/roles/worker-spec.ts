// Worker spec: what the runner is asked for a task: its program, arguments, directory and
// a clean environment.

import type { Assignment } from '../../protocol/index.ts'
import { environmentOf } from '../machines/users.ts'
import type { PreparedJob, RunSpec } from '../ports.ts'
import type { Account } from '../records.ts'
import type { WorkerConfig } from './worker-config.ts'

/** What the task runs, and as whom (undefined: as the node). */
export interface Prepared {
  readonly job: PreparedJob
  readonly account: Account | undefined
}

/** The run of a task. Its own variables win over the configured ones, ours over its own. */
export const specOf = (
  task: Assignment,
  { job, account }: Prepared,
  config: WorkerConfig,
): RunSpec => {
  const stdin = task.stdin_live === true ? 'live' : task.stdin
  const ours = {
    MANYHANDS_TASK_ID: task.task_id,
    MANYHANDS_HOST_NAME: config.hostName,
    MANYHANDS_ATTEMPT: String(task.attempt),
    MANYHANDS_CORES: String(task.requires?.cores ?? 1),
  }
  // Once for every task: a literal that spreads first and adds then takes 5 us, this 0.2.
  const base = config.environment
  const environment =
    account === undefined
      ? Object.assign({}, base, task.env, ours)
      : Object.assign({}, base, environmentOf(account), task.env, ours)
  const spec = {
    program: job.program,
    arguments:
      job.leading.length > 0 ? [...job.leading, ...task.arguments] : task.arguments,
    directory: task.dir ?? account?.home ?? config.directory,
    environment,
    output: task.output ?? 'capture',
    outputCapBytes: config.outputCapBytes,
  }
  if (stdin === undefined && job.calledAs === undefined && account === undefined)
    return spec
  return {
    ...spec,
    ...(account !== undefined && { account }),
    ...(stdin !== undefined && { stdin }),
    ...(job.calledAs !== undefined && { calledAs: job.calledAs }),
  }
}
