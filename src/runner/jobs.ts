// Jobs: from a job's address to a program on this machine. Names are searched in the
// given PATH, files and downloads are verified against the digest in their address and
// run from the cache.

import * as E from 'fp-ts/lib/Either.js'
import type { JobFailure } from '../failures.ts'
import type { Jobs, PreparedJob } from '../ports.ts'
import { allowList } from './allow-list.ts'
import { type DownloadLimits, download } from './download.ts'
import { type JobSource, parseJobAddress } from './job-address.ts'
import { JobCache } from './job-cache.ts'
import { pathSearch } from './path-search.ts'

export interface JobsOptions {
  /** Searched for `exec:NAME`. */
  readonly path: string
  /** The cache's folder; made (0700) if absent. */
  readonly directory: string
  /** The cache is trimmed to this. Default 1 GiB. */
  readonly cacheBytes?: number
  /** Largest single program. Default 256 MiB. */
  readonly maxBytes?: number
  /** For one download. Default 120,000. */
  readonly timeoutMs?: number
  /** Files and folders: nothing else runs of what is on this machine. Default: everything. */
  readonly allow?: readonly string[]
  /** Certificate authorities to trust instead of the system's, as PEM. */
  readonly ca?: string | readonly string[]
}

type Prepared = E.Either<JobFailure, PreparedJob>

const ready = (program: string): Prepared => E.right({ program, leading: [] })

/** Throws if the cache's folder cannot be made, or what is to be allowed is not there. */
export const createJobs = (options: JobsOptions): Jobs => {
  const find = pathSearch(options.path)
  const allowed = options.allow && allowList(options.allow)
  const cache = new JobCache(options.directory, options.cacheBytes ?? 1024 ** 3)
  const limits: DownloadLimits = {
    maxBytes: options.maxBytes ?? 256 * 1024 ** 2,
    timeoutMs: options.timeoutMs ?? 120_000,
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  }

  /** What is checked is what runs, whatever becomes of the link meanwhile. */
  const permitted = (program: string): Prepared => {
    const its = allowed?.find(program)
    if (its === undefined) return ready(program)
    if ('fault' in its) return E.left({ kind: 'spawn', code: 'EPERM', reason: its.fault })
    return E.right({ program: its.real, leading: [], calledAs: program })
  }

  const search = (name: string): Prepared => {
    const found = find(name)
    if ('path' in found) return permitted(found.path)
    const shown = name.length > 100 ? `${name.slice(0, 99)}…` : name
    const reason =
      found.code === 'ENOENT'
        ? `the program ${shown} is not in the worker's PATH; give its absolute path, or see that PATH with: manyhands run -- printenv PATH`
        : `the program ${shown} is in the worker's PATH, but not executable`
    return E.left({ kind: 'spawn', code: found.code, reason })
  }

  const fetch = (
    source: Extract<JobSource, { readonly sha256: string }>,
    settle: (result: Prepared) => void,
    signal?: AbortSignal,
  ): void => {
    const from = source.kind === 'file' ? source.path : source.url
    const bring = (to: string, aborted: AbortSignal) =>
      download(from, to, limits, aborted)
    const tell = (fetched: { path: string } | { fault: string }): void =>
      settle(
        'path' in fetched
          ? ready(fetched.path)
          : E.left({ kind: 'download', reason: `${from}: ${fetched.fault}` }),
      )
    cache.get(source.sha256, bring, tell, signal)
  }

  const objection = (jobAddress: string): string | undefined => {
    const parsed = parseJobAddress(jobAddress)
    // What is no address, or nowhere, fails at its start in words of its own.
    if (allowed === undefined || E.isLeft(parsed)) return undefined
    const source = parsed.right
    const found = source.kind === 'name' ? find(source.name) : source
    if (!('path' in found)) return undefined
    const its = allowed.find(found.path)
    return 'fault' in its ? its.fault : undefined
  }

  return {
    objection,
    prepare(jobAddress, settle, signal) {
      const parsed = parseJobAddress(jobAddress)
      if (E.isLeft(parsed)) return settle(parsed)
      const source = parsed.right
      if (source.kind === 'name') return settle(search(source.name))
      // Whether it can be run is for the launcher to say.
      if (source.kind === 'path') return settle(permitted(source.path))
      const cached = cache.find(source.sha256)
      if (cached !== undefined) return settle(ready(cached))
      fetch(source, settle, signal?.())
    },
  }
}
