// The API: our own routes behind the guard, each under the rights of who asks; JSON with
// ETags, problems as RFC 9457 has them, a request id on every answer.

import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Context, Hono } from 'hono'
import type { Log } from '../../ports.ts'
import { readIncoming } from '../body.ts'
import type { Face } from '../face.ts'
import type { Grant } from '../guard.ts'
import { etagOf, jsonOf } from './json.ts'
import { Metrics } from './metrics.ts'
import { nodes } from './nodes.ts'
import { openApiOf } from './openapi.ts'
import { bad, type Problem, ProblemError, problemBody, problemOf } from './problem.ts'
import { Query } from './query.ts'
import type { Asked, Reply, Route } from './route.ts'
import { run } from './run.ts'
import { tasks } from './tasks.ts'

export interface ApiOptions {
  readonly face: Face
  readonly version: string
  readonly log: Log
}

/** What comes with a request besides it. */
export interface Surroundings {
  readonly grant: Grant
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
}

/** All of them; OpenAPI's own route describes these. */
export const routes: readonly Route[] = [...nodes, ...tasks, run]

/** A body may hold 256 tasks; what is fed to a program is not counted. */
const MAX_BODY = 8 * 1024 * 1024
/** What it takes besides JSON: `run` feeds a program with anything. */
export const API_CONTENT_TYPES: ReadonlySet<string> = new Set([
  'application/json',
  'application/octet-stream',
])

interface Env {
  readonly Bindings: Surroundings
}

/** Answers requests that the guard let in. */
export const api = ({ face, version, log }: ApiOptions) => {
  const app = new Hono<Env>()
  const metrics = new Metrics()
  for (const one of routes) {
    const path = one.path.replaceAll(/\{(\w+)\}/g, ':$1')
    app.on(one.method, path, async (c) => {
      const asked = askedOf(c, face)
      const beganMs = performance.now()
      let status = 500
      try {
        const response = replied(c, await one.handle(asked), asked.requestId)
        status = response.status
        return response
      } catch (error) {
        status = problemOf(error)?.status ?? status
        throw error
      } finally {
        const seconds = (performance.now() - beganMs) / 1000
        metrics.answered(one.method, one.path, status, seconds)
      }
    })
  }
  const description = jsonOf(openApiOf(routes, version))
  app.get('/openapi.json', (c) => c.body(description, 200, JSON_TYPE))
  app.get('/healthz', (c) => c.body('{"ok":true}', 200, JSON_TYPE))
  app.get('/readyz', async (c) => {
    await face.as(c.env.grant.rights).nodes()
    return c.body('{"ready":true}', 200, JSON_TYPE)
  })
  app.get('/metrics', async (c) => {
    const nodes = await face.as(c.env.grant.rights).nodes()
    const { text, type } = await metrics.text(nodes)
    return c.body(text, 200, { 'content-type': type })
  })
  app.notFound((c) => {
    const detail = `there is no ${c.req.method} ${c.req.path}; what there is: GET /openapi.json`
    return problemResponse({ status: 404, code: 'no-route', detail }, requestIdOf(c))
  })
  app.onError((error, c) => {
    const requestId = requestIdOf(c)
    const problem = problemOf(error)
    if (problem !== undefined) return problemResponse(problem, requestId)
    log.error('a bug while serving HTTP', {
      request: requestId,
      error: String(error.stack),
    })
    const detail = `a bug of ours; the log of this node has it, with the request id`
    return problemResponse({ status: 500, code: 'internal', detail }, requestId)
  })
  return (request: Request, around: Surroundings) => app.fetch(request, around)
}

const JSON_TYPE = { 'content-type': 'application/json' }

const askedOf = (c: Context<Env>, face: Face): Asked => {
  const { grant, incoming, outgoing } = c.env
  let left: AbortController | undefined
  return {
    client: face.as(grant.rights),
    query: new Query(c.req.url),
    param: (name) => c.req.param(name) ?? '',
    header: (name) => c.req.header(name),
    json: async () => parseJson(await readIncoming(incoming, MAX_BODY)),
    get signal() {
      left ??= abortedBy(outgoing)
      return left.signal
    },
    incoming,
    outgoing,
    requestId: requestIdOf(c),
  }
}

/** Aborted when the client is gone before it had its answer. */
const abortedBy = (outgoing: ServerResponse): AbortController => {
  const left = new AbortController()
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) left.abort()
  })
  return left
}

const parseJson = (text: string | undefined): object => {
  if (text === undefined) {
    const detail = `the body has more than ${MAX_BODY} bytes`
    throw new ProblemError({ status: 413, code: 'too-large', detail })
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw bad('the body is not JSON')
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw bad('the body has to be an object')
}

/** The client's own, if it is a sensible one. */
const requestIdOf = (c: Context<Env>): string => {
  const given = c.req.header('x-request-id')
  if (given !== undefined && /^[\w.-]{1,64}$/.test(given)) return given
  const known = ids.get(c.env.incoming)
  if (known !== undefined) return known
  lastId += 1
  const made = `${ID_START}-${lastId}`
  ids.set(c.env.incoming, made)
  return made
}
const ids = new WeakMap<IncomingMessage, string>()
/** Of this process; asking the system for each would cost more than the id is worth. */
const ID_START = randomBytes(6).toString('base64url')
let lastId = 0

const replied = (c: Context<Env>, reply: Reply, requestId: string): Response => {
  if (reply instanceof Response) {
    if (!c.env.outgoing.headersSent) reply.headers.set('x-request-id', requestId)
    return reply
  }
  const body = jsonOf(reply.json)
  const headers = { ...JSON_TYPE, 'x-request-id': requestId, ...reply.headers }
  if (c.req.method !== 'GET')
    return new Response(body, { status: reply.status ?? 200, headers })
  const etag = etagOf(body)
  const isSame = c.req.header('if-none-match')?.split(/,\s*/).includes(etag) === true
  return isSame
    ? new Response(null, { status: 304, headers: { etag, 'x-request-id': requestId } })
    : new Response(body, { status: 200, headers: { ...headers, etag } })
}

const problemResponse = (problem: Problem, requestId: string): Response =>
  new Response(`${JSON.stringify(problemBody(problem, requestId))}\n`, {
    status: problem.status,
    headers: {
      'content-type': 'application/problem+json',
      'x-request-id': requestId,
      ...(problem.retryAfter !== undefined && {
        'retry-after': String(problem.retryAfter),
      }),
    },
  })
