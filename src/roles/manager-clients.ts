// What a manager does for clients: takes tasks, lists, shows, waits, cancels, explains.

import {
  holdsAt,
  type NodeInfo,
  type RequestOf,
  type Respond,
  type TaskRequest,
  type TaskSummary,
  type Where,
} from '../../protocol/index.ts'
import { concerns, concernsBatch, entitled, whereOf } from '../machines/entitlement.ts'
import { isSameValue } from '../machines/same-value.ts'
import {
  type Batch,
  type CancelTicket,
  isClosed,
  resultOf,
  type Task,
} from '../machines/task-record.ts'
import { isSameSubmission, KEY_TAKEN } from '../machines/task-submitting.ts'
import type { Peer } from '../ports.ts'
import type { Submission, Submitted } from '../records.ts'
import type { Kernel } from './manager-kernel.ts'
import {
  attemptsOf,
  donePage,
  explain,
  hostOf,
  logFrom,
  nodeOf,
  PAGE_BYTES,
  summaryOf,
} from './manager-views.ts'

/** Tasks that one TasksList looks at; a filter that finds nothing must not block the node. */
const LOOKED_AT = 20_000
const LIST_BYTES_EACH = 1_000

interface Asked extends Pick<Submission, 'key' | 'batch' | 'tasks'> {
  readonly maxFails?: number | undefined
  readonly retryOf?: readonly number[]
}

type SubmitAnswer = Respond<'TasksSubmit'>

export class ManagerClients {
  readonly #kernel: Kernel
  /** Submissions that are not durable yet, with those who wait for their ids. */
  readonly #submitting = new Map<Submission, SubmitAnswer[]>()
  readonly #cancelling = new Map<
    CancelTicket,
    { readonly respond: Respond<'TasksCancel'>; readonly peer: Peer }
  >()

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  submit(
    { key, batch = key, tasks, max_fails: maxFails }: RequestOf<'TasksSubmit'>,
    respond: SubmitAnswer,
    from: Peer,
  ): void {
    this.#submit({ key, batch, tasks, maxFails }, respond, from)
  }

  #submit(asked: Asked, respond: SubmitAnswer, from: Peer): void {
    const { run, at, isClosing, table, deps } = this.#kernel
    if (isClosing) {
      respond('Refused', { reason: 'closing', message: 'it is shutting down' })
      return
    }
    const its = entitled(asked.tasks, from.rights)
    if ('forbidden' in its) {
      const message = its.forbidden.slice(0, 1024)
      respond('Refused', { reason: 'forbidden', message })
      return
    }
    const { key, batch, maxFails, retryOf } = asked
    const tasks = sharing(its.tasks)
    // All of its tasks may have closed in an earlier life: then the ledger alone knows it.
    const earlier = table.hasKey(key) ? undefined : deps.ledger.byKey(key)
    if (earlier !== undefined) {
      if (isSameSubmission(earlier, { batch, tasks, maxFails }))
        respond('TasksSubmitted', this.#ids(earlier))
      else respond('Refused', { reason: 'conflict', message: KEY_TAKEN })
      return
    }
    const event = { key, batch, tasks, maxFails, retryOf, ...at() }
    run({ kind: 'submit', ...event }, (effect) => {
      if (effect.kind === 'refuse') {
        const { reason, message, retryAfterMs: retry_after_ms } = effect
        const again = retry_after_ms === undefined ? {} : { retry_after_ms }
        respond('Refused', { reason, message, ...again })
        return true
      }
      if (effect.kind !== 'taken') return false
      const { submission } = effect.change
      if (effect.isDurable) respond('TasksSubmitted', this.#ids(submission))
      else
        this.#submitting.set(submission, [
          ...(this.#submitting.get(submission) ?? []),
          respond,
        ])
      return true
    })
  }

  submitted(submission: Submission): void {
    const waiting = this.#submitting.get(submission)
    if (waiting === undefined) return
    this.#submitting.delete(submission)
    for (const respond of waiting) respond('TasksSubmitted', this.#ids(submission))
  }

  notStored({ submission }: Submitted): void {
    const waiting = this.#submitting.get(submission) ?? []
    this.#submitting.delete(submission)
    const message = 'the ledger is full'
    for (const respond of waiting)
      respond('Refused', { reason: 'busy', message, retry_after_ms: 5_000 })
  }

  #ids({ first, tasks }: Submission): { task_ids: string[] } {
    const { ledgerId } = this.#kernel
    return { task_ids: tasks.map((_, index) => `${ledgerId}-${first + index}`) }
  }

  /** Under the scopes of whoever asks now. */
  retry(
    { key, task_ids }: RequestOf<'TasksRetry'>,
    respond: SubmitAnswer,
    from: Peer,
  ): void {
    const { table, deps } = this.#kernel
    // Asked again, for want of an answer: the closed tasks may be forgotten meanwhile.
    const earlier = table.submission(key) ?? deps.ledger.byKey(key)
    if (earlier?.tasks.length === task_ids.length) {
      this.#submit({ key, batch: key, tasks: earlier.tasks }, respond, from)
      return
    }
    const tasks = this.#found(task_ids, whereOf(from, 'tasks:run'))
    const open = tasks.find((task) => !isClosed(task))
    const refuse = (message: string) => respond('Refused', { reason: 'invalid', message })
    if (tasks.length < task_ids.length) {
      refuse('not all of these tasks are known')
      return
    }
    if (open !== undefined) {
      refuse(`${open.id} is not closed`)
      return
    }
    const requests = tasks.map(({ request }) => request)
    const retryOf = tasks.map(({ seq }) => seq)
    this.#submit({ key, batch: key, tasks: requests, retryOf }, respond, from)
  }

  /** Those that are known, and are the client's business. */
  #found(ids: readonly string[], where: Where): Task[] {
    return ids.flatMap((id) => this.#kernel.find(id, where) ?? [])
  }

  list(body: RequestOf<'TasksList'>, respond: Respond<'TasksList'>, from: Peer): void {
    const { table } = this.#kernel
    const where = whereOf(from, 'read')
    const limit = Math.max(1, Math.min(body.limit, 1000))
    const after = body.after === undefined ? undefined : table.seqOf(body.after)
    const tasks: TaskSummary[] = []
    let seq = Math.min(after ?? Number.POSITIVE_INFINITY, table.nextSeq)
    const lowest = Math.max(table.oldestSeq, seq - LOOKED_AT)
    while (seq > lowest && tasks.length < limit) {
      if (tasks.length * LIST_BYTES_EACH > 8 * PAGE_BYTES) break
      seq -= 1
      const task = table.at(seq)
      if (task !== undefined && matches(task, body) && concerns(task, where))
        tasks.push(summaryOf(task, table))
    }
    const isEnd = seq <= table.oldestSeq
    const next = isEnd ? {} : { next: `${this.#kernel.ledgerId}-${seq}` }
    respond('TaskList', { tasks, ...next })
  }

  show(
    { task_id }: RequestOf<'TaskShow'>,
    respond: Respond<'TaskShow'>,
    from: Peer,
  ): void {
    const task = this.#kernel.find(task_id, whereOf(from, 'read'))
    if (task === undefined) {
      respond('NotFound', {})
      return
    }
    const result = isClosed(task) ? resultOf(task) : undefined
    respond('TaskRecord', {
      summary: summaryOf(task, this.#kernel.table),
      request: shown(task.request),
      attempts: attemptsOf(task),
      failures: task.failures,
      losses: task.losses,
      ...(result !== undefined && { result }),
    })
  }

  wait(body: RequestOf<'TasksWait'>, respond: Respond<'TasksWait'>, from: Peer): void {
    if (body.task_ids !== undefined) {
      this.#waitForTasks(body, respond, from)
      return
    }
    const batch = this.#kernel.table.batch(body.batch ?? '')
    if (batch === undefined || !concernsBatch(batch, whereOf(from, 'read'))) {
      respond('NotFound', {})
      return
    }
    if (body.after > batch.read)
      this.#kernel.run({
        kind: 'read',
        batch,
        cursor: body.after,
        ...this.#kernel.at(),
      })
    const isOver = batch.open === 0
    if (isOver || hasMore(batch, body.after)) {
      this.#tellBatch(batch, body, respond)
      return
    }
    const { waits, config, table } = this.#kernel
    if (!waits.hasPlace(from)) {
      tooMany(respond)
      return
    }
    const ms = Math.min(body.wait_ms, config.maxWaitMs)
    if (ms === 0) {
      this.#tellBatch(batch, body, respond)
      return
    }
    const wait = waits.onBatch(from, batch, ms, {
      wake: () => {
        waits.end(wait)
        if (table.batch(batch.label) !== batch) return respond('NotFound', {})
        this.#tellBatch(batch, body, respond)
      },
      expire: () => this.#tellBatch(batch, body, respond),
    })
  }

  #tellBatch(
    batch: Batch,
    { after }: { readonly after: number },
    respond: Respond<'TasksWait'>,
  ): void {
    const done = donePage(logFrom(batch, after))
    const cursor = Math.max(after, batch.dropped) + done.length
    respond('TasksDone', { done, cursor, open: batch.open, running: batch.running })
  }

  #waitForTasks(
    body: RequestOf<'TasksWait'>,
    respond: Respond<'TasksWait'>,
    from: Peer,
  ): void {
    const tasks = this.#found(body.task_ids ?? [], whereOf(from, 'read'))
    if (tasks.length === 0) {
      respond('NotFound', {})
      return
    }
    const tell = () => {
      const closed = tasks.filter(isClosed)
      const done = donePage(closed)
      const open = tasks.length - closed.length
      const running = tasks.filter(({ state }) => state === 'running').length
      respond('TasksDone', { done, cursor: done.length, open, running })
    }
    const { waits, config } = this.#kernel
    const ms = Math.min(body.wait_ms, config.maxWaitMs)
    if (ms === 0 || tasks.some(isClosed)) {
      tell()
      return
    }
    if (!waits.hasPlace(from)) {
      tooMany(respond)
      return
    }
    const wait = waits.onTasks(from, tasks, ms, {
      wake: () => {
        if (!tasks.some(isClosed)) return // one of them moved, none is over
        waits.end(wait)
        tell()
      },
      expire: tell,
    })
  }

  cancel(
    body: RequestOf<'TasksCancel'>,
    respond: Respond<'TasksCancel'>,
    peer: Peer,
  ): void {
    const { run, at, table } = this.#kernel
    const ids = body.task_ids ?? []
    const where = whereOf(peer, 'tasks:run')
    const tasks = new Set(this.#found(ids, where))
    const unknown = ids.length - tasks.size
    const batch = table.batch(body.batch ?? '')
    for (const { submission } of batch?.submissions ?? [])
      for (let i = 0; i < submission.tasks.length; i++) {
        const task = table.at(submission.first + i)
        if (task !== undefined && concerns(task, where)) tasks.add(task)
      }
    const ticket: CancelTicket = { aborted: 0, closed: 0, unknown, left: 1 }
    this.#cancelling.set(ticket, { respond, peer })
    run({ kind: 'cancel', tasks: [...tasks], ticket, ...at() })
  }

  cancelled(ticket: CancelTicket): void {
    const asked = this.#cancelling.get(ticket)
    if (asked === undefined) return
    this.#cancelling.delete(ticket)
    const { aborted, closed, unknown } = ticket
    asked.respond('TasksCancelled', { aborted, closed, unknown })
  }

  explain(
    { task_id }: RequestOf<'TasksExplain'>,
    respond: Respond<'TasksExplain'>,
    from: Peer,
  ): void {
    const { table, config, deps } = this.#kernel
    const where = whereOf(from, 'read')
    const task = this.#kernel.find(task_id, where)
    if (task === undefined) {
      respond('NotFound', {})
      return
    }
    const declining = [...this.#kernel.peers].flatMap(([{ hostName }, { declines }]) =>
      declines === undefined ? [] : [{ hostName, declines }],
    )
    const nowMs = deps.clock.now()
    const its = explain(task, { table, config, nowMs, declining })
    const nodes = its.nodes.filter(({ host_name }) => holdsAt(where, host_name))
    respond('TaskReasons', { state: task.state, ...its, nodes })
  }

  nodes(respond: Respond<'NodesList'>, from: Peer): void {
    const { deps, table, peers } = this.#kernel
    const where = whereOf(from, 'read')
    const { nowMs, wallMs } = this.#kernel.at()
    const wall = (ms: number) => Math.max(0, Math.round(wallMs - (nowMs - ms)))
    const { running, open } = table.counts
    const self: NodeInfo = {
      ...deps.self,
      role: 'manager',
      state: 'self',
      since_ms: wall(this.#kernel.sinceMs),
      running,
      queued: open - running,
    }
    const nodes = [self]
    const workers = new Set<string>()
    for (const worker of table.workers()) {
      workers.add(worker.nodeId)
      if (!holdsAt(where, worker.hostName)) continue
      nodes.push({
        ...nodeOf(worker, wall(worker.sinceMs)),
        ...this.#contact(worker.nodeId),
      })
    }
    for (const [peer, { sinceMs }] of peers)
      if (
        !workers.has(peer.nodeId) &&
        holdsAt(where, peer.hostName) &&
        nodes.length < 10_000
      )
        nodes.push({
          node_id: peer.nodeId,
          boot_id: peer.bootId,
          host_name: peer.hostName,
          role: peer.role,
          state: 'connected',
          since_ms: wall(sinceMs),
          ...contactOf(peer),
        })
    respond('NodesListed', { nodes })
  }

  #contact(nodeId: string): Partial<NodeInfo> {
    for (const peer of this.#kernel.peers.keys())
      if (peer.nodeId === nodeId) return contactOf(peer)
    return {}
  }

  peerLost(peer: Peer): void {
    for (const [ticket, asked] of this.#cancelling)
      if (asked.peer === peer) this.#cancelling.delete(ticket)
  }
}

/** A page of tasks is mostly the same program with the same surroundings: kept once. */
const sharing = (tasks: readonly TaskRequest[]): readonly TaskRequest[] => {
  const [first] = tasks
  if (first === undefined) return tasks
  const { job_addr, dir, env } = first
  for (const task of tasks) {
    // Equal values alone take each other's place: nobody who holds one of them sees it.
    if (task.job_addr === job_addr) task.job_addr = job_addr
    if (dir !== undefined && task.dir === dir) task.dir = dir
    if (env !== undefined && isSameValue(task.env, env)) task.env = env
  }
  return tasks
}

const contactOf = ({ address, introduction }: Peer): Partial<NodeInfo> => ({
  ...(address !== undefined && { address }),
  ...(introduction.pid !== undefined && { pid: introduction.pid }),
  ...(introduction.version !== undefined && { version: introduction.version }),
  features: introduction.features,
})

/** Without a large stdin: the record has to fit into one frame. */
const shown = (request: TaskRequest): TaskRequest => {
  const { stdin, ...rest } = request
  return stdin === undefined || stdin.byteLength <= PAGE_BYTES ? request : rest
}

const hasMore = (batch: Batch, after: number): boolean =>
  batch.dropped + batch.log.length - batch.retired > after

const tooMany = (respond: Respond<'TasksWait'>): void =>
  respond('Error', {
    code: 'busy',
    message: 'too many of your requests wait already',
    retry_after_ms: 1_000,
  })

const matches = (
  task: Task,
  { states, host_name, batch }: RequestOf<'TasksList'>,
): boolean =>
  (states === undefined || states.includes(task.state)) &&
  (batch === undefined || task.batch.label === batch) &&
  (host_name === undefined || hostOf(task) === host_name)
