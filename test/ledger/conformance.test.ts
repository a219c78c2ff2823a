// What every ledger promises (ports.ts), held against each that there is.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { createMemoryLedger } from '../../src/ledger/memory.ts'
import { openEmbeddedLedger } from '../../src/ledger/open.ts'
import type { Ledger } from '../../src/ports.ts'
import type { Change } from '../../src/records.ts'
import {
  assigned,
  closed,
  committed,
  replayed,
  requeued,
  submission,
  submitted,
} from './support.ts'

/** Opens the ledger of a first life, and then of each next one, on what the last one left. */
type Lives = () => Promise<Ledger>

/** Memory has no disk: the next life gets the same changes. */
const memoryLives = (): Lives => {
  const log: (readonly Change[])[] = []
  const retired: number[] = []
  let epoch = 0
  return async () => {
    epoch += 1
    const ledger = createMemoryLedger({ id: 'abcdefghij', epoch })
    for (const changes of log) await committed(ledger, ...changes)
    ledger.retire(retired)
    return {
      ...ledger,
      commit: (changes, settle) =>
        ledger.commit(changes, (result) => {
          if (result.kind === 'durable') log.push(changes)
          settle(result)
        }),
      retire: (seqs) => {
        retired.push(...seqs.filter((seq) => ledger.task(seq)?.closed !== undefined))
        ledger.retire(seqs)
      },
    }
  }
}

const embeddedLives = (t: Test): Lives => {
  const directory = mkdtempSync(join(tmpdir(), 'ledger-'))
  const opened: Ledger[] = []
  t.teardown(async () => {
    for (const ledger of opened) await ledger.close()
    rmSync(directory, { recursive: true, force: true })
  })
  return async () => {
    const newId = () => 'abcdefghij'
    const ledger = await openEmbeddedLedger({ directory, newId, hasRoom: () => true })
    if (E.isLeft(ledger)) throw new Error(ledger.left)
    opened.push(ledger.right)
    return ledger.right
  }
}

const kinds: Readonly<Record<string, (t: Test) => Lives>> = {
  memory: memoryLives,
  embedded: embeddedLives,
}

for (const [kind, livesOf] of Object.entries(kinds)) {
  const test = (name: string, run: (t: Test, lives: Lives) => Promise<void>) =>
    t.test(`${kind}: ${name}`, (t) => run(t, livesOf(t)))
  /** Ends a life, and begins the next. */
  const again = async (ledger: Ledger, lives: Lives): Promise<Ledger> => {
    await ledger.close()
    return await lives()
  }

  test('nothing can be read before its commit has settled', async (t, lives) => {
    const ledger = await lives()
    const under = committed(ledger, submitted(submission(1, 2)))
    t.equal(ledger.task(1), undefined)
    t.equal(ledger.byKey('k1'), undefined)
    t.match(await under, { kind: 'durable' })
    t.match(ledger.task(2), { seq: 2, attempt: 1, assigned: [] })
    t.equal(ledger.task(3), undefined)
    t.equal(ledger.byKey('k1')?.first, 1)
    t.equal(ledger.nextSequence(), 3)
  })

  test('the next life has what was committed, closed ones in their order', async (t, lives) => {
    const first = await lives()
    await committed(first, submitted(submission(1, 4)), assigned(1), assigned(2))
    await committed(first, requeued(2), closed(4), assigned(3), closed(1, 'failed'))
    await committed(first, assigned(2, 2))
    const second = await again(first, lives)
    t.equal(second.id, first.id)
    t.ok(second.epoch > first.epoch, 'its epoch is higher')
    const expected = [
      { seq: 4, closed: { state: 'completed' } },
      { seq: 1, closed: { state: 'failed', outcome: { error: { kind: 'TimedOut' } } } },
      { seq: 2, attempt: 2, failures: 1, assigned: [{ attempt: 1 }, { attempt: 2 }] },
      { seq: 3, attempt: 1, assigned: [{ attempt: 1, hostName: 'w1' }] },
    ]
    t.match(await replayed(second), expected)
    t.same(second.stats(), { open: 2, closed: 2 })
    t.equal(second.nextSequence(), 5)
    t.equal(second.byKey('k1')?.tasks.length, 4)
    await committed(second, closed(2), submitted(submission(5, 1)))
    const third = await again(second, lives)
    const order = (await replayed(third)).map(({ seq }) => seq)
    t.same(order, [4, 1, 2, 3, 5], 'closed in this life come after those of earlier ones')
  })

  test('of a thousand commits at once each takes effect in its turn', async (t, lives) => {
    const ledger = await lives()
    await committed(ledger, submitted(submission(1, 1)))
    const results = await Promise.all(
      Array.from({ length: 1_000 }, (_, n) => committed(ledger, requeued(1, n + 2))),
    )
    t.ok(results.every(({ kind }) => kind === 'durable'))
    t.match(ledger.task(1), { attempt: 1_001 })
  })

  test('the first outcome stays, within a commit and after it', async (t, lives) => {
    const ledger = await lives()
    await committed(ledger, submitted(submission(1, 1)), closed(1), closed(1, 'failed'))
    await committed(ledger, assigned(1, 2), closed(1, 'failed'))
    t.match(ledger.task(1), { attempt: 1, closed: { state: 'completed' } })
    t.same(ledger.stats(), { open: 0, closed: 1 })
  })

  test('of a task the last sixteen hand-outs are kept', async (t, lives) => {
    const ledger = await lives()
    await committed(ledger, submitted(submission(1, 1)))
    for (let attempt = 1; attempt <= 20; attempt += 1)
      await committed(ledger, assigned(1, attempt))
    const attempts = ledger.task(1)?.assigned.map(({ attempt }) => attempt)
    t.same(
      attempts,
      Array.from({ length: 16 }, (_, n) => n + 5),
    )
  })

  test('retire drops closed tasks alone, and a key with its last', async (t, lives) => {
    const first = await lives()
    await committed(first, submitted(submission(1, 3)), closed(1))
    first.retire([1, 2])
    const second = await again(first, lives)
    t.same(
      (await replayed(second)).map(({ seq }) => seq),
      [2, 3],
    )
    t.equal(second.task(1), undefined)
    t.same(second.forgotten('k1'), { closed: 1, failed: 0 })
    t.ok(second.byKey('k1'))
    await committed(second, closed(2), closed(3))
    second.retire([2, 3])
    const third = await again(second, lives)
    t.same(await replayed(third), [])
    t.equal(third.byKey('k1'), undefined)
    t.equal(third.nextSequence(), 4, 'a sequence is never given out twice')
  })

  test('of what is forgotten it is known how much had failed', async (t, lives) => {
    const first = await lives()
    await committed(first, submitted(submission(1, 4)), closed(1, 'failed'), closed(2))
    await committed(first, closed(3, 'failed'))
    first.retire([1, 2])
    const second = await again(first, lives)
    t.same(second.forgotten('k1'), { closed: 2, failed: 1 })
    await replayed(second)
    second.retire([3])
    const third = await again(second, lives)
    t.same(third.forgotten('k1'), { closed: 3, failed: 2 })
  })

  test('how each hand-out went is remembered, and what a submission said', async (t, lives) => {
    const first = await lives()
    const retryOf = [7, 8]
    await committed(first, submitted({ ...submission(1, 2), maxFails: 3, retryOf }))
    const ran = { attempt: 1, nodeId: 'n1', startedMs: 5, pid: 9, ended: 'TimedOut' }
    await committed(first, assigned(1), { ...requeued(1), ran: [ran] } as Change)
    await committed(first, assigned(1, 2), {
      ...closed(1),
      ran: [{ attempt: 2, nodeId: 'n1', endedMs: 6, ended: 'completed' }],
    } as Change)
    await committed(first, { ...closed(2), ran: [{ ...ran, nodeId: 'n2' }] } as Change)
    const { attempt: _, nodeId: __, ...went } = ran
    const second = await again(first, lives)
    t.match(await replayed(second), [
      {
        submission: { maxFails: 3, retryOf },
        assigned: [{ ran: went }, { ran: { endedMs: 6, ended: 'completed' } }],
      },
      { seq: 2, assigned: [] },
    ])
  })

  test('a list goes on below the last one that was seen, while more comes', async (t, lives) => {
    const ledger = await lives()
    await committed(ledger, submitted(submission(1, 5)))
    const page = ledger.list(Number.MAX_SAFE_INTEGER, 2).map(({ seq }) => seq)
    await committed(ledger, submitted(submission(6, 2)))
    const next = ledger.list(page.at(-1) ?? 0, 3).map(({ seq }) => seq)
    t.same(
      [page, next],
      [
        [5, 4],
        [3, 2, 1],
      ],
    )
  })

  test('closed, it takes nothing more', async (t, lives) => {
    const ledger = await lives()
    const under = committed(ledger, submitted(submission(1, 1)))
    await ledger.close()
    await ledger.close()
    t.match(await under, { kind: 'durable' }, 'what was under way got in')
    t.match(await committed(ledger, closed(1)), { kind: 'failed' })
  })
}

type Step = 'submit' | 'assign' | 'requeue' | 'close' | 'retire' | 'again'

t.test(
  'embedded: whatever is done in several lives, memory would have the same',
  async (t) => {
    const steps = fc.array(
      fc.record({
        what: fc.constantFrom<Step>(
          'submit',
          'assign',
          'requeue',
          'close',
          'close',
          'retire',
          'again',
        ),
        on: fc.nat(),
        count: fc.integer({ min: 1, max: 4 }),
      }),
      { maxLength: 25 },
    )
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const lives = [embeddedLives(t), memoryLives()] as const
        let [one, other] = [await lives[0](), await lives[1]()]
        const both = async (...changes: Change[]) => {
          t.match(await committed(one, ...changes), { kind: 'durable' })
          await committed(other, ...changes)
        }
        const again = async () => {
          await Promise.all([one.close(), other.close()])
          ;[one, other] = [await lives[0](), await lives[1]()]
          t.same(await replayed(one), await replayed(other))
          t.same(one.stats(), other.stats())
          t.equal(one.nextSequence(), other.nextSequence())
        }
        for (const { what, on, count } of all) {
          const next = one.nextSequence()
          const seq = 1 + (on % Math.max(1, next - 1))
          if (what === 'submit') await both(submitted(submission(next, count)))
          else if (what === 'again') await again()
          else if (next > 1) await stepOf[what](both, [one, other], seq, count)
        }
        await again()
        await Promise.all([one.close(), other.close()])
      }),
      { numRuns: 25 },
    )
  },
)

type Do = (
  both: (...changes: Change[]) => Promise<void>,
  ledgers: readonly Ledger[],
  seq: number,
  count: number,
) => Promise<void>

const stepOf: Readonly<Record<Exclude<Step, 'submit' | 'again'>, Do>> = {
  assign: (both, _, seq, count) => both(assigned(seq, count)),
  requeue: (both, _, seq, count) => both(requeued(seq, count + 1)),
  close: (both, _, seq) => both(closed(seq)),
  retire: async (_, ledgers, seq) => {
    for (const ledger of ledgers) ledger.retire([seq])
  },
}
