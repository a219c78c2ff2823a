// Yardsticks for starting programs: a bare Node loop over child_process.spawn with pipes,
// in a small process of its own, and GNU parallel (Debian's package).

import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const loop = async (count: number, parallel: number): Promise<void> => {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < count) {
      next += 1
      const child = spawn('/bin/true', [], { stdio: ['ignore', 'pipe', 'pipe'] })
      child.stdout.resume()
      child.stderr.resume()
      await once(child, 'close')
    }
  }
  await Promise.all(Array.from({ length: parallel }, lane))
}

/** Programs per second of the bare loop, measured inside its own process. */
export const spawnLoopRate = async (count: number, parallel: number): Promise<number> => {
  const child = fork(fileURLToPath(import.meta.url), [String(count), String(parallel)])
  const [milliseconds] = await once(child, 'message')
  await once(child, 'exit')
  return count / (Number(milliseconds) / 1000)
}

/** Programs per second of `seq COUNT | parallel -jP true`, the whole command. */
export const gnuParallelRate = async (
  count: number,
  parallel: number,
): Promise<number> => {
  const start = performance.now()
  const child = spawn('parallel', ['--will-cite', `-j${parallel}`, '/bin/true'], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  child.stdin.end(Array.from({ length: count }, (_, index) => `${index}\n`).join(''))
  await once(child, 'exit')
  return count / ((performance.now() - start) / 1000)
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  await loop(50, Number(process.argv[3]))
  const start = performance.now()
  await loop(Number(process.argv[2]), Number(process.argv[3]))
  process.send(performance.now() - start)
  process.disconnect()
}
