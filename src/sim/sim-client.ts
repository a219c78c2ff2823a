// A simulated client: hands in its batches, waits for their outcomes, cancels, shows, reads
// output; and does all of it again when an answer does not come, as src/client does it.

import type {
  AnswerOf,
  Kind,
  OutputData,
  RequestOf,
  TaskId,
} from '../../protocol/index.ts'
import { DATA_BYTES } from '../../protocol/index.ts'
import type { AskFailure } from '../failures.ts'
import type { Peer } from '../ports.ts'
import type { Shown } from './history.ts'
import type { Life } from './life.ts'
import type { SimRandom } from './random.ts'
import type { BatchSpec, ClientSpec } from './scenario.ts'
import { SimFlood } from './sim-flood.ts'
import { SimInput } from './sim-input.ts'
import type { SimMesh, SimRole } from './sim-mesh.ts'

interface Submitted {
  readonly taskIds: readonly TaskId[]
  /** It had not been told before. */
  readonly isNew: boolean
  readonly exclusive?: readonly TaskId[]
}

/** What a client tells the world. */
export interface ClientEvents {
  acknowledged(client: string, submitted: Submitted): void
  /** A submission was refused for good. */
  refused(client: string, key: string, why: string): void
  shown(client: string, shown: Shown): void
  cancelled(client: string, taskIds: readonly TaskId[]): void
  read(client: string, taskId: TaskId, fd: 1 | 2, data: OutputData): void
  /** All that it will write to a task. */
  typed(client: string, taskId: TaskId, text: string): void
  /** What no schedule may bring about. */
  violation(what: string): void
}

const SUBMIT_MS = 5_000
const WAIT_MS = 5_000
const GRACE_MS = 2_000
/** Before what failed is asked again. */
const AGAIN_MS = { least: 200, most: 1000 }
/** Records that are asked for in vain, and reads, until they are given up. */
const TRIES = 20

export class SimClient implements SimRole {
  readonly handlers = {}
  readonly spec: ClientSpec
  readonly life: Life
  readonly random: SimRandom
  readonly events: ClientEvents
  /** Who reads: each life begins anew. */
  readonly reader: string
  /** The ids that each key was answered with, in earlier lives too. */
  readonly told: Map<string, readonly TaskId[]>
  readonly #mesh: SimMesh
  /** The manager it is connected to now. */
  manager: Peer | undefined
  flood: SimFlood | undefined
  #left: number

  constructor(options: {
    readonly spec: ClientSpec
    readonly life: Life
    readonly mesh: SimMesh
    readonly random: SimRandom
    readonly events: ClientEvents
    readonly reader: string
    readonly told: Map<string, readonly TaskId[]>
  }) {
    this.spec = options.spec
    this.life = options.life
    this.#mesh = options.mesh
    this.random = options.random
    this.events = options.events
    this.reader = options.reader
    this.told = options.told
    this.#left = this.spec.batches.length
    const { nowMs } = this.life.schedule
    for (const [index, batch] of this.spec.batches.entries())
      this.life.input(Math.max(0, batch.atMs - nowMs), () => {
        new SimBatch(this, batch, `${this.spec.name}-${index}`).submit()
      })
    const { flood } = this.spec
    if (flood === undefined) return
    this.#left += 1
    const its = new SimFlood(this, flood)
    this.flood = its
    if (flood.atMs === undefined) its.goOn()
    else this.life.input(flood.atMs, () => its.goOn())
  }

  /** Nothing is left to do. */
  get isDone(): boolean {
    return this.#left === 0
  }

  done(): void {
    this.#left -= 1
  }

  /** Follows tasks that were handed in by another request, as a batch of their own. */
  follow(key: string, taskIds: readonly TaskId[], tasks: BatchSpec['tasks']): void {
    this.#left += 1
    const batch = new SimBatch(this, { atMs: 0, tasks }, key)
    batch.submitted(taskIds)
  }

  peerConnected(peer: Peer): void {
    this.manager = peer
  }

  peerLost(peer: Peer): void {
    if (this.manager === peer) this.manager = undefined
  }

  /** Asks the manager, when there is one. */
  ask<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    answered: (answer: AnswerOf<K>) => void,
    failed: (failure: AskFailure) => void,
  ): void {
    const { manager } = this
    if (manager === undefined) {
      this.again(() => this.ask(kind, body, timeoutMs, answered, failed))
      return
    }
    this.#mesh.ask(manager.nodeId, kind, body, timeoutMs, (outcome) => {
      if (outcome._tag === 'Right') answered(outcome.right)
      else failed(outcome.left)
    })
  }

  again(act: () => void, afterMs = 0): void {
    const { least, most } = AGAIN_MS
    this.life.clock.after(Math.max(afterMs, this.random.between(least, most)), act)
  }
}

/** One batch on its way. */
class SimBatch {
  readonly #client: SimClient
  readonly #spec: BatchSpec
  readonly #key: string
  #taskIds: readonly TaskId[] | undefined
  #cursor = 0
  #boot = ''
  /** The wait, and each reader. */
  #left = 1

  constructor(client: SimClient, spec: BatchSpec, key: string) {
    this.#client = client
    this.#spec = spec
    this.#key = key
  }

  submit(): void {
    this.#submit()
    if (this.#spec.twice === true) this.#submit()
  }

  #submit(): void {
    const { events, spec } = this.#client
    const { tasks, maxFails: max_fails } = this.#spec
    const body = {
      ...{ key: this.#key, batch: this.#key, tasks: [...tasks] },
      ...(max_fails !== undefined && { max_fails }),
    }
    const again = () => this.#client.again(() => this.#submit())
    this.#client.ask(
      'TasksSubmit',
      body,
      SUBMIT_MS,
      (answer) => {
        if (answer.kind === 'TasksSubmitted') {
          this.submitted(answer.body.task_ids)
          return
        }
        if (answer.kind === 'Refused' && answer.body.reason === 'conflict')
          events.violation(
            `${spec.name}: ${this.#key} is refused: ${answer.body.message}`,
          )
        else this.#client.again(() => this.#submit(), answer.body.retry_after_ms)
      },
      again,
    )
  }

  submitted(taskIds: readonly TaskId[]): void {
    const { life } = this.#client
    this.#acknowledged(taskIds)
    if (this.#taskIds !== undefined) return
    this.#taskIds = taskIds
    this.#wait()
    const { cancel, retry, reads = [], shows = [] } = this.#spec
    if (cancel !== undefined) life.clock.after(cancel.afterMs, () => this.#cancel())
    if (retry !== undefined) {
      this.#left += 1
      life.clock.after(retry.afterMs, () => this.#retry(retry.tasks, TRIES))
    }
    for (const [index, task] of this.#spec.tasks.entries())
      if (task.stdin_live === true) this.#type(taskIds[index])
    for (const { afterMs, task } of shows)
      life.clock.after(afterMs, () => this.#show(taskIds[task]))
    for (const task of reads) {
      const taskId = taskIds[task]
      if (taskId === undefined) continue
      this.#left += 1
      this.#read(taskId, { offset: 0, attempt: undefined, tries: TRIES })
    }
  }

  #type(taskId: TaskId | undefined): void {
    if (taskId === undefined) return
    this.#left += 1
    new SimInput(this.#client, taskId, () => this.#over()).begin()
  }

  /** The same ledger gives the same ids for the same key. */
  #acknowledged(taskIds: readonly TaskId[]): void {
    const { events, spec, told } = this.#client
    const known = told.get(this.#key)
    const isSame = known?.[0]?.slice(0, 10) === taskIds[0]?.slice(0, 10)
    if (isSame && known?.some((id, index) => id !== taskIds[index]) === true)
      events.violation(`${spec.name}: other ids for ${this.#key}`)
    told.set(this.#key, taskIds)
    const exclusive = taskIds.filter((_, index) => this.#spec.tasks[index]?.exclusive)
    events.acknowledged(spec.name, { taskIds, isNew: !isSame, exclusive })
  }

  /** Hands tasks in again; as long as they are open, it is refused. */
  #retry(tasks: readonly number[], tries: number): void {
    const { events, spec } = this.#client
    const ids = tasks.flatMap((index) => this.#taskIds?.[index] ?? [])
    const key = `${this.#key}-again`
    const again = (left: number) => this.#client.again(() => this.#retry(tasks, left))
    this.#client.ask(
      'TasksRetry',
      { key, task_ids: ids },
      SUBMIT_MS,
      (answer) => {
        if (answer.kind === 'TasksSubmitted') {
          const again = tasks.flatMap((index) => this.#spec.tasks[index] ?? [])
          this.#client.follow(key, answer.body.task_ids, again)
          this.#over()
          return
        }
        const isRefused = answer.kind === 'Refused' && answer.body.reason === 'invalid'
        if (isRefused) events.refused(spec.name, key, answer.body.message)
        // Open still, or forgotten with an earlier life of its manager: not for ever.
        if (isRefused && tries === 0) this.#over()
        else again(isRefused ? tries - 1 : tries)
      },
      () => again(tries),
    )
  }

  #over(): void {
    this.#left -= 1
    if (this.#left === 0) this.#client.done()
  }

  #wait(): void {
    const { manager } = this.#client
    // A manager's log of what closed begins anew with each of its lives.
    if (manager !== undefined && manager.bootId !== this.#boot) {
      this.#boot = manager.bootId
      this.#cursor = 0
    }
    const body = { batch: this.#key, after: this.#cursor, wait_ms: WAIT_MS }
    const again = () => this.#client.again(() => this.#wait())
    this.#client.ask(
      'TasksWait',
      body,
      WAIT_MS + GRACE_MS,
      (answer) => {
        // All of it closed in an earlier life, or its ledger is gone.
        if (answer.kind === 'NotFound') this.#over()
        else if (answer.kind === 'Error') again()
        else this.#told(answer.body)
      },
      again,
    )
  }

  #told(page: (AnswerOf<'TasksWait'> & { kind: 'TasksDone' })['body']): void {
    const { events, spec } = this.#client
    this.#cursor = page.cursor
    for (const { task_id: taskId, state, attempt } of page.done)
      events.shown(spec.name, { taskId, state: SHOWN[state], attempt })
    if (page.open === 0 && page.done.length === 0) this.#over()
    else this.#wait()
  }

  #cancel(): void {
    const { events, spec } = this.#client
    const ids = this.#taskIds ?? []
    const named = this.#spec.cancel?.tasks?.flatMap((index) => ids[index] ?? [])
    const body = named === undefined ? { batch: this.#key } : { task_ids: named }
    const again = () => this.#client.again(() => this.#cancel())
    this.#client.ask(
      'TasksCancel',
      body,
      WAIT_MS,
      (answer) => {
        if (answer.kind !== 'TasksCancelled') return again()
        const cancelled = named ?? ids
        // Else some are not known any more: nothing is said of which.
        if (answer.body.aborted + answer.body.closed === cancelled.length)
          events.cancelled(spec.name, cancelled)
      },
      again,
    )
  }

  #show(taskId: TaskId | undefined): void {
    if (taskId === undefined) return
    const { events, spec } = this.#client
    this.#client.ask(
      'TaskShow',
      { task_id: taskId },
      GRACE_MS,
      (answer) => {
        if (answer.kind !== 'TaskRecord') return
        const { state, attempt } = answer.body.summary
        events.shown(spec.name, { taskId, state: SHOWN[state], attempt })
      },
      () => undefined,
    )
  }

  #read(taskId: TaskId, place: Place): void {
    const { offset, attempt, tries } = place
    const body: RequestOf<'TaskLogRead'> = {
      task_id: taskId,
      fd: 1,
      offset,
      max: DATA_BYTES,
      wait_ms: WAIT_MS,
    }
    const again = () => {
      if (tries === 0) this.#over()
      else this.#client.again(() => this.#read(taskId, { ...place, tries: tries - 1 }))
    }
    this.#client.ask(
      'TaskLogRead',
      attempt === undefined ? body : { ...body, attempt },
      WAIT_MS + GRACE_MS,
      (answer) => {
        // Gone with the node that kept it, or with its ledger.
        if (answer.kind === 'NotFound') this.#over()
        else if (answer.kind === 'Error') again()
        else this.#got(taskId, place, answer.body)
      },
      again,
    )
  }

  #got(taskId: TaskId, place: Place, data: OutputData): void {
    const { events, reader } = this.#client
    events.read(reader, taskId, 1, data)
    if (data.eof) {
      this.#over()
      return
    }
    // What has written nothing yet is not followed: an earlier attempt may still succeed.
    const next =
      data.data.length === 0
        ? { ...place, tries: place.tries - 1 }
        : {
            offset: data.offset + data.data.length,
            attempt: data.attempt ?? place.attempt,
            tries: TRIES,
          }
    if (data.data.length > 0) this.#read(taskId, next)
    else if (next.tries < 0) this.#over()
    else this.#client.again(() => this.#read(taskId, next))
  }
}

interface Place {
  readonly offset: number
  readonly attempt: number | undefined
  /** That are left without anything new. */
  readonly tries: number
}

const SHOWN = {
  queued: 'queued',
  sent: 'queued',
  accepted: 'queued',
  running: 'running',
  completed: 'completed',
  failed: 'failed',
  aborted: 'aborted',
} as const
