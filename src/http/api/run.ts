// Run: the body of a request is the stdin of a program, the body of the answer its stdout,
// live and with back-pressure both ways.
//
// The status is decided by what is known when the first byte goes out. A program that has
// ended before that is answered by how it ended. Later on its exit code comes as a trailer
// to who asks for trailers; to who does not, a failure breaks the body off. It is a task like
// any other, and stays on record as one.

import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { TaskDone, TaskRequest } from '../../../protocol/index.ts'
import { isClientError } from '../../client/failures.ts'
import { runTask, type TaskRun } from '../../client/run.ts'
import { bad, ProblemError, problemOf } from './problem.ts'
import { type Asked, type Route, route } from './route.ts'
import { managerOf } from './tasks.ts'
import { traced, traceOf } from './trace.ts'

const TYPES = {
  drop: 'application/octet-stream',
  ndjson: 'application/x-ndjson',
  sse: 'text/event-stream',
} as const
const TASK_HEADER = 'manyhands-task-id'
const EXIT_TRAILER = 'manyhands-exit-code'

export const run: Route = route({
  method: 'POST',
  path: '/v1/run',
  about:
    'Runs a program: the body is its stdin, the answer its stdout. TE: trailers brings its exit code as the trailer Manyhands-Exit-Code; without it a failure breaks the body off. Who leaves ends it.',
  query: {
    arg: {
      about: 'the program, then each of its arguments',
      isRepeatable: true,
      example: 'hostname',
    },
    host: { about: 'on this host alone' },
    label: { about: 'K=V: on hosts with this label', isRepeatable: true },
    cores: { about: 'cores that it needs (default 1)' },
    timeout: { about: 'TERM after so long (default: never)', example: '1m' },
    env: { about: 'K=V: a variable', isRepeatable: true },
    dir: { about: 'the directory that it runs in' },
    stderr: {
      about:
        'drop (default: kept with the task alone), ndjson or sse: both, as lines or events',
    },
    detach: { about: '1: goes on when the client leaves' },
    name: { about: 'shown in lists instead of the command' },
  },
  body: 'bytes',
  answer: { status: 200, about: 'its stdout', body: 'bytes' },
  handle: async (asked) => {
    const { client, query, signal } = asked
    const task = traced(taskOf(query), traceOf(asked))
    const form = query.word('stderr', ['drop', 'ndjson', 'sse'], 'drop')
    const isDetached = query.flag('detach')
    const manager = await managerOf(client)
    const its = await runTask(manager, task, isDetached ? {} : { signal })
    if (!isDetached)
      signal.addEventListener('abort', () => its.cancel().catch(ignoreKnown))
    feed(asked, its).catch(ignoreKnown)
    const output = form === 'drop' ? its.stdout : mixed(its, form)
    try {
      await answer(asked, its, output[Symbol.asyncIterator](), TYPES[form])
    } catch (error) {
      // Once it has begun, a body that is broken off is all that can be told.
      if (!asked.outgoing.headersSent || problemOf(error) === undefined) throw error
      asked.outgoing.destroy()
    }
    return RESPONSE_ALREADY_SENT
  },
})

const taskOf = (query: Asked['query']): TaskRequest => {
  const [program, ...rest] = query.all('arg')
  if (program === undefined || program === '')
    throw bad('arg: expected the program and its arguments, got none')
  const [host, name, dir] = ['host', 'name', 'dir'].map((one) => query.text(one))
  const labels = query.pairs('label')
  const env = query.pairs('env')
  const cores = query.count('cores', 1, 4096)
  const requires = {
    ...(cores !== 1 && { cores }),
    ...(host !== undefined && { host_name: host }),
    ...(Object.keys(labels).length > 0 && { labels }),
  }
  return {
    job_addr: `exec:${program}`,
    arguments: [...rest],
    timeout_ms: query.span('timeout', 0),
    output: 'stream',
    stdin_live: true,
    ...(name !== undefined && { name }),
    ...(dir !== undefined && { dir }),
    ...(Object.keys(env).length > 0 && { env }),
    ...(Object.keys(requires).length > 0 && { requires }),
  }
}

/** The request's body, no faster than the program reads it. */
const feed = async ({ incoming }: Asked, { stdin }: TaskRun): Promise<void> => {
  for await (const data of incoming) if (!(await stdin.write(data as Buffer))) break
  await stdin.end()
}

/** What a client fails with is told by the task's outcome. */
const ignoreKnown = (error: unknown): void => {
  if (isClientError(error)) return
  // The client of the face broke off: so did its body.
  if (error instanceof Error && 'code' in error) return
  throw error
}

const answer = async (
  { outgoing, incoming }: Asked,
  its: TaskRun,
  output: AsyncIterator<Uint8Array>,
  type: string,
): Promise<void> => {
  const hasTrailers = /(^|,)\s*trailers\b/i.test(headerOf(incoming, 'te'))
  let next = await output.next()
  if (next.done === true) {
    const done = await its.done
    const problem = failureOf(done)
    if (problem !== undefined) throw problem
  }
  outgoing.writeHead(200, {
    'content-type': type,
    [TASK_HEADER]: its.id,
    ...(hasTrailers && { trailer: EXIT_TRAILER }),
  })
  outgoing.flushHeaders()
  while (next.done !== true) {
    if (!outgoing.write(next.value)) await drained(outgoing)
    if (outgoing.destroyed) return
    next = await output.next()
  }
  const done = await its.done
  const isGood = failureOf(done) === undefined
  if (hasTrailers) outgoing.addTrailers({ [EXIT_TRAILER]: exitCodeOf(done) })
  if (isGood || hasTrailers) outgoing.end()
  else outgoing.destroy()
}

const drained = (outgoing: Asked['outgoing']): Promise<void> =>
  new Promise((resolve) => {
    const end = () => {
      outgoing.off('drain', end)
      outgoing.off('close', end)
      resolve()
    }
    outgoing.on('drain', end)
    outgoing.on('close', end)
  })

/** As a shell would say it: 128 + N by a signal; a task that never ran has none. */
const exitCodeOf = ({ result, error }: TaskDone): string => {
  const code =
    result?.exit_code ?? (error?.kind === 'RunningError' ? error.exit_code : undefined)
  return code === undefined ? (error?.kind ?? '0') : String(code)
}

const failureOf = (done: TaskDone): ProblemError | undefined => {
  const { error, task_id } = done
  if (error === undefined) return undefined
  const more = { task_id, exit_code: exitCodeOf(done) }
  const detail = `the program failed (${error.kind}); all that is known of it: GET /v1/tasks/${task_id}`
  const status = error.kind === 'TimedOut' ? 504 : 422
  return new ProblemError({ status, code: error.kind, detail, more })
}

/** Which descriptor, and its bytes as text: as lines of JSON, or as server-sent events. */
async function* mixed(
  { stdout, stderr }: TaskRun,
  form: 'ndjson' | 'sse',
): AsyncGenerator<Uint8Array> {
  const sources = [
    ['stdout', stdout[Symbol.asyncIterator]()],
    ['stderr', stderr[Symbol.asyncIterator]()],
  ] as const
  const pull = async ([fd, iterator]: (typeof sources)[number]) => ({
    fd,
    iterator,
    part: await iterator.next(),
  })
  const open = new Map(sources.map((source) => [source[0], pull(source)]))
  while (open.size > 0) {
    const { fd, iterator, part } = await Promise.race(open.values())
    if (part.done === true) {
      open.delete(fd)
      continue
    }
    open.set(fd, pull([fd, iterator] as (typeof sources)[number]))
    const data = Buffer.from(part.value).toString()
    yield Buffer.from(
      form === 'ndjson'
        ? `${JSON.stringify({ fd, data })}\n`
        : `event: ${fd}\ndata: ${JSON.stringify({ data })}\n\n`,
    )
  }
}

/** A header of the request, whatever its name. */
const headerOf = ({ headers }: Asked['incoming'], name: string): string => {
  const value = headers[name]
  return typeof value === 'string' ? value : (value?.join() ?? '')
}
