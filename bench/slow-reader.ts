// A gigabyte of a program's output, through a hub, to a reader that takes 5 MB a second: what
// do the nodes between hold of it, and does every byte come?

import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binary, manyhands, residentBytes, said } from './support/mesh.ts'
import { report } from './support/report.ts'

const BYTES = 1_000_000_000
const BYTES_PER_SECOND = 5_000_000
const MIB = 1024 * 1024
const SCRIPT = `seq -w 0 199999999 | head -c ${BYTES}`

const place = mkdtempSync(join(tmpdir(), 'manyhands-bench-'))
const state = join(place, 's')
const nodes = new Map<string, ChildProcess>()
const node = (role: string, ...flags: readonly string[]): ChildProcess => {
  const all = ['--role', role, '--name', role, '--state', state, '--no-mdns', ...flags]
  const child = spawn(process.execPath, [binary, ...all], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  nodes.set(role, child)
  return child
}

const resident = async (): Promise<ReadonlyMap<string, number>> => {
  const sizes = new Map<string, number>()
  for (const [role, { pid = 0 }] of nodes) sizes.set(role, await residentBytes(pid))
  return sizes
}

try {
  await said(node('manager', '--ledger', 'memory'), /is up/)
  const hub = node('hub', '--http', '127.0.0.1:0')
  const [, port] = await said(hub, /http {7}http:\/\/127\.0\.0\.1:(\d+)/)
  await said(node('worker'), /phase=managed/)
  const scopes = ['--scope', 'read', '--scope', 'tasks:run']
  const token = (await manyhands('token', 'create', '--state', state, ...scopes)).trim()
  const run = async (script: string): Promise<IncomingMessage> => {
    const path = `/v1/run?arg=sh&arg=-c&arg=${encodeURIComponent(script)}`
    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
    }
    const asked = request({ port: Number(port), path, method: 'POST', headers })
    asked.end()
    const [answer] = await once(asked, 'response')
    return answer
  }
  // What any program through it leaves in them is not this one's.
  for await (const _part of await run('head -c 50M /dev/zero'));
  const before = await resident()
  const most = new Map<string, number>()
  const looking = setInterval(async () => {
    for (const [role, bytes] of await resident())
      most.set(role, Math.max(most.get(role) ?? 0, bytes))
  }, 500)
  const hash = createHash('sha256')
  let size = 0
  const beganMs = performance.now()
  for await (const part of await run(SCRIPT)) {
    hash.update(part)
    size += part.length
    const dueMs = (size / BYTES_PER_SECOND) * 1000 - (performance.now() - beganMs)
    if (dueMs > 10) await new Promise((resolve) => setTimeout(resolve, dueMs))
  }
  clearInterval(looking)
  const seconds = (performance.now() - beganMs) / 1000
  for (const [role, bytes] of before)
    report({
      what: `1 GB to a reader at 5 MB/s: the ${role}'s memory, at most over before`,
      value: ((most.get(role) ?? 0) - bytes) / MIB,
      unit: 'MiB',
      goal: ['<=', 64],
      note: `${(bytes / MIB).toFixed(0)} MiB before; ${seconds.toFixed(0)} s`,
    })
  const local = spawn('sh', ['-c', `${SCRIPT} | sha256sum`])
  const [sum] = await once(local.stdout, 'data')
  const isSame = String(sum).startsWith(hash.digest('hex'))
  report({
    what: 'its sha256, by that of the same made here',
    value: Number(isSame && size === BYTES),
    unit: isSame ? ', equal' : ', NOT equal',
    goal: ['>=', 1],
  })
} finally {
  for (const child of nodes.values()) child.kill('SIGKILL')
  rmSync(place, { recursive: true, force: true })
}
