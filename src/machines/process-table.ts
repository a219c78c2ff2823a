// Process table: the processes of this node, by process_id, by pid and by key: those that
// run, and for a while those that have ended.

import type { ProcessInfo, ProcessSpec } from '../../protocol/index.ts'
import {
  exitCodeOf,
  hasProgram,
  isOver,
  newProcess,
  type Process,
  type ProcessEffect,
  type ProcessEvent,
  step,
} from './process.ts'

/** Which one: as the protocol's ProcessRef. */
export interface Which {
  readonly pid?: number | undefined
  readonly process_id?: string | undefined
  readonly key?: string | undefined
}

/** How long, and how many, ended ones are known. */
export interface ProcessRetention {
  readonly ageMs: number
  readonly count: number
}

interface Ended {
  readonly id: string
  readonly atMs: number
}

export class ProcessTable {
  readonly #retention: ProcessRetention
  readonly #processes = new Map<string, Process>()
  /** The last process that had the pid: a system that reuses one means the newer. */
  readonly #byPid = new Map<number, string>()
  readonly #byKey = new Map<string, string>()
  readonly #keys = new Map<string, string>()
  /** Oldest first. */
  #ended: Ended[] = []
  #last = 0

  constructor(retention: ProcessRetention) {
    this.#retention = retention
  }

  /** Those that have not ended for good. */
  get open(): number {
    return this.#processes.size - this.#ended.length
  }

  /** The process that was started with this key. */
  withKey(key: string | undefined): string | undefined {
    return key === undefined ? undefined : this.#byKey.get(key)
  }

  /** A process more; its first run is the caller's to start. */
  add(spec: ProcessSpec, key: string | undefined): string {
    this.#last += 1
    const id = `p${this.#last}`
    this.#processes.set(id, newProcess(spec))
    if (key !== undefined) {
      this.#byKey.set(key, id)
      this.#keys.set(id, key)
    }
    return id
  }

  get(id: string): Process | undefined {
    return this.#processes.get(id)
  }

  find({ pid, process_id: id, key }: Which): string | undefined {
    const found = [
      ...(pid === undefined ? [] : [this.#byPid.get(pid)]),
      ...(key === undefined ? [] : [this.#byKey.get(key)]),
      ...(id === undefined ? [] : [this.#processes.has(id) ? id : undefined]),
    ]
    const [first] = found
    return found.every((one) => one === first) ? first : undefined
  }

  apply(id: string, event: ProcessEvent): readonly ProcessEffect[] {
    const before = this.#processes.get(id)
    if (before === undefined) return []
    const [after, effects] = step(before, event)
    this.#processes.set(id, after)
    if (after.pid !== undefined && after.pid !== before.pid)
      this.#rename(id, before, after)
    if (effects.some(({ kind }) => kind === 'refused')) this.#forget(id)
    else if (isOver(after) && !isOver(before)) this.#ended.push({ id, atMs: event.nowMs })
    return effects
  }

  #rename(id: string, before: Process, { pid = 0 }: Process): void {
    if (before.pid !== undefined && this.#byPid.get(before.pid) === id)
      this.#byPid.delete(before.pid)
    this.#byPid.set(pid, id)
  }

  /** Forgets ended ones that are too many or too old; their ids. */
  sweep(nowMs: number): readonly string[] {
    const { ageMs, count } = this.#retention
    const surplus = this.#ended.length - count
    const first = this.#ended.findIndex(
      ({ atMs }, at) => at >= surplus && nowMs - atMs < ageMs,
    )
    const gone = this.#ended.splice(0, first < 0 ? this.#ended.length : first)
    for (const { id } of gone) this.#forget(id)
    return gone.map(({ id }) => id)
  }

  #forget(id: string): void {
    const pid = this.#processes.get(id)?.pid
    if (pid !== undefined && this.#byPid.get(pid) === id) this.#byPid.delete(pid)
    const key = this.#keys.get(id)
    if (key !== undefined) this.#byKey.delete(key)
    this.#keys.delete(id)
    this.#processes.delete(id)
  }

  /** By process_id, from the one behind `after`; those that run, or `all` that are known. */
  *list(options: {
    readonly all: boolean
    readonly after?: string | undefined
  }): IterableIterator<readonly [string, Process]> {
    const after = options.after === undefined ? 0 : numberOf(options.after)
    for (const [id, process] of this.#processes) {
      const isWanted = options.all || hasProgram(process)
      if (isWanted && numberOf(id) > after) yield [id, process]
    }
  }

  /** Of all that run, ascending. */
  get pids(): readonly number[] {
    const running = [...this.#processes.values()].filter(hasProgram)
    return running.map(({ pid }) => pid ?? 0).sort((a, b) => a - b)
  }

  /** Of those that have not ended for good. */
  get openIds(): readonly string[] {
    return [...this.#processes].filter(([, one]) => !isOver(one)).map(([id]) => id)
  }
}

const numberOf = (id: string): number => Number(id.slice(1))

/** What the protocol says of a process. */
export const infoOf = (id: string, process: Process): ProcessInfo => {
  const { spec, phase, run, isReady, pid, startedMs, last } = process
  const exitCode = last && exitCodeOf(last)
  return {
    process_id: id,
    running: hasProgram(process),
    state: phase.kind,
    ready: isReady,
    run,
    path: spec.path,
    ...(pid !== undefined && { pid }),
    ...(exitCode !== undefined && { exit_code: exitCode }),
    ...(last?.signal !== undefined && { signal: last.signal }),
    ...(last?.spawnError !== undefined && {
      error_message: last.spawnError.reason.slice(0, 1024),
    }),
    command: [spec.path, ...(spec.args ?? []).slice(0, 64)].join(' ').slice(0, 512),
    ...(spec.name !== undefined && { name: spec.name }),
    ...(spec.labels !== undefined && { labels: spec.labels }),
    ...(startedMs !== undefined && { started_ms: startedMs }),
    ...(last !== undefined && { ended_ms: last.atMs }),
    ...(phase.kind === 'waiting' && { restart_ms: phase.restartMs }),
  }
}
