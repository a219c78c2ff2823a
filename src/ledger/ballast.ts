// Ballast: a file that only takes room. When the disk is full it goes, so that the outcomes
// of what runs still find a place; when there is room again, it comes back.

import { existsSync, rmSync, statfsSync, writeFileSync } from 'node:fs'

const BYTES = 16 * 1024 * 1024
/** Of a small disk no more than this. */
const PART = 0.05
/** How often it is looked whether it can come back. */
const LOOK_MS = 5_000

export class Ballast {
  readonly #path: string
  readonly #directory: string
  #lookedMs = Number.NEGATIVE_INFINITY

  constructor(directory: string, path: string) {
    this.#directory = directory
    this.#path = path
    this.restore()
  }

  /** Gives its room away; false: there is none to give. */
  release(): boolean {
    if (!existsSync(this.#path)) return false
    rmSync(this.#path, { force: true })
    return true
  }

  /** Takes its room again, if that leaves as much for others. */
  restore(): void {
    const nowMs = performance.now()
    if (existsSync(this.#path) || nowMs - this.#lookedMs < LOOK_MS) return
    this.#lookedMs = nowMs
    const { bavail, blocks, bsize } = statfsSync(this.#directory)
    const bytes = Math.floor(Math.min(BYTES, blocks * bsize * PART))
    if (bavail * bsize < 2 * bytes) return
    try {
      writeFileSync(this.#path, Buffer.alloc(bytes), { mode: 0o600 })
    } catch {
      // Somebody else took the room meanwhile: it is theirs, and looked for again later.
      rmSync(this.#path, { force: true })
    }
  }
}
