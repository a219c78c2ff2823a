// Messages: the process manager's requests, read from JSON. Members that are not known are
// passed over; of several operations the first in the order of the program is served.
// (Source: the BlueZero process manager and its HUB.)

import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'

/** Its pids are signed 32-bit numbers. */
const Pid = t.refinement(
  t.number,
  (value) => Number.isInteger(value) && Math.abs(value) < 2 ** 31,
  'Pid',
)

const codecs = {
  start_process: t.intersection([
    t.type({ path: t.string }),
    t.partial({ args: t.array(t.string) }),
  ]),
  stop_process: t.type({ pid: Pid }),
  query_process_status: t.type({ pid: Pid }),
  list_active_processes: t.object,
} as const

export type OperationName = keyof typeof codecs

export type Operation =
  | {
      readonly name: 'start_process'
      readonly path: string
      readonly args: readonly string[]
    }
  | {
      readonly name: 'stop_process' | 'query_process_status'
      readonly pid: number
    }
  | { readonly name: 'list_active_processes' }

export interface BlueZeroRequest {
  readonly operation: Operation
  /** Of the HUB. */
  readonly hostName: string | undefined
}

/** Left: what is wrong with it, for a person. */
export const parseRequest = (
  text: string,
  { isHub }: { readonly isHub: boolean },
): E.Either<string, BlueZeroRequest> => {
  const json = parseJson(text)
  if (E.isLeft(json)) return json
  const members = json.right
  const { host_name: hostName } = members
  if (isHub && typeof hostName !== 'string') return E.left('host_name has to be a string')
  const operation = readOperation(members)
  return E.map((its: Operation) => ({
    operation: its,
    hostName: typeof hostName === 'string' ? hostName : undefined,
  }))(operation)
}

const parseJson = (text: string): E.Either<string, Record<string, unknown>> => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return E.left('the body is not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return E.left('the body has to be an object')
  return E.right(value as Record<string, unknown>) // an object, and no array
}

const readOperation = (members: Record<string, unknown>): E.Either<string, Operation> => {
  const { start_process, stop_process, query_process_status, list_active_processes } =
    members
  if (start_process !== undefined) {
    const read = codecs.start_process.decode(start_process)
    if (E.isLeft(read))
      return E.left('start_process takes a path and a list of args, all strings')
    const { path, args = [] } = read.right
    return E.right({ name: 'start_process', path, args })
  }
  if (stop_process !== undefined) return readPid('stop_process', stop_process)
  if (query_process_status !== undefined)
    return readPid('query_process_status', query_process_status)
  if (list_active_processes === undefined)
    return E.left(`there is no operation in it: ${Object.keys(codecs).join(', ')}`)
  return codecs.list_active_processes.is(list_active_processes)
    ? E.right({ name: 'list_active_processes' })
    : E.left('list_active_processes takes an object')
}

const readPid = (
  name: 'stop_process' | 'query_process_status',
  value: unknown,
): E.Either<string, Operation> => {
  const read = codecs[name].decode(value)
  return E.isRight(read)
    ? E.right({ name, pid: read.right.pid })
    : E.left(`${name} takes a pid, a whole number`)
}
