// Whole lines: pieces of a stream cut at their line ends, so that lines of several streams
// can stand one below the other. A line without end is cut after 64 KiB.

const MOST = 64 * 1024
const NEWLINE = 0x0a

export class WholeLines {
  #tail = Buffer.alloc(0)

  /** The lines that are whole now, without their ends. */
  add(data: Uint8Array): readonly Uint8Array[] {
    const all = Buffer.concat([this.#tail, data])
    const found: Uint8Array[] = []
    let from = 0
    for (;;) {
      const end = all.indexOf(NEWLINE, from)
      const isLong = (end < 0 ? all.length : end) - from > MOST
      if (end < 0 && !isLong) break
      const to = isLong ? from + MOST : end
      found.push(all.subarray(from, to))
      from = isLong ? to : to + 1
    }
    this.#tail = all.subarray(from)
    return found
  }

  /** What is left when nothing follows. */
  rest(): readonly Uint8Array[] {
    const tail = this.#tail
    this.#tail = Buffer.alloc(0)
    return tail.length === 0 ? [] : [tail]
  }
}
