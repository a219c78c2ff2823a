// 500 MB that a program writes are followed while the ways to its reader are cut twenty times
// and the manager is killed with -9 three times: does every byte come, once?

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { connect } from '../src/index.ts'
import { Relay } from '../test/chaos/relay.ts'
import { binary, said } from './support/mesh.ts'
import { report } from './support/report.ts'

const BYTES = 500_000_000
const CUTS = 20
const KILLS = 3
const BREAKS = CUTS + KILLS
const SCRIPT = `seq -w 0 99999999 | head -c ${BYTES}`

const run = promisify(execFile)

const place = await mkdtemp(join(tmpdir(), 'manyhands-bench-'))
const state = join(place, 'm')
const own = join(place, 'w')
const node = (role: string, ...flags: readonly string[]): ChildProcess =>
  spawn(process.execPath, [binary, '--role', role, '--no-mdns', ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
const startManager = () => node('manager', '--name', 'm', '--state', state)

let manager = startManager()
const [, port = ''] = await said(manager, /wss:\/\/127\.0\.0\.1:(\d+)/)
await run(process.execPath, [
  ...[binary, 'issue', '--role', 'worker', '--name', 'w', '--out', own],
  ...['--state', state],
])
const [nearWorker, nearClient] = [
  await Relay.to(Number(port)),
  await Relay.to(Number(port)),
]
const join_ = `127.0.0.1:${nearWorker.port}`
const worker = node('worker', '--state', own, '--join', join_, '--output-cap', '1G')
await said(worker, /phase=managed/)
const client = await connect({
  state,
  at: `wss://127.0.0.1:${nearClient.port}`,
  discoverMs: 0,
})

const breakAt = (number: number): void => {
  if (number % Math.floor(BREAKS / KILLS) === 0) {
    manager.kill('SIGKILL')
    manager = startManager()
    kills += 1
    return
  }
  const relay = number % 2 === 0 ? nearWorker : nearClient
  relay.break('cut')
  cuts += 1
}

let cuts = 0
let kills = 0
try {
  const task = { job_addr: 'exec:sh', arguments: ['-c', SCRIPT], timeout_ms: 0 }
  const [id = ''] = await client.submit([{ ...task, output: 'capture' as const }])
  const hash = createHash('sha256')
  let size = 0
  let broken = 0
  const start = performance.now()
  for await (const chunk of client.output(id)) {
    hash.update(chunk)
    size += chunk.length
    const due = Math.floor((size / BYTES) * (BREAKS + 1))
    if (broken < due && broken < BREAKS) {
      broken += 1
      breakAt(broken)
    }
  }
  const seconds = (performance.now() - start) / 1000
  const { stdout } = await run('sh', ['-c', `${SCRIPT} | sha256sum`])
  const isSame = stdout.startsWith(hash.digest('hex'))
  report({
    what: `sha256 of 500 MB followed through ${cuts} cuts and ${kills} kills of the manager`,
    value: Number(isSame),
    unit: isSame ? ', equal' : ', NOT equal',
    goal: ['>=', 1],
    note: `${size} bytes in ${seconds.toFixed(0)} s`,
  })
  const { attempts } = await client.show(id)
  report({
    what: 'attempts that it took',
    value: attempts.length,
    unit: '',
    goal: ['<=', 1],
  })
} finally {
  await client.close()
  for (const relay of [nearWorker, nearClient]) relay.close()
  for (const child of [worker, manager]) {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  await rm(place, { recursive: true, force: true })
}
