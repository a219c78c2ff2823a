// A load: whatever strikes it, all of it is done, and how long that takes is told.

import t from 'tap'
import type { Load } from '../../src/sim/load.ts'
import { FAULTS, type FaultName } from '../../src/sim/load-faults.ts'
import { measure } from '../../src/sim/measure.ts'

const load: Load = {
  ...{ workers: 4, cores: 2, tasks: 400, taskMs: 500, managers: 1 },
  ...{ faults: [], seed: 3 },
}
const still = { stopwatch: () => 0, processor: () => 0 }

t.test('every core is busy while there are tasks', async (t) => {
  const { ofIdeal, again, failed, worstMs, tasksPerSecond } = measure(load, still)
  t.ok(ofIdeal > 0.95 && ofIdeal <= 1, `${ofIdeal}`)
  t.ok(tasksPerSecond > 15 && tasksPerSecond <= 16, `${tasksPerSecond}`)
  t.same([again, failed, worstMs], [0, 0, undefined])
})

/** From how soon to how late its tasks have started again or are over, in ms. */
const recoveries: Readonly<Record<FaultName, readonly [number, number]>> = {
  crash: [0, 2_000],
  power: [0, 25_000],
  freeze: [0, 31_000],
  cut: [0, 2_000],
  partition: [0, 35_000],
  slow: [0, 5_000],
  disk: [0, 32_000],
  manager: [2_000, 10_000],
}

for (const name of Object.keys(FAULTS) as FaultName[]) // of a constant
  t.test(
    `after ${name} all is done, and how long it took to recover is told`,
    async (t) => {
      const { failed, worstMs = -1 } = measure({ ...load, faults: [name] }, still)
      t.equal(failed, 0)
      const [soonest, latest] = recoveries[name]
      t.ok(worstMs >= soonest && worstMs <= latest, `${worstMs} ms`)
    },
  )

t.test('managers share workers and tasks', async (t) => {
  const { failed, ofIdeal } = measure({ ...load, managers: 2 }, still)
  t.equal(failed, 0)
  t.ok(ofIdeal > 0.9, `${ofIdeal}`)
})

t.test(
  'the stopwatch counts turns of the manager, as the processor had them',
  async (t) => {
    let clockMs = 0
    const ticking = { stopwatch: () => ++clockMs, processor: () => clockMs / 2 }
    const full = measure(load, { ...ticking, processor: () => clockMs })
    const shared = measure(load, ticking)
    t.ok(Math.abs(full.managerUs / shared.managerUs - 2) < 0.1)
  },
)
