// What the kit knows of the protocol: protocol/manyhands.json and golden.json, as any other
// implementation would read them. Nothing of this project's own code is used to make,
// read or judge a message: a mistake in it would otherwise hide from its own test.

import { readFileSync } from 'node:fs'

/** The fields of bodies that cases look at. */
type Field =
  | ('node_type' | 'node_id' | 'boot_id' | 'host_name' | 'max_in_flight' | 'max_frame')
  | ('code' | 'path' | 'message' | 'retry_after_ms' | 'rel' | 'reason' | 'epoch' | 'boot')
  | ('accepted' | 'resumed' | 'continue' | 'drop' | 'ping_ms' | 'lease_ms' | 'settle')
  | ('tasks' | 'task_id' | 'attempt' | 'at_ms' | 'pid' | 'error' | 'result' | 'outcome')
  | ('kind' | 'exit_code' | 'signal' | 'stdout' | 'stderr' | 'inline' | 'ref' | 'sha256')
  | ('size' | 'lost' | 'lost_tail' | 'run_ms' | 'offset' | 'data' | 'eof' | 'status')
  | ('cores' | 'memory' | 'specs' | 'more' | 'tasks_status' | 'refused' | 'task_ids')
  | ('done' | 'cursor' | 'open' | 'running' | 'summary' | 'attempts' | 'state' | 'nodes')
  | ('next' | 'aborted' | 'closed' | 'unknown' | 'failures' | 'losses' | 'candidate')
  | ('fd' | 'arguments' | 'job_addr' | 'request' | 'refs' | 'role' | 'kinds' | 'labels')

/** A message's body, as it comes from the wire. */
export type Body = { readonly [name in Field]?: unknown }

export interface ExchangeFacts {
  readonly place: 'ordinary' | 'priority' | 'waits' | 'aborts'
  readonly answers: Readonly<Record<string, unknown>>
}

interface Facts {
  readonly subprotocol: string
  readonly minor: number
  readonly upgrade: {
    readonly tls: { readonly alpn: string }
    readonly refused_header: string
  }
  readonly limits: {
    readonly max_in_flight: number
    readonly max_frame: number
    readonly inline_bytes: number
    readonly data_bytes: number
    readonly places: Readonly<Record<ExchangeFacts['place'], number>>
  }
  readonly timing: { readonly introduction_ms: number; readonly kill_grace_ms: number }
  readonly exchanges: Readonly<Record<string, ExchangeFacts>>
}

interface Golden {
  readonly refused: readonly { readonly why: string; readonly hex: string }[]
}

/** From dist/conformance and from conformance alike, the files are two folders up or one. */
const read = (name: string): unknown => {
  const here = new URL('.', import.meta.url).pathname
  const root = here.includes('/dist/') ? '../../protocol/' : '../protocol/'
  return JSON.parse(readFileSync(new URL(root + name, import.meta.url), 'utf8'))
}

export const facts = read('manyhands.json') as Facts
export const golden = read('golden.json') as Golden
