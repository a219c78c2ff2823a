// Job address: what a task's `job_addr` means, before anything is looked up.
//
//   exec:NAME                       a program of that name in the worker's PATH
//   exec:/path                      that program
//   file:/path#sha256=HEX           a file of the worker's machine, verified
//   https://host/path#sha256=HEX    fetched, verified
//
// A digest is part of the address, so an address always means the same bytes. Plain
// http is refused although the digest would protect it: what runs where is told to
// whoever listens.

import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import type { JobFailure } from '../failures.ts'

export type JobSource =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string; readonly sha256: string }
  | { readonly kind: 'https'; readonly url: URL; readonly sha256: string }

type Parsed = E.Either<JobFailure, JobSource>

const invalid = (address: string, why: string): Parsed =>
  E.left({ kind: 'invalid', reason: `${why}: ${address.slice(0, 500)}` })

/** Reads an address; the failure (always `invalid`) says what was expected. */
export const parseJobAddress = (address: string): Parsed => {
  if (address.includes('\0')) return invalid('', 'the job address holds a NUL character')
  const scheme = address.slice(0, address.indexOf(':') + 1)
  if (scheme === 'exec:') return parseExec(address, address.slice(scheme.length))
  if (scheme === 'file:' || scheme === 'https:') return parseFetched(address, scheme)
  if (scheme === 'http:') return invalid(address, 'http is not safe, use https')
  return invalid(address, 'expected exec:, file: or https: as job address')
}

const parseExec = (address: string, program: string): Parsed => {
  if (program.startsWith('/')) return E.right({ kind: 'path', path: program })
  if (program.includes('/'))
    return invalid(address, 'expected a name or an absolute path, not a relative one')
  if (program === '' || program === '.' || program === '..')
    return invalid(address, 'expected the name of a program')
  return E.right({ kind: 'name', name: program })
}

const parseFetched = (address: string, scheme: 'file:' | 'https:'): Parsed => {
  const sha256 = /#sha256=([0-9a-fA-F]{64})$/.exec(address)?.[1]?.toLowerCase()
  if (sha256 === undefined)
    return invalid(address, 'expected #sha256= and 64 hex digits at the end')
  const place = address.slice(0, address.indexOf('#'))
  if (!URL.canParse(place)) return invalid(address, 'not a URL')
  const url = new URL(place)
  if (scheme === 'file:') return parseFile(address, url, sha256)
  if (url.username !== '' || url.password !== '')
    return invalid(url.host, 'a job address must not hold a password')
  return E.right({ kind: 'https', url, sha256 })
}

const parseFile = (address: string, url: URL, sha256: string): Parsed => {
  if (!address.startsWith('file:/')) return invalid(address, 'expected an absolute path')
  try {
    return E.right({ kind: 'file', path: fileURLToPath(url), sha256 })
  } catch {
    return invalid(address, 'expected a path on this machine')
  }
}
