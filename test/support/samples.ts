// Samples: one body with many of its fields for each row and answer, the same every time.

import fc from 'fast-check'
import { toBytes } from '../../protocol/index.ts'
import { arbitraryOf } from './arbitrary.ts'
import type { BodyCase } from './rows.ts'

const MOST_BYTES = 2048

/** A frame around the fullest of some bodies made from a fixed seed. */
export const sampleBytes = ({ kind, answer, codec }: BodyCase): Uint8Array => {
  const frames = fc
    .sample(arbitraryOf(codec), { seed: 1, numRuns: 50 })
    .map((b) =>
      toBytes(
        answer === undefined ? { q: 1, k: kind, b, t: 1000 } : { a: 1, k: answer, b },
      ),
    )
    .sort((one, other) => one.length - other.length)
  // 50 runs give at least one body, and the smallest of them is small.
  return (frames.findLast((bytes) => bytes.length <= MOST_BYTES) ??
    frames[0]) as Uint8Array
}
