// Outcomes: what an ended task means to a shell (an exit code) and to a person (a line).

import { constants } from 'node:os'
import type { ErrorKind, TaskDone } from '../../protocol/index.ts'

/** Exit codes of the verbs; `run` gives its program's. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  noPlacement: 4,
  noMesh: 5,
  /** Of run, as `timeout`, `env` and shells have them. */
  timedOut: 124,
  ours: 125,
  notExecutable: 126,
  noProgram: 127,
  interrupted: 130,
} as const

/** What the runner says instead of a signal's name. */
const LAUNCHER_LOST = 'launcher-lost'
/** A missing directory (ENODIR) is not among them: the program may well be there. */
const NOT_EXECUTABLE = new Set(['EACCES', 'EPERM', 'ENOEXEC', 'EISDIR', 'ETXTBSY'])

/** What `run` exits with for a closed task. */
export const exitCodeOf = (done: TaskDone): number => {
  const { error } = done
  if (error === undefined) return done.result?.exit_code ?? EXIT.ok
  switch (error.kind) {
    case 'RunningError':
      return error.exit_code ?? signalCode(error.signal)
    case 'TimedOut':
      return EXIT.timedOut
    case 'SpawnError':
      if (error.code === 'ENOENT') return EXIT.noProgram
      return NOT_EXECUTABLE.has(error.code) ? EXIT.notExecutable : EXIT.ours
    case 'DownloadError':
    case 'Aborted':
    case 'OutputTooLarge':
    case 'WorkerLost':
    case 'Refused':
    case 'Unknown':
      return EXIT.ours
  }
}

const signalCode = (signal: string | undefined): number => {
  const numbers: Readonly<Record<string, number>> = constants.signals
  const number = numbers[signal ?? '']
  return number === undefined ? EXIT.ours : 128 + number
}

/** Why a task did not succeed, as the rest of a sentence: "ended with exit code 3". */
export const describeError = (error: ErrorKind): string => {
  switch (error.kind) {
    case 'RunningError':
      if (error.exit_code !== undefined) return `ended with exit code ${error.exit_code}`
      return error.signal === LAUNCHER_LOST
        ? 'was ended because the helper that ran it died (killed, or out of memory?)'
        : `was ended by ${error.signal ?? 'a signal'}`
    case 'TimedOut':
      return 'was stopped at its time limit; a longer one: --timeout'
    case 'SpawnError':
      return `could not be started (${error.code}): ${error.reason}`
    case 'DownloadError':
      return `could not be downloaded: ${error.reason}`
    case 'Aborted':
      return `was cancelled${error.reason ? `: ${error.reason}` : ''}`
    case 'OutputTooLarge':
      return 'wrote more output than is kept'
    case 'WorkerLost':
      return 'was lost three times with the worker or the helper that ran it, and is not tried again'
    case 'Refused':
      return `was refused by the worker: ${error.reason}`
    case 'Unknown':
      return `failed with ${error.name}, a kind that this version does not know`
  }
}

/** Lines about output that was written and not kept, which nobody would notice otherwise. */
export const lossesOf = ({ result, host_name }: TaskDone): readonly string[] => {
  const where = host_name === undefined ? '' : ` on ${host_name}`
  return (['stdout', 'stderr'] as const).flatMap((name) => {
    const lost = result?.[name]?.lost ?? 0
    if (lost === 0) return []
    return [
      `${lost} bytes of its ${name}${where} were not kept: more than the cap, or no room on its disk`,
    ]
  })
}

/** A line for what a program cannot say itself; undefined when its exit code says it all. */
export const complaintOf = (done: TaskDone): string | undefined => {
  const { error, host_name } = done
  if (error === undefined) return undefined
  if (error.kind === 'RunningError' && error.exit_code !== undefined) return undefined
  const where = host_name === undefined ? '' : ` on ${host_name}`
  return `the program${where} ${describeError(error)}`
}
