// One connection of the mesh: typed asks beside a raw ws echo, and what an idle one costs.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Connection } from '../src/mesh/dial.ts'
import { dialler, type EchoNode, openMesh, startEchoNode } from './support/echo-node.ts'
import { comparison } from './support/figures.ts'
import { report } from './support/report.ts'
import { interleave } from './support/rounds.ts'
import { rawEchoRate } from './yardsticks/echo.ts'

const COUNT = 50_000
const IN_FLIGHT = 64
const ROUNDS = 5
/** What a small request and its answer are on the wire. */
const ECHO_BYTES = 48
const IDLE = 5000
const SETTLE_MS = 1000

const askRate = async (connection: Connection): Promise<number> => {
  const start = performance.now()
  await new Promise<void>((resolve) => {
    let sent = 0
    let answered = 0
    const ask = (): void => {
      if (sent === COUNT) return
      sent += 1
      connection.ask('NodesList', {}, 10_000, () => {
        answered += 1
        if (answered === COUNT) resolve()
        else ask()
      })
    }
    for (let places = 0; places < IN_FLIGHT; places += 1) ask()
  })
  return COUNT / ((performance.now() - start) / 1000)
}

const measureRate = async ({ url }: EchoNode): Promise<void> => {
  const connection = await dial(url)
  const pairs = await interleave(
    ROUNDS,
    () => askRate(connection),
    () => rawEchoRate(COUNT, IN_FLIGHT, ECHO_BYTES),
  )
  await connection.close()
  const what = `typed ask and answer, ${IN_FLIGHT} in flight`
  const beside = { what, yardstick: 'raw ws echo', unit: '/s' }
  report(comparison({ ...beside, goal: ['>=', 0.35] }, pairs))
}

const measureIdle = async (node: EchoNode): Promise<void> => {
  const before = await node.memory()
  const connections: Connection[] = []
  for (let count = 0; count < IDLE; count += 1) connections.push(await dial(node.url))
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  const after = await node.memory()
  report({
    what: `memory per idle connection, ${IDLE} of them`,
    value: (after - before) / IDLE / 1024,
    unit: 'KiB',
    goal: ['<=', 80], // under TLS; without, it was 16 KiB
  })
}

const scratch = mkdtempSync(join(tmpdir(), 'manyhands-bench-'))
const directory = join(scratch, 's')
const dial = dialler(await openMesh(directory))
// One process for each figure: the memory of the first would hide that of the second.
const rated = await startEchoNode(directory)
await measureRate(rated)
await rated.stop()
const idle = await startEchoNode(directory)
await measureIdle(idle)
await idle.stop()
rmSync(scratch, { recursive: true, force: true })
// Thousands of connections are not closed one by one.
process.exit()
