// How soon a member is served: from the dial over mutual TLS to the first answer, alone,
// and while strangers hold as many sockets open as they can without proving anything.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import { dialler, openMesh, startEchoNode } from './support/echo-node.ts'
import { report } from './support/report.ts'
import { median, quantile } from './support/rounds.ts'
import { startBareServer } from './yardsticks/handshake.ts'

const ALONE = 300
/** What V8 has not compiled yet is not counted. */
const WARM_UP = 50
const STRANGERS = 2000
const AMONG = 100
/** One that is put out comes again after this. */
const BACK_MS = 1000

/** A process full of strangers: each connects, says nothing, and comes back when put out. */
const besiege = async (port: number): Promise<void> => {
  const stand = (): Promise<unknown> => {
    const socket: Socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.on('close', () => setTimeout(() => void stand(), BACK_MS))
    return Promise.race([once(socket, 'connect'), once(socket, 'close')])
  }
  for (let count = 0; count < STRANGERS; count += 1) await stand()
  process.send?.('here')
}

const startStrangers = async (url: string): Promise<ChildProcess> => {
  const child = fork(fileURLToPath(import.meta.url), [new URL(url).port])
  await once(child, 'message')
  return child
}

const measure = async (): Promise<void> => {
  const scratch = mkdtempSync(join(tmpdir(), 'manyhands-bench-'))
  const directory = join(scratch, 's')
  const mesh = await openMesh(directory)
  const dial = dialler(mesh)
  const node = await startEchoNode(directory)
  const connectOnce = async (): Promise<number> => {
    const began = performance.now()
    const connection = await dial(node.url)
    await new Promise<void>((resolve, reject) =>
      connection.ask('NodesList', {}, 10_000, (answer) =>
        E.isRight(answer) && answer.right.kind === 'NodesListed'
          ? resolve()
          : reject(new Error(`expected NodesListed, got ${JSON.stringify(answer)}`)),
      ),
    )
    const tookMs = performance.now() - began
    await connection.close()
    return tookMs
  }
  const bare = await startBareServer(mesh.client)
  const alone: number[] = []
  const bareSpans: number[] = []
  for (let turn = 0; turn < WARM_UP + ALONE; turn += 1) {
    alone.push(await connectOnce())
    bareSpans.push(await bare.shake())
  }
  bare.stop()
  const counted = alone.slice(WARM_UP)
  report({
    what: 'connect and first answer over mutual TLS, p50',
    value: median(counted),
    unit: 'ms',
    goal: ['<=', 8],
    yardstick: {
      name: 'a bare mutual TLS handshake and a byte each way',
      ours: median(counted),
      theirs: median(bareSpans.slice(WARM_UP)),
      unit: 'ms',
      rounds: ALONE,
    },
    note: `p99 ${quantile(counted, 0.99).toFixed(1)} ms`,
  })
  const strangers = await startStrangers(node.url)
  const among: number[] = []
  for (let turn = 0; turn < AMONG; turn += 1) among.push(await connectOnce())
  report({
    what: `the same among ${STRANGERS} strangers' sockets, longest of ${AMONG}`,
    value: Math.max(...among),
    unit: 'ms',
    goal: ['<=', 1000],
    note: `p50 ${median(among).toFixed(1)} ms`,
  })
  strangers.kill()
  await node.stop()
  rmSync(scratch, { recursive: true, force: true })
}

if (process.send === undefined) await measure()
else await besiege(Number(process.argv[2]))
