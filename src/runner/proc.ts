// Proc: which process a pid means. A pid alone is not enough, for the system uses it
// again; with the process's start time it names one process of this boot. Where there
// is no /proc, the start time is 0 and nothing can be told apart.

import { readFileSync } from 'node:fs'

const stat = (pid: number): string[] | undefined => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in parentheses may hold spaces and parentheses: count from its end.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}

/** When the process started, in ticks since boot; 0 if there is no such process. */
export const startTimeOf = (pid: number): number => Number(stat(pid)?.[19] ?? 0)

/** Is it still that process, and not a zombie (which waits for a parent that may never look)? */
export const isAlive = (pid: number, startTime: number): boolean => {
  const now = stat(pid)
  return now !== undefined && now[0] !== 'Z' && Number(now[19]) === startTime
}

/** The group and the session of a process; 0 if there is no such process. */
export const sessionOf = (pid: number): { group: number; session: number } => {
  const now = stat(pid)
  return { group: Number(now?.[2] ?? 0), session: Number(now?.[3] ?? 0) }
}

/** Signals a process group; false if there is none. */
export const signalGroup = (leader: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(-leader, signal)
  } catch {
    return false
  }
}

/**
 * Kills a group of which the leader's pid and start time are known. If the leader is gone
 * its number cannot have been given out again while members of its group live, so a
 * process that bears it now and started at another time proves that the group is gone.
 */
export const killGroup = (leader: number, startTime: number): void => {
  const now = startTimeOf(leader)
  if (now === 0 || now === startTime) signalGroup(leader, 'SIGKILL')
}
