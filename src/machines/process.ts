// Process: one named program on this host, through its runs, until it has ended for good.
//
//   state      event     -> what
//   starting   started      running; stopping, and INT, if a stop was asked meanwhile
//   starting   ended        the first run: refused, and gone; a later one: as running/ended
//   running    ended        waiting for its restart, if the policy wants one; else exited
//   running    stop         INT -> stopping
//   stopping   timer        TERM after 5 s, KILL after 5 s more
//   stopping   stop         nothing: the first stop started the clock
//   stopping   ended        exited
//   waiting    timer        starting, with the next run
//   waiting    stop         exited
//   exited     any          nothing
//
// (Source: the process manager's ladder, as its code means it: INT so that a program can
// clean up, TERM, KILL; a stop that is repeated every 4 s gets there too.)

import type { ProcessSpec, Signal } from '../../protocol/index.ts'

/** How a run ended. Exactly one of exitCode, signal, spawnError. */
export interface ProcessEnd {
  readonly exitCode?: number
  readonly signal?: string
  readonly spawnError?: { readonly code: string; readonly reason: string }
}

type Rung = 'SIGINT' | 'SIGTERM' | 'SIGKILL'

type Phase =
  | { readonly kind: 'starting'; readonly isStopAsked: boolean }
  | { readonly kind: 'running'; readonly pid: number }
  | { readonly kind: 'stopping'; readonly pid: number; readonly rung: Rung }
  | { readonly kind: 'waiting'; readonly restartMs: number }
  | { readonly kind: 'exited' }

export interface Process {
  readonly spec: ProcessSpec
  readonly phase: Phase
  /** From 1; one more with each restart. */
  readonly run: number
  /** Restarts since a run lasted for a while. */
  readonly restarts: number
  readonly isReady: boolean
  /** When the last run started: by our clock, and for display. */
  readonly sinceMs: number
  readonly startedMs: number | undefined
  /** The pid of the last run that had one. */
  readonly pid: number | undefined
  readonly last: (ProcessEnd & { readonly atMs: number }) | undefined
}

/** `nowMs`: monotonic; `atMs`: Unix time, for display. */
interface At {
  readonly nowMs: number
  readonly atMs: number
}

/** What happened to it. */
export type ProcessNews =
  | { readonly kind: 'started'; readonly pid: number }
  | { readonly kind: 'ended'; readonly end: ProcessEnd }
  | { readonly kind: 'timer' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'stop' }

export type ProcessEvent = ProcessNews & At

export type ProcessEffect =
  /** Asks the operating system for the next run. */
  | { readonly kind: 'start' }
  /** The first run has a pid: whoever asked for it is answered. */
  | { readonly kind: 'began'; readonly pid: number }
  /** The first run could not be started: there is no such process. */
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string }
  /** To its process group. */
  | { readonly kind: 'signal'; readonly signal: Rung }
  /** Replaces the timer before. */
  | { readonly kind: 'timer'; readonly afterMs: number }
  /** It has ended for good. */
  | { readonly kind: 'over' }

type Step = readonly [Process, readonly ProcessEffect[]]

/** Between the rungs of the ladder. */
export const RUNG_MS = 5_000
/** A run of this length begins a new row of restarts. */
export const STEADY_MS = 60_000
const FIRST_BACKOFF_MS = 1_000
const MOST_BACKOFF_MS = 60_000

const none: readonly ProcessEffect[] = []

/** A process that was asked for; its first run is to be started. */
export const newProcess = (spec: ProcessSpec): Process => ({
  spec,
  phase: { kind: 'starting', isStopAsked: false },
  run: 1,
  restarts: 0,
  isReady: false,
  sinceMs: 0,
  startedMs: undefined,
  pid: undefined,
  last: undefined,
})

/** Has it a program, or will it have one by itself? */
export const isOver = ({ phase }: Process): boolean => phase.kind === 'exited'

export const hasProgram = ({ phase }: Process): boolean =>
  phase.kind === 'running' || phase.kind === 'stopping'

export const step = (process: Process, event: ProcessEvent): Step => {
  switch (event.kind) {
    case 'started':
      return started(process, event)
    case 'ended':
      return ended(process, event)
    case 'timer':
      return timer(process)
    case 'stop':
      return stop(process)
    case 'ready':
      return hasProgram(process) ? [{ ...process, isReady: true }, none] : [process, none] // of a run that has ended
  }
}

const started = (process: Process, { pid, nowMs, atMs }: At & { pid: number }): Step => {
  const { phase, run, spec } = process
  if (phase.kind !== 'starting') return [process, none] // it cannot be
  const began: readonly ProcessEffect[] = run === 1 ? [{ kind: 'began', pid }] : none
  const next: Process = {
    ...process,
    phase: { kind: 'running', pid },
    pid,
    isReady: spec.ready === undefined,
    sinceMs: nowMs,
    startedMs: atMs,
  }
  if (!phase.isStopAsked) return [next, began]
  const [stopping, effects] = stop(next)
  return [stopping, [...began, ...effects]]
}

const ended = (
  process: Process,
  { end, nowMs, atMs }: At & { end: ProcessEnd },
): Step => {
  const { phase, run, spec } = process
  if (phase.kind === 'waiting' || phase.kind === 'exited') return [process, none] // it cannot be
  const { spawnError } = end
  if (run === 1 && spawnError !== undefined)
    return [
      { ...process, phase: { kind: 'exited' } },
      [{ kind: 'refused', ...spawnError }],
    ]
  const isWanted =
    phase.kind === 'running' || (phase.kind === 'starting' && !phase.isStopAsked)
  const isSteady = hasProgram(process) && nowMs - process.sinceMs >= STEADY_MS
  const next: Process = {
    ...process,
    isReady: spec.ready?.exit === true && end.exitCode === 0,
    last: { ...end, atMs },
    restarts: isSteady ? 0 : process.restarts,
  }
  const backoffMs = isWanted ? restartAfter(next, end) : undefined
  if (backoffMs === undefined)
    return [{ ...next, phase: { kind: 'exited' } }, [{ kind: 'over' }]]
  const waiting: Phase = { kind: 'waiting', restartMs: atMs + backoffMs }
  return [{ ...next, phase: waiting }, [{ kind: 'timer', afterMs: backoffMs }]]
}

/** How long until it starts again; undefined: never. */
const restartAfter = (
  { spec, restarts }: Process,
  end: ProcessEnd,
): number | undefined => {
  const {
    policy,
    limit,
    backoff_ms: firstMs = FIRST_BACKOFF_MS,
  } = spec.restart ?? {
    policy: 'never',
  }
  if (policy === 'never' || (policy === 'on-failure' && end.exitCode === 0))
    return undefined
  if (limit !== undefined && restarts >= limit) return undefined
  return Math.min(MOST_BACKOFF_MS, firstMs * 2 ** Math.min(restarts, 30))
}

const timer = (process: Process): Step => {
  const { phase, run, restarts } = process
  if (phase.kind === 'waiting')
    return [
      {
        ...process,
        phase: { kind: 'starting', isStopAsked: false },
        run: run + 1,
        restarts: restarts + 1,
      },
      [{ kind: 'start' }],
    ]
  // KILL is the last rung: what it does not end, nothing ends.
  if (phase.kind !== 'stopping' || phase.rung === 'SIGKILL') return [process, none]
  return climb(process, phase.pid, phase.rung === 'SIGINT' ? 'SIGTERM' : 'SIGKILL')
}

const stop = (process: Process): Step => {
  const { phase } = process
  switch (phase.kind) {
    case 'starting':
      return [{ ...process, phase: { kind: 'starting', isStopAsked: true } }, none]
    case 'running':
      return climb(process, phase.pid, 'SIGINT')
    case 'waiting':
      return [{ ...process, phase: { kind: 'exited' } }, [{ kind: 'over' }]]
    case 'stopping':
    case 'exited':
      return [process, none]
  }
}

const climb = (process: Process, pid: number, rung: Rung): Step => [
  { ...process, phase: { kind: 'stopping', pid, rung } },
  [{ kind: 'signal', signal: rung }, ...(rung === 'SIGKILL' ? [] : [LADDER])],
]

const LADDER: ProcessEffect = { kind: 'timer', afterMs: RUNG_MS }

/** The numbers of signals, as an exit code tells them: 128 + number. */
const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
} satisfies Partial<Record<Signal | string, number>>

/** What a shell would say: the code, or 128 + the signal's number (128 for an unknown one). */
export const exitCodeOf = ({ exitCode, signal }: ProcessEnd): number | undefined =>
  exitCode ?? (signal === undefined ? undefined : 128 + (SIGNAL_NUMBERS[signal] ?? 0))
