// The worker that the kit plays to a manager, and the client beside it that submits tasks
// which no other worker can run. It accepts what comes and runs nothing: a case tells the
// manager what became of each task.

import { randomBytes } from 'node:crypto'
import type { Frame } from './bytes.ts'
import { describe, type Identity, identity, Peer, type PeerOptions } from './peer.ts'
import type { Body } from './protocol.ts'

export type Assignment = Body & { readonly task_id: string; readonly attempt: number }

const DONE = { run_ms: 1, exit_code: 0 }

export class WorkerSide {
  readonly peer: Peer
  readonly self: Identity
  /** What the manager answered to the ManagerRequest. */
  readonly answer: Body
  /** Tasks with this label are for this worker alone. */
  readonly label: string
  #pings: NodeJS.Timeout | undefined

  private constructor(peer: Peer, answer: Body, label: string) {
    this.peer = peer
    this.self = peer.self
    this.answer = answer
    this.label = label
  }

  /** Connects and asks to be managed; `more` are fields of the ManagerRequest. */
  static async begin(
    options: Omit<PeerOptions, 'self'> & { readonly self?: Identity },
    more: object = {},
    label = randomBytes(4).toString('hex'),
    prepare?: (peer: Peer) => void,
  ): Promise<WorkerSide> {
    const self = options.self ?? identity('worker')
    // Before it asks: the manager may send tasks in the same breath as its answer.
    const peer = await Peer.open({ ...options, self }, (opened) => {
      opened.handle('ManagerPing', ({ b: { rel } }) => ['ManagerPong', { rel }])
      for (const kind of ['TasksExecute', 'TasksAbord', 'ManagerBye', 'BlobRelease'])
        opened.handle(kind, () => ['Ack', {}])
      prepare?.(opened)
    })
    const specs = { kinds: ['exec', 'noop'], labels: { kit: label }, resources: {} }
    const body = { cores: 4, memory: 2 ** 30, specs, tasks: [], more: false, ...more }
    const { k, b } = await peer.ask('ManagerRequest', body)
    if (k !== 'ManagerAnswer') throw new Error(`ManagerRequest was answered ${k}`)
    const side = new WorkerSide(peer, b, label)
    if (b.accepted === true) side.#keepAlive()
    return side
  }

  /** Pings as often as it is told to, as every worker does. */
  #keepAlive(): void {
    const { ping_ms } = this.answer
    this.#pings = setInterval(() => {
      const q = this.peer.nextId()
      this.peer.send({ q, k: 'ManagerPing', b: { rel: this.rel }, t: 5000 })
    }, Number(ping_ms))
    void this.peer.closed.then(() => this.fallSilent())
  }

  /** Says nothing more by itself. */
  fallSilent(): void {
    clearInterval(this.#pings)
  }

  get rel(): string {
    return String(this.answer.rel)
  }

  /** The fields of a task that only this worker can run. */
  job(more: object = {}): object {
    return {
      ...{ job_addr: 'exec:true', arguments: [], timeout_ms: 0 },
      ...{ requires: { labels: { kit: this.label } }, ...more },
    }
  }

  /** The hand-out of a task, waited for; of this attempt, if it matters. */
  async assigned(task_id: string, attempt?: number): Promise<Assignment> {
    const is = (task: Assignment) =>
      task.task_id === task_id && (attempt === undefined || task.attempt === attempt)
    const frame = await this.peer.request('TasksExecute', (body) =>
      tasksOf(body).some(is),
    )
    // It was found in there.
    return tasksOf(frame.b).find(is) as Assignment
  }

  /** Every hand-out of a task so far: its attempts. */
  attempts(task_id: string): readonly number[] {
    return this.peer.frames
      .filter(({ q, k }) => q !== undefined && k === 'TasksExecute')
      .flatMap(({ b }) => tasksOf(b))
      .flatMap((task) => (task.task_id === task_id ? task.attempt : []))
  }

  started({ task_id, attempt }: Assignment): Promise<Frame> {
    const { rel } = this
    return this.peer.ask('TaskStarted', { rel, task_id, attempt, at_ms: Date.now() })
  }

  completed({ task_id, attempt }: Assignment, result: object = DONE): Promise<Frame> {
    const { rel } = this
    return this.peer.ask('TaskCompleted', { rel, task_id, attempt, result })
  }

  failed({ task_id, attempt }: Assignment, error: object = FAILED): Promise<Frame> {
    const { rel } = this
    return this.peer.ask('TaskError', { rel, task_id, attempt, error })
  }

  bye(): Promise<Frame> {
    return this.peer.ask('ManagerBye', { rel: this.rel })
  }
}

const FAILED = { kind: 'RunningError', exit_code: 1 }

export const tasksOf = (body: Body): readonly Assignment[] =>
  Array.isArray(body.tasks) ? (body.tasks as Assignment[]) : []

/** Submits tasks; gives their ids. */
export const submit = async (
  client: Peer,
  tasks: readonly object[],
  more: object = {},
): Promise<readonly string[]> => {
  const body = { key: randomBytes(8).toString('hex'), tasks, ...more }
  const answer = await client.ask('TasksSubmit', body)
  const ids = answer.b.task_ids
  if (answer.k !== 'TasksSubmitted' || !Array.isArray(ids) || ids.length !== tasks.length)
    throw new Error(`TasksSubmit was answered ${describe(answer)}`)
  return ids as string[]
}

/** The line of a task as its manager shows it. */
export const summary = async (client: Peer, task_id: string): Promise<Body> =>
  (await record(client, task_id)).summary as Body

export const record = async (client: Peer, task_id: string): Promise<Body> => {
  const answer = await client.ask('TaskShow', { task_id })
  if (answer.k !== 'TaskRecord') throw new Error(`TaskShow: ${describe(answer)}`)
  return answer.b
}

/** Waits until a task is over; gives its last state. */
export const over = async (client: Peer, task_id: string): Promise<Body> => {
  const body = { after: 0, wait_ms: 20_000, task_ids: [task_id] }
  const answer = await client.ask('TasksWait', body)
  const done = answer.b.done as readonly Body[] | undefined
  if (answer.k !== 'TasksDone' || done?.length !== 1)
    throw new Error(`TasksWait was answered ${describe(answer)}`)
  return done[0] as Body
}
