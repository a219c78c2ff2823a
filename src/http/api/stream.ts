// Stream: bytes that are read as the client takes them, and no faster.

/** A response whose body is pulled from an iterable; who leaves ends it. */
export const bytesResponse = (
  source: AsyncIterable<Uint8Array>,
  headers: Readonly<Record<string, string>> = {},
): Response => {
  const iterator = source[Symbol.asyncIterator]()
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { value, done } = await iterator.next()
        if (done === true) controller.close()
        else controller.enqueue(value)
      },
      async cancel() {
        await iterator.return?.()
      },
    },
    // Nothing is read before it is wanted.
    { highWaterMark: 0 },
  )
  return new Response(body, {
    headers: { 'content-type': 'application/octet-stream', ...headers },
  })
}
