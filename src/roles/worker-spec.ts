// Worker spec: what the runner is asked for a task: its program, arguments, directory and
// a clean environment.

import type { Assignment } from '../../protocol/index.ts'
import type { PreparedJob, RunSpec } from '../ports.ts'
import type { WorkerConfig } from './worker-config.ts'

/** The run of a task. Its own variables win over the configured ones, ours over its own. */
export const specOf = (
  task: Assignment,
  job: PreparedJob,
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
  const environment = Object.assign({}, config.environment, task.env, ours)
  const spec = {
    program: job.program,
    arguments:
      job.leading.length > 0 ? [...job.leading, ...task.arguments] : task.arguments,
    directory: task.dir ?? config.directory,
    environment,
    output: task.output ?? 'capture',
    outputCapBytes: config.outputCapBytes,
  }
  if (stdin === undefined && job.calledAs === undefined) return spec
  return {
    ...spec,
    ...(stdin !== undefined && { stdin }),
    ...(job.calledAs !== undefined && { calledAs: job.calledAs }),
  }
}
