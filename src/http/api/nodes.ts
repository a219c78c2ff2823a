// Nodes, the programs on hosts by name, and what happens, by HTTP.

import { type Event, exchanges } from '../../../protocol/index.ts'
import { ProcessSpec, Signal } from '../../../protocol/process.ts'
import { Host } from '../../client/host.ts'
import type { FaceClient } from '../face.ts'
import { withBytes } from './json.ts'
import { bad } from './problem.ts'
import { type Asked, type Route, route } from './route.ts'
import { bytesResponse } from './stream.ts'
import { traced, traceOf } from './trace.ts'

const { NodesList, ProcessList, ProcessQuery, ProcessStart, ProcessStop } = exchanges

const hostOf = ({ client, param }: Asked): Host => hostBy(client, param('host'))

const hostBy = (client: FaceClient, name: string): Host =>
  new Host(name, {
    ask: (kind, body, options) => client.ask(name, kind, body, options),
    close: () => Promise.resolve(),
  })

/** By pid, or by process_id. */
const whichOf = ({ param }: Asked): number | string => {
  const text = param('process')
  if (/^p[1-9]\d{0,15}$/.test(text)) return text
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text)
  throw bad(`expected a pid or a process_id as p1, got ${text}`)
}

const processPath = '/v1/hosts/{host}/processes/{process}'

/** A comment this often keeps a quiet stream from being taken for a dead one. */
const STIR_MS = 15_000

export const nodes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/nodes',
    about: 'The nodes of the mesh: the one that is asked first.',
    answer: { status: 200, about: 'the nodes', body: NodesList.answers.NodesListed },
    handle: async ({ client }) => ({ json: { nodes: await client.nodes() } }),
  }),
  route({
    method: 'GET',
    path: '/v1/hosts/{host}/processes',
    about: 'The programs that were started on a host by name, and run.',
    query: { all: { about: '1: those too that wait for a restart or have ended' } },
    answer: { status: 200, about: 'a list', body: ProcessList.answers.ProcessesList },
    handle: async (asked) => {
      const processes = await hostOf(asked).processes({ all: asked.query.flag('all') })
      const pids = processes.flatMap(({ pid, running }) =>
        running && pid !== undefined ? [pid] : [],
      )
      return { json: { pids: pids.sort((a, b) => a - b), processes } }
    },
  }),
  route({
    method: 'POST',
    path: '/v1/hosts/{host}/processes',
    about: 'Starts a program on a host; answered when the operating system has it.',
    headers: { 'Idempotency-Key': 'the same key again: the same process' },
    body: ProcessSpec,
    answer: {
      status: 202,
      about: 'its pid and process_id; Location leads to it',
      body: ProcessStart.answers.ProcessStarted,
    },
    handle: async (asked) => {
      // The host's codec looks at it.
      const spec = traced(withBytes(await asked.json()) as ProcessSpec, traceOf(asked))
      const key = asked.header('idempotency-key')
      const { pid, processId: process_id } = await hostOf(asked).start(spec, key)
      const location = `/v1/hosts/${asked.param('host')}/processes/${process_id}`
      return { status: 202, json: { pid, process_id }, headers: { location } }
    },
  }),
  route({
    method: 'GET',
    path: processPath,
    about: 'What is known of a process, by pid or process_id, also for a while after.',
    answer: { status: 200, about: 'it', body: ProcessQuery.answers.ProcessStatus },
    handle: async (asked) => ({ json: await hostOf(asked).query(whichOf(asked)) }),
  }),
  route({
    method: 'DELETE',
    path: processPath,
    about: 'Ends a process: INT, TERM after 5 s, KILL after 5 s more. Does not wait.',
    answer: { status: 202, about: 'it was told', body: ProcessStop.answers.Ack },
    handle: async (asked) => {
      await hostOf(asked).stop(whichOf(asked))
      return { status: 202, json: {} }
    },
  }),
  route({
    method: 'POST',
    path: `${processPath}/signal`,
    about: 'Sends a signal to a process and its children.',
    query: { signal: { about: `one of ${Signal.words.join(', ')}`, example: 'SIGHUP' } },
    answer: { status: 202, about: 'it was sent', body: ProcessStop.answers.Ack },
    handle: async (asked) => {
      const signal = asked.query.text('signal')
      if (!Signal.is(signal))
        throw bad(`signal: expected one of ${Signal.words.join(', ')}, got ${signal}`)
      await hostOf(asked).signal(whichOf(asked), signal)
      return { status: 202, json: {} }
    },
  }),
  route({
    method: 'GET',
    path: `${processPath}/logs`,
    about: 'What a process wrote, from a byte on; with `follow` until it has ended.',
    query: {
      fd: { about: '1: stdout (default), 2: stderr' },
      from: { about: 'from this byte on' },
      follow: { about: '1: goes on until it has ended' },
    },
    answer: { status: 200, about: 'its bytes', body: 'bytes' },
    handle: async (asked) => {
      const { query, signal } = asked
      const fd = query.word('fd', ['1', '2'], '1') === '2' ? 2 : 1
      const options = {
        fd,
        from: query.count('from', 0),
        follow: query.flag('follow'),
      } as const
      const host = hostOf(asked)
      const which = whichOf(asked)
      await host.query(which)
      return bytesResponse(host.output(which, { ...options, signal }))
    },
  }),
  route({
    method: 'GET',
    path: '/v1/events',
    about:
      'What happens from now on, as server-sent events: each with an id, from which Last-Event-ID goes on. An event `reset`: some were missed, and what is known has to be read anew.',
    query: {
      topic: { about: 'nodes, processes or tasks; repeatable', isRepeatable: true },
    },
    headers: { 'Last-Event-ID': 'goes on after this one' },
    answer: { status: 200, about: 'events', body: 'events' },
    handle: async ({ client, query, header, signal }) => {
      const topics = query.all('topic').map((text) => {
        const topic = TOPICS.find((one) => one === text)
        if (topic === undefined)
          throw bad(`topic: expected ${TOPICS.join(', ')}, got ${text}`)
        return topic
      })
      const after = header('last-event-id')
      const wanted = {
        signal,
        ...(topics.length > 0 && { topics }),
        ...(after !== undefined && { after }),
      }
      return bytesResponse(sseOf(client, wanted), {
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
      })
    },
  }),
]

const TOPICS = ['nodes', 'processes', 'tasks'] as const

/** Lines of server-sent events; pulled, so a reader that is stuck holds up nobody. */
async function* sseOf(
  client: FaceClient,
  options: Omit<Parameters<FaceClient['events']>[0], 'onReset'>,
): AsyncGenerator<Uint8Array> {
  let resets = 0
  const onReset = () => {
    resets += 1
  }
  const events = client.events({ ...options, onReset })[Symbol.asyncIterator]()
  yield Buffer.from(': here\n\n')
  let next = events.next()
  let stir = quiet(options.signal)
  for (;;) {
    const first = await Promise.race([next, stir])
    if (resets > 0) {
      resets = 0
      yield Buffer.from('event: reset\ndata: {}\n\n')
    }
    if (first === 'quiet') {
      if (options.signal.aborted) return
      stir = quiet(options.signal)
      yield Buffer.from(': here\n\n')
      continue
    }
    if (first.done === true) return
    next = events.next()
    if (first.value.length > 0) yield Buffer.concat(first.value.map(sseLines))
  }
}

/** An event is written out once, however many read it. */
const sseLines = (event: Event): Buffer => {
  const known = written.get(event)
  if (known !== undefined) return known
  const { id, ...rest } = event
  const lines = [`id: ${id}`, `event: ${event.name}`, `data: ${JSON.stringify(rest)}`]
  const text = Buffer.from(`${lines.join('\n')}\n\n`)
  written.set(event, text)
  return text
}
const written = new WeakMap<Event, Buffer>()

const quiet = (signal: AbortSignal): Promise<'quiet'> =>
  new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      resolve('quiet')
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', end)
      resolve('quiet')
    }, STIR_MS)
    timer.unref()
    signal.addEventListener('abort', end, { once: true })
  })
