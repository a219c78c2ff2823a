// Packets of mDNS that nobody honest sends: an announcement of a node as it is on the wire,
// with bytes, names and numbers in it changed; and noise.

import { SimRandom } from '../../src/sim/random.ts'

/** Where DNS goes wrong: a pointer to itself, a label that is too long, a count of records. */
const BYTES = [0x00, 0x0c, 0x3f, 0x40, 0xc0, 0xff]

export class Packets {
  readonly #random: SimRandom
  readonly #good: Buffer
  /** Texts of the announcement, for others of the same length. */
  readonly #texts: readonly string[]

  constructor(seed: number, good: Buffer, texts: readonly string[]) {
    this.#random = new SimRandom(seed, 'packets')
    this.#good = good
    this.#texts = texts.filter((text) => good.includes(text))
  }

  next(): Buffer {
    const random = this.#random
    if (random.chance(0.1))
      return Buffer.from(
        Array.from({ length: random.int(0, 600) }, () => random.word() & 255),
      )
    let packet = Buffer.from(this.#good)
    // Whoever floods calls itself otherwise each time.
    for (const text of this.#texts) if (random.chance(0.5)) this.#rename(packet, text)
    for (let left = random.int(0, 3); left > 0 && packet.length > 12; left--) {
      const at = random.int(0, packet.length - 1)
      const dice = random.int(1, 10)
      if (dice <= 6)
        packet[at] = random.chance(0.5) ? random.pick(BYTES) : random.word() & 255
      else if (dice === 7) packet = packet.subarray(0, at)
      else if (dice === 8) packet = Buffer.concat([packet, this.#good.subarray(at)])
      else packet.writeUInt16BE(random.pick([0, 1, 255, 65_535]), 2 * random.int(2, 5))
    }
    return packet
  }

  #rename(packet: Buffer, text: string): void {
    const random = this.#random
    for (let at = packet.indexOf(text); at >= 0; at = packet.indexOf(text, at + 1))
      packet.write(random.hex(text.length).slice(0, text.length), at, 'latin1')
  }
}
