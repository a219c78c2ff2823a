// Files: what more than one engine does with them.

import { closeSync, fsyncSync, openSync } from 'node:fs'

/** Makes the names in a directory durable. */
export const syncDirectory = (path: string): void => {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
