// Programs: a line for each that starts, is signalled, ends, or cannot be started.

import type { Signal } from '../../protocol/index.ts'
import type { Audit, AuditFields, Run, RunEnd, Runner, RunSpec } from '../ports.ts'

/** The runner, and a line for each thing that it does. */
export const auditedRunner = (runner: Runner, audit: Audit): Runner => ({
  start: (spec, events) => {
    const ids = idsOf(spec)
    let pid: number | undefined
    const run = runner.start(spec, {
      started: (its) => {
        pid = its
        audit.record('started', { ...ids, pid, ...whatOf(spec) })
        events.started(its)
      },
      ended: (end) => {
        audit.record(...endOf(ids, pid, end))
        events.ended(end)
      },
    })
    return new AuditedRun(run, (signal) =>
      audit.record('signalled', { ...ids, pid, signal }),
    )
  },
  close: () => runner.close(),
})

class AuditedRun implements Run {
  readonly #run: Run
  readonly #onSignal: (signal: Signal) => void

  constructor(run: Run, onSignal: (signal: Signal) => void) {
    this.#run = run
    this.#onSignal = onSignal
  }

  kill(signal: Signal): void {
    this.#onSignal(signal)
    this.#run.kill(signal)
  }

  read(...args: Parameters<Run['read']>): void {
    this.#run.read(...args)
  }

  write(...args: Parameters<Run['write']>): void {
    this.#run.write(...args)
  }

  detach(): void {
    this.#run.detach()
  }

  release(): void {
    this.#run.release()
  }
}

const endOf = (
  ids: AuditFields,
  pid: number | undefined,
  { exitCode: exit_code, signal, spawnError, runMs }: RunEnd,
): [string, AuditFields] =>
  spawnError === undefined
    ? ['ended', { ...ids, pid, exit_code, signal, run_ms: Math.round(runMs) }]
    : ['not-started', { ...ids, code: spawnError.code }]

/** Which task or process it is, by what every program is told of itself. */
const idsOf = ({ environment }: RunSpec): AuditFields => {
  const {
    MANYHANDS_TASK_ID: task,
    MANYHANDS_ATTEMPT: attempt,
    MANYHANDS_PROCESS_ID: process,
  } = environment
  return { task, attempt: numberOf(attempt), process }
}

const whatOf = (spec: RunSpec): AuditFields => ({
  program: spec.program,
  arguments: spec.arguments.length,
  directory: spec.directory,
  ...(spec.account && { user: spec.account.name }),
})

const numberOf = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : Number(text)
