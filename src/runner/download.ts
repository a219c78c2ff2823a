// Download: bytes from a file or an https server into a new file, under limits, with
// their digest. Throws an Error that says what went wrong; nothing is left behind then.

import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { get } from 'node:https'
import type { Readable } from 'node:stream'

const MOST_REDIRECTS = 5

export interface DownloadLimits {
  /** Largest program. */
  readonly maxBytes: number
  /** For all of it, redirects included. */
  readonly timeoutMs: number
  /** Certificate authorities to trust instead of the system's. */
  readonly ca?: string | readonly string[]
}

/** Writes what comes from `from` to the new file `to`, which its owner alone may run and nobody changes by mistake; returns its SHA-256. */
export const download = async (
  from: URL | string,
  to: string,
  limits: DownloadLimits,
  signal: AbortSignal,
): Promise<string> => {
  const either = AbortSignal.any([signal, AbortSignal.timeout(limits.timeoutMs)])
  try {
    const source =
      typeof from === 'string'
        ? await openFile(from, either)
        : await request(from, limits, either)
    return await writeHashed(source, to, limits.maxBytes)
  } catch (error) {
    await rm(to, { force: true })
    if (signal.aborted) throw new Error('aborted', { cause: error })
    if (either.aborted)
      throw new Error(`not done within ${limits.timeoutMs} ms`, { cause: error })
    throw error
  }
}

/**
 * A regular file only. Without O_NONBLOCK, opening a FIFO that nobody writes to would hold
 * one of the process's few file system threads for ever; no signal ends that.
 */
const openFile = async (path: string, signal: AbortSignal): Promise<Readable> => {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  if ((await file.stat()).isFile()) return file.createReadStream({ signal })
  await file.close()
  throw new Error('not a regular file')
}

const request = async (
  from: URL,
  limits: DownloadLimits,
  signal: AbortSignal,
): Promise<IncomingMessage> => {
  let url = from
  for (let hops = 0; hops <= MOST_REDIRECTS; hops += 1) {
    const response = await getOnce(url, limits, signal)
    const { statusCode = 0, headers } = response
    if (statusCode === 200) return checkLength(response, limits.maxBytes)
    response.destroy()
    if (![301, 302, 303, 307, 308].includes(statusCode) || headers.location === undefined)
      throw new Error(`the server answered with status ${statusCode}`)
    url = new URL(headers.location, url)
    if (url.protocol !== 'https:')
      throw new Error(`redirected to ${url.protocol}, only https is followed`)
  }
  throw new Error(`redirected more than ${MOST_REDIRECTS} times`)
}

const getOnce = (
  url: URL,
  { ca }: DownloadLimits,
  signal: AbortSignal,
): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const trust = ca === undefined ? {} : { ca: typeof ca === 'string' ? ca : [...ca] }
    const headers = { 'user-agent': 'manyhands' }
    get(url, { ...trust, headers, signal, agent: false }, resolve).on('error', reject)
  })

const tooLarge = (maxBytes: number): Error =>
  new Error(`larger than the limit of ${maxBytes} bytes`)

const checkLength = (response: IncomingMessage, maxBytes: number): IncomingMessage => {
  if (Number(response.headers['content-length'] ?? 0) <= maxBytes) return response
  response.destroy()
  throw tooLarge(maxBytes)
}

const writeHashed = async (
  source: Readable,
  to: string,
  maxBytes: number,
): Promise<string> => {
  const hash = createHash('sha256')
  const file = await open(to, 'wx', 0o500)
  try {
    let size = 0
    for await (const chunk of source as AsyncIterable<Buffer>) {
      // no encoding is set
      size += chunk.length
      if (size > maxBytes) throw tooLarge(maxBytes)
      hash.update(chunk)
      await file.appendFile(chunk)
    }
    // It gets its name once it is complete, so it must be complete after a power cut too.
    await file.sync()
  } finally {
    source.destroy()
    await file.close()
  }
  return hash.digest('hex')
}
