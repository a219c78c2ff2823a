// Job cache: fetched programs by digest, in a folder of the node's own. Whoever asks for
// a digest that is being fetched waits for the same fetch; what has not been used for
// longest is removed when the cache grows beyond its size. What an earlier process left
// is read once before it is used: a crash, a disk or a person may have changed it since.

import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  createReadStream,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs'
import { readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isAlive, startTimeOf } from './proc.ts'

/** Fetches into a new file; resolves to its SHA-256; throws an Error with the reason. */
export type Fetch = (to: string, signal: AbortSignal) => Promise<string>

/** The program's path, or why it is not there. */
export type Fetched = { readonly path: string } | { readonly fault: string }

interface Fetching {
  readonly settles: Set<(fetched: Fetched) => void>
  readonly controller: AbortController
}

const DIGEST = /^[0-9a-f]{64}$/
const PARTIAL = /^part-(\d+)-(\d+)-[0-9a-f]+$/

export class JobCache {
  readonly #directory: string
  readonly #maxBytes: number
  readonly #fetching = new Map<string, Fetching>()
  /** Seen to be whole by this process. */
  readonly #whole = new Set<string>()

  /** Makes the folder (0700) and sweeps unfinished files of dead owners. */
  constructor(directory: string, maxBytes: number) {
    this.#directory = directory
    this.#maxBytes = maxBytes
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    chmodSync(directory, 0o700)
    for (const name of readdirSync(directory)) {
      const [, pid, startTime] = PARTIAL.exec(name) ?? []
      if (pid !== undefined && !isAlive(Number(pid), Number(startTime)))
        rmSync(join(directory, name), { force: true })
    }
  }

  /** The program's path if it is there and known to be whole; it then counts as used now. */
  find(sha256: string): string | undefined {
    if (!this.#whole.has(sha256)) return undefined
    const path = join(this.#directory, sha256)
    try {
      if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined
      // Finer than a Date, and than the time which the system gives a new file.
      const seconds = (performance.timeOrigin + performance.now()) / 1000
      utimesSync(path, seconds, seconds)
      return path
    } catch {
      return undefined
    }
  }

  /** Takes what is there if it is whole, else fetches it, or waits for who does already. When nobody waits any more the fetch is aborted. */
  get(
    sha256: string,
    fetch: Fetch,
    settle: (fetched: Fetched) => void,
    signal?: AbortSignal,
  ): void {
    const fetching = this.#fetching.get(sha256) ?? this.#begin(sha256, fetch)
    const onAbort = (): void => {
      if (!fetching.settles.delete(once)) return
      if (fetching.settles.size === 0) this.#abandon(sha256, fetching)
      settle({ fault: 'aborted' })
    }
    const once = (fetched: Fetched): void => {
      signal?.removeEventListener('abort', onAbort)
      settle(fetched)
    }
    fetching.settles.add(once)
    if (signal?.aborted === true) onAbort()
    else signal?.addEventListener('abort', onAbort, { once: true })
  }

  #abandon(sha256: string, fetching: Fetching): void {
    fetching.controller.abort()
    // Who asks from now on begins anew.
    this.#fetching.delete(sha256)
  }

  #begin(sha256: string, fetch: Fetch): Fetching {
    const fetching = { settles: new Set<Settle>(), controller: new AbortController() }
    this.#fetching.set(sha256, fetching)
    void this.#fetch(sha256, fetch, fetching.controller.signal).then((fetched) => {
      if (this.#fetching.get(sha256) === fetching) this.#fetching.delete(sha256)
      for (const settle of fetching.settles) settle(fetched)
      fetching.settles.clear()
    })
    return fetching
  }

  async #fetch(sha256: string, fetch: Fetch, signal: AbortSignal): Promise<Fetched> {
    const mark = `${process.pid}-${startTimeOf(process.pid)}`
    const name = `part-${mark}-${randomBytes(6).toString('hex')}`
    const partial = join(this.#directory, name)
    const path = join(this.#directory, sha256)
    try {
      if (await isWhole(path, sha256, signal)) return this.#taken(path, sha256)
      const got = await fetch(partial, signal)
      if (got !== sha256) throw new Error(`its sha256 is ${got}, not ${sha256}`)
      await rename(partial, path)
      const taken = this.#taken(path, sha256)
      await this.#trim(sha256)
      return taken
    } catch (error) {
      await rm(partial, { force: true }).catch(() => {})
      return { fault: error instanceof Error ? error.message : String(error) }
    }
  }

  #taken(path: string, sha256: string): Fetched {
    this.#whole.add(sha256)
    this.find(sha256)
    return { path }
  }

  /** Programs that run go on: only their name is removed. */
  async #trim(newest: string): Promise<void> {
    const entries = []
    for (const name of await readdir(this.#directory)) {
      if (!DIGEST.test(name)) continue
      const found = await stat(join(this.#directory, name)).catch(() => undefined)
      if (found !== undefined)
        entries.push({ name, size: found.size, usedMs: found.mtimeMs })
    }
    let total = entries.reduce((sum, { size }) => sum + size, 0)
    entries.sort((a, b) => a.usedMs - b.usedMs)
    for (const { name, size } of entries) {
      if (total <= this.#maxBytes) return
      if (name === newest) continue
      await rm(join(this.#directory, name), { force: true })
      this.#whole.delete(name)
      total -= size
    }
  }
}

/** False too when it is not there, or cannot be read. */
const isWhole = async (
  path: string,
  sha256: string,
  signal: AbortSignal,
): Promise<boolean> => {
  const hash = createHash('sha256')
  try {
    for await (const bytes of createReadStream(path, { signal })) hash.update(bytes)
  } catch {
    return false
  }
  return hash.digest('hex') === sha256
}

type Settle = (fetched: Fetched) => void
