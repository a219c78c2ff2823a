// Frames that nobody honest sends: noise, good frames with something wrong in them, values
// of MessagePack without sense, and envelopes of every kind around bodies that are almost
// right. All from one seed.

import { Packr } from 'msgpackr'
import { fromBytes, isRequest } from '../../protocol/index.ts'
import { SimRandom } from '../../src/sim/random.ts'
import { bodies } from '../support/rows.ts'
import { sampleBytes } from '../support/samples.ts'

/** A frame, and how it was made. */
export interface Fuzzed {
  readonly how: 'noise' | 'mutated' | 'grammar' | 'envelope'
  readonly bytes: Uint8Array
}

const packr = new Packr({
  useRecords: false,
  useToJSON: false,
  encodeUndefinedAsNil: true,
})
const samples = bodies.map((row) => sampleBytes(row))
const envelopes = samples.flatMap((bytes) => {
  const frame = fromBytes(bytes)
  return frame._tag === 'Right' ? [frame.right] : []
})

/** Ids and names that the target knows, by the fields that they stand in. */
export type Known = Readonly<Record<string, readonly (string | Uint8Array)[]>>

export class Frames {
  readonly #random: SimRandom
  readonly #known: Known
  /** Requests that the target serves to this peer. */
  readonly #served: typeof envelopes
  readonly #words: readonly string[]
  #lastId = 0

  constructor(seed: number, known: Known, served: readonly string[]) {
    this.#served = envelopes.filter((one) => isRequest(one) && served.includes(one.k))
    this.#random = new SimRandom(seed, 'frames')
    this.#known = known
    this.#words = Object.values(known)
      .flat()
      .filter((word) => typeof word === 'string')
  }

  /** A new connection: its ids begin anew. */
  reconnected(): void {
    this.#lastId = 0
  }

  next(): Fuzzed {
    const random = this.#random
    const dice = random.int(1, 20)
    if (dice <= 3) return { how: 'noise', bytes: this.#noise() }
    if (dice <= 8) return { how: 'mutated', bytes: this.#mutated() }
    if (dice <= 11) return { how: 'grammar', bytes: this.#grammar() }
    return { how: 'envelope', bytes: this.#envelope() }
  }

  #noise(): Uint8Array {
    const random = this.#random
    const length = random.chance(0.01) ? random.int(0, 70_000) : random.int(0, 200)
    return Uint8Array.from({ length }, () => random.word() & 255)
  }

  /** A good frame with bytes flipped, cut, doubled, or joined to another. */
  #mutated(): Uint8Array {
    const random = this.#random
    let bytes = Buffer.from(random.pick(samples))
    for (let left = random.int(1, 4); left > 0 && bytes.length > 1; left--) {
      const at = random.int(0, bytes.length - 1)
      switch (random.int(1, 5)) {
        case 1:
          bytes[at] = random.word() & 255
          break
        case 2:
          bytes = bytes.subarray(0, at)
          break
        case 3:
          bytes = Buffer.concat([
            bytes.subarray(0, at),
            bytes.subarray(random.int(0, at)),
          ])
          break
        case 4:
          bytes = Buffer.concat([bytes.subarray(0, at), random.pick(samples)])
          break
        default: // the lengths of MessagePack are where a reader goes wrong
          bytes[at] = random.pick([0xc1, 0xc6, 0xc9, 0xd4, 0xdb, 0xdd, 0xdf, 0xff])
      }
    }
    return bytes
  }

  /** Any value, well formed: as a frame it is none, or one by accident. */
  #grammar(): Uint8Array {
    return packr.pack(this.#value(this.#random.int(0, 6)))
  }

  #envelope(): Uint8Array {
    const random = this.#random
    const frame = random.pick(random.chance(0.75) ? this.#served : envelopes)
    const right = this.#filled(frame.b)
    const b = random.chance(0.4) ? right : this.#spoiled(right, 4)
    if (!isRequest(frame)) {
      const a = random.chance(0.9) ? random.int(1, 4) : random.int(0, 40)
      return packr.pack({ a, k: frame.k, b })
    }
    const isHonest = random.chance(0.97)
    const q = isHonest ? ++this.#lastId : (this.#number() as number)
    const t = random.chance(0.9) ? random.int(1, 60_000) : this.#number()
    const extra = random.chance(0.02) ? { [this.#word()]: this.#value(1) } : {}
    return packr.pack({ q, k: frame.k, b, t, ...extra })
  }

  /** The same body about what is really there. */
  #filled(value: unknown, name = ''): unknown {
    const known = Object.hasOwn(this.#known, name) ? this.#known[name] : undefined
    const isPlace = typeof value === 'string' || value instanceof Uint8Array
    if (known !== undefined && isPlace) return this.#random.pick(known)
    if (Array.isArray(value)) return value.map((item) => this.#filled(item, name))
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array)
      return value
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, this.#filled(item, key)]),
    )
  }

  /** Most of it as it was: one part is another value, another of the same sort, or gone. */
  #spoiled(value: unknown, depth: number): unknown {
    const random = this.#random
    if (random.chance(0.15)) return value
    if (depth === 0 || random.chance(0.1)) return this.#like(value)
    if (Array.isArray(value)) {
      if (value.length === 0) return random.chance(0.5) ? value : [this.#value(2)]
      const at = random.int(0, value.length - 1)
      return value.map((item, index) =>
        index === at ? this.#spoiled(item, depth - 1) : item,
      )
    }
    if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array)) {
      const entries = Object.entries(value)
      if (entries.length === 0) return random.chance(0.5) ? value : { [this.#word()]: 1 }
      const [name] = random.pick(entries)
      if (random.chance(0.1))
        return Object.fromEntries(entries.filter(([key]) => key !== name))
      return Object.fromEntries(
        entries.map(([key, item]) => [
          key,
          key === name ? this.#spoiled(item, depth - 1) : item,
        ]),
      )
    }
    return this.#like(value)
  }

  /** Another value of the same sort, so that it gets as far as the handlers. */
  #like(value: unknown): unknown {
    const random = this.#random
    if (random.chance(0.2)) return this.#value(2)
    if (typeof value === 'string') return this.#word()
    if (typeof value === 'number') return this.#number()
    if (typeof value === 'boolean') return !value
    if (value instanceof Uint8Array) return this.#noise()
    return this.#value(2)
  }

  #word(): string {
    const random = this.#random
    if (random.chance(0.7)) return random.pick(this.#words)
    return random.pick([
      '',
      '\0',
      '__proto__',
      'constructor',
      '\ud800',
      'x'.repeat(300),
      '../..',
    ])
  }

  #number(): unknown {
    const random = this.#random
    if (random.chance(0.6)) return random.int(0, 300)
    return random.pick([
      ...[-1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e300, Number.NaN],
      ...[Number.POSITIVE_INFINITY, 2n ** 63n, -(2n ** 63n)],
    ])
  }

  #value(depth: number): unknown {
    const random = this.#random
    const many = () => random.int(0, random.chance(0.02) ? 300 : 4)
    switch (random.int(0, depth > 0 ? 8 : 5)) {
      case 0:
        return random.pick([null, true, false])
      case 1:
      case 2:
        return this.#number()
      case 3:
      case 4:
        return this.#word()
      case 5:
        return Uint8Array.from({ length: many() }, () => random.word() & 255)
      case 6:
        return Array.from({ length: many() }, () => this.#value(depth - 1))
      default:
        return Object.fromEntries(
          Array.from({ length: many() }, (_, at) => [
            random.chance(0.5) ? `${at}` : this.#word(),
            this.#value(depth - 1),
          ]),
        )
    }
  }
}
