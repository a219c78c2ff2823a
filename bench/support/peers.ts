// Peers: the foreign programs that benchmarks are measured against. One that is not
// installed is no failure: its figure is skipped, and says so.

import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

const { PATH = '' } = process.env
/** Where peers are looked for: Debian puts servers where users do not look. */
export const peerPath = `${PATH}${delimiter}/usr/sbin`

/** Is the program installed? If not, a line says what is skipped. */
export const hasPeer = (program: string, what: string): boolean => {
  if (peerPath.split(delimiter).some((folder) => isExecutable(join(folder, program))))
    return true
  console.log(
    `${what.padEnd(58)}        skipped  ${program} is not installed: scripts/install-bench-peers.sh`,
  )
  return false
}

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
