// A manager in memory, for tests of the client and of the verbs: it checks each request by
// its codec, answers as the table of exchanges says, and "runs" a task by its program's
// name. It speaks only through connections, so a real manager can take its place.

import { createHash } from 'node:crypto'
import * as E from 'fp-ts/lib/Either.js'
import {
  type AnswerBodyOf,
  type AnswerKindOf,
  type AnswerOf,
  exchanges,
  INLINE_BYTES,
  type Kind,
  type RequestOf,
  type TaskDone,
  type TaskRequest,
  type TaskResult,
  type TaskState,
} from '../../protocol/index.ts'
import { Client } from '../../src/client/client.ts'
import { Link, type LinkConnection, type LinkOptions } from '../../src/client/link.ts'
import type { Settle } from '../../src/ports.ts'

export const LEDGER = 'testledger'

interface Row {
  readonly id: string
  readonly batch: string
  readonly request: TaskRequest
  readonly submittedMs: number
  state: TaskState
  done?: TaskDone
  readonly output: Record<1 | 2, { data: Buffer; eof: boolean }>
  stdin: Buffer
  stdinEnded: boolean
}

/** What a task does when it starts; `task` has everything needed to end it. */
export type Program = (manager: FakeManager, row: Row) => void

const captured = (data: Buffer) => ({
  size: data.byteLength,
  sha256: createHash('sha256').update(data).digest('hex'),
  ...(data.byteLength <= INLINE_BYTES ? { inline: data } : { ref: 'blob' }),
})

/** A few programs, by the task's first word. */
const programs: Record<string, Program> = {
  'exec:true': (manager, row) => manager.end(row.id, { exit_code: 0 }),
  'noop:': (manager, row) => manager.end(row.id, { exit_code: 0 }),
  'exec:false': (manager, row) => manager.end(row.id, { exit_code: 1 }),
  'exec:echo': (manager, row) => {
    manager.write(row.id, 1, `${row.request.arguments.join(' ')}\n`)
    manager.end(row.id, { exit_code: 0 })
  },
  'exec:big': (manager, row) => {
    manager.write(row.id, 1, Buffer.alloc(100_000, 'b'))
    manager.end(row.id, { exit_code: 0 })
  },
  'exec:missing': (manager, row) =>
    manager.fail(row.id, {
      kind: 'SpawnError',
      code: 'ENOENT',
      reason: 'no such program',
    }),
  'exec:forbidden': (manager, row) =>
    manager.fail(row.id, {
      kind: 'SpawnError',
      code: 'EACCES',
      reason: 'not executable',
    }),
  'exec:slow': (manager, row) => manager.fail(row.id, { kind: 'TimedOut' }),
  'exec:killed': (manager, row) =>
    manager.fail(row.id, { kind: 'RunningError', signal: 'SIGKILL' }),
  // `cat` ends when its stdin does; see TaskInput.
  'exec:cat': () => undefined,
  'exec:sleep': () => undefined,
  // Never placed.
  'exec:queued': () => undefined,
}

export class FakeManager {
  readonly rows = new Map<string, Row>()
  readonly #keys = new Map<string, string[]>()
  readonly #batches = new Map<string, Row[]>()
  readonly #logs = new Map<string, TaskDone[]>()
  readonly #watchers = new Set<() => void>()
  readonly #connections = new Set<FakeConnection>()
  /** Every request taken, by kind. */
  readonly taken: Kind[] = []
  /** Answers instead of the ordinary ones, while it returns something. */
  intercept: (
    kind: Kind,
    body: unknown,
  ) => { readonly kind: string; readonly body: unknown } | 'silence' | undefined = () =>
    undefined
  isReachable = true
  /** When tasks start: at once (each in a later turn), or by `startAll`. */
  isHolding = false

  connect(): LinkConnection {
    const connection = new FakeConnection(this, () =>
      this.#connections.delete(connection),
    )
    this.#connections.add(connection)
    return connection
  }

  client(options: LinkOptions = {}): Client {
    return new Client(this.link(options))
  }

  link(options: LinkOptions = {}): Link {
    const dial = async () =>
      this.isReachable
        ? E.right(this.connect())
        : E.left({ kind: 'no-mesh' as const, looked: ['at the fake'] })
    return new Link(this.connect(), dial, {
      firstPauseMs: 1,
      maxPauseMs: 2,
      regainMs: 200,
      ...options,
    })
  }

  /** Breaks every connection, as a lost network does. */
  cut(): void {
    for (const connection of [...this.#connections]) connection.break()
  }

  row(id: string): Row {
    const row = this.rows.get(id)
    if (row === undefined) throw new Error(`no task ${id}`)
    return row
  }

  write(id: string, fd: 1 | 2, data: string | Uint8Array): void {
    const output = this.row(id).output[fd]
    output.data = Buffer.concat([output.data, Buffer.from(data)])
    this.#changed()
  }

  end(id: string, result: Partial<TaskResult>): void {
    const failed = result.exit_code !== 0
    this.#close(id, {
      state: failed ? 'failed' : 'completed',
      ...(failed && {
        error: { kind: 'RunningError' as const, exit_code: result.exit_code ?? 1 },
      }),
      result: this.#result(id, result),
    })
  }

  fail(id: string, error: NonNullable<TaskDone['error']>): void {
    const state = error.kind === 'Aborted' ? 'aborted' : 'failed'
    this.#close(id, { state, error, result: this.#result(id, {}) })
  }

  #result(id: string, result: Partial<TaskResult>): TaskResult {
    const { output, request } = this.row(id)
    if (request.output === 'stream') return { run_ms: 1, ...result }
    return {
      run_ms: 1,
      ...result,
      ...(output[1].data.byteLength > 0 && { stdout: captured(output[1].data) }),
      ...(output[2].data.byteLength > 0 && { stderr: captured(output[2].data) }),
    }
  }

  #close(id: string, end: Pick<TaskDone, 'state' | 'error' | 'result'>): void {
    const row = this.row(id)
    if (row.done !== undefined) return
    row.state = end.state
    row.output[1].eof = true
    row.output[2].eof = true
    row.done = {
      task_id: id,
      attempt: 1,
      submitted_ms: row.submittedMs,
      started_ms: row.submittedMs + 1,
      ended_ms: row.submittedMs + 2,
      host_name: `worker-${(Number(id.split('-')[1]) % 2) + 1}`,
      ...end,
    }
    const log = this.#logs.get(row.batch) ?? []
    this.#logs.set(row.batch, log)
    log.push(row.done)
    this.#changed()
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }

  /** Calls `tell` until it returns true: now, and at each change. */
  #until(tell: () => boolean, connection: FakeConnection): void {
    if (tell()) return
    const watcher = () => {
      if (connection.isClosed || tell()) this.#watchers.delete(watcher)
    }
    this.#watchers.add(watcher)
  }

  startAll(): void {
    for (const row of this.rows.values()) this.#start(row)
  }

  #start(row: Row): void {
    if (row.state !== 'queued' || row.request.job_addr === 'exec:queued') return
    row.state = 'running'
    const program = programs[row.request.job_addr] ?? programs['exec:true']
    program?.(this, row)
  }

  serve<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    answer: (kind: string, body: unknown) => void,
    connection: FakeConnection,
  ): void {
    this.taken.push(kind)
    const other = this.intercept(kind, body)
    if (other === 'silence') return
    if (other !== undefined) {
      answer(other.kind, other.body)
      return
    }
    const handler = this.#handlers[kind] as
      | ((body: RequestOf<K>, answer: unknown, from: FakeConnection) => void)
      | undefined
    if (handler === undefined) answer('Error', { code: 'unknown-kind' })
    else handler(body, answer, connection)
  }

  readonly #handlers: {
    readonly [K in Kind]?: (
      body: RequestOf<K>,
      answer: <A extends AnswerKindOf<K>>(kind: A, body: AnswerBodyOf<K, A>) => void,
      from: FakeConnection,
    ) => void
  } = {
    TasksSubmit: ({ key, batch = key, tasks }, answer) => {
      answer('TasksSubmitted', { task_ids: this.#submit(key, batch, tasks) })
    },
    TasksRetry: ({ key, task_ids }, answer) => {
      const tasks = task_ids.map((id) => this.row(id).request)
      answer('TasksSubmitted', { task_ids: this.#submit(key, key, tasks) })
    },
    TasksWait: ({ batch, task_ids, after, wait_ms }, answer, from) => {
      const rows =
        task_ids === undefined
          ? (this.#batches.get(batch ?? '') ?? [])
          : task_ids.flatMap((id) => this.rows.get(id) ?? [])
      if (rows.length === 0 || rows.length < (task_ids?.length ?? 0))
        return answer('NotFound', {})
      this.#until(() => {
        const count = batch === undefined ? 0 : (this.#logs.get(batch)?.length ?? 0)
        // Counted only where it matters: a big batch would be scanned at each change.
        const open =
          batch !== undefined && rows.length - count > 100
            ? rows.slice(0, rows.length - count)
            : rows.filter((row) => row.done === undefined)
        const log =
          batch === undefined
            ? rows.flatMap((row) => row.done ?? [])
            : (this.#logs.get(batch) ?? []).slice(after)
        const done = log.slice(0, 500)
        if (done.length === 0 && open.length > 0 && wait_ms > 0) return false
        const running = open.filter((row) => row.state === 'running').length
        answer('TasksDone', {
          done,
          cursor: after + done.length,
          open: open.length,
          running,
        })
        return true
      }, from)
    },
    TaskLogRead: ({ task_id, fd, offset, max, wait_ms }, answer, from) => {
      const row = this.rows.get(task_id)
      if (row === undefined) return answer('NotFound', {})
      this.#until(() => {
        const output = row.output[fd]
        const data = output.data.subarray(offset, offset + max)
        const eof = output.eof && offset + data.byteLength >= output.data.byteLength
        if (data.byteLength === 0 && !eof && wait_ms > 0) return false
        answer('TaskOutputData', { offset, data, eof, lost: 0 })
        return true
      }, from)
    },
    TaskInput: ({ task_id, attempt = 1, offset, data, eof }, answer, from) => {
      const row = this.rows.get(task_id)
      if (row === undefined || row.done !== undefined) return answer('NotFound', {})
      // There is no second attempt here: one is waited for until the task is over.
      if (attempt > 1)
        return this.#until(() => {
          if (row.done !== undefined) answer('NotFound', {})
          return row.done !== undefined
        }, from)
      row.stdin = Buffer.concat([row.stdin.subarray(0, offset), data])
      row.stdinEnded = eof
      answer('Ack', {})
      if (row.request.job_addr !== 'exec:cat') return
      if (data.byteLength > 0) this.write(task_id, 1, data)
      if (eof) this.end(task_id, { exit_code: 0 })
    },
    TasksCancel: ({ task_ids, batch }, answer) => {
      const rows = [...this.rows.values()].filter(
        (row) => row.batch === batch || task_ids?.includes(row.id) === true,
      )
      const open = rows.filter((row) => row.done === undefined)
      for (const row of open) this.fail(row.id, { kind: 'Aborted' })
      answer('TasksCancelled', {
        aborted: open.length,
        closed: rows.length - open.length,
        unknown: Math.max(0, (task_ids?.length ?? 0) - rows.length),
      })
    },
    TasksList: ({ limit, after, states, host_name, batch }, answer) => {
      const all = [...this.rows.values()]
        .reverse()
        .filter((row) => states?.includes(row.state) !== false)
        .filter((row) => host_name === undefined || row.done?.host_name === host_name)
        .filter((row) => batch === undefined || row.batch === batch)
      const first = after === undefined ? 0 : all.findIndex((row) => row.id === after) + 1
      const rows = all.slice(first, first + limit)
      const last = rows.at(-1)
      answer('TaskList', {
        tasks: rows.map((row) => this.#summary(row)),
        ...(last !== undefined && first + limit < all.length && { next: last.id }),
      })
    },
    TaskShow: ({ task_id }, answer) => {
      const row = this.rows.get(task_id)
      if (row === undefined) return answer('NotFound', {})
      answer('TaskRecord', {
        summary: this.#summary(row),
        request: row.request,
        attempts: [],
        failures: 0,
        losses: 0,
        ...(row.done?.result && { result: row.done.result }),
      })
    },
    TasksExplain: ({ task_id }, answer) => {
      const row = this.rows.get(task_id)
      if (row === undefined) return answer('NotFound', {})
      const isWaiting = row.state === 'queued'
      answer('TaskReasons', {
        state: row.state,
        summary: isWaiting ? 'no worker has 64 cores' : 'it succeeded on worker-2',
        nodes: [
          { host_name: 'worker-1', candidate: !isWaiting, reason: 'has 1 core' },
          { host_name: 'worker-2', candidate: !isWaiting, reason: 'has 1 core' },
        ],
      })
    },
    NodesList: (_, answer) => {
      const node = { boot_id: '0123456789abcdef', since_ms: 0, pid: 1, cores: 1 }
      answer('NodesListed', {
        nodes: [
          {
            ...node,
            node_id: '0'.repeat(32),
            host_name: 'box-manager',
            role: 'manager',
            state: 'self',
          },
          {
            ...node,
            node_id: '1'.repeat(32),
            host_name: 'worker-1',
            role: 'worker',
            state: 'managed',
          },
          {
            ...node,
            node_id: '2'.repeat(32),
            host_name: 'worker-2',
            role: 'worker',
            state: 'managed',
          },
        ],
      })
    },
  }

  #submit(key: string, batch: string, tasks: readonly TaskRequest[]): string[] {
    const known = this.#keys.get(key)
    if (known !== undefined) return known
    const ids = tasks.map((request) => {
      const id = `${LEDGER}-${this.rows.size + 1}`
      const row: Row = {
        id,
        batch,
        request,
        submittedMs: Date.now(),
        state: 'queued',
        output: {
          1: { data: Buffer.alloc(0), eof: false },
          2: { data: Buffer.alloc(0), eof: false },
        },
        stdin: Buffer.alloc(0),
        stdinEnded: false,
      }
      this.rows.set(id, row)
      const together = this.#batches.get(batch)
      if (together === undefined) this.#batches.set(batch, [row])
      else together.push(row)
      if (!this.isHolding) setImmediate(() => this.#start(row))
      return id
    })
    this.#keys.set(key, ids)
    return ids
  }

  #summary(row: Row) {
    return {
      task_id: row.id,
      state: row.state,
      attempt: 1,
      submitted_ms: row.submittedMs,
      command: [row.request.job_addr, ...row.request.arguments].join(' '),
      batch: row.batch,
      ...(row.done?.host_name !== undefined && { host_name: row.done.host_name }),
      ...(row.done?.error && { error: row.done.error }),
    }
  }
}

class FakeConnection implements LinkConnection {
  readonly peer = { hostName: 'box-manager', introduction: { ledger_id: LEDGER } }
  readonly #manager: FakeManager
  readonly #ended: () => void
  readonly #open = new Set<() => void>()
  readonly #onClosed: (() => void)[] = []
  isClosed = false

  constructor(manager: FakeManager, ended: () => void) {
    this.#manager = manager
    this.#ended = ended
  }

  ask<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    settle: Settle<K>,
  ): void {
    const { request, answers } = exchanges[kind]
    if (!request.is(body)) throw new Error(`malformed ${kind}`)
    if (this.isClosed) {
      setImmediate(() => settle(E.left({ kind: 'unreachable', exchange: kind })))
      return
    }
    const once = (outcome: Parameters<Settle<K>>[0]) => {
      if (!this.#open.delete(lost)) return
      clearTimeout(timer)
      settle(outcome)
    }
    const lost = () => once(E.left({ kind: 'disconnected', exchange: kind }))
    const timer = setTimeout(
      () => once(E.left({ kind: 'timeout', exchange: kind, afterMs: timeoutMs })),
      timeoutMs,
    )
    this.#open.add(lost)
    setImmediate(() => {
      if (this.isClosed) return
      const answer = (answerKind: string, answerBody: unknown) => {
        const codec = (answers as Record<string, { is(value: unknown): boolean }>)[
          answerKind
        ]
        if (answerKind !== 'Error' && codec?.is(answerBody) !== true)
          throw new Error(`malformed ${answerKind} to ${kind}`)
        // The codec has just vouched for it.
        once(E.right({ kind: answerKind, body: answerBody } as AnswerOf<K>))
      }
      this.#manager.serve(kind, body, answer, this)
    })
  }

  onClosed(fn: () => void): void {
    this.#onClosed.push(fn)
  }

  close(): void {
    this.break()
  }

  break(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#ended()
    for (const lost of [...this.#open]) lost()
    for (const fn of this.#onClosed) fn()
  }
}
