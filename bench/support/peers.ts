// Peers: the foreign programs that benchmarks are measured against. One that is not
// installed is no failure: its figure is named as missing.

import { accessSync, constants, existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { reportMissing } from './report.ts'

const { PATH = '', MANYHANDS_BENCH_PEERS } = process.env
/** Where peers are looked for: Debian puts servers where users do not look. */
export const peerPath = `${PATH}${delimiter}/usr/sbin`

/** Packages that are measured against are no dependencies: they lie in a folder of their own. */
export const modulesFolder =
  MANYHANDS_BENCH_PEERS ?? join(homedir(), '.cache', 'manyhands-bench')

const REMEDY = 'scripts/install-bench-peers.sh'

/** Is the program installed? If not, the figure `what` is reported as missing. */
export const hasPeer = (program: string, what: string): boolean => {
  if (peerPath.split(delimiter).some((folder) => isExecutable(join(folder, program))))
    return true
  reportMissing({ what, yardstick: program, remedy: REMEDY })
  return false
}

/** Is the package there? */
export const hasModule = (name: string, what: string): boolean => {
  if (existsSync(join(modulesFolder, 'node_modules', name))) return true
  reportMissing({ what, yardstick: name, remedy: REMEDY })
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
