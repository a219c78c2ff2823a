// The test endpoint's half of the conversation: a manager for one page. It has the page add
// numbers, checks by a ping that it is still there, and hands out the next sum.

import { randomBytes } from 'node:crypto'
import { Conversation, type Introduction, serve } from 'manyhands/protocol'
import type { WebSocket } from 'ws'

const self: Introduction = {
  node_type: 'manager',
  node_id: randomBytes(16).toString('hex'),
  boot_id: randomBytes(8).toString('hex'),
  host_name: 'endpoint',
  minor: 0,
  features: [],
  max_in_flight: 64,
  max_frame: 1024 * 1024,
}
const clock = {
  now: () => performance.now(),
  after: (ms: number, fn: () => void) => {
    const timer = setTimeout(fn, ms)
    return () => clearTimeout(timer)
  },
}
const PAUSE_MS = 1000

export const manage = (socket: WebSocket): void => {
  const rel = randomBytes(4).toString('hex')
  let boot = ''
  let sums = 0

  const conversation = new Conversation({
    send: (bytes) => socket.send(bytes),
    close: (code, reason) => socket.close(code, reason),
    bufferedBytes: () => socket.bufferedAmount,
    clock,
    introduction: {
      own: () => self,
      accept: () => true,
      onIntroduced: (peer) => {
        boot = peer.boot_id
      },
    },
    handle: serve(
      {
        ManagerRequest: (_body, respond) => {
          respond('ManagerAnswer', { accepted: true, rel, epoch: 1 })
          handOut()
        },
        ManagerPing: (body, respond) =>
          body.rel === rel ? respond('ManagerPong', { rel }) : respond('NotMine', {}),
        TaskStarted: (_body, respond) => respond('Ack', {}),
        TaskError: (_body, respond) => respond('Ack', {}),
        TaskCompleted: ({ result }, respond) => {
          respond('Ack', {})
          const sum = new TextDecoder().decode(result.stdout?.inline).trim()
          console.log(`page: ${sums} + ${sums + 1} = ${sum}`)
          clock.after(PAUSE_MS, handOut)
        },
        ManagerBye: (_body, respond) => respond('Ack', {}),
      },
      'the page',
    ),
  })

  const handOut = () => {
    sums++
    const task_id = `sumssumsum-${sums}`
    const words = [String(sums), String(sums + 1)]
    const task = { task_id, attempt: 1, job_addr: 'exec:sum', arguments: words }
    const tasks = [{ ...task, timeout_ms: 0 }]
    conversation.ask('ManagerPing', { rel }, 5000, () => {})
    conversation.ask('TasksExecute', { rel, epoch: 1, boot, tasks }, 5000, (outcome) => {
      if (outcome._tag === 'Left') console.log(`page: ${outcome.left.kind}`)
    })
  }

  conversation.start()
  socket.on('message', (bytes: Buffer, isBinary) =>
    isBinary ? conversation.receive(bytes) : conversation.receiveText(),
  )
  socket.on('close', () => conversation.closed())
  socket.on('error', () => socket.terminate())
}
