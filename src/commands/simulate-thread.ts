// The thread that simulates: with room for the many short-lived objects of a large mesh,
// which the main thread's heap cannot be given once it runs, and without keeping the main
// thread from a Ctrl-C. Gets loads, answers each with what was measured.

import { parentPort } from 'node:worker_threads'
import type { Load } from '../sim/load.ts'
import { measure } from '../sim/measure.ts'

const stopwatch = (): number => performance.now()
const processor = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
const PROGRESS_MS = 200

/** So that the first figure is not one of code that was never run before. */
const warmUp = (load: Load): void => {
  const tasks = Math.min(load.tasks, WARM_UP_TASKS)
  measure({ ...load, ...WARM_UP_MESH, tasks, faults: [] }, { stopwatch, processor })
}
const WARM_UP_TASKS = 3_000
const WARM_UP_MESH = { workers: 10, managers: 1, taskMs: 100 }

let isWarm = false
parentPort?.on('message', (load: Load) => {
  if (!isWarm) warmUp(load)
  isWarm = true
  let toldMs = stopwatch()
  const progress = (done: number): void => {
    if (stopwatch() - toldMs < PROGRESS_MS) return
    toldMs = stopwatch()
    parentPort?.postMessage({ done })
  }
  parentPort?.postMessage({ measured: measure(load, { stopwatch, processor, progress }) })
})
