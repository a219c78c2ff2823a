// Files: what more than one engine does with them.

import {
  closeSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

/** Makes the names in a directory durable. */
export const syncDirectory = (path: string): void => {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Writes a new file (0600) and waits until it is on disk. */
export const writeNew = (path: string, content: string | Uint8Array): void => {
  const fd = openSync(path, 'wx', 0o600)
  try {
    writeFileSync(fd, content)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Replaces a file in one step: a reader sees the old content or the new, never a part. */
export const replaceFile = (
  path: string,
  content: string | Uint8Array,
  unique = String(process.pid),
): void => {
  const temporary = join(dirname(path), `.${unique}.tmp`)
  try {
    // On disk before it takes the name: else a power cut may leave the name with nothing in it.
    writeNew(temporary, content)
    renameSync(temporary, path)
    syncDirectory(dirname(path))
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}
