// The hunt for seeded bugs: each is put into a copy of the compiled code, and seeds are run
// until the checker finds it. An unfound one is a hole in the checker, or in the faults.
//
//   npm run test:sim                     after the seeds, all of them
//   SIM_BUG=lease npm run test:sim       those with that word in their name, without the seeds

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

/** A bug whose edits no longer fit the code. */
export class StaleBug extends Error {}

/** Makes a copy of the compiled code with the bug in it; the caller removes it. */
export const plant = ({ name, edits }: SeededBug): string => {
  const copy = mkdtempSync(join(tmpdir(), 'seeded-bug-'))
  for (const part of ['protocol', 'src'])
    cpSync(join(compiled, part), join(copy, part), {
      recursive: true,
      filter: (path) => !/\.(map|d\.ts)$/.test(path),
    })
  symlinkSync(join(project, 'node_modules'), join(copy, 'node_modules'))
  writeFileSync(join(copy, 'package.json'), '{"type":"module"}')
  for (const { file, find, replace } of edits) {
    const path = join(copy, file)
    const parts = readFileSync(path, 'utf8').split(find)
    if (parts.length !== 2) {
      rmSync(copy, { recursive: true })
      const times = parts.length - 1
      throw new StaleBug(`${name}: ${file} has this ${times} times, not once: ${find}`)
    }
    writeFileSync(path, parts.join(replace))
  }
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
