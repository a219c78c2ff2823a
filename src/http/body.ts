// Body: a request's body as text, read no further than a limit.

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
