// The hunt for seeded bugs: each is put into a copy of the compiled code, and seeds are run
// until the checker finds it. An unfound one is a hole in the checker, or in the faults.
// All of them are hunted by seeded.ts.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { plant } from '../support/plant.ts'
import type { SeededBug } from './seeded-bugs.ts'

/** The program that runs seeds. */
const seeker = fileURLToPath(new URL('seek.js', import.meta.url))

/** Where a bug was found; undefined: in none of the seeds. */
export interface Found {
  readonly seed: number
  readonly violation: string
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
