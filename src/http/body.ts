// Body: a request's body as text, read no further than a limit.

import type { IncomingMessage } from 'node:http'

/** Undefined: it has more bytes than that. */
export const readText = async (
  request: Request,
  mostBytes: number,
): Promise<string | undefined> => {
  if (Number(request.headers.get('content-length') ?? 0) > mostBytes) return undefined
  const parts: Uint8Array[] = []
  let bytes = 0
  // A body in pieces says nothing of its length.
  for await (const part of request.body ?? []) {
    bytes += part.byteLength
    if (bytes > mostBytes) return undefined
    parts.push(part)
  }
  return Buffer.concat(parts).toString()
}

/** The same, from the socket itself: a web stream between would cost more than the rest. */
export const readIncoming = (
  incoming: IncomingMessage,
  mostBytes: number,
): Promise<string | undefined> =>
  new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    let bytes = 0
    incoming.on('data', (part: Buffer) => {
      bytes += part.byteLength
      if (bytes <= mostBytes) parts.push(part)
      else resolve(undefined) // what is left of it goes to nobody
    })
    incoming.on('end', () => resolve(Buffer.concat(parts).toString()))
    incoming.on('error', reject)
  })
