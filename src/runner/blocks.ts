// Blocks: bytes in memory, appended at one end and dropped at the other, addressed by
// offset. Small writes share a block, so that a program that writes single bytes costs
// memory by what it wrote and not by how often.

const SMALLEST_BLOCK = 4096
const LARGEST_BLOCK = 64 * 1024

interface Block {
  readonly bytes: Buffer
  used: number
}

/** A window [start, end) over a stream of bytes. */
export class Blocks {
  #blocks: Block[] = []
  /** Offset of the first byte of the first block; below `start` once part of it is dropped. */
  #first: number
  #start: number
  #end: number

  constructor(start: number) {
    this.#first = start
    this.#start = start
    this.#end = start
  }

  get start(): number {
    return this.#start
  }

  get end(): number {
    return this.#end
  }

  get length(): number {
    return this.#end - this.#start
  }

  /** Copies the bytes to the end. */
  push(bytes: Uint8Array): void {
    let done = 0
    while (done < bytes.length) {
      const block = this.#blockWithRoom(bytes.length - done)
      const part = bytes.subarray(done, done + block.bytes.length - block.used)
      block.bytes.set(part, block.used)
      block.used += part.length
      done += part.length
    }
    this.#end += bytes.length
  }

  #blockWithRoom(wanted: number): Block {
    const last = this.#blocks.at(-1)
    if (last !== undefined && last.used < last.bytes.length) return last
    const first = last === undefined ? wanted : Math.max(wanted, SMALLEST_BLOCK)
    const size = Math.min(first, LARGEST_BLOCK)
    const block = { bytes: Buffer.allocUnsafeSlow(size), used: 0 }
    this.#blocks.push(block)
    return block
  }

  /** Up to `max` bytes from `offset`, which must lie in the window. A view where it can. */
  read(offset: number, max: number): Buffer {
    const size = Math.min(max, this.#end - offset)
    const parts: Buffer[] = []
    let at = this.#first
    let missing = size
    for (const block of this.#blocks) {
      if (missing === 0) break
      const from = Math.max(offset - at, 0)
      if (from < block.used) {
        const part = block.bytes.subarray(from, Math.min(block.used, from + missing))
        parts.push(part)
        missing -= part.length
      }
      at += block.used
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
  }

  /** Forgets all before `offset`; hands what is forgotten to `seen` first. */
  drop(offset: number, seen?: (bytes: Buffer) => void): void {
    const until = Math.min(offset, this.#end)
    if (until <= this.#start) return
    for (let block = this.#blocks[0]; block !== undefined; block = this.#blocks[0]) {
      const from = this.#start - this.#first
      const to = Math.min(until - this.#first, block.used)
      if (to > from) seen?.(block.bytes.subarray(from, to))
      this.#start = this.#first + to
      if (to < block.used) return
      // A block that is still being filled goes too: the next push makes another.
      this.#first += block.used
      this.#blocks.shift()
    }
    this.#start = this.#end
  }
}
