// What it costs that tasks outlive their manager: the same mesh with its ledger on disk and
// in memory, measured in turn; submissions alone; and how long a manager takes to start
// over what an earlier one has left.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import type { TaskRequest } from '../src/index.ts'
import { openEmbeddedLedger } from '../src/ledger/open.ts'
import { managerDefaults } from '../src/machines/manager-config.ts'
import { TaskTable } from '../src/machines/tasks.ts'
import type { Ledger } from '../src/ports.ts'
import type { Change, Submission } from '../src/records.ts'
import { startCarriedMesh } from './support/carried-mesh.ts'
import { comparison } from './support/figures.ts'
import { report } from './support/report.ts'
import { interleave, median, quantile } from './support/rounds.ts'
import { taskRate } from './support/task-rate.ts'

const NOOPS = { count: 30_000, rounds: 5 }
/** A program's start takes what the machine lets it: many short turns, so that none decides. */
const TRUES = { count: 400, rounds: 21 }
const SINGLE = 1_000
const BATCHES = 200
const IN_BATCH = 100
const CLOSED = 100_000
const OPEN = 10_000

const noop: TaskRequest = { job_addr: 'noop:', arguments: [], timeout_ms: 0 }
const command: TaskRequest = { ...noop, job_addr: 'exec:/bin/true' }

const compare = async (): Promise<void> => {
  const embedded = await startCarriedMesh('tls', 'embedded')
  const memory = await startCarriedMesh('tls', 'memory')
  const held = async (
    what: string,
    task: TaskRequest,
    { count, rounds }: typeof NOOPS,
    goal: number,
  ) => {
    const pairs = await interleave(
      rounds,
      () => taskRate(embedded.client, task, count),
      () => taskRate(memory.client, task, count),
    )
    const beside = { what, yardstick: 'the ledger in memory', unit: '/s' }
    report(comparison({ ...beside, goal: ['>=', goal] }, pairs))
  }
  try {
    await held(`${NOOPS.count} noop tasks, durable`, noop, NOOPS, 0.6)
    await held(`${TRUES.count} x true, durable`, command, TRUES, 0.95)
  } finally {
    await embedded.close()
    await memory.close()
  }
}

const newId = () => 'abcdefghij'
const opened = async (directory: string): Promise<Ledger> => {
  const ledger = await openEmbeddedLedger({ directory, newId, hasRoom: () => true })
  if (E.isLeft(ledger)) throw new Error(ledger.left)
  return ledger.right
}
const committed = (ledger: Ledger, changes: readonly Change[]): Promise<void> =>
  new Promise((resolve, reject) =>
    ledger.commit(changes, (result) =>
      result.kind === 'durable' ? resolve() : reject(new Error(result.kind)),
    ),
  )
const submissionOf = (first: number, count: number): Submission => {
  const key = `k${first}`
  return { first, key, batch: key, tasks: Array(count).fill(command), atMs: 1 }
}
const submitted = (first: number, count: number): Change => ({
  kind: 'submitted',
  submission: submissionOf(first, count),
})
const closed = (seq: number): Change => ({
  kind: 'closed',
  ...{ seq, attempt: 1, state: 'completed', failures: 0, losses: 0, endedMs: 1 },
  outcome: { kind: 'Completed', result: { run_ms: 1, exit_code: 0 } },
})

const submissions = async (ledger: Ledger): Promise<void> => {
  const spans: number[] = []
  for (let n = 0; n < SINGLE; n += 1) {
    const start = performance.now()
    await committed(ledger, [submitted(ledger.nextSequence(), 1)])
    spans.push(performance.now() - start)
  }
  report({
    what: 'durable submits, one at a time, p50',
    value: median(spans),
    unit: 'ms',
    goal: ['<=', 3],
    note: `p99 ${quantile(spans, 0.99).toFixed(1)} ms`,
  })
  const start = performance.now()
  for (let n = 0; n < BATCHES; n += 1)
    await committed(ledger, [submitted(ledger.nextSequence(), IN_BATCH)])
  report({
    what: `durable submits in batches of ${IN_BATCH}, one batch at a time`,
    value: (BATCHES * IN_BATCH) / ((performance.now() - start) / 1000),
    unit: '/s',
    goal: ['>=', 20_000],
  })
}

const restart = async (directory: string): Promise<void> => {
  const ledger = await opened(directory)
  for (let count = 0; count < CLOSED + OPEN; count += IN_BATCH) {
    const first = ledger.nextSequence()
    const its: Change[] = [submitted(first, IN_BATCH)]
    if (count < CLOSED)
      for (let index = 0; index < IN_BATCH; index += 1) its.push(closed(first + index))
    await committed(ledger, its)
  }
  await ledger.close()
  const start = performance.now()
  const again = await opened(directory)
  const table = new TaskTable(managerDefaults, again.id, again.nextSequence())
  for await (const task of again.replay())
    table.apply({ kind: 'restored', task, nowMs: 0, wallMs: 0 })
  report({
    what: `a manager's start over ${CLOSED} finished and ${OPEN} open tasks`,
    value: (performance.now() - start) / 1000,
    unit: 's',
    goal: ['<=', 3],
  })
  await again.close()
}

const scratch = mkdtempSync(join(tmpdir(), 'manyhands-bench-'))
const ledger = await opened(join(scratch, 'submits'))
await submissions(ledger)
await ledger.close()
await restart(join(scratch, 'restart'))
rmSync(scratch, { recursive: true, force: true })
await compare()
