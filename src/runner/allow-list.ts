// Allow-list: the programs that the owner of a machine lets tasks run, as files or as
// folders with all that is in them. Compared by real paths, whole segments at a time: a
// link to an allowed program is allowed, a link out of an allowed folder is not.

import { realpathSync } from 'node:fs'

export interface AllowList {
  /** Where a program really is, if it may run; else why not. Looked at anew each time. */
  find(program: string): { readonly real: string } | { readonly fault: string }
}

/** Throws a sentence for a path that is not there. Its links are resolved now, once. */
export const allowList = (paths: readonly string[]): AllowList => {
  const allowed = paths.map(realOf)
  return {
    find: (program) => {
      let real: string
      try {
        real = realpathSync(program)
      } catch (error) {
        return { fault: `${program} cannot be looked at (${codeOf(error)})` }
      }
      if (allowed.some((path) => isWithin(path, real))) return { real }
      const what = real === program ? program : `${program}, which is ${real},`
      return { fault: `${what} is not among the programs that this worker allows` }
    },
  }
}

const isWithin = (path: string, real: string): boolean =>
  real === path || real.startsWith(path.endsWith('/') ? path : `${path}/`)

const realOf = (path: string): string => {
  try {
    return realpathSync(path)
  } catch (cause) {
    const reason = `--allow ${path}: there is nothing to allow (${codeOf(cause)}); give the absolute path of a program, or of a folder of programs`
    // As the system's own faults: told at the start, in one line.
    throw Object.assign(new Error(reason, { cause }), { syscall: 'realpath' })
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
