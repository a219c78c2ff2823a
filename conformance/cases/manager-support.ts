// What cases about managers share: tasks that were handed out, and workers that refuse them.

import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import type { Peer } from '../peer.ts'
import type { Body } from '../protocol.ts'
import { equal, pause, Skip, type Stage } from '../stage.ts'
import { submit, summary, type WorkerSide } from '../worker-side.ts'

/** A task at a worker of this case alone, submitted by a client. */
export const handedOut = async (stage: Stage, more: object = {}) => {
  const [worker, client] = await Promise.all([stage.worker(), stage.open()])
  const [id = ''] = await submit(client, [worker.job(more)])
  const task = await worker.assigned(id)
  return { worker, client, id, task }
}

/** Until the manager has heard the Ack of a hand-out: it shows the task as accepted. */
export const accepted = async (client: Peer, id: string): Promise<void> => {
  for (let tries = 0; tries < 200; tries++) {
    const { state } = await summary(client, id)
    if (state !== 'queued' && state !== 'sent') return
    await pause(5)
  }
  throw new Error('its Ack of TasksExecute was not heard')
}

const reports = (rel: string): readonly (readonly [string, object])[] => {
  const about = { rel, task_id: '0123456789-1', attempt: 1 }
  return [
    ['ManagerPing', { rel }],
    ['TaskStarted', { ...about, at_ms: 1 }],
    ['TaskError', { ...about, error: { kind: 'TimedOut' } }],
    ['TaskCompleted', { ...about, result: { run_ms: 1 } }],
  ]
}

/** Every message of a worker with this rel is answered NotMine. */
export const allNotMine = async (peer: Peer, rel: string): Promise<void> => {
  for (const [kind, body] of reports(rel))
    equal((await peer.ask(kind, body)).k, 'NotMine', `the answer to ${kind}`)
}

/** A line of an inventory. */
export const entry = (task_id: string, attempt: number, status: string) => ({
  ...{ task_id, attempt, status },
  ...(status === 'Started' && { at_ms: Date.now() }),
})

/** How long its lease is, if that can be waited for. */
export const leaseOf = ({ answer }: WorkerSide): number => {
  const ms = (Number(answer.lease_ms) * 4) / 3
  if (ms > 5000) throw new Skip(`its lease is ${ms} ms; start it with a short one`)
  return ms
}

/** A port on which nobody listens. */
export const refusedPort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })

/** A key that nobody has used. */
export const key = (): string => randomBytes(8).toString('hex')

/** Refuses each task once with this reason; afterwards accepts. */
export const refusing = (reason: string, retry_after_ms?: number) => {
  const refused = new Set<unknown>()
  return ({ b }: { readonly b: Body }): readonly [string, unknown] => {
    const [task] = b.tasks as readonly Body[]
    if (refused.has(task?.task_id)) return ['Ack', {}]
    refused.add(task?.task_id)
    const entry = { task_id: task?.task_id, reason }
    return [
      'TasksRefused',
      {
        refused: [{ ...entry, ...(retry_after_ms !== undefined && { retry_after_ms }) }],
      },
    ]
  }
}
