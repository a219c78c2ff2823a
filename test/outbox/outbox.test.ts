// Every outbox keeps the port's promise: in memory, which plays a disk, and in a file.

import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.ts'
import { openFileOutbox } from '../../src/outbox/file.ts'
import { memoryOutbox } from '../../src/outbox/memory.ts'
import type { Outbox, Undelivered } from '../../src/ports.ts'
import { assignment, quiet } from '../support/worker-world.ts'

const boots = { same: 'one', next: 'two' }

const fileOutbox = (directory: string, machineBoot: string): Outbox => {
  const outbox = openFileOutbox({
    directory,
    machineBoot,
    clock: systemClock,
    log: quiet,
  })
  if (E.isLeft(outbox)) throw new Error(outbox.left)
  return outbox.right
}

/** Gives the outbox of a first life, and then of each next one. */
const kinds: Readonly<Record<string, (t: Test) => () => Outbox>> = {
  memory: () => {
    const outbox = memoryOutbox()
    return () => outbox
  },
  file: (t) => {
    const directory = t.testdir({})
    return () => fileOutbox(directory, boots.same)
  },
}

const synced = (outbox: Outbox) => new Promise<boolean>((done) => outbox.sync(done))
const completed = (n: number, attempt = 1): Undelivered => ({
  task: assignment(n, { attempt, stdin: Buffer.from([0, 200]) }),
  outcome: {
    kind: 'Completed',
    result: {
      run_ms: 1,
      exit_code: 0,
      stdout: { size: 1, sha256: 'ab'.repeat(32), inline: Buffer.from('a') },
    },
  },
})

for (const [kind, make] of Object.entries(kinds))
  t.test(
    `${kind}: what was recorded and not removed is there in the next life`,
    async (t) => {
      const next = make(t)
      const first = next()
      t.same(first.load(), { pending: [], outcomes: [] })
      for (const n of [1, 2, 3]) first.putPending(assignment(n))
      first.putPending(assignment(2, { attempt: 2 }))
      first.removePending(assignment(1).task_id)
      first.putOutcome(completed(1))
      first.putOutcome(completed(4))
      first.putOutcome(completed(5))
      first.putOutcome(completed(5, 2))
      first.removeOutcome(assignment(4).task_id)
      t.equal(await synced(first), true)
      await first.close()
      const second = next()
      const left = second.load()
      t.same(left.pending, [assignment(2, { attempt: 2 }), assignment(3)])
      t.same(left.outcomes, [completed(1), completed(5, 2)])
      second.removeOutcome(assignment(1).task_id)
      await second.close()
      t.same(next().load().outcomes, [completed(5, 2)])
    },
  )

t.test(
  'after the machine was down, nothing waits to be started; outcomes stay',
  async (t) => {
    const directory = t.testdir({})
    const before = fileOutbox(directory, boots.same)
    before.load()
    before.putPending(assignment(1))
    before.putOutcome(completed(2))
    await before.close()
    const after = fileOutbox(directory, boots.next)
    t.same(after.load(), { pending: [], outcomes: [completed(2)] })
    await after.close()
    const later = fileOutbox(directory, boots.next)
    t.same(
      later.load(),
      { pending: [], outcomes: [completed(2)] },
      'it does not come back',
    )
    await later.close()
  },
)

t.test('a file that is none of ours is named, with the remedy', async (t) => {
  const directory = t.testdir({ outbox: 'something else' })
  const outbox = openFileOutbox({
    directory,
    machineBoot: boots.same,
    clock: systemClock,
    log: quiet,
  })
  if (E.isRight(outbox)) throw new Error('Expected it to be refused')
  t.ok(outbox.left.startsWith(`${join(directory, 'outbox')} was not written by`))
})
