// curl: the call by HTTP that a verb is, as a line for a shell: for who would rather script
// against the API than against this command. $URL and $TOKEN are whose it is.

import { type Io, Sink, UsageError } from './io.ts'
import { isProcessAddress, parseProcessAddress } from './process-address.ts'
import { type StartFlags, specOf } from './start-process.ts'
import { type TaskFlags, taskMaker } from './task-flags.ts'

/** A call of the API. */
interface Call {
  readonly method?: 'POST' | 'DELETE'
  readonly path: string
  readonly query?: readonly (readonly [string, string | number | boolean | undefined])[]
  readonly headers?: Readonly<Record<string, string | undefined>>
  /** JSON; or what a pipe brings. */
  readonly body?: object | 'stdin'
}

// A verb's flags as commander has parsed them; each verb looks at its own.
// biome-ignore lint/suspicious/noExplicitAny: their types are those of the verb's own function
type Flags = any
type Calls = (words: readonly string[], flags: Flags, io: Io) => readonly Call[]

const each =
  (call: (id: string, flags: Flags) => Call): Calls =>
  (ids, flags) =>
    ids.map((id) => call(id, flags))

const taskPath = (id: string): string => `/v1/tasks/${encodeURIComponent(id)}`

const processPath = (address: string): string => {
  const { host, which } = parseProcessAddress(address)
  return `/v1/hosts/${host}/processes/${String(which)}`
}

const pairs = (name: string, its: Readonly<Record<string, string>> = {}) =>
  Object.entries(its).map(([key, value]) => [name, `${key}=${value}`] as const)

/** The verbs that are calls, and which. */
const CALLS: Readonly<Record<string, Calls>> = {
  nodes: () => [{ path: '/v1/nodes' }],
  tasks: (_words, { only, host, batch, limit }) => [
    {
      path: '/v1/tasks',
      query: [
        ['state', only],
        ['host', host],
        ['batch', batch],
        ['limit', limit],
      ],
    },
  ],
  show: each((id) => ({ path: taskPath(id) })),
  wait: each((id) => ({ path: taskPath(id), query: [['wait', '55s']] })),
  explain: each((id) => ({ path: `/v1/explain/${encodeURIComponent(id)}` })),
  cancel: each((id) => ({ method: 'DELETE', path: taskPath(id) })),
  retry: each((id) => ({ method: 'POST', path: `${taskPath(id)}/retry`, body: {} })),
  logs: each((id, { follow, from, stderr }) => ({
    path: `${isProcessAddress(id) ? processPath(id) : taskPath(id)}/logs`,
    query: [
      ['follow', follow === true ? 1 : undefined],
      ['from', from],
      ['fd', stderr === true ? 2 : undefined],
    ],
  })),
  submit: (command, flags: TaskFlags & Flags, io) => [
    {
      path: '/v1/tasks',
      headers: { 'Idempotency-Key': flags.key },
      body: {
        ...taskMaker(flags, io.cwd)(command),
        ...(flags.batch !== undefined && { batch: flags.batch }),
        ...(flags.maxFails !== undefined && { max_fails: flags.maxFails }),
      },
    },
  ],
  run: (command, flags: TaskFlags, io) => {
    const { dir } = taskMaker(flags, io.cwd)(command)
    return [
      {
        method: 'POST',
        path: '/v1/run',
        query: [
          ...command.map((word) => ['arg', word] as const),
          ['host', flags.host],
          ...pairs('label', flags.label),
          ['cores', flags.cores],
          ['timeout', flags.timeout === undefined ? undefined : `${flags.timeout}ms`],
          ...pairs('env', flags.env),
          ['dir', dir],
          ['name', flags.name],
        ],
        body: 'stdin',
      },
    ]
  },
  ps: (_words, { host, all }) => {
    if (host === undefined)
      throw new UsageError('--curl: the API tells the processes of one host: --host NAME')
    const query = [['all', all === true ? 1 : undefined]] as const
    return [{ path: `/v1/hosts/${host}/processes`, query }]
  },
  start: ([path = '', ...args], flags: StartFlags) => [
    {
      path: `/v1/hosts/${flags.host}/processes`,
      headers: { 'Idempotency-Key': flags.key },
      body: specOf(path, args, flags),
    },
  ],
  stop: each((address) => ({ method: 'DELETE', path: processPath(address) })),
  signal: ([signal = '', ...addresses]) =>
    addresses.map((address) => ({
      method: 'POST',
      path: `${processPath(address)}/signal`,
      query: [['signal', `SIG${signal.toUpperCase().replace(/^SIG/, '')}`]],
    })),
  events: (_words, { topic = [] }) => [
    {
      path: '/v1/events',
      query: topic.map((one: string) => ['topic', one] as const),
    },
  ],
}

/** Prints a line for each call that the verb is. */
export const printCalls = async (
  io: Io,
  verb: string,
  words: readonly string[],
  flags: Flags,
): Promise<void> => {
  const calls = CALLS[verb]?.(words, flags, io) ?? []
  if (calls.length === 0)
    throw new UsageError(
      `--curl: ${verb} as it stands is no call of the API; see GET /openapi.json`,
    )
  const stdout = new Sink(io.stdout)
  for (const call of calls) await stdout.line(lineOf(call))
}

const lineOf = ({ method, path, query = [], headers = {}, body }: Call): string => {
  const given = query.filter(([, value]) => value !== undefined)
  const text = new URLSearchParams()
  for (const [name, value] of given) text.append(name, String(value))
  const url = `"$URL${path}${given.length === 0 ? '' : `?${text}`}"`
  const extra = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : ['-H', quoted(`${name}: ${value}`)],
  )
  return [
    'curl -sN -H "Authorization: Bearer $TOKEN"',
    ...(method === 'DELETE' || body === undefined
      ? []
      : ["-H 'Content-Type: application/json'"]),
    ...(method === 'DELETE' ? ['-X DELETE'] : []),
    ...(method === 'POST' && body === undefined
      ? ["-H 'Content-Type: application/json' -d ''"]
      : []),
    ...extra,
    ...(body === 'stdin'
      ? ['--data-binary @-']
      : body === undefined
        ? []
        : ['-d', quoted(JSON.stringify(body))]),
    url,
  ].join(' ')
}

/** As one word of a shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`
