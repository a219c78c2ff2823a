// How long a task waits after a failure.

import fc from 'fast-check'
import t from 'tap'
import { backOffMs } from '../../src/machines/back-off.ts'

const config = { retryFirstMs: 1_000, retryMaxMs: 60_000 }

t.test(
  'it doubles with each failure up to the most, at most half taken off',
  async (t) => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 60 }), (seq, failures) => {
        const wholeMs = Math.min(60_000, 1_000 * 2 ** (failures - 1))
        const ms = backOffMs({ seq, failures }, config)
        return ms > wholeMs / 2 - 1 && ms <= wholeMs && Number.isInteger(ms)
      }),
    )
    t.pass('in every case')
  },
)

t.test(
  'tasks that fail together come back spread out, each time in the same way',
  async (t) => {
    for (const failures of [1, 2, 5]) {
      const drawn = Array.from({ length: 1_000 }, (_, seq) =>
        backOffMs({ seq, failures }, config),
      )
      const wholeMs = 1_000 * 2 ** (failures - 1)
      for (const part of [0, 1, 2, 3, 4]) {
        const [from, to] = [part, part + 1].map((n) => wholeMs * (0.5 + n / 10))
        const count = drawn.filter((ms) => ms > (from ?? 0) && ms <= (to ?? 0)).length
        t.ok(count > 150 && count < 250, `${count} of 1,000 in the part ${part} of 5`)
      }
      const again = drawn.map((_, seq) => backOffMs({ seq, failures }, config))
      t.same(again, drawn)
    }
  },
)
