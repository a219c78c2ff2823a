// A million hostile frames, and ten thousand forged announcements:
//
//   npm run test:fuzz                     1,000,000 frames, a seed of the day's own
//   FUZZ_SEED=7 FUZZ_FRAMES=5000 FUZZ_PACKETS=100 npm run test:fuzz    some of them again
//
// Fails if a node crashed, an announcement led to an address that nobody may dial, something was thrown and not caught, a frame took longer than
// 50 ms, or the memory grew by more than 64 MiB once it had warmed up.

import { isNear } from '../../src/mesh/near.ts'
import { fuzz } from './fuzz.ts'
import { forge } from './mdns.ts'

const MOST_GROWTH = 64 * 1024 * 1024
const WARM_UP = 100_000

const numberOf = (name: string, byDefault: number): number => {
  const number = Number(process.env[name] ?? byDefault)
  if (!Number.isSafeInteger(number) || number < 0)
    throw new TypeError(
      `Expected ${name} to be a natural number, got \`${process.env[name]}\``,
    )
  return number
}

const seed = numberOf('FUZZ_SEED', Date.now() % 1_000_000_000)
const frames = numberOf('FUZZ_FRAMES', 1_000_000)
const uncaught: unknown[] = []
process.on('uncaughtException', (error) => uncaught.push(error))
process.on('unhandledRejection', (error) => uncaught.push(error))

console.log(`${frames} frames of seed ${seed}`)
const began = performance.now()
const warm = Math.min(WARM_UP, Math.floor(frames / 2))
// A throw in here would be one of those that are not caught.
const first = await fuzz({ seed, frames: warm })
const warmBytes = process.memoryUsage.rss()
const rest = await fuzz({ seed: seed + warm, frames: frames - warm })
const grownBytes = process.memoryUsage.rss() - warmBytes
const packets = numberOf('FUZZ_PACKETS', 10_000)
const { arrived, found, addresses } = await forge({ seed, packets })
const far = [...addresses].filter((address) => !isNear(address))
const faults = [
  ...first.faults,
  ...rest.faults,
  ...uncaught.map(
    (error) => `not caught: ${error instanceof Error ? error.stack : error}`,
  ),
  ...far.map((address) => `an announcement led to ${address}`),
  ...(grownBytes > MOST_GROWTH ? [`memory grew by ${grownBytes} bytes`] : []),
]
const seconds = ((performance.now() - began) / 1000).toFixed(1)
const slowestMs = Math.max(first.slowestMs, rest.slowestMs).toFixed(1)
console.log(
  `${first.handled + rest.handled} reached a handler, ${first.closed + rest.closed} connections were ended`,
)
console.log(
  `slowest frame ${slowestMs} ms, memory ${(grownBytes / 2 ** 20).toFixed(0)} MiB more, ${seconds} s, ${faults.length} faults`,
)
console.log(
  `${arrived} of ${packets} forged announcements arrived, ${found} named a node`,
)
for (const fault of faults.slice(0, 20)) console.log(fault)
if (faults.length > 0) process.exitCode = 1
