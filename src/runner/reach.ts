// Reach: whether a user may enter folders, by their modes. A launcher that runs as root is
// let in everywhere, and changes its directory before it changes its user: without this a
// program would begin where its user cannot go. Lists beyond the mode (ACLs) do not count.

import { realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Account } from '../records.ts'

type Who = Pick<Account, 'uid' | 'gid'>

/** May he search the folders on the way to a path: `whole` the last one too? */
export const mayReach = (path: string, who: Who, to: 'whole' | 'above'): boolean => {
  try {
    const real = realpathSync(path)
    let folder = to === 'whole' ? real : dirname(real)
    for (;;) {
      if (!maySearch(folder, who)) return false
      if (folder === '/') return true
      folder = dirname(folder)
    }
  } catch {
    return false
  }
}

const maySearch = (folder: string, { uid, gid }: Who): boolean => {
  if (uid === 0) return true
  const stat = statSync(folder)
  // The first class that fits decides, as in the kernel.
  const shift = stat.uid === uid ? 6 : stat.gid === gid ? 3 : 0
  return ((stat.mode >> shift) & 1) === 1
}
