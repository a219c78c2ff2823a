// Marker: a variable in the environment of every program that names the node, its runner,
// the launcher and the run. Children inherit it, also those that make a session of their
// own or outlive their parents, so it finds what process groups lose. It does not find
// who wipes its environment (or writes over it, as some servers do to show a title).

import { readdirSync, readFileSync } from 'node:fs'
import { startTimeOf } from './proc.ts'
import { killOne } from './strays.ts'

/** Its value: NODE/RUNNER/LAUNCHER/RUN, where RUNNER is the name of a work directory. */
export const MARKER = 'MANYHANDS_RUN'

const NAME = Buffer.from(`${MARKER}=`)

/** The marker in the bytes of /proc/PID/environ; undefined if there is none. */
export const markerIn = (environ: Buffer): string | undefined => {
  let at = environ.indexOf(NAME)
  while (at > 0 && environ[at - 1] !== 0) at = environ.indexOf(NAME, at + 1)
  if (at < 0) return undefined
  const end = environ.indexOf(0, at)
  const value = environ.subarray(at + NAME.length, end < 0 ? environ.length : end)
  return value.toString('latin1')
}

const markerOf = (pid: number): string | undefined => {
  try {
    return markerIn(readFileSync(`/proc/${pid}/environ`))
  } catch {
    return undefined // gone meanwhile, or another user's
  }
}

/** Of all processes of this machine; none where there is no /proc. */
export const allPids = (): readonly number[] => {
  try {
    return readdirSync('/proc').filter(isNumber).map(Number)
  } catch {
    return [] // no /proc on this system
  }
}

const isNumber = (name: string): boolean => /^\d+$/.test(name)

/** A program that starts others faster than they are found is given up after so many looks. */
const MOST_LOOKS = 20

/**
 * Kills every process (but this one) whose marker is ours, and looks again until nobody new
 * is there: some start others while they are looked for. Answers how many there were. A
 * look costs about 20 us a candidate.
 */
export const killMarked = (
  isOurs: (marker: string) => boolean,
  candidates: () => readonly number[] = allPids,
): number => {
  const killed = new Set<string>()
  for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
    const before = killed.size
    for (const pid of candidates()) {
      const marker = pid === process.pid ? undefined : markerOf(pid)
      if (marker === undefined || !isOurs(marker)) continue
      killed.add(`${pid}-${startTimeOf(pid)}`)
      killOne(pid)
    }
    if (killed.size === before) break
  }
  return killed.size
}
