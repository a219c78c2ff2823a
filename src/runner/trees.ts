// Trees: what the programs of a launcher have started, as far as it left their groups. Of
// a program that has ended they are found by the marker in their environment. In a cgroup
// nobody is lost who has no marker: all go when no program runs, and when this ends.

import { type Cgroup, enterCgroup, killCgroups } from './cgroup.ts'
import { allPids, killMarked } from './marker.ts'

export interface TreesOptions {
  /** How those of all programs of this launcher begin. */
  readonly marker: string
  /** The cgroup to divide; undefined: none. */
  readonly place: string | undefined
  /** Nothing runs that this launcher has started. */
  isIdle(): boolean
}

/** A marker as the name of a folder, and back. */
const cgroupName = (marker: string): string => marker.replaceAll('/', '+')
const markerOf = (name: string): string => name.replaceAll('+', '/')

/** Kills all in the cgroups of launchers whose markers are ours. Answers how many there were. */
export const killCgroupsOf = (
  place: string,
  isOurs: (marker: string) => boolean,
): number => killCgroups(place, (name) => isOurs(markerOf(name)))

/** Longer than the runner waits for what those who are left still write. */
const UNTOUCHED_MS = 1500
const PAUSE_MS = 500
/** Looks take at most this part of a launcher's time, however many processes there are. */
const PAUSE_PER_LOOK = 50
/** One that starts another while it is looked for can be missed once. */
const LOOKS = 2

export class Trees {
  readonly #options: TreesOptions
  readonly #cgroup: Cgroup | undefined
  readonly #ended = new Map<string, { readonly atMs: number; looks: number }>()
  #timer: NodeJS.Timeout | undefined
  #pauseMs = PAUSE_MS

  /** Throws if the cgroup cannot be made. */
  constructor(options: TreesOptions) {
    const { place, marker } = options
    this.#options = options
    this.#cgroup =
      place === undefined ? undefined : enterCgroup(place, cgroupName(marker))
  }

  /** A program is over, and its group: others may have left that. */
  ended(run: number): void {
    this.#ended.set(String(run), { atMs: performance.now(), looks: LOOKS })
    this.#arm()
  }

  #arm(): void {
    this.#timer ??= setTimeout(() => this.#look(), this.#pauseMs)
  }

  #look(): void {
    this.#timer = undefined
    const beganMs = performance.now()
    const due = new Set<string>()
    for (const [run, ended] of this.#ended) {
      if (beganMs - ended.atMs < UNTOUCHED_MS) continue
      due.add(this.#options.marker + run)
      ended.looks -= 1
      if (ended.looks === 0) this.#ended.delete(run)
    }
    if (due.size > 0) this.#kill(due)
    const tookMs = performance.now() - beganMs
    this.#pauseMs = Math.max(PAUSE_MS, tookMs * PAUSE_PER_LOOK)
    if (this.#ended.size > 0) this.#arm()
  }

  #kill(due: ReadonlySet<string>): void {
    const cgroup = this.#cgroup
    killMarked((marker) => due.has(marker), cgroup?.members ?? allPids)
    // The last to end was long enough ago, too.
    if (cgroup === undefined || this.#ended.size > 0 || !this.#options.isIdle()) return
    for (const pid of cgroup.members()) if (pid !== process.pid) kill(pid)
  }

  /** Kills everything that was started here. */
  end(): void {
    this.#cgroup?.leave()
    killMarked((marker) => marker.startsWith(this.#options.marker))
  }
}

const kill = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has gone meanwhile.
  }
}
