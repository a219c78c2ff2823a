// Files of the state directory: made whole or not at all, never readable by others.
//
// Everything here is synchronous: it happens a few times at a node's start, before
// anything is served, and a start in one straight line is one that can be reasoned about.

import { lstatSync, mkdirSync, readFileSync } from 'node:fs'

/** What stands in the way of using a file or directory, in words that name the remedy. */
export type AccessFault = { readonly path: string; readonly reason: string }

const octal = (mode: number): string => (mode & 0o777).toString(8).padStart(4, '0')

const statOf = (path: string) => lstatSync(path, { throwIfNoEntry: false })

/**
 * Is `path` ours alone? A link, another owner, or a mode that lets others in is a fault;
 * `undefined` means that it may be used (or is not there).
 */
export const accessFault = (
  path: string,
  kind: 'file' | 'directory',
): AccessFault | undefined => {
  const stat = statOf(path)
  if (stat === undefined) return undefined
  const isKind = kind === 'file' ? stat.isFile() : stat.isDirectory()
  if (!isKind)
    return { path, reason: `${path} is not a ${kind} (links are not followed)` }
  const uid = process.getuid?.()
  if (uid !== undefined && stat.uid !== uid)
    return { path, reason: `${path} belongs to uid ${stat.uid}, not to you (uid ${uid})` }
  if ((stat.mode & 0o077) !== 0) {
    const wanted = kind === 'file' ? '600' : '700'
    const reason = `${path} is open to others (mode ${octal(stat.mode)}); run: chmod ${wanted} '${path}'`
    return { path, reason }
  }
  return undefined
}

/** Makes a directory that only its owner can enter; there already is fine. */
export const makePrivateDirectory = (path: string): void => {
  mkdirSync(path, { recursive: true, mode: 0o700 })
}

/** The parsed content of a JSON file; undefined when it is not there or not JSON. */
export const readJson = (path: string): unknown => {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

/** The error code of a failed system call ('ENOENT', …). */
export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
