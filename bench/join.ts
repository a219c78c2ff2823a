// How long it takes to become a member: from an invitation in hand to keys and certificates
// on disk. The inviting side is the real command; the joining side is measured in this
// process, each time into a state directory of its own, and a few times as a whole command.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { joinMesh } from '../src/identity/join.ts'
import { placeMembership, standingOf } from '../src/identity/place-membership.ts'
import { readToken } from '../src/identity/token.ts'
import { binary, manyhands } from './support/mesh.ts'
import { report } from './support/report.ts'
import { median, quantile } from './support/rounds.ts'

const JOINS = 300
const COMMANDS = 20
/** The first loads what makes certificates; not counted. */
const WARM_UP = 5

const scratch = mkdtempSync(join(tmpdir(), 'manyhands-bench-'))

/** An invitation for all of them, open until the child is killed. */
const invite = async () => {
  const child = spawn(
    process.execPath,
    [
      ...[binary, 'invite', '--role', 'worker', '--uses', String(JOINS * 2), '--json'],
      ...['--listen', '127.0.0.1', '--no-mdns', '--state', join(scratch, 'maker')],
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const [line] = await once(child.stdout, 'data')
  const { token, at } = JSON.parse(String(line)) as { token: string; at: string[] }
  const [host = '', port = ''] = at[0]?.split(':') ?? []
  const invitation = readToken(token)
  if (invitation === undefined) throw new Error('Expected a token')
  return { child, token, invitation, host, port: Number(port) }
}

const { child, token, invitation, host, port } = await invite()

/** Milliseconds from the invitation to the files. */
const joinOnce = async (name: string): Promise<number> => {
  const directory = join(scratch, name)
  const began = performance.now()
  const standing = standingOf(directory, invitation.meshId, false)
  const joined = await joinMesh({ invitation, host, port, name, isFixed: true })
  if (E.isLeft(joined)) throw new Error(joined.left.reason)
  placeMembership(directory, joined.right, standing)
  return performance.now() - began
}

const commandOnce = async (name: string): Promise<number> => {
  const began = performance.now()
  const state = ['--state', join(scratch, name)]
  await manyhands('join', token, '--at', `${host}:${port}`, '--name', name, ...state)
  return performance.now() - began
}

const spans: number[] = []
for (let count = 0; count < WARM_UP + JOINS; count += 1)
  spans.push(await joinOnce(`w${count}`))
const counted = spans.slice(WARM_UP)
const commands: number[] = []
for (let count = 0; count < COMMANDS; count += 1)
  commands.push(await commandOnce(`c${count}`))
child.kill('SIGKILL')
await once(child, 'exit')
rmSync(scratch, { recursive: true, force: true })

report({
  what: `join to joined, p99 of ${JOINS}`,
  value: quantile(counted, 0.99),
  unit: 'ms',
  goal: ['<=', 250],
  note: `p50 ${median(counted).toFixed(0)} ms`,
})
report({
  what: 'manyhands join as a whole command, median',
  value: median(commands),
  unit: 'ms',
  note: `worst ${Math.max(...commands).toFixed(0)} ms of ${COMMANDS}`,
})
