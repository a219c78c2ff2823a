// Canary: a word that stands in for a secret. It is put where secrets are, and must not be
// found where none belong.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

const filesIn = (place: string): readonly string[] => {
  const names = ignoringGone(() => readdirSync(place, { recursive: true })) ?? []
  return names.map(String).map((name) => join(place, name))
}

const holds = (file: string, words: readonly string[]): boolean =>
  ignoringGone(() => {
    // Neither a pipe, which never ends, nor a folder.
    if (!statSync(file).isFile()) return false
    const bytes = readFileSync(file)
    return words.some((word) => bytes.includes(word))
  }) ?? false

/** What nodes that still end take away meanwhile has nothing in it. */
const ignoringGone = <A>(look: () => A): A | undefined => {
  try {
    return look()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return undefined
    throw error
  }
}

/** The files below these folders that have one of the words in them. */
export const leaks = (
  words: readonly string[],
  folders: readonly string[],
): readonly string[] => folders.flatMap(filesIn).filter((file) => holds(file, words))
