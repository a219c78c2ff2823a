// The hunt for seeded bugs: each is put into a copy of the compiled code, and seeds are run
// until the checker finds it. An unfound one is a hole in the checker, or in the faults.
// All of them are hunted by seeded.ts.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { SeededBug } from './seeded-bugs.ts'

/** The compiled code, the project, and the program that runs seeds. */
const compiled = fileURLToPath(new URL('../../', import.meta.url))
const project = fileURLToPath(new URL('../../../', import.meta.url))
const seeker = fileURLToPath(new URL('seek.js', import.meta.url))

/** Where a bug was found; undefined: in none of the seeds. */
export interface Found {
  readonly seed: number
  readonly violation: string
}

/** The files that a bug changes, with what they become. */
export const editsOf = ({ name, edits }: SeededBug): ReadonlyMap<string, string> => {
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

/** Makes a copy of the compiled code with the bug in it; the caller removes it. */
export const plant = (bug: SeededBug): string => {
  const files = editsOf(bug)
  const copy = mkdtempSync(join(tmpdir(), 'seeded-bug-'))
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

/** Runs up to so many seeds against a bug, in a process of its own. */
export const hunt = async (bug: SeededBug, seeds: number): Promise<Found | undefined> => {
  const copy = plant(bug)
  try {
    const child = spawn(process.execPath, [seeker, copy, String(seeds)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const said = await outputOf(child)
    return said === '' ? undefined : JSON.parse(said)
  } finally {
    rmSync(copy, { recursive: true })
  }
}

const outputOf = async (child: ChildProcess): Promise<string> => {
  let text = ''
  child.stdout?.on('data', (data: Buffer) => {
    text += data.toString()
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`seek ended with ${code}`)
  return text
}
