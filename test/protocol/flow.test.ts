// Flow: how much data may be on its way, by itself and between two ends of a slow link.

import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { Flow } from '../../protocol/flow.ts'
import {
  DATA_BYTES,
  fromBytes,
  type Handle,
  kinds,
  type OutputData,
  rowOf,
  toBytes,
} from '../../protocol/index.ts'
import { fieldsOf } from '../../protocol/predicate.ts'
import { endOf, HandClock } from '../support/conversations.ts'
import { type SlowLink, slowLink } from '../support/slow-link.ts'

const KIB = 1024
const rel = 'r1'

const flowAt = (clock: HandClock) => {
  let probes = 0
  const flow = new Flow({ now: () => clock.now(), probe: () => void probes++ })
  return {
    flow,
    get probes() {
      return probes
    },
  }
}

t.test('a row says that it carries data where it has a field for it', async (t) => {
  const hasData = (codec: Parameters<typeof fieldsOf>[0]) =>
    fieldsOf(codec).some(({ name, codec: { name: type } }) => {
      return name === 'data' && type.startsWith('Bytes')
    })
  for (const kind of kinds) {
    const { request, answers, data } = rowOf(kind)
    t.equal(hasData(request), data === 'request', `${kind}, its request`)
    t.equal(Object.values(answers).some(hasData), data === 'answer', `${kind}, answers`)
  }
})

t.test('what may be on its way follows the rate that was measured', async (t) => {
  /** Written at once, there after so many ms; the most that may be on its way then. */
  const cases: readonly [string, number, number, number][] = [
    ['unknown', 0, 0, 32 * KIB],
    ['1 KiB/s', 1 * KIB, 1000, 1 * KIB],
    ['64 KiB/s', 16 * KIB, 250, 64 * KIB],
    ['fast', 16 * KIB, 1, 16_000 * KIB],
    ['in no time', 16 * KIB, 0, 160_000 * KIB],
    ['nearly nothing, and slow: as little as there is', 10, 2000, 1 * KIB],
    ['a little, not slow: says nothing', 100, 50, 32 * KIB],
    ['a little, and fast', 100, 1, 100_000],
  ]
  for (const [name, bytes, ms, most] of cases) {
    const clock = new HandClock()
    const { flow } = flowAt(clock)
    if (bytes > 0) flow.wrote(bytes)
    clock.move(ms)
    flow.arrived()
    t.equal(flow.room(), most / 2, name)
    t.ok(flow.takes(10 * most), `${name}: nothing is on its way`)
    flow.wrote(most / 2)
    t.equal(flow.takes(most / 2), true, name)
    t.equal(flow.takes(most / 2 + 1), false, name)
    flow.wrote(most / 2)
    t.equal(flow.room(), 0, `${name}: no more`)
  }
})

t.test('one probe at a time, behind all that was written till then', async (t) => {
  const clock = new HandClock()
  const counted = flowAt(clock)
  const { flow } = counted
  flow.wrote(1000)
  flow.wrote(5000)
  t.same([counted.probes, flow.isProbing, flow.behindBytes], [1, true, 5000])
  clock.move(1000)
  flow.arrived()
  t.same([counted.probes, flow.isProbing, flow.behindBytes], [2, true, 0])
  flow.arrived()
  t.same([counted.probes, flow.isProbing, flow.behindBytes], [2, false, 0])
  flow.arrived()
  t.equal(flow.behindBytes, 0, 'an answer to nothing changes nothing')
})

t.test('a link that became slow is noticed before the probe is answered', async (t) => {
  const clock = new HandClock()
  const { flow } = flowAt(clock)
  flow.wrote(16 * KIB)
  clock.move(1)
  flow.arrived()
  clock.move(1000)
  flow.wrote(16 * KIB)
  t.ok(flow.room() > 0)
  clock.move(4000)
  t.equal(flow.room(), 0, '4 KiB/s at most')
})

t.test('a fast link is probed once a second, or in an eighth of one', async (t) => {
  const clock = new HandClock()
  const counted = flowAt(clock)
  const { flow } = counted
  flow.wrote(16 * KIB)
  clock.move(1)
  flow.arrived()
  for (let written = 0; written < 1900; written += 100) flow.wrote(100 * KIB)
  t.same([counted.probes, flow.isProbing], [1, false], '1,900 of 16,000 KiB')
  flow.wrote(200 * KIB)
  t.same([counted.probes, flow.isProbing], [2, true])
  clock.move(200)
  flow.arrived()
  flow.wrote(1)
  t.equal(counted.probes, 2)
  clock.move(800)
  flow.wrote(1)
  t.equal(counted.probes, 3)
})

t.test('after ten seconds without data nothing is known', async (t) => {
  const clock = new HandClock()
  const { flow } = flowAt(clock)
  flow.wrote(16 * KIB)
  clock.move(1)
  flow.arrived()
  clock.move(10_000)
  t.equal(flow.room(), 8000 * KIB)
  clock.move(1)
  t.equal(flow.room(), 16 * KIB)
})

/** The bytes of every stream: those from `offset` on. */
const stretch = (offset: number, max: number): Uint8Array =>
  Uint8Array.from({ length: max }, (_, index) => (offset + index) % 251)

const pattern = stretch(0, 251 + DATA_BYTES)

/** Answers reads with as much as is asked for. */
const endless: Handle = (kind, body, respond) => {
  if (kind !== 'TaskOutputRead') return respond('Error', { code: 'wrong-role' })
  const { offset, max } = body as { offset: number; max: number } // it is that kind
  const data = pattern.subarray(offset % 251, (offset % 251) + max)
  const answer = respond as unknown as (kind: string, body: OutputData) => void
  answer('TaskOutputData', { offset, data, eof: false, lost: 0 })
}

/** Reads a stream for ever; throws at a gap, a repeat or a wrong byte. */
const readOn = (link: SlowLink, fd: 1 | 2, offset = 0): void => {
  const read = { rel, task_id: 'aaaaaaaaaa-1', attempt: 1, fd, max: DATA_BYTES }
  link.far.ask(
    'TaskOutputRead',
    { ...read, offset, wait_ms: 20_000 },
    600_000,
    (outcome) => {
      if (E.isLeft(outcome) || outcome.right.kind !== 'TaskOutputData')
        throw new Error(`no data: ${JSON.stringify(outcome)}`)
      const { body } = outcome.right
      const { length } = body.data
      if (body.offset !== offset || length === 0) throw new Error('a gap, or nothing')
      if (body.data[0] !== offset % 251) throw new Error('other bytes')
      if (body.data[length - 1] !== (offset + length - 1) % 251) throw new Error('other')
      readOn(link, fd, offset + length)
    },
  )
}

/** Asks a ping now and then for `ms`; returns how long the slowest took to arrive and back. */
const pingOn = (link: SlowLink, ms: number, everyMs: number): number => {
  let slowest = 0
  for (let gone = 0; gone < ms; gone += everyMs) {
    const askedAtMs = link.clock.now()
    link.near.ask('ManagerPing', { rel }, 600_000, () => {
      slowest = Math.max(slowest, link.clock.now() - askedAtMs)
    })
    link.clock.move(everyMs)
  }
  return slowest
}

interface Ride {
  readonly bytesPerSecond: number
  readonly latencyMs: number
  readonly readers: number
  readonly withProbes: boolean
}

/** Readers that read all the time, and pings; measured once the first data has arrived. */
const ride = ({ bytesPerSecond, latencyMs, readers, withProbes }: Ride) => {
  const link = slowLink({
    bytesPerSecond,
    latencyMs,
    withProbes,
    unseenBytes: withProbes ? 4096 * KIB : 0,
    handle: endless,
  })
  for (let reader = 0; reader < readers; reader++) readOn(link, 1)
  link.clock.move((32 * KIB * 1000) / bytesPerSecond + 4 * latencyMs + 100)
  // At most some 1,000 frames.
  const ms = Math.min(20_000, (1000 * DATA_BYTES * 1000) / bytesPerSecond)
  const before = link.arrived
  const slowestMs = pingOn(link, ms, ms / 40)
  const share = (link.arrived - before) / ((bytesPerSecond * ms) / 1000)
  return { slowestMs, share }
}

const rides = fc.record({
  // From 1 KiB to 100 MiB a second.
  bytesPerSecond: fc.double({ min: 10, max: 26.6, noNaN: true }).map((x) => 2 ** x),
  latencyMs: fc.integer({ min: 0, max: 100 }),
  readers: fc.integer({ min: 1, max: 40 }),
  withProbes: fc.boolean(),
})

/** What so many readers get of a link where nothing is ever held back. */
const fairShare = ({ bytesPerSecond, latencyMs, readers }: Ride): number =>
  Math.min(
    1,
    (readers * DATA_BYTES) / ((bytesPerSecond * 2 * latencyMs) / 1000 + DATA_BYTES),
  )

t.test('control waits a second for data at most, at any rate', async (t) => {
  fc.assert(
    fc.property(rides, (given) => {
      // The way back, and the grain of looks where there are no probes.
      t.ok(ride(given).slowestMs <= 1350 + 2 * given.latencyMs, JSON.stringify(given))
    }),
    { numRuns: 15 },
  )
})

t.test('and fast links carry what they carried', async (t) => {
  for (const withProbes of [true, false])
    for (const bytesPerSecond of [1000 * KIB, 10_000 * KIB, 100_000 * KIB])
      for (const latencyMs of [0, 20]) {
        const given = { bytesPerSecond, latencyMs, withProbes, readers: 40 }
        t.ok(ride(given).share >= 0.9 * fairShare(given), JSON.stringify(given))
      }
})

/** An end that reads nothing of what `respond` is given until probes are answered by hand. */
const probedEnd = (limits = {}) => {
  const clock = new HandClock()
  const probes: (() => void)[] = []
  const responds: ((kind: string, body: object) => void)[] = []
  const end = endOf(clock, {
    limits,
    probe: (arrived) => void probes.push(arrived),
    handle: (_kind, _body, respond) =>
      void responds.push(respond as unknown as (typeof responds)[0]),
  })
  const read = { rel, task_id: 'aaaaaaaaaa-1', attempt: 1, fd: 1, offset: 0 }
  const asked = (q: number, t = 20_000) =>
    end.conversation.receive(
      toBytes({ q, k: 'TaskOutputRead', b: { ...read, max: 1e6, wait_ms: 0 }, t }),
    )
  const answer = (index: number, length: number, eof = false) =>
    responds[index]?.('TaskOutputData', {
      offset: 0,
      data: new Uint8Array(length),
      eof,
      lost: 0,
    })
  const written = () =>
    end.sent.splice(0).map((bytes) => {
      const frame = fromBytes(bytes)
      return E.isRight(frame) ? frame.right : undefined
    })
  return { ...end, clock, probes, responds, asked, answer, written }
}

t.test('data that has no room waits, control and empty answers do not', async (t) => {
  const end = probedEnd()
  for (const q of [1, 2, 3, 4, 5]) end.asked(q)
  end.answer(0, 40_000, true)
  t.match(end.written(), [{ a: 1, b: { eof: false } }], 'cut to the room that there is')
  end.answer(1, 40_000)
  end.answer(2, 40_000)
  t.match(end.written(), [{ a: 2 }])
  end.answer(3, 0, true)
  end.conversation.ask('ManagerPing', { rel }, 1000, () => undefined)
  end.responds[4]?.('NotMine', {})
  t.match(end.written(), [{ a: 4 }, { q: 1, k: 'ManagerPing' }, { a: 5, k: 'NotMine' }])
  t.throws(() => end.answer(2, 1), /one answer/, 'an answer that waits is one')
  t.equal(end.conversation.size.serving, 1)
  end.clock.move(10)
  end.probes[0]?.()
  t.match(end.written(), [{ a: 3, b: { offset: 0, eof: false } }])
  t.equal(end.conversation.size.serving, 0)
})

t.test('data that waited for too long is dropped: it is read again', async (t) => {
  const end = probedEnd()
  for (const q of [1, 2, 3]) end.asked(q, 5000)
  end.answer(0, 40_000)
  end.answer(1, 40_000)
  end.answer(2, 40_000)
  end.clock.move(4500)
  t.match(end.written().slice(2), [{ a: 3, k: 'Error', b: { code: 'deadline' } }])
  end.probes[0]?.()
  t.same(end.written(), [])
  t.equal(end.conversation.size.serving, 0)
})

t.test('no more data is asked for while much of it waits', async (t) => {
  const end = probedEnd({ slowBytes: 60_000 })
  for (const q of [1, 2, 3, 4]) end.asked(q)
  for (const index of [0, 1, 2, 3]) end.answer(index, 40_000)
  end.written()
  end.asked(5)
  t.match(end.written(), [{ a: 5, k: 'Error', b: { code: 'busy' } }])
  end.conversation.closed()
  end.probes[0]?.()
  t.same(end.written(), [], 'and nothing comes after the end')
  t.equal(end.clock.pending, 0)
})

t.test('input that waits for room holds no long poll up', async (t) => {
  const end = probedEnd()
  const input = (length: number) =>
    end.conversation.ask(
      'TaskInput',
      { task_id: 'aaaaaaaaaa-1', offset: 0, data: new Uint8Array(length), eof: false },
      60_000,
      () => undefined,
    )
  input(DATA_BYTES)
  input(100)
  end.conversation.ask('TasksWait', { after: 0, wait_ms: 1 }, 60_000, () => undefined)
  t.match(end.written(), [{ k: 'TaskInput' }, { k: 'TasksWait' }])
  t.equal(end.conversation.size.queued, 1)
  end.clock.move(1000)
  end.probes[0]?.()
  t.match(end.written(), [{ q: 3, k: 'TaskInput' }])
})

t.test('every byte that comes is a sign of life', async (t) => {
  for (const isComing of [true, false]) {
    const clock = new HandClock()
    let heard = 0
    let gaveUp = 0
    const end = endOf(clock, {
      onTimeouts: () => gaveUp++,
      receivedBytes: () => heard,
    })
    for (let asked = 0; asked < 6 && gaveUp === 0; asked++) {
      end.conversation.ask('ManagerPing', { rel }, 100, () => undefined)
      if (isComing) heard += 1
      clock.move(100)
    }
    t.equal(gaveUp, isComing ? 0 : 1, `bytes come: ${isComing}`)
    t.equal(end.closes.length, 0)
  }
})

t.test('what came before the asks says nothing of the peer', async (t) => {
  const clock = new HandClock()
  let gaveUp = 0
  const end = endOf(clock, { onTimeouts: () => gaveUp++, receivedBytes: () => 1000 })
  clock.move(3_600_000)
  for (let asked = 0; asked < 3; asked++)
    end.conversation.ask('ManagerPing', { rel }, 100, () => undefined)
  clock.move(100)
  t.equal(gaveUp, 1)
})
