// Kept outputs: what ended programs wrote, for as long as somebody may come for it. Output
// that travelled inside its outcome stays for a short while, so that a reader who is in
// the middle of it reads on; output that did not stays until BlobRelease or retention.

import type { TaskId } from '../../protocol/index.ts'
import type { Cancel, Clock, Run } from '../ports.ts'
import type { Retention } from './worker-config.ts'

/** For readers that were reading when the program ended. */
const BRIEF: Retention = { ageMs: 30_000, count: 256, bytes: 256 * 32 * 1024 }

export type Fd = 1 | 2

/** The address of a descriptor's output: `out:<task id>:<attempt>:<fd>`. */
export const refOf = (taskId: TaskId, attempt: number, fd: Fd): string =>
  `out:${taskId}:${attempt}:${fd}`

/** The parts of such an address; undefined if it is none. */
export const parseRef = (
  ref: string,
): { readonly taskId: TaskId; readonly attempt: number; readonly fd: Fd } | undefined => {
  const match = /^out:([0-9a-z]{10}-[0-9]{1,16}):([0-9]{1,16}):([12])$/.exec(ref)
  if (match === null) return undefined
  const [, taskId = '', attempt, fd] = match
  return { taskId, attempt: Number(attempt), fd: fd === '1' ? 1 : 2 }
}

interface Kept {
  readonly taskId: TaskId
  readonly run: Run
  readonly bytes: number
  readonly untilMs: number
  /** The addresses that were given out and not released. */
  readonly refs: Set<string>
}

/** What is kept of one kind: by `<task id>:<attempt>`, oldest first. */
class Shelf {
  readonly #kept = new Map<string, Kept>()
  readonly #limits: Retention
  #bytes = 0

  constructor(limits: Retention) {
    this.#limits = limits
  }

  get(key: string): Kept | undefined {
    return this.#kept.get(key)
  }
  get size(): number {
    return this.#kept.size
  }
  *keys(): IterableIterator<readonly [string, Kept]> {
    yield* this.#kept
  }
  /** When the oldest ends. */
  get nextMs(): number {
    for (const kept of this.#kept.values()) return kept.untilMs
    return Number.POSITIVE_INFINITY
  }

  put(key: string, kept: Omit<Kept, 'untilMs'>, nowMs: number): void {
    this.drop(key)
    this.#kept.set(key, { ...kept, untilMs: nowMs + this.#limits.ageMs })
    this.#bytes += kept.bytes
    this.sweep(nowMs)
  }

  drop(key: string): void {
    const kept = this.#kept.get(key)
    if (kept === undefined) return
    this.#kept.delete(key)
    this.#bytes -= kept.bytes
    kept.run.release()
  }

  sweep(nowMs: number): void {
    const { count, bytes } = this.#limits
    for (const [key, kept] of this.#kept) {
      const isOver =
        this.#kept.size > count || this.#bytes > bytes || kept.untilMs <= nowMs
      if (!isOver) return
      this.drop(key)
    }
  }

  clear(): void {
    for (const key of [...this.#kept.keys()]) this.drop(key)
  }
}

export class KeptOutputs {
  readonly #clock: Clock
  readonly #brief = new Shelf(BRIEF)
  readonly #long: Shelf
  #timer: { readonly cancel: Cancel; readonly atMs: number } | undefined

  constructor(clock: Clock, retention: Retention) {
    this.#clock = clock
    this.#long = new Shelf(retention)
  }

  get size(): number {
    return this.#brief.size + this.#long.size
  }

  /** Keeps an ended run; `refs`: the addresses given out (none: it travelled in the outcome). */
  keep(
    of: { readonly taskId: TaskId; readonly attempt: number },
    run: Run,
    what: { readonly bytes: number; readonly refs: readonly string[] },
  ): void {
    const shelf = what.refs.length === 0 ? this.#brief : this.#long
    const kept = {
      taskId: of.taskId,
      run,
      bytes: what.bytes,
      refs: new Set(what.refs),
    }
    shelf.put(keyOf(of.taskId, of.attempt), kept, this.#clock.now())
    this.#arm()
  }

  find(taskId: TaskId, attempt: number): Run | undefined {
    const key = keyOf(taskId, attempt)
    return (this.#long.get(key) ?? this.#brief.get(key))?.run
  }

  /** Frees a run when the last of its addresses is released. */
  release(ref: string): void {
    const parts = parseRef(ref)
    if (parts === undefined) return
    const key = keyOf(parts.taskId, parts.attempt)
    const kept = this.#long.get(key)
    if (kept?.refs.delete(ref) && kept.refs.size === 0) this.#long.drop(key)
  }

  /** Frees whatever is kept of a task that nobody wants any more. */
  drop(taskId: TaskId): void {
    for (const shelf of [this.#brief, this.#long]) {
      for (const [key, kept] of [...shelf.keys()]) {
        if (kept.taskId === taskId) shelf.drop(key)
      }
    }
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#brief.clear()
    this.#long.clear()
  }

  /** One timer, for what ends next. */
  #arm(): void {
    const atMs = Math.min(this.#brief.nextMs, this.#long.nextMs)
    if (this.#timer !== undefined && this.#timer.atMs <= atMs) return
    this.#timer?.cancel()
    this.#timer = undefined
    if (atMs === Number.POSITIVE_INFINITY) return
    const afterMs = Math.max(0, atMs - this.#clock.now())
    const cancel = this.#clock.after(afterMs, () => {
      this.#timer = undefined
      const nowMs = this.#clock.now()
      this.#brief.sweep(nowMs)
      this.#long.sweep(nowMs)
      this.#arm()
    })
    this.#timer = { cancel, atMs }
  }
}

const keyOf = (taskId: TaskId, attempt: number): string => `${taskId}:${attempt}`
