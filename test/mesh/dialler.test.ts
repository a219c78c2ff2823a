// The dialler under a clock that the test moves: at once, then with growing pauses.

import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import {
  Dialler,
  FORGET_MS,
  LONGEST_PAUSE_MS,
  pauseAfter,
} from '../../src/mesh/dialler.ts'
import type { DialFailure } from '../../src/mesh/failures.ts'
import { keptLog } from './support.ts'

const url = 'ws://127.0.0.1:1'
const nodeId = 'a'.repeat(32)
const unreachable: DialFailure = {
  kind: 'unreachable',
  url,
  code: 'ECONNREFUSED',
  reason: 'nobody there',
}

const setUp = () => {
  let nowMs = 0
  const timers: { at: number; fn: () => void; isOff: boolean }[] = []
  const clock = {
    now: () => nowMs,
    wall: () => nowMs,
    after: (ms: number, fn: () => void) => {
      const timer = { at: nowMs + ms, fn, isOff: false }
      timers.push(timer)
      return () => {
        timer.isOff = true
      }
    },
  }
  const dials: number[] = []
  const connected = new Set<string>()
  let isThere = false
  const { log, lines } = keptLog()
  const dialler = new Dialler({
    clock,
    random: { fraction: () => 0.5, hex: () => '' },
    log,
    connect: async () => {
      dials.push(nowMs)
      if (!isThere) return E.left(unreachable)
      connected.add(nodeId)
      return E.right(nodeId)
    },
    isConnected: (id) => connected.has(id),
  })
  /** Lets what was dialled end, then moves to the next timer; false: there is none. */
  const next = async (): Promise<boolean> => {
    await new Promise((resolve) => setImmediate(resolve))
    const timer = timers.filter(({ isOff }) => !isOff).sort((a, b) => a.at - b.at)[0]
    if (timer === undefined) return false
    nowMs = timer.at
    timer.isOff = true
    timer.fn()
    await new Promise((resolve) => setImmediate(resolve))
    return true
  }
  const appear = () => {
    isThere = true
  }
  const vanish = () => {
    isThere = false
    connected.clear()
  }
  return { dialler, dials, next, appear, vanish, lines }
}

t.test('the pause doubles to its limit, varied by a quarter either way', async (t) => {
  t.same(
    [0, 1, 2, 3, 4, 5, 50].map((failures) => pauseAfter(failures, 0.5)),
    [500, 1000, 2000, 4000, 8000, 10_000, 10_000],
  )
  t.equal(pauseAfter(0, 0), 375)
  t.ok(pauseAfter(9, 0.999) < LONGEST_PAUSE_MS * 1.25)
})

t.test(
  'an address is dialled at once, then after each pause until it is there',
  async (t) => {
    const { dialler, dials, next, appear } = setUp()
    dialler.offer(url, undefined, true)
    await next()
    await next()
    appear()
    await next()
    t.same(dials, [0, 500, 1500, 3500])
    t.equal(await next(), false, 'connected: no more dialling')
    dialler.close()
  },
)

t.test('a lost node is dialled at once, and from the first pause again', async (t) => {
  const { dialler, dials, next, appear, vanish } = setUp()
  appear()
  dialler.offer(url, nodeId, false)
  t.equal(await next(), false)
  vanish()
  dialler.lost(nodeId)
  await next()
  t.same(dials, [0, 0, 500])
  dialler.close()
})

t.test(
  'a node that had dialled us itself is dialled at once when it is lost',
  async (t) => {
    const { dialler, dials, next } = setUp()
    dialler.offer(url, nodeId, false)
    for (let n = 0; n < 4; n += 1) await next()
    const before = dials.length
    dialler.lost(nodeId)
    t.equal(dials.length, before + 1)
    t.equal(dials.at(-1), dials.at(-2), 'it did not wait')
    dialler.close()
  },
)

t.test('redial does not wait for the pause', async (t) => {
  const { dialler, dials, next } = setUp()
  dialler.offer(url, nodeId, false)
  await next()
  dialler.redial(nodeId)
  t.same(dials, [0, 500, 500])
  dialler.close()
})

t.test('a found address is forgotten in time, a given one never', async (t) => {
  const found = setUp()
  found.dialler.offer(url, nodeId, false)
  while (await found.next());
  const last = found.dials.at(-1) ?? 0
  t.ok(last > FORGET_MS && last < FORGET_MS + 2 * LONGEST_PAUSE_MS)
  found.dialler.offer(url, nodeId, false)
  t.equal(found.dials.at(-1), last, 'it may be found again')
  const given = setUp()
  given.dialler.offer(url, nodeId, true)
  for (let count = 0; count < 100; count++) await given.next()
  t.ok((given.dials.at(-1) ?? 0) > 10 * FORGET_MS)
  t.equal(given.lines.items.length, 101)
  given.dialler.close()
  t.equal(await given.next(), false, 'closed: every timer is off')
})

t.test('an address given by a person is taken however many were found', async (t) => {
  const { dialler, dials } = setUp()
  for (let port = 1; port <= 1025; port++)
    dialler.offer(`ws://127.0.0.1:${port}`, undefined, false)
  const found = dials.length
  t.equal(found, 1024)
  dialler.offer('ws://127.0.0.1:2000', undefined, true)
  t.equal(dials.length, found + 1)
  dialler.close()
})
