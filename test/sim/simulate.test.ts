import t from 'tap'
import { drawScenario } from '../../src/sim/draw.ts'
import { simulate } from '../../src/sim/simulate.ts'

t.test('the same seed gives the same history, and another seed another', async (t) => {
  const first = Array.from({ length: 20 }, (_, seed) => simulate(seed + 1))
  const second = Array.from({ length: 20 }, (_, seed) => simulate(seed + 1))
  t.same(
    second.map(({ digest }) => digest),
    first.map(({ digest }) => digest),
  )
  t.equal(new Set(first.map(({ digest }) => digest)).size, 20)
})

t.test('a scenario is data: kept as JSON it gives the same history', async (t) => {
  const scenario = JSON.parse(JSON.stringify(drawScenario(7)))
  t.equal(simulate(scenario).digest, simulate(7).digest)
})

t.test('whatever fails, every task that was acknowledged ends', async (t) => {
  const failed = Array.from({ length: 300 }, (_, seed) =>
    simulate(seed + 1, { isUndigested: true }),
  ).filter(({ violations }) => violations.length > 0)
  t.same(failed, [])
})
