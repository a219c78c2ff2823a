// A worker in a page: one WebSocket, one Conversation, every frame shown as it passes. It
// has one program, and none of the memory that a worker of a mesh has of what it ran.
//
// `?at=ws://HOST:PORT` names the endpoint; without it, the server that gave the page.

import {
  Conversation,
  type Introduction,
  type RequestOf,
  serve,
} from 'manyhands/protocol'
import { frames, note, onClick, status } from './view.ts'

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
const random = (bytes: number) => hex(crypto.getRandomValues(new Uint8Array(bytes)))

const self: Introduction = {
  node_type: 'worker',
  node_id: random(16),
  boot_id: random(8),
  host_name: 'page',
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
const at = new URLSearchParams(location.search).get('at') ?? `ws://${location.host}`
const socket = new WebSocket(at, 'manyhands.v1')
socket.binaryType = 'arraybuffer'
let rel = ''

const conversation = new Conversation({
  send: (bytes) => {
    frames.sent(bytes)
    // Never a SharedArrayBuffer: the library packs into plain memory.
    socket.send(bytes as Uint8Array<ArrayBuffer>)
  },
  // The library's reasons are short: a browser takes at most 123 bytes of one.
  close: (code, reason) => {
    note(`closed it with ${code}: ${reason}`)
    socket.close(code, reason)
  },
  bufferedBytes: () => socket.bufferedAmount,
  clock,
  introduction: { own: () => self, accept: () => true, onIntroduced: () => enlist() },
  onCounted: (what) => note(`counted: ${what}`),
  // A request without a handler here is answered Error{wrong-role}.
  handle: serve(
    {
      ManagerPing: (body, respond) =>
        body.rel === rel
          ? respond('ManagerPong', { rel, free_slots: 1 })
          : respond('NotMine', {}),
      TasksExecute: (body, respond) => {
        if (body.rel !== rel || body.boot !== self.boot_id) return respond('NotMine', {})
        respond('Ack', {})
        for (const task of body.tasks) void run(task)
      },
    },
    'the endpoint',
  ),
})
socket.onopen = () => conversation.start()
socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
  if (typeof data === 'string') return conversation.receiveText()
  const bytes = new Uint8Array(data)
  frames.received(bytes)
  conversation.receive(bytes)
}
socket.onclose = ({ code }) => {
  conversation.closed()
  status(`the connection is closed (${code})`)
}
// A browser does not say when it has written: what was kept back is looked at now and then.
setInterval(() => socket.bufferedAmount === 0 && conversation.drained(), 100)

const enlist = () => {
  const offer = { cores: 1, memory: 0, tasks: [], more: false }
  conversation.ask('ManagerRequest', offer, 5000, (outcome) => {
    if (outcome._tag === 'Left') return note(`ManagerRequest: ${outcome.left.kind}`)
    const answer = outcome.right // ManagerAnswer or Error: no other kind compiles
    if (answer.kind === 'Error') return note(`ManagerRequest: ${answer.body.code}`)
    rel = answer.body.rel ?? ''
    status(answer.body.accepted ? `managed as ${rel}` : 'refused')
  })
}

type Task = RequestOf<'TasksExecute'>['tasks'][number]

const tell = <K extends 'TaskStarted' | 'TaskCompleted' | 'TaskError'>(
  kind: K,
  body: RequestOf<K>,
) =>
  conversation.ask(kind, body, 5000, (outcome) => {
    if (outcome._tag === 'Left') note(`${kind}: ${outcome.left.kind}`)
  })

const run = async ({ task_id, attempt, job_addr, arguments: words }: Task) => {
  const which = { rel, task_id, attempt }
  tell('TaskStarted', { ...which, at_ms: Date.now() })
  if (job_addr !== 'exec:sum') {
    const reason = 'this page has one program: sum'
    tell('TaskError', { ...which, error: { kind: 'SpawnError', code: 'ENOENT', reason } })
    return
  }
  const sum = words.reduce((total, word) => total + Number(word), 0)
  const inline = new TextEncoder().encode(`${sum}\n`)
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', inline))
  const stdout = { size: inline.length, sha256: hex(digest), inline }
  tell('TaskCompleted', { ...which, result: { run_ms: 0, exit_code: 0, stdout } })
}

const ask = (kind: 'ManagerPing' | 'ManagerBye') => () =>
  conversation.ask(kind, { rel: rel || 'none' }, 5000, (outcome) => {
    const said = outcome._tag === 'Left' ? outcome.left.kind : outcome.right.kind
    note(`${kind}: ${said}`)
  })
onClick('ping', ask('ManagerPing'))
onClick('bye', ask('ManagerBye'))
