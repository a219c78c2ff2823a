// Work directory: a folder for the pipes and spools of one process, named after it, so
// that the next one can tell what a dead one left behind from what a living one uses.

import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isAlive, startTimeOf } from './proc.ts'

const NAME = /^run-(\d+)-(\d+)-[0-9a-f]+$/

/** Makes the parent if need be, sweeps what dead owners left in it, and makes a new folder. */
export const makeWorkDirectory = (parent: string): string => {
  mkdirSync(parent, { recursive: true, mode: 0o700 })
  chmodSync(parent, 0o700)
  for (const name of readdirSync(parent)) if (isLeftOver(name)) remove(join(parent, name))
  const mark = randomBytes(4).toString('hex')
  const path = join(parent, `run-${process.pid}-${startTimeOf(process.pid)}-${mark}`)
  mkdirSync(path, { mode: 0o700 })
  return path
}

const isLeftOver = (name: string): boolean => {
  const [, pid, startTime] = NAME.exec(name) ?? []
  return pid !== undefined && !isAlive(Number(pid), Number(startTime))
}

const remove = (path: string): void => rmSync(path, { recursive: true, force: true })
