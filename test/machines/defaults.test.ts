// Figures that other languages were told: what holds where nobody says otherwise.

import t from 'tap'
import { DEFAULT_LIMITS } from '../../protocol/index.ts'
import { SCAN_LIMITS } from '../../protocol/scan.ts'
import { managerDefaults } from '../../src/machines/manager-config.ts'
import { BACKOFF_MS } from '../../src/machines/relationship-asking.ts'
import { ASSUMED_RELEASE_MS } from '../../src/machines/relationship-leases.ts'
import { TOMBSTONES } from '../../src/machines/tombstones.ts'

t.test('leases: the worker gives up first, and misses three pings before', async (t) => {
  const { pingMs, workerLeaseMs, managerLeaseMs } = managerDefaults
  t.same([pingMs, workerLeaseMs, managerLeaseMs], [5_000, 15_000, 20_000])
  t.equal(ASSUMED_RELEASE_MS, 10 * workerLeaseMs)
  t.same(BACKOFF_MS, { first: 500, most: 10_000 })
})

t.test('tasks: losses, deadlines, tombstones', async (t) => {
  const { maxLosses, deadlineSlackMs, killGraceMs } = managerDefaults
  t.same([maxLosses, deadlineSlackMs, killGraceMs], [3, 10_000, 5_000])
  t.same(TOMBSTONES, { ageMs: 600_000, count: 10_000 })
})

t.test('connections', async (t) => {
  t.match(DEFAULT_LIMITS, {
    maxInFlight: 1024,
    maxFrame: 1024 ** 2,
    priorityPlaces: 8,
    slowBytes: 4 * 1024 ** 2,
    terminateBytes: 16 * 1024 ** 2,
    strikes: 3,
    timeoutsInARow: 3,
  })
  t.same(SCAN_LIMITS, { depth: 32, nodes: 200_000, mapKeys: 4096, keyBytes: 255 })
})
