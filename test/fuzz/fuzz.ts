// Sends hostile frames to targets, and says what came of it.

import { performance } from 'node:perf_hooks'
import { Frames } from './frames.ts'
import { TARGETS, type Target } from './target.ts'

export interface Fuzz {
  readonly seed: number
  readonly frames: number
  /** What is fuzzed, in turn. Default: a manager and a worker as they are. */
  readonly targets?: readonly (() => Promise<Target>)[]
}

export interface Findings {
  readonly frames: number
  readonly handled: number
  readonly closed: number
  readonly slowestMs: number
  /** Each with the frame's number and its bytes. */
  readonly faults: readonly string[]
}

/** A target is made anew after so many: what was handed in may not pile up for ever. */
const PER_TARGET = 10_000
const BETWEEN_RESTS = 64
/** No frame may hold a node up for longer. */
const SLOW_MS = 50

export const fuzz = async ({
  seed,
  frames: count,
  targets = TARGETS,
}: Fuzz): Promise<Findings> => {
  const faults: string[] = []
  const sums = { handled: 0, closed: 0 }
  let slowestMs = 0
  for (let first = 0, turn = 0; first < count; first += PER_TARGET, turn++) {
    const make = targets[turn % targets.length]
    if (make === undefined) throw new Error('Expected a target')
    const target = await make()
    const frames = new Frames(seed + turn, target.known, target.served)
    const last = Math.min(count, first + PER_TARGET)
    for (let number = first; number < last; number++) {
      const { how, bytes } = frames.next()
      const where = () =>
        `frame ${number} of seed ${seed} (${how}): ${Buffer.from(bytes).toString('hex').slice(0, 4096)}`
      const known = target.bugs.length
      const began = performance.now()
      const beganCpu = process.cpuUsage()
      try {
        target.receive(bytes)
      } catch (error) {
        faults.push(`threw ${error}: ${where()}`)
      }
      const tookMs = performance.now() - began
      if (tookMs > SLOW_MS) {
        // Another program may have had the processor.
        const { user, system } = process.cpuUsage(beganCpu)
        slowestMs = Math.max(slowestMs, Math.min(tookMs, (user + system) / 1000))
        if ((user + system) / 1000 > SLOW_MS) faults.push(`took ${tookMs} ms: ${where()}`)
      } else slowestMs = Math.max(slowestMs, tookMs)
      for (const bug of target.bugs.slice(known))
        faults.push(`bug ${bug instanceof Error ? bug.stack : bug}: ${where()}`)
      if (target.isEnded) frames.reconnected()
      if (number % BETWEEN_RESTS === 0) await target.rest()
    }
    sums.handled += target.reached.handled
    sums.closed += target.reached.closed
  }
  return { frames: count, ...sums, slowestMs, faults }
}
