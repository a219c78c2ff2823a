// Loads, one after the other, measured in a thread of their own.

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { Load } from '../sim/load.ts'
import type { Measured } from '../sim/measure.ts'

/** Three spaces of a third each: a sixth of the time, with a thousand workers. */
const YOUNG_MB = 192

type Told = { readonly done: number } | { readonly measured: Measured }

/** What each load does; rejects if one never ends. `progress` is told of the tasks that are over. */
export const measureLoads = async (
  loads: readonly Load[],
  progress: (load: Load, done: number) => void,
): Promise<readonly Measured[]> => {
  const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MB }
  const thread = new Worker(threadPath(), { resourceLimits })
  const measured: Measured[] = []
  try {
    for (const load of loads)
      measured.push(await measureIn(thread, load, (done) => progress(load, done)))
  } finally {
    await thread.terminate()
  }
  return measured
}

const measureIn = (
  thread: Worker,
  load: Load,
  progress: (done: number) => void,
): Promise<Measured> =>
  new Promise((resolve, reject) => {
    const hear = (told: Told): void => {
      if ('done' in told) {
        progress(told.done)
        return
      }
      thread.off('message', hear)
      thread.off('error', reject)
      resolve(told.measured)
    }
    thread.on('message', hear)
    thread.on('error', reject)
    thread.postMessage(load)
  })

/** It lies beside this code where it is compiled, above its chunk where it is bundled. */
const threadPath = (): string => {
  const beside = fileURLToPath(new URL('./simulate-thread.js', import.meta.url))
  if (existsSync(beside)) return beside
  return fileURLToPath(new URL('../simulate-thread.js', import.meta.url))
}
