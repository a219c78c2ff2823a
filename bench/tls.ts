// What TLS costs: the same mesh twice, once over mutual TLS as always, once over plain
// sockets, measured in turn.

import type { TaskRequest } from '../src/index.ts'
import { startCarriedMesh } from './support/carried-mesh.ts'
import { comparison } from './support/figures.ts'
import { report } from './support/report.ts'
import { interleave } from './support/rounds.ts'
import { taskRate } from './support/task-rate.ts'

const NOOPS = 30_000
const TRUES = 400
/** A program's start takes what the machine lets it: many short turns, so that none decides. */
const ROUNDS = { noop: 5, command: 21 }

interface Compared {
  readonly task: TaskRequest
  readonly count: number
  readonly rounds: number
}

const tls = await startCarriedMesh('tls')
const plain = await startCarriedMesh('plain')
try {
  const noop: TaskRequest = { job_addr: 'noop:', arguments: [], timeout_ms: 0 }
  const command: TaskRequest = { ...noop, job_addr: 'exec:/bin/true' }
  const compare = async (
    what: string,
    { task, count, rounds }: Compared,
    goal: number,
  ) => {
    const pairs = await interleave(
      rounds,
      () => taskRate(tls.client, task, count),
      () => taskRate(plain.client, task, count),
    )
    const beside = { what, yardstick: 'plain sockets', unit: '/s' }
    report(comparison({ ...beside, goal: ['>=', goal] }, pairs))
  }
  const noops = { task: noop, count: NOOPS, rounds: ROUNDS.noop }
  await compare(`${NOOPS} noop tasks under TLS`, noops, 0.6)
  const commands = { task: command, count: TRUES, rounds: ROUNDS.command }
  await compare(`${TRUES} x true under TLS`, commands, 0.95)
} finally {
  await tls.close()
  await plain.close()
}
