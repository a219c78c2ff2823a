// Client: everything an embedding program or a face may ask of a mesh, on one connection
// to its manager. It holds no state of the mesh; what is known, the manager knows.

import * as E from 'fp-ts/lib/Either.js'
import type {
  AnswerBodyOf,
  Event,
  NodeInfo,
  TaskDone,
  TaskRequest,
  TaskState,
  TaskSummary,
} from '../../protocol/index.ts'
import type { RequestSigner } from '../identity/signed-requests.ts'
import { type BatchRun, type RunAllOptions, runAll } from './batch.ts'
import { type EventsOptions, readEvents } from './events.ts'
import { ClientError } from './failures.ts'
import { type DialUrl, type Host, hostViaHub, openHost } from './host.ts'
import { allProcesses, type HostProcesses, type Hub, openHub } from './hub.ts'
import { type Issuer, openIssuer } from './issuer.ts'
import type { Link } from './link.ts'
import { type OutputOptions, readOutput } from './output.ts'
import type { Tasks } from './pages.ts'
import { CANCEL_MS, type RunOptions, runTask, type TaskRun } from './run.ts'
import { keyOf, newKey, type SubmitOptions, submitAll } from './submit.ts'
import { type WaitOptions, waitForBatch, waitForTasks } from './wait.ts'

/** Which tasks to list; all that are given must hold. */
export interface TaskFilter {
  readonly states?: readonly TaskState[]
  readonly hostName?: string
  readonly batch?: string
  /** At most so many; default: all. */
  readonly limit?: number
}

export type TaskRecord = AnswerBodyOf<'TaskShow', 'TaskRecord'>
export type TaskReasons = AnswerBodyOf<'TasksExplain', 'TaskReasons'>
export type Cancelled = AnswerBodyOf<'TasksCancel', 'TasksCancelled'>

/** Some tasks by id, or all of a batch. */
export type Which = readonly string[] | { readonly batch: string }

/** Tasks in one page of a listing. */
const LIST_PAGE = 500
const IDS_PER_ASK = 1000
const RETRIES_PER_ASK = 256

export class Client {
  readonly #link: Link
  readonly #dial: DialUrl
  readonly #signer: (() => RequestSigner) | undefined
  readonly #hosts = new Map<string, Promise<Host>>()
  #issuer: Promise<Issuer> | undefined
  #hub: Promise<Hub | undefined> | undefined

  constructor(link: Link, dial: DialUrl = nowhere, signer?: () => RequestSigner) {
    this.#link = link
    this.#dial = dial
    this.#signer = signer
  }

  /** The manager's host_name. */
  get managerName(): string {
    return this.#link.hostName
  }

  /** The full id of a task of this manager given by its sequence number: `17`. */
  async taskId(text: string): Promise<string> {
    if (!/^[1-9][0-9]{0,15}$/.test(text)) return text
    let ledger = this.#link.ledgerId
    if (ledger === undefined) {
      const { body } = await this.#link.ask('TasksList', { limit: 1 })
      ledger = body.tasks[0]?.task_id.split('-')[0]
    }
    if (ledger === undefined) throw noTask(text)
    return `${ledger}-${text}`
  }

  /** Hands in tasks; resolves with their ids, in order, when their record is durable. */
  async submit(tasks: Tasks, options: SubmitOptions = {}): Promise<readonly string[]> {
    const ids: string[] = []
    const { signal } = options
    await submitAll(this.#link, tasks, { ...keyOf(options), signal }, (page) => {
      for (const [at, id] of page.taskIds.entries()) ids[page.first + at] = id
    })
    return ids
  }

  /** Runs one task: its streams and its outcome. */
  run(task: TaskRequest, options: RunOptions = {}): Promise<TaskRun> {
    return runTask(this.#link, task, options)
  }

  /** Runs many: outcomes as they come, submission a bounded way ahead of them. */
  runAll(tasks: Tasks, options: RunAllOptions = {}): BatchRun {
    return runAll(this.#link, tasks, options)
  }

  /** Outcomes of tasks, or of a batch, as they close; ends when all have. */
  wait(which: Which, options: WaitOptions = {}): AsyncIterable<TaskDone> {
    return 'batch' in which
      ? waitForBatch(this.#link, which.batch, options)
      : waitForTasks(this.#link, which, options)
  }

  /** What a task writes or wrote, from a byte on; reading pulls, so it can pause. */
  output(taskId: string, options: OutputOptions = {}): AsyncIterable<Uint8Array> {
    return readOutput(this.#link, taskId, options)
  }

  /** Tasks, newest first. */
  async *tasks(filter: TaskFilter = {}): AsyncGenerator<TaskSummary> {
    let left = filter.limit ?? Number.POSITIVE_INFINITY
    let after: string | undefined
    while (left > 0) {
      const { body } = await this.#link.ask('TasksList', {
        limit: Math.min(left, LIST_PAGE),
        ...(filter.states && { states: [...filter.states] }),
        ...(filter.hostName !== undefined && { host_name: filter.hostName }),
        ...(filter.batch !== undefined && { batch: filter.batch }),
        ...(after !== undefined && { after }),
      })
      yield* body.tasks
      left -= body.tasks.length
      after = body.next
      if (after === undefined) return
    }
  }

  /** Everything known of a task. Rejects with `not-found`. */
  async show(taskId: string): Promise<TaskRecord> {
    const answer = await this.#link.ask('TaskShow', { task_id: taskId })
    if (answer.kind === 'NotFound') throw noTask(taskId)
    return answer.body
  }

  /** Why a task is where it is, node by node. Rejects with `not-found`. */
  async explain(taskId: string): Promise<TaskReasons> {
    const answer = await this.#link.ask('TasksExplain', { task_id: taskId })
    if (answer.kind === 'NotFound') throw noTask(taskId)
    return answer.body
  }

  /** The nodes of the mesh, the manager (or the hub that is asked instead) first. */
  async nodes(): Promise<readonly NodeInfo[]> {
    const { body } = await this.#link.ask('NodesList', {})
    return body.nodes
  }

  /**
   * What happens in the mesh from now on: by its hub all of it, else what its manager sees.
   * `onReset`: some was missed, and what is known has to be read anew.
   */
  async *events(options: EventsOptions = {}): AsyncGenerator<Event> {
    yield* readEvents((await this.hub())?.link ?? this.#link, options)
  }

  /** The processes of all hosts, through the hub; undefined: there is none. */
  async processes({ all = false } = {}): Promise<readonly HostProcesses[] | undefined> {
    const link = (await this.hub())?.link
    return link === undefined ? undefined : await allProcesses(link, all)
  }

  /** The mesh's hub, if there is one that can be reached; kept until this client closes. */
  async hub(): Promise<Hub | undefined> {
    this.#hub ??= openHub({
      link: this.#link,
      dial: this.#dial,
      signer: this.#signer,
      nodes: () => this.nodes(),
    })
    return await this.#hub
  }

  /** Aborts open tasks; resolves when their processes are gone. */
  async cancel(which: Which): Promise<Cancelled> {
    const ask = async (body: { task_ids?: string[]; batch?: string }) =>
      (await this.#link.ask('TasksCancel', body, { timeoutMs: CANCEL_MS })).body
    if ('batch' in which) return await ask({ batch: which.batch })
    const sum = { aborted: 0, closed: 0, unknown: 0 }
    for (let first = 0; first < which.length; first += IDS_PER_ASK) {
      const part = await ask({ task_ids: which.slice(first, first + IDS_PER_ASK) })
      sum.aborted += part.aborted
      sum.closed += part.closed
      sum.unknown += part.unknown
    }
    return sum
  }

  /** Submits closed tasks again; the new ids, in order. */
  async retry(taskIds: readonly string[], key = newKey()): Promise<readonly string[]> {
    const ids: string[] = []
    for (let first = 0; first < taskIds.length; first += RETRIES_PER_ASK) {
      const answer = await this.#link.ask('TasksRetry', {
        key: first === 0 ? key : `${key}.${first}`,
        task_ids: taskIds.slice(first, first + RETRIES_PER_ASK),
      })
      if (answer.kind === 'Refused')
        throw new ClientError({
          kind: 'rejected',
          exchange: 'TasksRetry',
          code: answer.body.reason,
          message: answer.body.message,
        })
      ids.push(...answer.body.task_ids)
    }
    return ids
  }

  /**
   * A host by its name, for the processes there: through the hub, or else by a connection
   * of its own, kept until this client closes. Rejects with `not-found`, `unreachable`, or
   * what a dial fails with; through a hub, the asks do.
   */
  host(hostName: string): Promise<Host> {
    const known = this.#hosts.get(hostName)
    if (known !== undefined) return known
    const host = this.#openHost(hostName)
    this.#hosts.set(hostName, host)
    host.catch(() => this.#hosts.delete(hostName))
    return host
  }

  async #openHost(hostName: string): Promise<Host> {
    const hub = await this.hub()
    if (hub !== undefined) return hostViaHub(hostName, hub.route)
    return await openHost(hostName, () => this.nodes(), this.#dial)
  }

  /**
   * The node with the key of the mesh's authority, for who may invite and take out; kept
   * until this client closes. Rejects with `not-found`, or what a dial fails with.
   */
  issuer(): Promise<Issuer> {
    this.#issuer ??= openIssuer(() => this.nodes(), this.#dial)
    this.#issuer.catch(() => {
      this.#issuer = undefined
    })
    return this.#issuer
  }

  /** Ends the connections; what is open fails with `closed`. Tasks and processes go on. */
  async close(): Promise<void> {
    const others = [...this.#hosts.values(), this.#issuer, this.#hub]
    for (const other of await Promise.allSettled<Closable | undefined>(others))
      if (other.status === 'fulfilled') await other.value?.close()
    await this.#link.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

interface Closable {
  close(): Promise<void>
}

const nowhere: DialUrl = (url) =>
  Promise.resolve(E.left({ kind: 'no-mesh', looked: [`at ${url}`] }))

const noTask = (taskId: string): ClientError =>
  new ClientError({ kind: 'not-found', what: `task ${taskId}` })
