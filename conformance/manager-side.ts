// The manager that the kit plays to a worker: accepts it, hands it tasks, acknowledges what
// it tells. A case changes what it likes: every handler can be replaced.

import { randomBytes } from 'node:crypto'
import type { Frame } from './bytes.ts'
import { describe, type Identity, identity, Peer, type PeerOptions } from './peer.ts'
import type { Body } from './protocol.ts'

export interface Grant {
  readonly ping_ms: number
  readonly lease_ms: number
  readonly epoch: number
}

const GRANT: Grant = { ping_ms: 5_000, lease_ms: 15_000, epoch: 1 }

/** What a task runs, and whatever else a case wants of it. */
export interface Job {
  readonly task_id?: string
  readonly attempt?: number
  readonly job_addr?: string
  readonly arguments?: readonly string[]
  readonly [field: string]: unknown
}

/** A task as it is handed out. */
export type Assigned = Job & { readonly task_id: string; readonly attempt: number }

/** A task that runs a shell script. Arguments after it are `$1` and so on. */
export const script = (text: string, ...more: readonly string[]): Job => ({
  job_addr: 'exec:sh',
  arguments: ['-c', text, 'sh', ...more],
})

export const newLedger = (): string =>
  BigInt(`0x${randomBytes(8).toString('hex')}`)
    .toString(36)
    .padStart(10, '0')
    .slice(0, 10)

export const newRel = (): string => randomBytes(8).toString('hex')

/** How a relationship begins. */
export interface Beginning {
  readonly grant?: Partial<Grant>
  /** Fields of the ManagerAnswer that differ from a plain acceptance. */
  readonly accept?: {
    readonly rel?: string
    readonly epoch?: number
    readonly resumed?: boolean
    readonly drop?: readonly object[]
  }
  readonly sequence?: number
  /** Instead of only accepting. */
  readonly answer?: (side: ManagerSide, accept: () => void) => void
}

export class ManagerSide {
  readonly self: Identity
  readonly rel: string
  readonly peer: Peer
  readonly grant: Grant
  /** The ManagerRequest that began it. */
  readonly request: Frame
  #sequence: number
  #isEnded = false

  constructor(
    peer: Peer,
    request: Frame,
    { rel, grant, sequence }: { rel: string; grant: Grant; sequence: number },
  ) {
    this.peer = peer
    this.self = peer.self
    this.request = request
    this.rel = rel
    this.grant = grant
    this.#sequence = sequence
    peer.handle('ManagerPing', ({ b }) =>
      b.rel === rel ? ['ManagerPong', { rel }] : ['NotMine', {}],
    )
    for (const kind of ['TaskStarted', 'TaskError', 'TaskCompleted'])
      peer.handle(kind, () => ['Ack', {}])
  }

  /** Connects, and accepts the worker that then asks. */
  static async begin(
    options: Omit<PeerOptions, 'self'> & { readonly self?: Identity },
    { grant = {}, accept = {}, sequence = 0, answer }: Beginning = {},
  ): Promise<ManagerSide> {
    const self = options.self ?? identity('manager', { ledger_id: newLedger() })
    const peer = await Peer.open({ ...options, self })
    const request = await peer.request('ManagerRequest')
    const { rel = newRel() } = accept
    const all = { ...GRANT, ...grant }
    const side = new ManagerSide(peer, request, { rel, grant: all, sequence })
    const accepted = () =>
      peer.answer(request, 'ManagerAnswer', { ...side.acceptance(), ...accept })
    if (answer === undefined) accepted()
    else answer(side, accepted)
    return side
  }

  /** Nothing of it is left to end. */
  forget(): void {
    this.#isEnded = true
  }

  acceptance(): object {
    return { accepted: true, rel: this.rel, resumed: false, drop: [], ...this.grant }
  }

  /** The worker's boot. */
  get boot(): unknown {
    return this.peer.far.boot_id
  }

  get cores(): number {
    return Number(this.request.b.cores)
  }

  /** Was the relationship ended in good order? */
  get isEnded(): boolean {
    return this.#isEnded
  }

  get nextSequence(): number {
    return this.#sequence
  }

  taskId(): string {
    this.#sequence += 1
    return `${this.self.ledger_id}-${this.#sequence}`
  }

  assignment(job: Job): Assigned {
    const { task_id = this.taskId(), attempt = 1, ...rest } = job
    const none = { job_addr: 'noop:', arguments: [], timeout_ms: 0 }
    return { ...none, kill_grace_ms: 200, ...rest, task_id, attempt }
  }

  /** TasksExecute with these fields, however wrong. */
  execute(tasks: readonly Job[], more: Body = {}): Promise<Frame> {
    const { rel, boot } = this
    const body = { rel, epoch: this.grant.epoch, boot, tasks, ...more }
    return this.peer.ask('TasksExecute', body)
  }

  /** Hands out one task, which must be accepted; gives its assignment. */
  async start(job: Job) {
    const task = this.assignment(job)
    const answer = await this.execute([task])
    if (answer.k !== 'Ack') throw new Error(`a task was answered ${describe(answer)}`)
    return task
  }

  /** The reason for which one task is refused; undefined: it is accepted. */
  async refusal(task: Job, more: Body = {}): Promise<unknown> {
    const answer = await this.execute([task], more)
    if (answer.k === 'Ack') return undefined
    const refused = answer.b.refused as readonly Body[] | undefined
    if (answer.k !== 'TasksRefused' || refused?.length !== 1)
      throw new Error(`a task was answered ${describe(answer)}`)
    const [{ task_id, reason } = {}] = refused
    if (task_id !== task.task_id) throw new Error(`refused another: ${String(task_id)}`)
    return reason
  }

  /** What it tells of a task, waited for. */
  told(
    kind: 'TaskStarted' | 'TaskError' | 'TaskCompleted',
    { task_id, attempt }: { readonly task_id: string; readonly attempt?: number },
    since = 0,
  ): Promise<Frame> {
    const is = (body: Body) =>
      body.task_id === task_id && (attempt === undefined || body.attempt === attempt)
    return this.peer.request(kind, is, since)
  }

  /** How often it has told that of a task. */
  count(kind: string, task_id: string): number {
    return this.peer.frames.filter(
      ({ q, k, b }) => q !== undefined && k === kind && b.task_id === task_id,
    ).length
  }

  /** The states that it says of tasks, in the order asked. */
  async statuses(ids: readonly string[]): Promise<readonly Body[]> {
    const answer = await this.peer.ask('TasksPing', { rel: this.rel, tasks: ids })
    const entries = answer.b.tasks_status
    if (answer.k !== 'TasksPong' || !Array.isArray(entries))
      throw new Error(`TasksPing was answered ${describe(answer)}`)
    const byId = new Map(entries as [string, Body][])
    return ids.map((id) => byId.get(id) ?? { kind: 'none' })
  }

  async status(id: string): Promise<unknown> {
    const [status] = await this.statuses([id])
    return status?.kind
  }

  abort(tasks: readonly unknown[]): Promise<Frame> {
    return this.peer.ask('TasksAbord', { rel: this.rel, tasks })
  }

  async read(
    kind: 'TaskOutputRead' | 'BlobRead',
    fields: object,
  ): Promise<{ offset: number; data: Uint8Array; eof: boolean; lost: number }> {
    const body = kind === 'BlobRead' ? fields : { rel: this.rel, ...fields }
    const answer = await this.peer.ask(kind, body)
    if (answer.k !== 'TaskOutputData' && answer.k !== 'BlobData')
      throw new Error(`${kind} was answered ${describe(answer)}`)
    return answer.b as { offset: number; data: Uint8Array; eof: boolean; lost: number }
  }

  /** Ends the relationship in good order, so that the worker is free for the next case. */
  async end(): Promise<void> {
    if (this.peer.isClosed) return
    await this.peer.ask('ManagerBye', { rel: this.rel })
    this.#isEnded = true
    await this.peer.close()
  }
}
