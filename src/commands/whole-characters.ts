// Whole characters: pieces of a stream cut so that none ends inside a character of UTF-8.
// What is not UTF-8 passes unchanged, at most three bytes later.

const none = new Uint8Array(0)

export class WholeCharacters {
  #tail: Uint8Array = none

  /** What was held back and `data`, but for a character that goes on in the next piece. */
  add(data: Uint8Array): Uint8Array {
    const all = this.#tail.byteLength === 0 ? data : Buffer.concat([this.#tail, data])
    const end = all.byteLength - begun(all)
    this.#tail = all.subarray(end)
    return all.subarray(0, end)
  }

  /** What is left when nothing follows. */
  rest(): Uint8Array {
    const tail = this.#tail
    this.#tail = none
    return tail
  }
}

/** How many bytes at the end begin a character and do not end it. */
const begun = (data: Uint8Array): number => {
  for (let back = 1; back <= Math.min(3, data.byteLength); back++) {
    const byte = data[data.byteLength - back] ?? 0
    if (byte >= 0xc0) return lengthOf(byte) > back ? back : 0
    if (byte < 0x80) return 0
  }
  return 0
}

const lengthOf = (first: number): number => {
  if (first >= 0xf0) return 4
  return first >= 0xe0 ? 3 : 2
}
