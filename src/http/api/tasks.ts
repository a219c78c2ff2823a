// Tasks by HTTP: handing them in, looking at them, waiting for them, ending them.

import { exchanges } from '../../../protocol/index.ts'
import { TaskRequest } from '../../../protocol/task.ts'
import { isClientError } from '../../client/failures.ts'
import type { Asks } from '../../client/link.ts'
import { readOutput } from '../../client/output.ts'
import { CANCEL_MS } from '../../client/run.ts'
import { newKey, submitPage } from '../../client/submit.ts'
import { STATES } from '../../client/task-states.ts'
import type { FaceClient } from '../face.ts'
import { withBytes } from './json.ts'
import { bad, ProblemError } from './problem.ts'
import { type Asked, type Route, route } from './route.ts'
import { bytesResponse } from './stream.ts'
import { traced, traceOf } from './trace.ts'

const { TasksList, TaskShow, TasksExplain, TasksCancel, TasksSubmit } = exchanges

/** Tasks in one page, at most; and by default. */
const PAGE_MOST = 1000
const PAGE = 100
/** How long one question to a manager may wait. */
const WAIT_MOST_MS = 55_000

/** A manager to ask. */
export const managerOf = async (client: FaceClient): Promise<Asks> => {
  const name = await client.manager().catch((error: unknown) => {
    if (!isClientError(error, 'not-found')) throw error
    const problem = { status: 503, code: 'no-manager', retryAfter: 1 } as const
    throw new ProblemError({ ...problem, detail: error.message })
  })
  return { ask: (kind, body, options) => client.ask(name, kind, body, options) }
}

/** A task's id, also by the number at its end alone. */
const idOf = async (manager: Asks, text: string): Promise<string> => {
  if (!/^[1-9]\d{0,15}$/.test(text)) return text
  const { body } = await manager.ask('TasksList', { limit: 1 })
  const [ledger] = body.tasks[0]?.task_id.split('-') ?? []
  if (ledger === undefined) throw noTask(text)
  return `${ledger}-${text}`
}

const noTask = (id: string): ProblemError =>
  new ProblemError({
    status: 404,
    code: 'not-found',
    detail: `there is no task ${id}; list what there is with: GET /v1/tasks`,
  })

/** The tasks of a body: one, or `tasks`; what they leave out has a default. */
const tasksOf = (body: object): TaskRequest[] => {
  const given = 'tasks' in body ? body.tasks : [body]
  if (!Array.isArray(given) || given.length === 0)
    throw bad('tasks: expected a list of at least one task')
  // The manager's codec looks at each of them.
  return given.map((task: unknown) => {
    if (typeof task !== 'object' || task === null) throw bad('tasks: expected objects')
    return { arguments: [], timeout_ms: 0, ...withBytes(task) } as unknown as TaskRequest
  })
}

const keyOf = ({ header }: Asked): string => {
  const key = header('idempotency-key') ?? newKey()
  if (key === '' || key.length > 48)
    throw bad('Idempotency-Key: expected 1 to 48 characters')
  return key
}

/** Waits until the task has closed, or the time is over. */
const awaitTask = async (
  manager: Asks,
  id: string,
  waitMs: number,
  signal: AbortSignal,
): Promise<void> => {
  if (waitMs === 0) return
  const body = { task_ids: [id], after: 0, wait_ms: Math.min(waitMs, WAIT_MOST_MS) }
  await manager.ask('TasksWait', body, { timeoutMs: waitMs + 5000, signal })
}

export const tasks: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/tasks',
    about:
      'Hands in tasks: one, or several as `tasks`. Answered when their record is durable. `batch` and `max_fails` beside `tasks` are for all of them.',
    headers: {
      'Idempotency-Key': 'the same key again hands in nothing and gives the same ids',
    },
    body: TaskRequest,
    answer: {
      status: 202,
      about: 'their ids; Location leads to the first',
      body: TasksSubmit.answers.TasksSubmitted,
    },
    handle: async (asked) => {
      const body = (await asked.json()) as { batch?: string; max_fails?: number }
      const key = keyOf(asked)
      const { batch = key, max_fails } = body
      const page = {
        ...{ key, batch },
        ...(max_fails !== undefined && { maxFails: max_fails }),
      }
      const manager = await managerOf(asked.client)
      const task_ids = await submitPage(
        manager,
        page,
        tasksOf(body).map((task) => traced(task, traceOf(asked))),
        asked.signal,
      )
      const headers = { location: `/v1/tasks/${task_ids[0]}` }
      return { status: 202, json: { task_ids }, headers }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/tasks',
    about: 'Tasks, newest first, a page at a time; Link: rel="next" leads to the next.',
    query: {
      state: { about: `those that are ${Object.keys(STATES).join(', ')}` },
      host: { about: 'those of this host' },
      batch: { about: 'those of this batch' },
      limit: { about: `at most so many (default ${PAGE}, most ${PAGE_MOST})` },
      cursor: { about: 'the `next` of a page: goes on after it' },
    },
    answer: { status: 200, about: 'a page', body: TasksList.answers.TaskList },
    handle: async ({ client, query, signal }) => {
      const state = query.text('state')
      const states = state === undefined ? undefined : STATES[state]
      if (state !== undefined && states === undefined)
        throw bad(`state: expected ${Object.keys(STATES).join(', ')}, got ${state}`)
      const filters = { host_name: query.text('host'), batch: query.text('batch') }
      const cursor = query.text('cursor')
      const limit = query.count('limit', PAGE, PAGE_MOST)
      const manager = await managerOf(client)
      const { body } = await manager.ask(
        'TasksList',
        {
          limit,
          ...(states && { states: [...states] }),
          ...(filters.host_name !== undefined && { host_name: filters.host_name }),
          ...(filters.batch !== undefined && { batch: filters.batch }),
          ...(cursor !== undefined && { after: cursor }),
        },
        { signal },
      )
      return { json: body, headers: nextLink(query, body.next) }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/tasks/{id}',
    about: 'Everything known of a task, its attempts and its outcome.',
    query: { wait: { about: 'until it has closed, or so long', example: '30s' } },
    answer: { status: 200, about: 'the task', body: TaskShow.answers.TaskRecord },
    handle: async ({ client, query, param, signal }) => {
      const manager = await managerOf(client)
      const id = await idOf(manager, param('id'))
      await awaitTask(manager, id, query.span('wait', 0), signal)
      const answer = await manager.ask('TaskShow', { task_id: id }, { signal })
      if (answer.kind === 'NotFound') throw noTask(id)
      return { json: answer.body }
    },
  }),
  route({
    method: 'DELETE',
    path: '/v1/tasks/{id}',
    about: 'Ends a task; answered when its processes are gone.',
    answer: {
      status: 200,
      about: 'what became of it: aborted, or closed already',
      body: TasksCancel.answers.TasksCancelled,
    },
    handle: async ({ client, param }) => {
      const manager = await managerOf(client)
      const id = await idOf(manager, param('id'))
      const { body } = await manager.ask(
        'TasksCancel',
        { task_ids: [id] },
        { timeoutMs: CANCEL_MS },
      )
      if (body.unknown > 0) throw noTask(id)
      return { json: body }
    },
  }),
  route({
    method: 'POST',
    path: '/v1/tasks/{id}/retry',
    about: 'Hands a closed task in again, as a new one.',
    headers: { 'Idempotency-Key': 'the same key again does it once' },
    answer: {
      status: 202,
      about: 'the new id; Location leads to it',
      body: TasksSubmit.answers.TasksSubmitted,
    },
    handle: async (asked) => {
      const manager = await managerOf(asked.client)
      const id = await idOf(manager, asked.param('id'))
      const body = { key: keyOf(asked), task_ids: [id] }
      const answer = await manager.ask('TasksRetry', body)
      if (answer.kind === 'Refused') {
        const { reason: code, message: detail } = answer.body
        throw new ProblemError({ status: 409, code, detail })
      }
      const { task_ids } = answer.body
      const headers = { location: `/v1/tasks/${task_ids[0]}` }
      return { status: 202, json: { task_ids }, headers }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/tasks/{id}/logs',
    about: 'What a task wrote, from a byte on; with `follow` until it ends.',
    query: {
      fd: { about: '1: stdout (default), 2: stderr' },
      from: { about: 'from this byte on' },
      follow: { about: '1: goes on until it ends' },
    },
    answer: { status: 200, about: 'its bytes', body: 'bytes' },
    handle: async ({ client, query, param, signal }) => {
      const fd = query.word('fd', ['1', '2'], '1') === '2' ? 2 : 1
      const from = query.count('from', 0)
      const follow = query.flag('follow')
      const manager = await managerOf(client)
      const id = await idOf(manager, param('id'))
      const answer = await manager.ask('TaskShow', { task_id: id }, { signal })
      if (answer.kind === 'NotFound') throw noTask(id)
      return bytesResponse(readOutput(manager, id, { fd, from, follow, signal }))
    },
  }),
  route({
    method: 'GET',
    path: '/v1/explain/{id}',
    about: 'Why a task is where it is, with a reason for each node.',
    answer: { status: 200, about: 'the reasons', body: TasksExplain.answers.TaskReasons },
    handle: async ({ client, param, signal }) => {
      const manager = await managerOf(client)
      const id = await idOf(manager, param('id'))
      const answer = await manager.ask('TasksExplain', { task_id: id }, { signal })
      if (answer.kind === 'NotFound') throw noTask(id)
      return { json: answer.body }
    },
  }),
]

/** RFC 8288. */
const nextLink = (
  query: Asked['query'],
  next: string | undefined,
): Readonly<Record<string, string>> =>
  next === undefined ? {} : { link: `<${query.with('cursor', next)}>; rel="next"` }
