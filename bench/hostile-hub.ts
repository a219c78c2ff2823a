// A hub that is an enemy: it has what a client signed, and sends a host 10,000 requests that
// were changed, kept, turned round or sent again. Is any of them done?

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { type AnswerOf, packed, type RequestOf, unpacked } from '../protocol/index.ts'
import { systemClock as clock } from '../src/clock.ts'
import { makeMember } from '../src/identity/issue.ts'
import { RequestSigner } from '../src/identity/signed-requests.ts'
import { type Connection, dialMesh } from '../src/mesh/dial.ts'
import { tlsTransport } from '../src/mesh/tls.ts'
import { introduction, openMesh } from './support/echo-node.ts'
import { binary, said } from './support/mesh.ts'
import { report } from './support/report.ts'

const HOSTILE = 10_000
const AT_ONCE = 64

type Ask = RequestOf<'HostRequest'>

const place = await mkdtemp(join(tmpdir(), 'manyhands-bench-'))
const directory = join(place, 's')
const mesh = await openMesh(directory)
const flags = ['--role', 'worker', '--name', 'pi', '--state', directory, '--no-mdns']
const worker: ChildProcess = spawn(process.execPath, [binary, ...flags], {
  stdio: ['ignore', 'pipe', 'pipe'],
})

const dialAsHub = async (url: string): Promise<Connection> => {
  const where = { role: 'hub', hostName: 'evil', place: join(directory, 'evil') } as const
  const made = await makeMember(mesh, where)
  if (E.isLeft(made)) throw new Error(made.left.reason)
  const transport = tlsTransport({ credentials: made.right, clock })
  const self = introduction(made.right.party)
  const dialled = await dialMesh({ url, transport, self, clock })
  if (E.isLeft(dialled)) throw new Error(dialled.left.reason)
  return dialled.right
}

/** A client that may read alone. */
const readerOf = async (): Promise<RequestSigner> => {
  const where = {
    role: 'client',
    hostName: 'reader',
    place: join(directory, 'reader'),
  } as const
  const made = await makeMember(mesh, { ...where, scopes: ['read'] })
  if (E.isLeft(made)) throw new Error(made.left.reason)
  return new RequestSigner(made.right, clock)
}

/** Changes a byte, or several. */
const spoiled = (bytes: Uint8Array, count = 1): Uint8Array => {
  const copy = Uint8Array.from(bytes)
  for (let turn = 0; turn < count; turn += 1) {
    const at = Math.floor(Math.random() * copy.length)
    copy[at] = (copy[at] ?? 0) ^ (1 + Math.floor(Math.random() * 255))
  }
  return copy
}

const start = (mark: string) => packed({ spec: { path: '/bin/true', args: [mark] } })

try {
  const [, url = ''] = await said(worker, /listening {2}(wss:\S+)/)
  const hub = await dialAsHub(url)
  const ask = (body: Ask) =>
    new Promise<AnswerOf<'HostRequest'>>((resolve, reject) =>
      hub.ask('HostRequest', body, 30_000, (outcome) =>
        E.isRight(outcome)
          ? resolve(outcome.right)
          : reject(new Error(outcome.left.kind)),
      ),
    )
  const signer = new RequestSigner(mesh.client, clock)
  const reader = await readerOf()
  const startedNow = async (): Promise<number> => {
    const answer = await ask({ kind: 'ProcessList', body: packed({ all: true }) })
    if (answer.kind !== 'HostAnswer') throw new Error(answer.kind)
    const list = unpacked(answer.body.body)
    return E.isRight(list) ? Object(list.right).processes.length : Number.NaN
  }
  // What it has seen: one that was done, and others that it kept.
  const done = signer.sign('pi', 'ProcessStart', start('done'))
  await ask(done)
  const kept = (to: string) => signer.sign(to, 'ProcessStart', start('kept'))
  const kinds: readonly (() => Ask)[] = [
    () => done,
    () => ({ ...done, s: spoiled(done.s) }),
    () => ({ ...done, sig: spoiled(done.sig) }),
    () => ({ ...done, s: spoiled(done.s, 8), sig: spoiled(done.sig, 8) }),
    () => kept('nas'),
    () => kept('PI'),
    () => ({ ...kept('pi'), sig: done.sig }),
    () => ({ ...done, s: kept('pi').s }),
    () => ({ ...kept('pi'), ...certificateOf(reader) }),
    () => reader.sign('pi', 'ProcessStart', start('reader')),
    () => ({ kind: 'ProcessStart', body: start('unsigned') }),
    () =>
      signer.sign('pi', 'HostRequest', packed({ kind: 'ProcessStart', body: start('') })),
    () => longAgo('pi'),
    () => ({ ...done, cert: spoiled(done.cert) }),
    () => ({ ...kept('pi'), s: Buffer.concat([done.s, Buffer.from([0])]) }),
  ]
  const certificateOf = (its: RequestSigner) => {
    const { cert, cert_id } = its.sign('pi', 'ProcessList', packed({}))
    return { cert, cert_id }
  }
  /** As it would be after a restart of the host, or when its time is over. */
  const past = new RequestSigner(mesh.client, {
    ...clock,
    wall: () => Date.now() - 61_000,
  })
  const longAgo = (to: string) => past.sign(to, 'ProcessStart', start('past'))
  const before = await startedNow()
  let sent = 0
  const beganMs = performance.now()
  const one = async (): Promise<void> => {
    while (sent < HOSTILE) {
      sent += 1
      const make = kinds[sent % kinds.length]
      if (make !== undefined) await ask(make())
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, one))
  const seconds = (performance.now() - beganMs) / 1000
  const after = await startedNow()
  report({
    what: `of ${HOSTILE} requests of a hostile hub, in ${kinds.length} ways: done`,
    value: after - before,
    unit: '',
    goal: ['<=', 0],
    note: `${(HOSTILE / seconds).toFixed(0)} refused a second; ${before} was done when it was signed`,
  })
  await ask(signer.sign('pi', 'ProcessStart', start('good')))
  report({
    what: 'and one that is signed as it should be, after all that',
    value: (await startedNow()) - after,
    unit: '',
    goal: ['>=', 1],
  })
  await hub.close()
} finally {
  worker.kill('SIGKILL')
  await once(worker, 'exit')
  await rm(place, { recursive: true, force: true })
}
