// Liveness of a process of this machine.

import { readFileSync } from 'node:fs'

/** Does it run? One that has ended and was not yet collected by its parent does not. */
export const isAlive = (pid: number): boolean => {
  if (!Number.isSafeInteger(pid) || pid < 1) return false
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  return !isZombie(pid)
}

const isZombie = (pid: number): boolean => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name before it is in parentheses and may contain anything.
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z')
  } catch {
    return false // no /proc: not Linux
  }
}
