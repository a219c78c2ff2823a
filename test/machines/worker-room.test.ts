// Room: whoever is taken is the one that a look at all workers would have found.

import fc from 'fast-check'
import t from 'tap'
import { managerDefaults } from '../../src/machines/manager-config.ts'
import { choose, hasRoom, needOf, objection } from '../../src/machines/placement.ts'
import { TaskCore } from '../../src/machines/task-core.ts'
import type { Shape } from '../../src/machines/task-queue.ts'
import type { Worker } from '../../src/machines/task-record.ts'
import { workerFor } from '../../src/machines/task-workers.ts'
import { depthOf } from '../../src/machines/worker-room.ts'
import { exec, LEDGER, noop } from '../support/manager-world.ts'

const config = managerDefaults

const shapeOf = (request: Parameters<typeof exec>[0], isNoop = false): Shape => ({
  key: '',
  priority: 0,
  need: needOf(isNoop ? noop(request) : exec(request)),
  excluded: undefined,
  head: undefined,
  tail: undefined,
  size: 0,
  blockedSinceMs: undefined,
  reserved: undefined,
})
const shapes = [
  shapeOf({}),
  shapeOf({ requires: { cores: 3 } }),
  shapeOf({ requires: { labels: { gpu: 'yes' } } }),
  shapeOf({}, true),
]

/** Something that makes a worker another candidate than it was. */
const change = fc.record({
  worker: fc.nat(7),
  usedCores: fc.nat(30),
  coreless: fc.constantFrom(0, 1, config.coreless),
  status: fc.constantFrom('managing', 'managing', 'suspect', 'lost'),
  busyUntilMs: fc.constantFrom(0, 0, 0, 10),
  meanRunMs: fc.constantFrom(undefined, 1, 15, 100, 10_000),
})

const least = (workers: readonly Worker[], shape: Shape): Worker | undefined => {
  const load = (worker: Worker) => worker.usedCores / Math.max(1, worker.cores)
  return workers
    .filter(({ status, busyUntilMs }) => status === 'managing' && busyUntilMs <= 5)
    .filter((worker) => {
      const depths = new Map([
        [1, 13],
        [15, 4],
        [100, 2],
      ])
      const depth = depths.get(worker.meanRunMs ?? 0) ?? 1
      return hasRoom(shape.need, worker, config, depth)
    })
    .filter((worker) => objection(shape.need, worker) === undefined)
    .sort((a, b) => load(a) - load(b))[0]
}

t.test(
  'the least loaded of those that have room is taken, the first of equals',
  async (t) => {
    const property = fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      const core = new TaskCore(config, LEDGER)
      const workers = Array.from({ length: 8 }, (_, index) =>
        workerFor(core, { nodeId: `n${index}`, hostName: `h${index}`, bootId: 'b' }, 0),
      )
      for (const [index, worker] of workers.entries())
        Object.assign(worker, {
          cores: index % 5,
          memory: 1e9,
          labels: index % 3 === 0 ? { gpu: 'yes' } : {},
        })
      for (const { worker: index, ...state } of changes) {
        const worker = workers[index]
        if (worker === undefined) continue
        core.room.changed(Object.assign(worker, state))
        const placing = { room: core.room, config, nowMs: 5, reserved: new Map() }
        for (const shape of shapes)
          if (choose(shape, placing) !== least(workers, shape)) return false
      }
      return true
    })
    t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }))
  },
)

for (const [meanRunMs, depth] of [
  [undefined, 1],
  [250, 1],
  [249, 2],
  [40, 2],
  [39, 3],
  [10, 5],
  [4, 11],
  [1, 13],
  [0, 13],
] as const)
  t.test(`tasks of ${meanRunMs ?? 'unknown'} ms: ${depth} for each core`, async (t) => {
    const core = new TaskCore(config, LEDGER)
    const its = { nodeId: 'w', hostName: 'w', bootId: 'b' }
    const worker = workerFor(core, its, 0)
    worker.meanRunMs = meanRunMs
    t.equal(depthOf(worker, config), depth)
  })
