// Path search: finds programs by name as a shell would, in a given PATH. Remembers where
// it found them, and looks again when the file is no longer there.

import { statSync } from 'node:fs'
import { join } from 'node:path'

/** A program's path; or that it is not there, or is there and may not be run. */
export type Found = { readonly path: string } | { readonly code: 'ENOENT' | 'EACCES' }

type Kind = 'program' | 'file' | 'nothing'

const kindOf = (path: string): Kind => {
  try {
    const stat = statSync(path, { throwIfNoEntry: false })
    if (stat === undefined || !stat.isFile()) return 'nothing'
    return (stat.mode & 0o111) === 0 ? 'file' : 'program'
  } catch {
    return 'nothing'
  }
}

/** Relative entries of the PATH are passed over: there is no current directory here. */
export const pathSearch = (path: string): ((name: string) => Found) => {
  const directories = path.split(':').filter((directory) => directory.startsWith('/'))
  const known = new Map<string, string>()
  return (name) => {
    const before = known.get(name)
    if (before !== undefined && kindOf(before) === 'program') return { path: before }
    known.delete(name)
    let code: 'ENOENT' | 'EACCES' = 'ENOENT'
    for (const directory of directories) {
      const candidate = join(directory, name)
      const kind = kindOf(candidate)
      if (kind === 'file') code = 'EACCES'
      if (kind !== 'program') continue
      known.set(name, candidate)
      return { path: candidate }
    }
    return { code }
  }
}
