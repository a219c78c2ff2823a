// Requests: what is recorded of what others ask of this node: who asked, what for, and what
// the answer was. One table says it of each kind that executes, signals or changes who is a
// member; the rest only reads, feeds or reports, and is not recorded.

import {
  type Handlers,
  isKind,
  type Kind,
  type RequestOf,
  type Respond,
} from '../../protocol/index.ts'
import type { Audit, AuditFields, Peer } from '../ports.ts'

type Summaries = { readonly [K in Kind]?: (body: RequestOf<K>) => AuditFields }

/** Programs, ids and numbers. Never the value of an argument or a variable, never input. */
const summaries: Summaries = {
  TasksSubmit: ({ key, batch = key, tasks }) => ({
    batch,
    tasks: tasks.length,
    programs: some(tasks.map(({ job_addr }) => withoutSecrets(job_addr))),
  }),
  TasksRetry: ({ task_ids }) => ({ tasks: task_ids.length, ids: some(task_ids) }),
  TasksCancel: ({ task_ids, batch }) => ({
    ...(batch !== undefined && { batch }),
    ...(task_ids && { tasks: task_ids.length, ids: some(task_ids) }),
  }),
  TasksAbord: ({ tasks }) => ({
    tasks: tasks.length,
    ids: some(tasks.map((one) => (typeof one === 'string' ? one : one.task_id))),
  }),
  ProcessStart: ({ spec }) => ({ program: withoutSecrets(spec.path) }),
  ProcessStop: ({ process_id: process, pid }) => ({ process, pid }),
  ProcessSignal: ({ process_id: process, pid, signal }) => ({ process, pid, signal }),
  InviteCreate: ({ role, name, uses, scopes }) => ({ role, name, uses, scopes }),
  MembersRevoke: ({ names }) => ({ names }),
  CertificateRenew: () => ({}),
}

/** What more is recorded of an answer. */
const answers: Readonly<Record<string, (body: Record<string, unknown>) => AuditFields>> =
  {
    TasksSubmitted: ({ task_ids }) => {
      const ids = task_ids as readonly string[]
      return { first: ids[0], last: ids.at(-1) }
    },
    ProcessStarted: ({ pid, process_id }) => ({
      pid: Number(pid),
      process: String(process_id),
    }),
    Refused: ({ reason, message }) => ({ reason: String(reason), why: String(message) }),
    Error: ({ code, message }) => ({ reason: String(code), why: String(message ?? '') }),
  }

/** The handlers, and a line for each request that matters. */
export const audited = (handlers: Handlers<Peer>, audit: Audit): Handlers<Peer> => {
  const its: Record<string, unknown> = { ...handlers }
  for (const kind of Object.keys(handlers)) {
    if (!isKind(kind)) continue
    if (kind === 'TasksExecute') its[kind] = recordingRefusals(handlers[kind], audit)
    else if (kind in summaries) its[kind] = recording(kind, handlers, audit)
  }
  return its as Handlers<Peer>
}

const recording = <K extends Kind>(kind: K, handlers: Handlers<Peer>, audit: Audit) => {
  const handle = handlers[kind]
  const summarize = summaries[kind]
  return (body: RequestOf<K>, respond: Respond<K>, from: Peer): void => {
    const asked = { kind, ...byOf(from), ...summarize?.(body) }
    const answer: Respond<K> = (answerKind, answerBody) => {
      const more = answers[answerKind]?.(answerBody as Record<string, unknown>)
      audit.record('asked', { ...asked, answer: answerKind, ...more })
      respond(answerKind, answerBody)
    }
    handle?.(body, answer, from)
  }
}

type Execute = Handlers<Peer>['TasksExecute']

/** What a manager asks is recorded by what runs; what the owner does not let run, here. */
const recordingRefusals =
  (handle: Execute, audit: Audit): Execute =>
  (body, respond, from) => {
    const answer: typeof respond = (kind, answerBody) => {
      if (kind === 'TasksRefused') {
        const { refused } = answerBody as {
          readonly refused: readonly { task_id: string; reason: string }[]
        }
        const forbidden = refused.filter(({ reason }) => reason === 'forbidden')
        const ids = forbidden.map(({ task_id }) => task_id)
        if (ids.length > 0)
          audit.record('forbidden', {
            ...byOf(from),
            ids: some(ids),
            programs: some(
              body.tasks
                .filter(({ task_id }) => ids.includes(task_id))
                .map(({ job_addr }) => withoutSecrets(job_addr)),
            ),
          })
      }
      respond(kind, answerBody)
    }
    handle?.(body, answer, from)
  }

/** Who, by its certificate. */
export const byOf = ({ hostName, role, nodeId }: Peer): AuditFields => ({
  by: hostName,
  role,
  node_id: nodeId,
})

const SOME = 8

/** The different ones, not all of very many. */
const some = (values: readonly string[]): readonly string[] =>
  [...new Set(values)].slice(0, SOME)

/** An address may name a user with a password, or carry a token as its query. */
export const withoutSecrets = (address: string): string => {
  if (!address.includes('://')) return address.slice(0, 300)
  try {
    const url = new URL(address)
    url.username = ''
    url.password = ''
    url.search = ''
    return url.href.slice(0, 300)
  } catch {
    return 'an address that is none'
  }
}
