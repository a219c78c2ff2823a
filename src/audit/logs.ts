// Where audit logs lie, and in which order the parts of one belong: `NAME.jsonl` is written
// to; `NAME.00000001.jsonl` and so on are its earlier parts, by the number of their first line.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Where the logs of a state directory are. */
export const auditDirectory = (stateDirectory: string): string =>
  join(stateDirectory, 'audit')

export const currentPart = (directory: string, name: string): string =>
  join(directory, `${name}.jsonl`)

export const earlierPart = (directory: string, name: string, firstSeq: number): string =>
  join(directory, `${name}.${String(firstSeq).padStart(12, '0')}.jsonl`)

const PART = /^(.+?)(?:\.(\d{12}))?\.jsonl$/

export interface AuditLog {
  readonly name: string
  /** Oldest first. */
  readonly parts: readonly string[]
}

/** The logs in a directory, by name. None: it is not there, or empty. */
export const logsIn = (directory: string): readonly AuditLog[] => {
  const found = new Map<string, { readonly from: number; readonly path: string }[]>()
  for (const file of namesIn(directory)) {
    const [, name = '', from] = PART.exec(file) ?? []
    if (name === '') continue
    const parts = found.get(name) ?? []
    found.set(name, parts)
    const last = Number.POSITIVE_INFINITY
    parts.push({
      from: from === undefined ? last : Number(from),
      path: join(directory, file),
    })
  }
  return [...found]
    .map(([name, parts]) => ({
      name,
      parts: parts.sort((a, b) => a.from - b.from).map(({ path }) => path),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

const namesIn = (directory: string): readonly string[] => {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
