// Spawn failure: says what is wrong with a program before and after an attempt to start
// it. The system answers ENOENT with the program's path for a missing program, a missing
// interpreter and a missing directory alike, and runs text without `#!` with a shell.

import { closeSync, constants, openSync, readSync, statSync } from 'node:fs'
import type { SpawnFailure, StartRequest } from './frames.ts'
import { mayReach } from './reach.ts'

/** The system has ENOENT for it, as for a program that is not there. */
const NO_DIRECTORY = 'ENODIR'

const failure = (code: string, reason: string): SpawnFailure => ({ code, reason })

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN'

const head = Buffer.alloc(256)

/** The first bytes of a file; undefined if it may not be read (it may still be run). */
const firstBytes = (path: string): Buffer | undefined => {
  let fd: number | undefined
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    return head.subarray(0, readSync(fd, head, 0, head.length, 0))
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

const isFormatKnown = (bytes: Buffer): boolean => {
  const magic = bytes.toString('latin1', 0, 4)
  // ELF, a script, and Mach-O in its three spellings.
  return (
    magic.startsWith('#!') ||
    magic === '\x7fELF' ||
    ['\xcf\xfa\xed\xfe', '\xce\xfa\xed\xfe', '\xca\xfe\xba\xbe'].includes(magic)
  )
}

/** What is certain to fail or to do something else than asked; undefined if nothing is. */
export const foresee = (request: StartRequest): SpawnFailure | undefined => {
  const { program, directory } = request
  if (!program.startsWith('/'))
    return failure('EINVAL', `the program is not an absolute path: ${program}`)
  const file = inspect(program)
  if (typeof file === 'string')
    return failure(file, `the program ${whyNot(file)}: ${program}`)
  if (file.isDirectory())
    return failure('EACCES', `the program is a directory: ${program}`)
  // A pipe or a device: opening one can wait for ever, and every other start with it.
  if (!file.isFile()) return failure('EACCES', `the program is not a file: ${program}`)
  if ((file.mode & 0o111) === 0)
    return failure('EACCES', `the program is not executable: ${program}`)
  const place = inspect(directory)
  if (typeof place === 'string')
    return failure(NO_DIRECTORY, `the directory ${whyNot(place)}: ${directory}`)
  if (!place.isDirectory()) return failure(NO_DIRECTORY, `not a directory: ${directory}`)
  if (request.account !== undefined) {
    const { name } = request.account
    if (!mayReach(directory, request.account, 'whole'))
      return failure(NO_DIRECTORY, `the user ${name} may not enter ${directory}`)
    if (!mayReach(program, request.account, 'above'))
      return failure('EACCES', `the user ${name} may not reach ${program}`)
  }
  const bytes = firstBytes(program)
  if (bytes !== undefined && !isFormatKnown(bytes))
    return failure('ENOEXEC', `neither a script with #! nor a binary: ${program}`)
  return undefined
}

/** What is there, or the code why nothing is. */
const inspect = (path: string) => {
  try {
    return statSync(path)
  } catch (error) {
    return codeOf(error)
  }
}

const whyNot = (code: string): string =>
  code === 'ENOENT' ? 'does not exist' : `cannot be used (${code})`

/** What an error of `spawn` means, thrown or emitted. */
export const explain = (error: unknown, request: StartRequest): SpawnFailure => {
  const code = codeOf(error)
  if (code === 'ENOENT') {
    const line = firstBytes(request.program)?.toString('utf8').split('\n')[0] ?? ''
    if (line.startsWith('#!'))
      return failure(
        code,
        `the interpreter of ${request.program} does not exist: ${line}`,
      )
  }
  if (code === 'E2BIG') return failure(code, 'the arguments and environment are too long')
  if (code === 'ERR_INVALID_ARG_VALUE')
    return failure('EINVAL', 'an argument or variable holds a NUL character')
  if (code === 'EACCES')
    return failure(
      code,
      `no permission to run ${request.program} in ${request.directory}`,
    )
  return failure(
    code,
    `${request.program}: ${error instanceof Error ? error.message : code}`,
  )
}
