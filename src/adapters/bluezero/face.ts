// The BlueZero face: the process manager and its HUB by HTTP, for clients that know their
// requests and answers. It holds nothing: every request is asked of the mesh.

import * as E from 'fp-ts/lib/Either.js'
import { Hono } from 'hono'
import { stream } from 'hono/streaming'
import type { NodeInfo } from '../../../protocol/index.ts'
import { isClientError } from '../../client/failures.ts'
import { readText } from '../../http/body.ts'
import type { Face, FaceClient } from '../../http/face.ts'
import type { Grant } from '../../http/guard.ts'
import { parseRequest } from './messages.ts'
import { type Answer, perform } from './operations.ts'

/** What requests are sent as: JSON, under its own name or that of BlueZero's type. */
export const CONTENT_TYPES: ReadonlySet<string> = new Set([
  'application/json',
  'b0::process_manager::request',
])

const ANSWER_TYPE = 'b0::process_manager::Response'
const MAX_BODY = 1024 * 1024
/** A host that went away is told as such for so long; then it is unknown, as with the HUB. */
const UNREACHABLE_MS = 2_000
/** How long `active_nodes` may be silent, so that a broken connection is noticed. */
const STIR_MS = 15_000

interface Env {
  readonly Bindings: { readonly grant: Grant }
}

export interface BlueZeroOptions {
  readonly face: Face
  readonly now: () => number
}

/** Answers requests that the guard let in. */
export const blueZero = ({ face, now }: BlueZeroOptions) => {
  const app = new Hono<Env>()
  app.use(async (c, next) => {
    await next()
    c.res.headers.set('B0-Content-Type', ANSWER_TYPE)
  })
  app.post('/process_manager/control', async (c) => {
    const text = await readText(c.req.raw, MAX_BODY)
    const told = await control(clientOf(face, c.env.grant), face.hostName, text)
    return c.json(told.body, told.status)
  })
  app.post('/process_manager_hub/control', async (c) => {
    if (!face.isHub) return c.json(fault(NO_HUB), 404)
    const text = await readText(c.req.raw, MAX_BODY)
    const told = await hubControl(clientOf(face, c.env.grant), text, now)
    return c.json(told.body, told.status)
  })
  app.get('/process_manager_hub/active_nodes', async (c) => {
    if (!face.isHub) return c.json(fault(NO_HUB), 404)
    const client = clientOf(face, c.env.grant)
    const snapshot = async () => activeNodes(await client.nodes(), now())
    if (c.req.query('follow') !== '1') return c.json(await snapshot())
    c.header('Content-Type', 'application/json')
    return stream(c, async (out) => {
      const stop = new AbortController()
      out.onAbort(() => stop.abort())
      await followNodes(client, snapshot, stop, async (text) => {
        await out.write(text)
      })
    })
  })
  // BlueZero's own name of the service: process_manager@HOST/control.
  app.post('/:service{process_manager(?:@|%40)[^/]+}/control', async (c) => {
    const hostName = c.req.param('service').slice('process_manager@'.length)
    if (!face.isHub && hostName !== face.hostName) return c.json(fault(NO_HUB), 404)
    const text = await readText(c.req.raw, MAX_BODY)
    const told = await control(clientOf(face, c.env.grant), hostName, text)
    return c.json(told.body, told.status)
  })
  app.notFound((c) =>
    c.json(
      fault(
        `there is no ${c.req.path}; POST to /process_manager/control or /process_manager_hub/control`,
      ),
      404,
    ),
  )
  return (request: Request, { grant }: Env['Bindings']) => app.fetch(request, { grant })
}

const NO_HUB =
  'this node is no hub: it answers for itself alone, at /process_manager/control'

const TOO_LARGE: Told = {
  status: 413,
  body: { success: false, error_message: `the body has more than ${MAX_BODY} bytes` },
}

const clientOf = (face: Face, { rights }: Grant): FaceClient => face.as(rights)

const fault = (message: string) => ({ success: false, error_message: message })

interface Told {
  readonly status: 200 | 400 | 404 | 413
  readonly body: Answer
}

/** A process manager's answer: the member of the operation. */
const control = async (
  client: FaceClient,
  hostName: string,
  text: string | undefined,
): Promise<Told> => {
  if (text === undefined) return TOO_LARGE
  const request = parseRequest(text, { isHub: false })
  if (E.isLeft(request))
    return { status: 400, body: fault(`bad request: ${request.left}`) }
  const { operation } = request.right
  try {
    const answer = await perform(client, hostName, operation)
    return { status: 200, body: { [operation.name]: answer } }
  } catch (error) {
    if (!isClientError(error)) throw error
    if (error.failure.kind === 'not-found')
      return { status: 404, body: fault('unknown host') }
    return { status: 200, body: { [operation.name]: fault('host unreachable') } }
  }
}

/** The HUB's: whether it was routed, and the process manager's answer inside. */
const hubControl = async (
  client: FaceClient,
  text: string | undefined,
  now: () => number,
): Promise<Told> => {
  if (text === undefined) return TOO_LARGE
  const request = parseRequest(text, { isHub: true })
  if (E.isLeft(request))
    return { status: 400, body: fault(`bad request: ${request.left}`) }
  const { operation, hostName = '' } = request.right
  try {
    const answer = await perform(client, hostName, operation)
    return { status: 200, body: { success: true, [operation.name]: answer } }
  } catch (error) {
    if (!isClientError(error)) throw error
    const { failure } = error
    const isUnknown =
      failure.kind === 'not-found' ||
      (failure.kind === 'unreachable' &&
        failure.sinceMs !== undefined &&
        now() - failure.sinceMs > UNREACHABLE_MS)
    return { status: 200, body: fault(isUnknown ? 'unknown host' : 'host unreachable') }
  }
}

/** The nodes that run programs by name, as the HUB publishes them: times in microseconds. */
const activeNodes = (nodes: readonly NodeInfo[], nowMs: number) => ({
  nodes: nodes
    .filter(({ state }) => state !== 'unreachable' && state !== 'lost')
    .filter(({ features }) => features?.includes('processes') === true)
    .map(({ host_name }) => ({
      host_name,
      node_name: `process_manager@${host_name}`,
      service_name: `process_manager@${host_name}/control`,
      last_active: nowMs * 1000,
    })),
})

/** A line at once, and one for each change. */
const followNodes = async (
  client: FaceClient,
  snapshot: () => Promise<ReturnType<typeof activeNodes>>,
  stop: AbortController,
  write: (text: string) => Promise<void>,
): Promise<void> => {
  let last = ''
  const tell = async (isForced: boolean): Promise<void> => {
    const its = await snapshot()
    const names = its.nodes.map(({ host_name }) => host_name).join(' ')
    if (!isForced && names === last) return
    last = names
    await write(`${JSON.stringify(its)}\n`)
  }
  // Read before the snapshot: nothing that happens after it is missed.
  const events = client
    .events({ topics: ['nodes'], signal: stop.signal })
    [Symbol.asyncIterator]()
  const stir = setInterval(() => void tell(true), STIR_MS)
  try {
    let next = events.next()
    await tell(true)
    for (;;) {
      const { done } = await next
      if (done === true) return
      next = events.next()
      await tell(false)
    }
  } catch (error) {
    if (!isClientError(error, 'aborted', 'closed')) throw error
  } finally {
    clearInterval(stir)
  }
}
