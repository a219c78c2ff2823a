// Hostile frames: some thousand of the million that `npm run test:fuzz` sends.

import { networkInterfaces } from 'node:os'
import t from 'tap'
import { isNear } from '../../src/mesh/near.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { fuzz } from './fuzz.ts'
import { forge } from './mdns.ts'
import { fuzzedHubs, peerOf, target } from './target.ts'

t.test('neither a manager nor a worker is harmed by what a peer sends', async (t) => {
  const { faults, handled, closed } = await fuzz({ seed: 4711, frames: 20_000 })
  t.same(faults, [])
  t.ok(handled > 2_000, `${handled} requests got as far as a handler`)
  t.ok(closed > 2_000, `${closed} connections were ended for a broken rule`)
})

t.test('nor a hub, nor a node that hears what hubs hand on', async (t) => {
  const found = await fuzz({ seed: 4712, frames: 20_000, targets: fuzzedHubs })
  t.same(found.faults, [])
  t.ok(found.handled > 2_000, `${found.handled} requests got as far as a handler`)
})

t.test('the same seed sends the same frames', async (t) => {
  const of = async (seed: number) => {
    const { handled, closed } = await fuzz({ seed, frames: 1_000 })
    return [handled, closed]
  }
  t.same(await of(3), await of(3))
  t.notSame(await of(3), await of(4))
})

/** A worker whose handler of one kind is wrong. */
const wrong = (handler: () => void) => async () =>
  target({
    role: 'worker',
    handlers: { TasksPing: handler },
    peer: peerOf({ role: 'manager', nodeId: 'a'.repeat(32), hostName: 'm' }),
    clock: createManualClock(),
    known: { rel: ['rel'] },
    settle: () => Promise.resolve(),
  })

t.test('what throws or takes too long is found, and told with its bytes', async (t) => {
  const throws = wrong(() => {
    throw new Error('planted')
  })
  const found = await fuzz({ seed: 1, frames: 200, targets: [throws] })
  t.match(
    found.faults[0],
    /bug Error: planted[\s\S]*frame \d+ of seed 1 \(\w+\): [0-9a-f]+$/,
  )
  let isFirst = true
  const slow = wrong(() => {
    const began = process.cpuUsage()
    while (isFirst && process.cpuUsage(began).user < 80_000);
    isFirst = false
  })
  const late = await fuzz({ seed: 1, frames: 200, targets: [slow] })
  t.match(late.faults[0], /took \d+.*ms: frame \d+ of seed 1/)
})

const { lo } = networkInterfaces()
const skip = lo !== undefined ? false : 'no multicast over an interface lo here'

t.test(
  'forged announcements lead nowhere, and hide no honest node',
  { skip },
  async (t) => {
    const { arrived, addresses } = await forge({ seed: 4711, packets: 400 })
    t.ok(arrived >= 200, `${arrived} packets arrived`)
    t.same(
      [...addresses].filter((address) => !isNear(address)),
      [],
    )
  },
)
