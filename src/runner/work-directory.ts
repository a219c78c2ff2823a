// Work directory: a folder for the pipes and spools of one process, named after it, so
// that the next one can tell what a dead one left behind from what a living one uses.

import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isAlive, startTimeOf } from './proc.ts'
import { killHolders } from './strays.ts'

const NAME = /^run-(\d+)-(\d+)-[0-9a-f]+$/

/** Makes the parent if need be, sweeps what dead owners left in it, and makes a new folder. */
export const makeWorkDirectory = (parent: string): string => {
  mkdirSync(parent, { recursive: true, mode: 0o700 })
  chmodSync(parent, 0o700)
  sweep(parent, readdirSync(parent).filter(isLeftOver))
  const mark = randomBytes(4).toString('hex')
  const path = join(parent, `run-${process.pid}-${startTimeOf(process.pid)}-${mark}`)
  mkdirSync(path, { mode: 0o700 })
  // As links in /proc show it.
  return realpathSync(path)
}

/** By its name: is who made it gone? */
export const isLeftOver = (name: string): boolean => {
  const [, pid, startTime] = NAME.exec(name) ?? []
  return pid !== undefined && !isAlive(Number(pid), Number(startTime))
}

/** Programs that outlived both their node and their launcher go first, by the pipes they hold. */
const sweep = (parent: string, names: readonly string[]): void => {
  if (names.length === 0) return
  // Links in /proc show paths as they really are.
  const folders = names.map((name) => `${realpathSync(join(parent, name))}/`)
  killHolders((path) => folders.some((folder) => path.startsWith(folder)))
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}
