// Inspecting a database before it is opened: what is plainly none is told at once; after
// anything but a close in good order, another process reads all of it, with every checksum.
// A damaged one may kill that process, or hold it for ever; then nothing else was lost.

import { fork } from 'node:child_process'
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** At the beginning of each of LMDB's two meta pages, behind the page's own 16 bytes and 8 more. */
const MAGIC = 0xbeefc0de
const MAGIC_AT = [24, 24 + 4096]
export const DATA_FILE = 'data.mdb'
/** A million tasks take a third of a second. */
const LIMIT_MS = 60_000

/** What is wrong with the database in a directory; undefined: nothing. */
export const inspect = async (
  directory: string,
  isClean: boolean,
): Promise<string | undefined> => {
  const path = join(directory, DATA_FILE)
  if (!existsSync(path)) return `${path} is not there, though it was`
  const { size } = statSync(path)
  if (size === 0) return `${path} is empty`
  if (!hasMagic(path)) return `${path} is no database of a ledger`
  return isClean ? undefined : await readThrough(directory)
}

const hasMagic = (path: string): boolean => {
  const fd = openSync(path, 'r')
  try {
    return MAGIC_AT.every((at) => {
      const bytes = Buffer.alloc(4)
      return readSync(fd, bytes, 0, 4, at) === 4 && bytes.readUInt32LE(0) === MAGIC
    })
  } finally {
    closeSync(fd)
  }
}

/** In a process that may die of it. */
const readThrough = (directory: string): Promise<string | undefined> =>
  new Promise((resolve) => {
    const child = fork(processPath(), [directory], {
      env: {},
      execArgv: [],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    let said: string | undefined
    const timer = setTimeout(() => {
      said = `reading it comes to no end in ${LIMIT_MS / 1000} s`
      child.kill('SIGKILL')
    }, LIMIT_MS)
    child.on('message', (fault) => {
      said = String(fault)
    })
    child.on('error', (error) => {
      said = `it could not be looked at: ${error.message}`
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (said !== undefined) resolve(said)
      else if (signal !== null) resolve(`reading it ends in ${signal}`)
      else resolve(code === 0 ? undefined : 'reading it fails')
    })
  })

/** It lies beside this code where it is compiled, above its chunk where it is bundled. */
const processPath = (): string => {
  const beside = fileURLToPath(new URL('./inspect-process.js', import.meta.url))
  if (existsSync(beside)) return beside
  return fileURLToPath(new URL('../inspect-process.js', import.meta.url))
}
