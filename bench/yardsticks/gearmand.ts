// Yardstick: gearmand (Debian's gearman-job-server) with one worker process that returns
// at once, and a client that submits one foreground job after the other.
// (Gearman protocol: 4 bytes magic, u32 type, u32 size, body.)

import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { peerPath } from '../support/peers.ts'
import { connectWhenUp, freePort } from './beanstalkd.ts'

const type = {
  CAN_DO: 1,
  PRE_SLEEP: 4,
  NOOP: 6,
  SUBMIT_JOB: 7,
  GRAB_JOB: 9,
  NO_JOB: 10,
  JOB_ASSIGN: 11,
  WORK_COMPLETE: 13,
} as const

const packet = (kind: number, ...args: readonly string[]): Buffer => {
  const body = Buffer.from(args.join('\0'), 'latin1')
  const head = Buffer.alloc(12)
  head.write('\0REQ', 0, 'latin1')
  head.writeUInt32BE(kind, 4)
  head.writeUInt32BE(body.length, 8)
  return Buffer.concat([head, body])
}

const packets = (
  socket: Socket,
  onPacket: (kind: number, body: Buffer) => void,
): void => {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= 12 && rest.length >= 12 + rest.readUInt32BE(8)) {
      const end = 12 + rest.readUInt32BE(8)
      onPacket(rest.readUInt32BE(4), rest.subarray(12, end))
      rest = rest.subarray(end)
    }
  })
}

const work = async (port: number): Promise<void> => {
  const socket = await connectWhenUp(port)
  packets(socket, (kind, body) => {
    if (kind === type.NO_JOB) socket.write(packet(type.PRE_SLEEP))
    if (kind === type.NOOP) socket.write(packet(type.GRAB_JOB))
    if (kind === type.JOB_ASSIGN) {
      const handle = body.subarray(0, body.indexOf(0)).toString('latin1')
      socket.write(
        Buffer.concat([packet(type.WORK_COMPLETE, handle, ''), packet(type.GRAB_JOB)]),
      )
    }
  })
  socket.write(Buffer.concat([packet(type.CAN_DO, 'noop'), packet(type.PRE_SLEEP)]))
  process.send?.('ready')
}

/** Jobs per second, one at a time: submitted, worked, its completion received. */
export const gearmandRate = async (jobs: number): Promise<number> => {
  const port = await freePort()
  const server = spawn(
    'gearmand',
    ['--listen=127.0.0.1', `--port=${port}`, '--log-file=stderr'],
    { stdio: 'ignore', env: { ...process.env, PATH: peerPath } },
  )
  await once(server, 'spawn')
  const socket = await connectWhenUp(port)
  const worker = fork(fileURLToPath(import.meta.url), [String(port)])
  try {
    await once(worker, 'message')
    let start = 0
    const warm = Math.ceil(jobs / 10)
    await new Promise<void>((resolve) => {
      let done = -warm
      const submit = (): void => {
        socket.write(packet(type.SUBMIT_JOB, 'noop', '', 'noop'))
      }
      packets(socket, (kind) => {
        if (kind !== type.WORK_COMPLETE) return
        done += 1
        if (done === 0) start = performance.now()
        if (done === jobs) return resolve()
        submit()
      })
      submit()
    })
    return jobs / ((performance.now() - start) / 1000)
  } finally {
    worker.kill()
    socket.destroy()
    server.kill()
    await once(server, 'exit')
  }
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url))
  await work(Number(process.argv[2]))
