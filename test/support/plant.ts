// Planting: a copy of the compiled code with edits in it, for tests that need a program which
// makes a mistake, or dies at a point. The text that is replaced must stand in its file
// exactly once: an edit that has gone stale fails, so that whoever changes the code moves it
// along.

import { cpSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Edit {
  /** Below the compiled folder. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

/** Edits with a name to complain under. */
export interface Planted {
  readonly name: string
  readonly edits: readonly Edit[]
}

/** In a compiled file of `src`, by its path without the ending. */
export const edit = (file: string, find: string, replace: string): Edit => ({
  file: `src/${file}.js`,
  find,
  replace,
})

/** The compiled code, and the project. */
const compiled = fileURLToPath(new URL('../../', import.meta.url))
const project = fileURLToPath(new URL('../../../', import.meta.url))

/** The files that are changed, with what they become. */
export const editsOf = ({ name, edits }: Planted): ReadonlyMap<string, string> => {
  const files = new Map<string, string>()
  for (const { file, find, replace } of edits) {
    const text = files.get(file) ?? readFileSync(join(compiled, file), 'utf8')
    const parts = text.split(find)
    if (parts.length !== 2)
      throw new Error(
        `${name}: ${file} has this ${parts.length - 1} times, not once: ${find}`,
      )
    files.set(file, parts.join(replace))
  }
  return files
}

/** Makes a copy of the compiled code with the edits in it; the caller removes it. */
export const plant = (planted: Planted): string => {
  const files = editsOf(planted)
  const copy = mkdtempSync(join(tmpdir(), 'planted-'))
  for (const part of ['protocol', 'src'])
    cpSync(join(compiled, part), join(copy, part), {
      recursive: true,
      filter: (path) => !/\.(map|d\.ts)$/.test(path),
    })
  symlinkSync(join(project, 'node_modules'), join(copy, 'node_modules'))
  writeFileSync(join(copy, 'package.json'), '{"type":"module"}')
  for (const [file, text] of files) writeFileSync(join(copy, file), text)
  return copy
}
