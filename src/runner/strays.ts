// Strays: programs of whom nobody knows the pid any more, because the launcher that had
// just started them died, or launcher and node died together. They are known by the
// pipes they hold, which lie in a folder that was theirs alone.

import { readdirSync, readlinkSync } from 'node:fs'
import { sessionOf, signalGroup } from './proc.ts'

const linksOf = (pid: string): string[] => {
  try {
    const folder = `/proc/${pid}/fd`
    return readdirSync(folder).map((fd) => readlinkSync(`${folder}/${fd}`))
  } catch {
    return [] // gone meanwhile, or another user's
  }
}

/**
 * Kills whoever (but this process) holds a file open of whose path `isOurs` holds, with its
 * group if it is one that a launcher made: there the session and the group are one.
 * Looks through all of /proc: for rare occasions.
 */
export const killHolders = (isOurs: (path: string) => boolean): void => {
  let pids: string[] = []
  try {
    pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  } catch {
    return // no /proc on this system
  }
  for (const pid of pids)
    if (Number(pid) !== process.pid && linksOf(pid).some(isOurs)) killOne(Number(pid))
}

/** With its group, if it is one that a launcher or setsid made. */
export const killOne = (pid: number): void => {
  const { group, session } = sessionOf(pid)
  if (group > 1 && group === session) signalGroup(group, 'SIGKILL')
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It went with its group.
  }
}
