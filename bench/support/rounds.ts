// Rounds: measures a subject and its yardstick in turn, so that a machine whose speed
// drifts slows both, and reports the ratio pair by pair.

/** A measured figure: larger is better (a rate) or smaller is better (a time). */
export interface Pair {
  readonly subject: number
  readonly yardstick: number
}

/** The middle of a list of numbers. */
export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}

/** The value below which `share` of the list lies. */
export const quantile = (values: readonly number[], share: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return (
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  )
}

/** Runs both `rounds` times, A B B A A B …, after one uncounted turn of each. */
export const interleave = async (
  rounds: number,
  subject: () => Promise<number>,
  yardstick: () => Promise<number>,
): Promise<readonly Pair[]> => {
  await subject()
  await yardstick()
  const pairs: Pair[] = []
  for (let round = 0; round < rounds; round += 1) {
    if (round % 2 === 0) {
      const first = await subject()
      pairs.push({ subject: first, yardstick: await yardstick() })
    } else {
      const first = await yardstick()
      pairs.push({ subject: await subject(), yardstick: first })
    }
  }
  return pairs
}

/** The median of the pairs' ratios, subject by yardstick. */
export const ratio = (pairs: readonly Pair[]): number =>
  median(pairs.map((pair) => pair.subject / pair.yardstick))
